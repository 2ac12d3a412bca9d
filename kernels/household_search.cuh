// The joint best bundles of one household whose members' own best do not go together.
// Twins: household_bound.py, household_candidates.py, household_search.py and household_joint.py,
// with the same names, which say how it works. Needs bundle_search.cuh.

#define MOST_MEMBERS 8         // of a household
#define GRID_BITS 54           // of the largest surplus, at most
#define LOWEST_EXPONENT (-900)
#define FIRST_STEPS 60
#define NEXT_STEPS 240
#define LONGER 2
#define WIDER 4
#define NARROW 9
#define ROUNDS 16
#define CLOSE 1e-7
#define LARGEST 1152921504606846976.0  // 2**60
#define PATIENCE 4
#define DEFLECTION 1.5

// What the members of a household may have together; see choose_households_cpu in households.py.
struct Ties {
    const int* indptr;                 // [A + 1]
    const int* group;                  // [...] in [0, E)
    const unsigned char* per_contact;  // [E]
    const long long* conflicts;        // [A, W]
    const unsigned char* room;         // [E, S]
    const int* classes;                // [A] all of one class exclude one another
    int caps;                          // E
};

// Room for a joint search in 8-byte words of a thread's own memory; lists are [8, A] if not told.
struct Joint {
    const Rules& rules;
    const Ties& ties;
    int width;             // Q
    int n;                 // members with candidates
    int exponent;          // gains are in whole multiples of 2**exponent
    int tights;
    int who[MOST_MEMBERS], size[MOST_MEMBERS], count[MOST_MEMBERS], taken[MOST_MEMBERS];
    int entry[MOST_MEMBERS], path[MOST_MEMBERS * MOST_BUNDLE];
    int best[MOST_MEMBERS * MOST_BUNDLE], other[MOST_MEMBERS * MOST_BUNDLE];  // by place
    int follow[MOST_MEMBERS * (MOST_BUNDLE + 1) + 1];
    long long reached[MOST_MEMBERS * (MOST_BUNDLE + 1) + 1];
    long long total[MOST_MEMBERS * (MOST_BUNDLE + 1) + 1];
    long long later[MOST_MEMBERS], worth[MOST_BUNDLE];
    int item[MOST_BUNDLE], own[MOST_BUNDLE];
    long long *order, *gain, *less, *share, *rank;
    double* value;
    long long* top;                   // [8, A + 1, Q + 1]
    long long *own_room, *own_price;  // [8, D]
    double* own_used;                 // [8, D]
    long long *room, *price;          // [E]
    double* used;                     // [E]
    long long* counted;               // [D + E]
    long long *tight_member, *tight_cap, *best_price;  // [8 D + E]
    double* over;                                      // [8 D + E]
    long long *dropped, *instead, *turn;  // [A] of each branch: the offers, and which is left out

    DEVICE void lay_out(long long* memory) {
        const long long lists = MOST_MEMBERS * (long long)rules.actions;
        const long long own_caps = MOST_MEMBERS * (long long)rules.caps;
        const long long every = own_caps + ties.caps;
        order = memory;
        gain = order + lists;
        less = gain + lists;
        share = less + lists;
        rank = share + lists;
        value = (double*)(rank + lists);
        top = rank + 2 * lists;
        own_room = top + (lists + MOST_MEMBERS) * (width + 1);
        own_price = own_room + own_caps;
        own_used = (double*)(own_price + own_caps);
        room = own_price + 2 * own_caps;
        price = room + ties.caps;
        used = (double*)(price + ties.caps);
        counted = price + 2 * ties.caps;
        tight_member = counted + rules.caps + ties.caps;
        tight_cap = tight_member + every;
        best_price = tight_cap + every;
        over = (double*)(best_price + every);
        dropped = best_price + 2 * every;
        instead = dropped + rules.actions;
        turn = instead + rules.actions;
    }

    DEVICE bool is_dropped(int a, int branches) const {
        for (int b = 0; b < branches; ++b)
            if (rules.offer[a] == (turn[b] ? instead : dropped)[b]) return true;
        return false;
    }

