// What a subscriber may get over several days, and the search for its two best bundles: planned.cu.
// Shapes: as there. Needs relations.cuh and tally.cuh.

#define MOST_ACTIONS 512  // actions of a problem in which bundles have several
#define MOST_KNOWN 62     // groups whose room the days of a bundle may tell
#define DIGIT 4           // bits of a digit of a span
#define LARGEST_DIGIT 15

// What may be in one bundle; see choose_planned_cpu in planned.py.
struct Rules {
    const int* offer;               // [A]
    const long long* conflicts;     // [A, W] bit b: not in one bundle with b
    const long long* requires_one;  // [R, A, W] bits of those of which one is required
    const int* day_class;           // [P] in [0, M)
    const int* pair_of;             // [A]
    const int* day_of;              // [A]
    const int* indptr;              // [P + 1] the groups of a pair ...
    const int* groups;              // ... in [0, L)
    const unsigned char* within;    // [L, P] whether a pair is in a group
    int actions;                    // A
    int pairs;                      // P
    int days;                       // N
    int words;                      // W
    int requirements;               // R
    int reach;                      // Q - 1
};

struct Row {
    const Rules& rules;
    const float* propensity;          // [P, S] in [0, 1], NaN where the pair is open on no day
    const unsigned short* open_days;  // [M, S] bit d: pairs of the class are open on day d
    const long long* spans;           // [L (Q - 1), S]
    const double *value_fixed, *value_accept, *price_fixed, *price_accept;  // [A] of this group
    double weight;
    long long subscribers;  // S
    long long s;            // this subscriber
    int most;               // actions at most
    bool must;              // empty only where no other bundle is allowed
    int least;              // actions at least, if any

    // Surplus of an action at the prices, money; NaN where it is not open.
    DEVICE double operator()(int a) const {
        const int pair = rules.pair_of[a];
        const double p = propensity[pair * subscribers + s];
        const int open = open_days[rules.day_class[pair] * subscribers + s];
        if (!(open >> rules.day_of[a] & 1)) return INFINITE - INFINITE;
        return (weight * value_fixed[a] - price_fixed[a]) +
               (weight * value_accept[a] - price_accept[a]) * p;
    }

    // On so many days, from a day on, there are at most r actions of a group; 0: no bound.
    DEVICE int span(int group, int r, int day) const {
        const long long word = spans[((long long)group * rules.reach + r - 1) * subscribers + s];
        return (int)(word >> (DIGIT * day) & LARGEST_DIGIT);
    }
};

DEVICE void insert(int* at, int size, int day) {
    int place = size;
    for (; place > 0 && at[place - 1] > day; --place) at[place] = at[place - 1];
    at[place] = day;
}

// May action `a` join the first `count` actions of a bundle? Groups among the bits of `known` have
// room, as is known.
DEVICE bool may_join(const Row& row, const int* bundle, int count, int a, long long known) {
    const Rules& rules = row.rules;
    for (int i = 0; i < count; ++i)
        if (a == bundle[i] || has_bit(rules.conflicts + (long long)a * rules.words, bundle[i]))
            return false;
    const int pair = rules.pair_of[a];
    int at[MOST_BUNDLE];
    for (int k = rules.indptr[pair]; k < rules.indptr[pair + 1]; ++k) {
        const int group = rules.groups[k];
        if (group < MOST_KNOWN && known >> group & 1) continue;
        int size = 0;
        for (int i = 0; i < count; ++i)
            if (rules.within[(long long)group * rules.pairs + rules.pair_of[bundle[i]]])
                insert(at, size++, rules.day_of[bundle[i]]);
        insert(at, size, rules.day_of[a]);
        for (int r = 1; r <= size; ++r)
            for (int j = 0; j + r <= size; ++j)
                if (at[j + r] < at[j] + row.span(group, r, at[j])) return false;
    }
    return true;
}

