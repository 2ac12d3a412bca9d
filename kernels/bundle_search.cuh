// The exact search for one subscriber's two best bundles at the prices; shared by sources.
// Twins: bundle_rows.py, bundle_search.py and bundle_listed.py. Needs relations.cuh and tally.cuh.
// Of equal bundles the first in the order of the search wins, as in the twins: same bits.

#define MOST_ACTIONS 512  // open actions of one subscriber that the bundle search can hold
#define MOST_CAPS 1024    // caps of a problem

// What may be in one bundle; see choose_cpu in choose.py.
struct Rules {
    const int* offer;                  // [A]
    const int* kind;                   // [A] equal: one may stand for the other; < 0: like none
    const int* contact;                // [A] equal: they go out in one contact
    const int* cap_indptr;             // [A + 1] the caps that count an action ...
    const int* cap_group;              // ... in [0, D)
    const unsigned char* per_contact;  // [D] 1: the cap counts contacts as a whole; 0: actions
    const long long* conflicts;        // [A, W] bit b: not in one bundle with b
    const long long* requires_one;     // [R, A, W] bits of those of which one is required
    int actions;                       // A
    int caps;                          // D
    int words;                         // W
    int requirements;                  // R
};

struct Row {
    const Rules& rules;
    const float* propensity;   // [A, S] in [0, 1], NaN where the action is not open
    const unsigned char* cap;  // [D, S]
    long long subscribers;     // S
    long long s;               // this subscriber
    int most;                  // actions at most
    bool must;                 // empty only where no other bundle is allowed
    int least;                 // actions at least, if any
};

DEVICE Row row_of(const Rules& rules, const float* propensity, const unsigned char* most,
                  const unsigned char* fewest, const unsigned char* cap, long long subscribers,
                  long long s) {
    return {rules, propensity, cap, subscribers, s, most[s], fewest[s] >= MUST,
            fewest[s] & (MUST - 1)};
}

// Would `a` go out in one contact with one of the first `count` actions of `bundle`?
DEVICE bool joins(const Rules& rules, const int* bundle, int count, int a) {
    for (int i = 0; i < count; ++i)
        if (rules.contact[bundle[i]] == rules.contact[a]) return true;
    return false;
}

// May action `a` join the first `count` actions of `bundle`, who left `room`?
DEVICE bool fits(const Rules& rules, const int* bundle, int count, int a, const short* room) {
    for (int i = 0; i < count; ++i)
        if (has_bit(rules.conflicts + a * rules.words, bundle[i])) return false;
    for (int k = rules.cap_indptr[a]; k < rules.cap_indptr[a + 1]; ++k) {
        const int d = rules.cap_group[k];
        if (room[d] <= 0 && !(rules.per_contact[d] && joins(rules, bundle, count, a))) return false;
    }
    return true;
}

// Take the room that `a` fills beside the first `count` actions; an amount of -1 gives it back.
DEVICE void fill(const Rules& rules, const int* bundle, int count, int a, int amount, short* room) {
    for (int k = rules.cap_indptr[a]; k < rules.cap_indptr[a + 1]; ++k) {
        const int d = rules.cap_group[k];
        if (!(rules.per_contact[d] && joins(rules, bundle, count, a))) room[d] -= amount;
    }
}

// Surplus of an action at the prices, money.
struct AtPrices {
    const Row& row;
    const double *value_fixed, *value_accept, *price_fixed, *price_accept;  // of this group
    double weight;

    DEVICE double operator()(int a) const {
        const double p = row.propensity[a * row.subscribers + row.s];
        return (weight * value_fixed[a] - price_fixed[a]) +
               (weight * value_accept[a] - price_accept[a]) * p;
    }
};

// Sort the surpluses (the positive ones or all), best first (ties: lowest action), and drop each
// action that gives way to two better ones of its kind in any bundle, as in the twin. `near` is the
// first of the best of those that are not positive, or -1, and `nearest` its surplus.
template <class Surplus>
DEVICE int candidates(const Row& row, const Surplus& surplus, bool positive, short* order,
                      double* sorted, unsigned char* lead, int& near, double& nearest) {
    const Rules& rules = row.rules;
    int count = 0;
    near = -1;
    nearest = -INFINITE;
    for (int a = 0; a < rules.actions; ++a) {
        const double value = surplus(a);
        if (!(value > 0.0)) {
            if (value > nearest) {
                near = a;
                nearest = value;
            }
            if (positive || !(value <= 0.0)) continue;  // NaN: not open
        }
        int place = count;
        while (place > 0 && sorted[place - 1] < value) {
            sorted[place] = sorted[place - 1];
            order[place] = order[place - 1];
            --place;
        }
        sorted[place] = value;
        order[place] = (short)a;
        ++count;
    }
    int kept = 0;
    for (int i = 0; i < count; ++i) {
        const int a = order[i];
        int own = 0, others = 0;
        for (int j = 0; rules.kind[a] >= 0 && j < kept; ++j) {
            if (rules.kind[order[j]] != rules.kind[a]) continue;
            if (rules.offer[order[j]] == rules.offer[a])
                ++own;
            else
                others += lead[j];
        }
        const int spare = others - (row.most - 1);
        if (own + (spare > 0 ? spare : 0) < 2) {
            order[kept] = (short)a;
            sorted[kept] = sorted[i];
            lead[kept] = own == 0;
            ++kept;
        }
    }
    return kept;
}