    DEVICE long long at(int k, int i) const { return (long long)k * rules.actions + i; }
    DEVICE long long own_at(int k, int d) const { return (long long)k * rules.caps + d; }
    DEVICE long long& top_at(int k, int i, int q) {
        return top[((long long)k * (rules.actions + 1) + i) * (width + 1) + q];
    }

    CALLED void charge() {
        for (int k = 0; k < n; ++k)
            for (int i = 0; i < count[k]; ++i) {
                const int a = (int)order[at(k, i)];
                long long left = gain[at(k, i)];
                const long long parts = share[at(k, i)];
                for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c) {
                    const int d = rules.cap_group[c];
                    left -= own_price[own_at(k, d)] / (rules.per_contact[d] ? parts : 1);
                }
                for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c) {
                    const int e = ties.group[c];
                    left -= price[e] / (ties.per_contact[e] ? parts : 1);
                }
                less[at(k, i)] = left;
            }
    }

    CALLED int insert(int i, int o, long long amount, int picks, int most) {
        for (int j = 0; j < picks; ++j) {
            if (own[j] != o) continue;
            if (worth[j] >= amount) return picks;
            for (; j + 1 < picks; ++j) {
                item[j] = item[j + 1];
                own[j] = own[j + 1];
                worth[j] = worth[j + 1];
            }
            --picks;
            break;
        }
        if (picks == most) {
            if (worth[picks - 1] >= amount) return picks;
            --picks;
        }
        int place = picks;
        for (; place > 0 && worth[place - 1] < amount; --place) {
            item[place] = item[place - 1];
            own[place] = own[place - 1];
            worth[place] = worth[place - 1];
        }
        item[place] = i;
        own[place] = o;
        worth[place] = amount;
        return picks + 1;
    }

    CALLED int picked(int k) {
        int picks = 0;
        for (int i = 0; i < count[k]; ++i) {
            const long long amount = less[at(k, i)];
            if (amount > 0 && (picks < size[k] || amount > worth[picks - 1]))
                picks = insert(i, ties.classes[order[at(k, i)]], amount, picks, size[k]);
        }
        return picks;
    }

    DEVICE double excess(int j) const {
        const int k = (int)tight_member[j], d = (int)tight_cap[j];
        return k < 0 ? used[d] - (double)room[d]
                     : own_used[own_at(k, d)] - (double)own_room[own_at(k, d)];
    }
    DEVICE long long& price_of(int j) {
        const int k = (int)tight_member[j], d = (int)tight_cap[j];
        return k < 0 ? price[d] : own_price[own_at(k, d)];
    }

    CALLED void improve(long long lower, double& ahead, long long& best_constant,
                        long long& lowest) {
        lowest = -1;
        best_constant = 0;
        int since = 0;
        long long dearest = 0;
        double before = 0.0;
        for (int k = 0; k < n; ++k)
            if (count[k] > 0 && gain[at(k, 0)] > dearest) dearest = gain[at(k, 0)];
        for (int t = 0; t <= ROUNDS; ++t) {
            charge();
            long long constant = 0;
            double cost = 0.0;
            for (int j = 0; j < tights; ++j) {
                const int k = (int)tight_member[j], d = (int)tight_cap[j];
                const long long part = price_of(j) * (k < 0 ? room[d] : own_room[own_at(k, d)]);
                (k < 0 ? used[d] : own_used[own_at(k, d)]) = 0.0;
                constant += part;
                cost += (double)part;
            }
            long long bound = constant;
            for (int k = 0; k < n; ++k) {
                const int picks = picked(k);
                for (int j = 0; j < picks; ++j) {
                    bound += worth[j];
                    const int a = (int)order[at(k, item[j])];
                    const double portion = 1.0 / (double)share[at(k, item[j])];
                    for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c) {
                        const int d = rules.cap_group[c];
                        own_used[own_at(k, d)] += rules.per_contact[d] ? portion : 1.0;
                    }
                    for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c)
                        used[ties.group[c]] += ties.per_contact[ties.group[c]] ? portion : 1.0;
                }
            }
            if (lowest < 0 || (cost < LARGEST && bound < lowest)) {
                since = lowest >= 0 && (double)(lowest - bound) < ahead / 8.0 ? since + 1 : 0;
                lowest = bound;
                best_constant = constant;
                for (int j = 0; j < tights; ++j) best_price[j] = price_of(j);
            } else {
                ++since;
            }
            if (since >= PATIENCE) {
                ahead = ahead / 2.0;
                since = 0;
            }
            if (bound <= lower || t == ROUNDS) break;
            double along = 0.0, square = 0.0, keep = 0.0;
            if (before > 0.0) {
                for (int j = 0; j < tights; ++j) along += excess(j) * over[j];
                keep = along < 0.0 ? DEFLECTION * -along / before : 0.0;
            }
            for (int j = 0; j < tights; ++j) {
                over[j] = excess(j) + (before > 0.0 ? keep * over[j] : 0.0);
                if (over[j] < 0.0 && price_of(j) == 0) over[j] = 0.0;
                square += over[j] * over[j];
            }
            const bool is_plain = before == 0.0;
            before = square;
            if (square == 0.0) {
                if (!is_plain) continue;
                ahead = 0.0;  // no prices are better
                break;
            }
            const double aim = (double)lowest - ahead;
            const double goal = aim > (double)lower ? aim : (double)lower;
            const double far = (double)bound - goal;
            const double step = (far > 0.0 ? far : 0.0) / square;
            for (int j = 0; j < tights; ++j) {
                double move = step * over[j];
                move = move < -1e18 ? -1e18 : move > 1e18 ? 1e18 : move;
                const long long moved = price_of(j) + (long long)rint(move);
                price_of(j) = moved < 0 ? 0 : moved > dearest ? dearest : moved;
            }
        }
        for (int j = 0; j < tights; ++j) price_of(j) = best_price[j];
        charge();
    }

    DEVICE void thin_out(long long limit, long long constant) {
        long long bound = constant;
        for (int k = 0; k < n; ++k) {
            const int picks = picked(k);
            for (int j = 0; j < picks; ++j) bound += worth[j];
        }
        for (int k = 0; k < n; ++k) {
            const int picks = picked(k);
            int kept = 0;
            for (int i = 0; i < count[k]; ++i) {
                long long gives_way = picks == size[k] ? worth[picks - 1] : 0;
                for (int j = 0; j < picks; ++j)
                    if (own[j] == ties.classes[order[at(k, i)]]) gives_way = worth[j];
                if (bound - gives_way + less[at(k, i)] <= limit) continue;
                order[at(k, kept)] = order[at(k, i)];
                gain[at(k, kept)] = gain[at(k, i)];
                less[at(k, kept)] = less[at(k, i)];
                share[at(k, kept)] = share[at(k, i)];
                ++kept;
            }
            count[k] = kept;
        }
    }

    DEVICE void sum_up() {
        for (int k = 0; k < n; ++k) {
            int picks = 0;
            for (int q = 0; q <= size[k]; ++q) top_at(k, count[k], q) = 0;
            for (int i = count[k] - 1; i >= 0; --i) {
                const long long amount = less[at(k, i)];
                if (amount > 0)
                    picks = insert(i, ties.classes[order[at(k, i)]], amount, picks, size[k]);
                top_at(k, i, 0) = 0;
                for (int q = 0; q < size[k]; ++q)
                    top_at(k, i, q + 1) = top_at(k, i, q) + (q < picks ? worth[q] : 0);
            }
            for (int i = 0; i < count[k]; ++i) {
                int place = i;
                for (; place > 0 && less[at(k, (int)rank[at(k, place - 1)])] < less[at(k, i)];
                     --place)
                    rank[at(k, place)] = rank[at(k, place - 1)];
                rank[at(k, place)] = i;
            }
        }
    }

    // May action `a` join the first `depth` actions of member k beside the members before?
    CALLED bool may_join(int k, int depth, int a) const {
        const int* mine = path + k * MOST_BUNDLE;
        for (int i = 0; i < depth; ++i)
            if (has_bit(rules.conflicts + (long long)a * rules.words, mine[i])) return false;
        const bool joined = joins(rules, mine, depth, a);
        for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c) {
            const int d = rules.cap_group[c];
            if (own_room[own_at(k, d)] <= 0 && !(rules.per_contact[d] && joined)) return false;
        }
        for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c) {
            const int e = ties.group[c];
            if (room[e] <= 0 && !(ties.per_contact[e] && joined)) return false;
        }
        return true;
    }

    // Take the room of member k's action after `depth` others; an amount of -1 gives it back.
    CALLED void take(int k, int depth, int amount) {
        const int* mine = path + k * MOST_BUNDLE;
        const int a = mine[depth];
        const bool joined = joins(rules, mine, depth, a);
        for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c) {
            const int d = rules.cap_group[c];
            if (!(rules.per_contact[d] && joined)) own_room[own_at(k, d)] -= amount;
        }
        for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c) {
            const int e = ties.group[c];
            if (!(ties.per_contact[e] && joined)) room[e] -= amount;
        }
    }

    // What a later member j can add.
    CALLED long long rest(int j) {
        long long sum = 0;
        int picks = 0;
        for (int place = 0; place < count[j]; ++place) {
            const int i = (int)rank[at(j, place)];
            if (picks == size[j] || less[at(j, i)] <= 0) break;
            const int a = (int)order[at(j, i)];
            bool is_new = true;
            for (int p = 0; p < picks; ++p) is_new &= own[p] != ties.classes[a];
            if (!is_new || !may_follow(a)) continue;
            own[picks++] = ties.classes[a];
            sum += less[at(j, i)];
        }
        return sum;
    }

    // May action `a` be the first of a later member?
    DEVICE bool may_follow(int a) const {
        for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c)
            if (room[ties.group[c]] <= 0) return false;
        return true;
    }

    DEVICE void keep(bool is_best) {
        for (int j = 0; j < n; ++j)
            for (int q = 0; q < width; ++q) {
                const int a = q < taken[j] ? path[j * MOST_BUNDLE + q] : -1;
                const int place = who[j] * MOST_BUNDLE + q;
                if (is_best) {
                    other[place] = best[place];
                    best[place] = a;
                } else {
                    other[place] = a;
                }
            }
    }

    // The steps that were left; 0: the search did not end.
    CALLED long long explore(long long constant, long long limit, long long steps,
                             long long& best_total, long long& second) {
        best_total = second = -1;
        for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) best[i] = other[i] = -1;
        int level = 0, k = 0;
        follow[0] = taken[0] = entry[0] = 0;
        reached[0] = constant;
        total[0] = later[0] = 0;
        for (int j = 1; j < n; ++j) later[0] += top_at(j, 0, size[j]);
        while (steps > 0) {
            --steps;
            const int depth = taken[k];
            int i = follow[level];
            bool found = false;
            if (depth < size[k]) {
                const long long wanted = limit - reached[level] - later[k];
                for (; i < count[k]; ++i) {
                    found = less[at(k, i)] + top_at(k, i + 1, size[k] - depth - 1) > wanted &&
                            may_join(k, depth, (int)order[at(k, i)]);
                    if (found) break;
                }
            }
            if (found) {
                path[k * MOST_BUNDLE + depth] = (int)order[at(k, i)];
                take(k, depth, 1);
                follow[level] = i + 1;
                ++level;
                taken[k] = depth + 1;
                follow[level] = i + 1;
                reached[level] = reached[level - 1] + less[at(k, i)];
                total[level] = total[level - 1] + gain[at(k, i)];
                continue;
            }
            if (follow[level] <= count[k]) {  // no further one, once
                follow[level] = count[k] + 1;
                if (k + 1 == n) {
                    const long long sum = total[level];
                    if (sum > limit) {
                        const bool is_best = sum > best_total;
                        keep(is_best);
                        second = is_best ? best_total : sum;
                        if (is_best) best_total = sum;
                        if (second > limit) limit = second;
                    }
                } else if (reached[level] + later[k] > limit) {
                    long long after = 0;
                    for (int j = k + 2; j < n; ++j) after += rest(j);
                    if (reached[level] + rest(k + 1) + after > limit) {
                        ++level;
                        ++k;
                        follow[level] = taken[k] = 0;
                        entry[k] = level;
                        later[k] = after;
                        reached[level] = reached[level - 1];
                        total[level] = total[level - 1];
                        continue;
                    }
                }
            }
            if (level == 0) break;
            leave(level, k);
        }
        while (level > 0) leave(level, k);  // out of steps: all room is given back
        return steps;
    }

    DEVICE void leave(int& level, int& k) {
        if (level-- == entry[k]) {
            --k;
        } else {
            --taken[k];
            take(k, taken[k], -1);
        }
    }

    DEVICE void list_tight() {
        tights = 0;
        int together = 0;
        for (int d = 0; d < rules.caps + ties.caps; ++d) counted[d] = 0;
        for (int k = 0; k < n; ++k) {
            together += size[k];
            for (int sign = 0; sign < 2; ++sign)
                for (int i = 0; i < count[k]; ++i) {
                    const int a = (int)order[at(k, i)];
                    for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c)
                        note(sign, k, rules.cap_group[c], counted[rules.cap_group[c]],
                             own_room[own_at(k, rules.cap_group[c])], size[k]);
                }
        }
        for (int sign = 0; sign < 2; ++sign)
            for (int k = 0; k < n; ++k)
                for (int i = 0; i < count[k]; ++i) {
                    const int a = (int)order[at(k, i)];
                    for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c)
                        note(sign, -1, ties.group[c], counted[rules.caps + ties.group[c]],
                             room[ties.group[c]], together);
                }
    }

    DEVICE void note(int sign, int member, int cap, long long& times, long long left, int most) {
        if (sign == 0) {
            ++times;
            return;
        }
        if (left < (times < most ? times : most)) {
            tight_member[tights] = member;
            tight_cap[tights++] = cap;
        }
        times = 0;
    }

    // Write the two best joint choices of more than `floor`, and their gains; -1: none.
    CALLED void search(long long floor, long long& best_total, long long& second) {
        long long constant = 0, bound = 0, limit = floor, margin = 1, threshold = floor;
        long long lower = floor > 0 ? floor : 0;
        long long checked = 0;
        long long steps = FIRST_STEPS;
        double ahead = INFINITE;
        best_total = 0;
        second = -1;
        if (n == 0) {
            for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) best[i] = other[i] = -1;
            return;
        }
        while (true) {
            if (ahead < INFINITE) {
                if (ahead > (double)bound * CLOSE) improve(lower, ahead, constant, bound);
                thin_out(limit, constant);
                if (bound < checked) checked = bound;
                threshold = limit > checked - margin ? limit : checked - margin;
            }
            sum_up();
            const long long left = explore(constant, threshold, steps, best_total, second);
            if (left > 0 && (second >= 0 || threshold == limit)) return;
            if (second - 1 > limit) limit = second - 1;
            if (best_total > lower) lower = best_total;
            if (left > 0) {
                checked = threshold;
                margin *= WIDER;
            } else {
                steps *= LONGER;
                margin = margin / WIDER > 1 ? margin / WIDER : 1;
            }
            if (ahead == INFINITE) {
                list_tight();
                for (int k = 0; k < n; ++k) bound += top_at(k, 0, size[k]);
                ahead = (double)bound / 4.0;
                checked = bound;
                margin = bound >> NARROW > 1 ? bound >> NARROW : 1;
                steps = NEXT_STEPS;
            }
        }
    }

    // The first two actions of two members that exclude one another.
    CALLED bool clash(int heads, const int* choice, int& a, int& b) const {
        for (int m = 0; m < heads; ++m)
            for (int i = 0; i < width; ++i) {
                a = choice[m * MOST_BUNDLE + i];
                for (int o = m + 1; a >= 0 && o < heads; ++o)
                    for (int j = 0; j < width; ++j) {
                        b = choice[o * MOST_BUNDLE + j];
                        if (b >= 0 && has_bit(ties.conflicts + (long long)a * rules.words, b))
                            return true;
                    }
            }
        return false;
    }
};

DEVICE bool same(const int* one, const int* other) {
    bool found = true;
    for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) found &= one[i] == other[i];
    return found;
}

DEVICE void copy(const int* source, int* target) {
    for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) target[i] = source[i];
}