// Put a bundle of `size` actions, then -1, in place of the best or the second best.
DEVICE void keep(const int* bundle, int size, int width, int* out) {
    for (int i = 0; i < width; ++i) out[i] = i < size ? bundle[i] : -1;
}

// What a search holds of one subscriber.
struct Room {
    double value[MOST_ACTIONS];  // [candidates, N] surpluses
    double peak[MOST_ACTIONS];   // [offers, N] the most surplus of an offer on that day or later
    short item[MOST_ACTIONS];    // candidates: pairs with a surplus on some day, or all open ones
    short own[MOST_ACTIONS];     // of each candidate its offer, by number among theirs
};

// The search of candidates, in the order of their days.
struct Search {
    const Row& row;
    Room& room;
    double lowest;                   // only actions worth more are tried: 0, or -infinite for all
    int least;                       // actions at least, if any
    int count, offers;               // candidates and their offers
    long long known;                 // bits of the groups that count all candidates
    long long shared[MOST_BUNDLE];   // spans of these groups, the longest
    int at[MOST_BUNDLE + 1];         // ascending days
    int picked[MOST_BUNDLE], picks;  // offers of the path

    DEVICE void list_pairs() {
        const Rules& rules = row.rules;
        count = offers = 0;
        for (int pair = 0; pair < rules.pairs; ++pair) {
            bool is_good = false;
            for (int d = 0; d < rules.days; ++d) {
                const double value = row(pair * rules.days + d);
                is_good |= value > lowest;
                room.value[count * rules.days + d] = value;
            }
            if (!is_good) continue;
            room.item[count] = (short)pair;
            list_offer();
            ++count;
        }
        for (int o = 0; o < offers; ++o)
            for (int d = rules.days - 2; d >= 0; --d) raise(o, d, room.peak[o * rules.days + d + 1]);
    }

    DEVICE void raise(int o, int d, double value) {
        double& peak = room.peak[o * row.rules.days + d];
        if (value > peak) peak = value;
    }

    // Number the offer of the last candidate.
    DEVICE void list_offer() {
        const int days = row.rules.days, *offer = row.rules.offer;
        int own = offers;
        for (int j = 0; j < count; ++j)
            if (offer[room.item[j] * days] == offer[room.item[count] * days]) own = room.own[j];
        room.own[count] = (short)own;
        for (int d = 0; d < days; ++d) {
            if (own == offers) room.peak[own * days + d] = lowest;
            raise(own, d, room.value[count * days + d]);
        }
        offers += own == offers;
    }

    DEVICE void share_spans() {
        const Rules& rules = row.rules;
        known = 0;
        for (int r = 0; r < rules.reach; ++r) shared[r] = 0;
        const int first = room.item[0];
        for (int k = rules.indptr[first]; k < rules.indptr[first + 1]; ++k) {
            const int group = rules.groups[k];
            bool is_shared = group < MOST_KNOWN;
            for (int i = 1; is_shared && i < count; ++i)
                is_shared = rules.within[(long long)group * rules.pairs + room.item[i]];
            if (!is_shared) continue;
            known |= 1LL << group;
            for (int r = 0; r < rules.reach; ++r)
                for (int d = 0; d < rules.days; ++d) {
                    const long long longer = row.span(group, r + 1, d);
                    if (longer <= digit(r, d)) continue;
                    shared[r] &= ~((long long)LARGEST_DIGIT << (DIGIT * d));
                    shared[r] |= longer << (DIGIT * d);
                }
        }
    }

    DEVICE int digit(int r, int day) const {
        return (int)(shared[r] >> (DIGIT * day) & LARGEST_DIGIT);
    }

    // The first day for one more action after `size` actions on ascending days.
    DEVICE int earliest(int size) const {
        int day = at[size - 1];
        for (int r = 1; r <= size && r <= row.rules.reach; ++r) {
            const int after = at[size - r] + digit(r - 1, at[size - r]);
            if (after > day) day = after;
        }
        return day;
    }