// What no bundle with this beginning and at least one more action exceeds: of the candidates from
// `first` on that may join it, the best while the first cap of each has room; see the twin.
DEVICE double reach(const Row& row, const int* bundle, int depth, double total, int first,
                    int count, const short* order, const double* sorted, const short* room) {
    const Rules& rules = row.rules;
    int picked[MOST_BUNDLE];
    int picks = depth;
    const int wanted = row.least > depth + 1 ? row.least : depth + 1;
    for (int j = first; j < count; ++j) {
        if (picks == row.most || (picks >= wanted && !(sorted[j] > 0.0))) break;
        const int a = order[j];
        int d = -1;
        if (rules.cap_indptr[a] < rules.cap_indptr[a + 1] &&
            !rules.per_contact[rules.cap_group[rules.cap_indptr[a]]]) {
            d = rules.cap_group[rules.cap_indptr[a]];
            int left = room[d];
            for (int i = depth; i < picks; ++i) left -= picked[i] == d;
            if (left <= 0) continue;
        }
        if (!fits(rules, bundle, depth, a, room)) continue;
        picked[picks++] = d;
        total += sorted[j];
    }
    return picks >= wanted ? total : -INFINITE;
}

// Exact search for the two best bundles and the margin between them: depth first over the sorted candidates; a branch
// ends when what it can reach does not beat the second best.
template <class Surplus>
DEVICE double best_bundle(const Row& row, const Surplus& surplus, int width, int* best,
                          int* other) {
    if (row.least > row.most) return INFINITE;
    const Rules& rules = row.rules;
    short order[MOST_ACTIONS], room[MOST_CAPS];
    double sorted[MOST_ACTIONS];
    unsigned char lead[MOST_ACTIONS];
    const bool positive = !row.must && row.least <= 1 && rules.requirements == 0;
    int near;
    double nearest;
    const int count = candidates(row, surplus, positive, order, sorted, lead, near, nearest);
    if (positive && count == 0) {  // an action on its own has room
        other[0] = near;
        return 0.0 - nearest;
    }
    for (int d = 0; d < rules.caps; ++d) room[d] = row.cap[d * row.subscribers + row.s];
    int next[MOST_BUNDLE], bundle[MOST_BUNDLE];
    double sum[MOST_BUNDLE];
    double best_sum = row.must ? -INFINITE : 0.0, second = -INFINITE;
    int depth = 0, size = 0;
    next[0] = 0;
    sum[0] = 0.0;
    while (depth >= 0) {
        const int i = next[depth];
        bool open = i < count;
        if (open) {
            double highest = sum[depth];  // the cheaper bound first; for one more it is as good
            for (int j = i; j < count && j < i + row.most - depth; ++j) {
                if (j > i && depth + j - i >= row.least && !(sorted[j] > 0.0)) break;
                highest += sorted[j];
            }
            open = highest > second;
            if (open && depth + 1 < row.most)
                open = reach(row, bundle, depth, sum[depth], i, count, order, sorted, room) > second;
        }
        if (!open) {
            --depth;
            if (depth >= 0) fill(rules, bundle, depth, bundle[depth], -1, room);
            continue;
        }
        next[depth] = i + 1;
        const int a = order[i];
        if (!fits(rules, bundle, depth, a, room)) continue;
        bundle[depth] = a;
        const double total = sum[depth] + sorted[i];
        if (total > second && depth + 1 >= row.least && is_complete(rules, bundle, depth + 1)) {
            if (total > best_sum) {
                second = best_sum;
                best_sum = total;
                size = depth + 1;
                for (int d = 0; d < width; ++d) {
                    other[d] = best[d];
                    best[d] = d < size ? bundle[d] : -1;
                }
            } else {
                second = total;
                for (int d = 0; d < width; ++d) other[d] = d <= depth ? bundle[d] : -1;
            }
        }
        if (depth + 1 < row.most) {
            fill(rules, bundle, depth, a, 1, room);
            ++depth;
            next[depth] = i + 1;
            sum[depth] = total;
        }
    }
    // The second best may be the best and one more action of no surplus.
    if (positive && size < row.most && near >= 0 && best_sum + nearest > second) {
        for (int i = 0; i < size; ++i) fill(rules, best, i, best[i], 1, room);
        if (fits(rules, best, size, near, room)) {
            for (int d = 0; d < width; ++d) other[d] = d < size ? best[d] : -1;
            other[size] = near;
            return best_sum - (best_sum + nearest);
        }
        for (int a = 0; a < rules.actions; ++a) {
            const double value = surplus(a);
            if (value <= 0.0 && best_sum + value > second && fits(rules, best, size, a, room)) {
                second = best_sum + value;
                for (int d = 0; d < width; ++d) other[d] = d < size ? best[d] : -1;
                other[size] = a;
            }
        }
    }
    return best_sum > -INFINITE ? best_sum - second : INFINITE;
}

// The two best bundles, then -1, and the margin between them.
template <class Surplus>
DEVICE double best_of(const Row& row, const Surplus& surplus, int width, int* best, int* other) {
    for (int i = 0; i < width; ++i) best[i] = other[i] = -1;
    if (row.most == 0) return INFINITE;
    return row.most > 1 ? best_bundle(row, surplus, width, best, other)
                        : best_single(row, surplus, best, other);
}