    DEVICE bool is_taken(int o) const {
        for (int i = 0; i < picks; ++i)
            if (picked[i] == o) return true;
        return false;
    }

    // What `need` to `more` actions can add, the first of them on day at[size] or later; see the
    // twin.
    DEVICE double most_of(int size, int more, int need) {
        const int days = row.rules.days;
        double total = 0.0, before = -1.0, its_second = 0.0, found = need <= 0 ? 0.0 : -INFINITE;
        int last = -1;
        for (int step = 0; step < more && at[size + step] < days; ++step) {
            double best = step >= need ? 0.0 : -INFINITE, second = best;
            int which = -1;
            for (int o = 0; o < offers; ++o) {
                const double peak = room.peak[o * days + at[size + step]];
                if (!(peak > second) || is_taken(o)) continue;
                if (peak > best) {
                    second = best;
                    best = peak;
                    which = o;
                } else {
                    second = peak;
                }
            }
            if (which < 0) break;
            if (which == last) {  // one of the two takes its second best
                const double instead = its_second + best - before;
                total += second > instead ? second : instead;
                last = -1;
            } else {
                total += best;
                before = best;
                its_second = second;
                last = which;
            }
            if (step + 1 >= need && total > found) found = total;
            if (step + 1 < more) at[size + step + 1] = earliest(size + step + 1);
        }
        return found;
    }

    // Of good pairs no action requires others.
    DEVICE bool has_all(const int* bundle, int size) const {
        return lowest == 0.0 || is_complete(row.rules, bundle, size);
    }

    // Write the two best bundles and their surpluses. A branch ends when the rest can add no more
    // than other offers' highest surpluses from the days on that the shared spans leave.
    DEVICE void run(int width, int* best, int* other, double& best_total, double& second) {
        const int days = row.rules.days, most = row.most < offers ? row.most : offers;
        int follow[MOST_BUNDLE], turn[MOST_BUNDLE], bundle[MOST_BUNDLE], depth = 0;
        double total[MOST_BUNDLE], rest[MOST_BUNDLE], bar = lowest;
        bool is_new = true;
        best_total = row.must ? -INFINITE : 0.0;
        second = -INFINITE;
        if (most < least) return;
        picks = follow[0] = turn[0] = 0;
        total[0] = 0.0;
        while (depth >= 0) {
            const int d = follow[depth], more = most - depth, need = least - depth;
            if (is_new) {
                bool is_open = d < days;
                if (is_open) {
                    at[depth] = d;
                    is_open = total[depth] + most_of(depth, more, need) > bar;
                }
                if (!is_open) {
                    picks = --depth;
                    is_new = false;
                    continue;
                }
                rest[depth] = 0.0;
                if (more > 1) {
                    at[depth] = d;
                    at[depth + 1] = earliest(depth + 1);
                    rest[depth] = most_of(depth + 1, more - 1, need - 1);
                }
            }
            is_new = true;
            bool is_deeper = false;
            for (int i = turn[depth]; i < count && !is_deeper; ++i) {
                const double value = room.value[i * days + d], reached = total[depth] + value;
                const int a = room.item[i] * days + d;
                if (!(value > lowest) || !(reached + rest[depth] > bar) || is_taken(room.own[i]) ||
                    !may_join(row, bundle, depth, a, known))
                    continue;
                bundle[depth] = a;
                if (reached > second && need <= 1 && has_all(bundle, depth + 1)) {
                    if (reached > best_total) {
                        second = best_total;
                        best_total = reached;
                        keep(best, width, width, other);
                        keep(bundle, depth + 1, width, best);
                    } else {
                        second = reached;
                        keep(bundle, depth + 1, width, other);
                    }
                    if (second > bar) bar = second;
                }
                if (more == 1 || !(reached + rest[depth] > bar)) continue;
                at[depth] = d;
                const int after = earliest(depth + 1);
                if (after >= days) continue;
                turn[depth] = i + 1;
                picked[depth] = room.own[i];
                picks = ++depth;
                follow[depth] = after;
                total[depth] = reached;
                turn[depth] = after == d ? i + 1 : 0;
                is_deeper = true;
            }
            if (is_deeper) continue;
            follow[depth] = d + 1;
            turn[depth] = 0;
        }
    }
};

// The second best surplus where the best bundle and one more, that does not pay, may be it; `near`
// is the first of the best that do not.
DEVICE double one_more(const Row& row, int near, double best_total, double second, int width,
                       const int* best, int* other) {
    int size = 0;
    while (size < width && best[size] >= 0) ++size;
    const bool joins = may_join(row, best, size, near, 0);
    for (int a = joins ? near : 0; a < (joins ? near + 1 : row.rules.actions); ++a) {
        const double value = row(a);
        if (value <= 0.0 && best_total + value > second && may_join(row, best, size, a, 0)) {
            second = best_total + value;
            keep(best, size, width, other);
            other[size] = a;
        }
    }
    return second;
}

// The margin, and the two best bundles, where any part of an allowed bundle is allowed too.
DEVICE double best_paying(const Row& row, Room& room, int width, int* best, int* other) {
    double best_total = 0.0, second = -INFINITE, nearest = -INFINITE;
    int near = -1, offer = -1;
    bool is_single = true;  // those that pay are of one offer
    for (int a = 0; a < row.rules.actions; ++a) {
        const double value = row(a);
        if (value > 0.0) {
            is_single &= offer < 0 || row.rules.offer[a] == offer;
            offer = row.rules.offer[a];
            if (value > best_total) {
                second = best_total;
                best_total = value;
                other[0] = best[0];
                best[0] = a;
            } else if (value > second) {
                second = value;
                other[0] = a;
            }
        } else if (value > nearest) {
            nearest = value;
            near = a;
        }
    }
    if (row.most > 1 && !is_single) {
        best[0] = other[0] = -1;
        Search search = {row, room, 0.0, 0, 0, 0, 0, {}, {}, {}, 0};
        search.list_pairs();
        search.share_spans();
        search.run(width, best, other, best_total, second);
    }
    if (near >= 0 && best_total + nearest > second && best[row.most - 1] < 0)
        second = one_more(row, near, best_total, second, width, best, other);
    return best_total - second;
}

// The margin, and the two best bundles, where a minimum is asked or an action requires others.
DEVICE double best_needed(const Row& row, Room& room, int width, int* best, int* other) {
    double best_total = row.must ? -INFINITE : 0.0, second = -INFINITE;
    Search search = {row, room, -INFINITE, row.least, 0, 0, 0, {}, {}, {}, 0};
    search.list_pairs();
    if (search.count > 0) {
        search.share_spans();
        search.run(width, best, other, best_total, second);
    }
    return best_total > -INFINITE ? best_total - second : INFINITE;
}

// Does an action of a pair that is open on some day require others?
DEVICE bool has_needs(const Row& row) {
    const Rules& rules = row.rules;
    for (int pair = 0; rules.requirements > 0 && pair < rules.pairs; ++pair) {
        bool is_needy = false, is_open = false;
        for (int a = pair * rules.days; a < (pair + 1) * rules.days; ++a) {
            const double value = row(a);
            is_open |= value == value;  // NaN: not open
            for (int r = 0; r < rules.requirements; ++r) is_needy |= needs(rules, r, a);
        }
        if (is_needy && is_open) return true;
    }
    return false;
}

// The two best bundles, then -1, and the margin between them.
DEVICE double best_of(const Row& row, int width, int* best, int* other) {
    keep(best, 0, width, best);
    keep(other, 0, width, other);
    if (row.most == 0 || row.least > row.most) return INFINITE;
    Room room;
    if (!row.must && row.least <= 1 && !has_needs(row))
        return best_paying(row, room, width, best, other);
    return row.most > 1 ? best_needed(row, room, width, best, other)
                        : best_single(row, row, best, other);
}
