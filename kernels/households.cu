// Twin: households.py. A thread takes the household that begins in its row.
// Shapes: S subscribers, A actions, D caps, E caps over households, W words of 64 actions, G scope
// groups, Q most actions of any.
// Of equal joint choices the first in the order of the search wins, as in the twin: same bits.

#include "relations.cuh"
#include "tally.cuh"
#include "bundle_search.cuh"
#include "household_search.cuh"

// The subscriber side and the prices.
struct Members {
    const float* propensity;    // [A, S]
    const float* weight;        // [S]
    const int* group;           // [S]
    const unsigned char* most;  // [S]
    const unsigned char* cap;   // [D, S]
    const long long* household; // [S]
    const double *value_fixed, *value_accept, *price_fixed, *price_accept;
    long long subscribers;      // S
};

// The two best bundles of each member of a household, and the margins between them.
struct Answer {
    int best[MOST_MEMBERS * MOST_BUNDLE], other[MOST_MEMBERS * MOST_BUNDLE];
    double margin[MOST_MEMBERS];
    int heads;      // members
    bool is_joint;  // they choose together, with one margin
};

DEVICE Row member_row(const Rules& rules, const Members& all, long long s) {
    return {rules, all.propensity, all.cap, all.subscribers, s, all.most[s], false, 0};
}

DEVICE AtPrices prices_of(const Row& row, const Members& all, long long s) {
    const long long table = (long long)all.group[s] * row.rules.actions;
    return {row, all.value_fixed, all.value_accept, all.price_fixed + table,
            all.price_accept + table, all.weight[s]};
}

// What the first `heads` members' bundles leave of cap e; below 0 where they do not keep it.
CALLED int left_of(const Rules& rules, const Ties& ties, const int* bundles, int heads, int e,
                   int room) {
    for (int m = 0; m < heads; ++m)
        for (int i = 0; i < MOST_BUNDLE && bundles[m * MOST_BUNDLE + i] >= 0; ++i) {
            const int a = bundles[m * MOST_BUNDLE + i];
            bool counts = false;
            for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c) counts |= ties.group[c] == e;
            if (counts && !(ties.per_contact[e] && joins(rules, bundles + m * MOST_BUNDLE, i, a)))
                --room;
        }
    return room;
}

// Does any member's bundle exclude action `a`?
CALLED bool excluded(const Rules& rules, const Ties& ties, const int* bundles, int heads, int a) {
    for (int m = 0; m < heads; ++m)
        for (int i = 0; i < MOST_BUNDLE && bundles[m * MOST_BUNDLE + i] >= 0; ++i)
            if (has_bit(ties.conflicts + (long long)a * rules.words, bundles[m * MOST_BUNDLE + i]))
                return true;
    return false;
}

DEVICE bool go_together(const Rules& rules, const Ties& ties, const Members& all, long long s,
                        const Answer& answer) {
    for (int m = 0; m < answer.heads; ++m)
        for (int i = 0; i < MOST_BUNDLE && answer.best[m * MOST_BUNDLE + i] >= 0; ++i) {
            const int a = answer.best[m * MOST_BUNDLE + i];
            if (excluded(rules, ties, answer.best, answer.heads, a)) return false;
            for (int c = ties.indptr[a]; c < ties.indptr[a + 1]; ++c) {
                const int e = ties.group[c];
                if (left_of(rules, ties, answer.best, answer.heads, e,
                            ties.room[e * all.subscribers + s]) < 0)
                    return false;
            }
        }
    return true;
}

// List the candidates: actions that pay, of no offer that the branches leave out, and that no
// household cap without room counts. The unit is that of the first call, without branches.
CALLED void gather(Joint& joint, const Members& all, long long s, int heads, int branches) {
    const Rules& rules = joint.rules;
    const Ties& ties = joint.ties;
    double largest = 0.0;
    joint.n = 0;
    for (int m = 0; m < heads; ++m) {
        const int n = joint.n, most = all.most[s + m];
        const Row row = member_row(rules, all, s + m);
        const AtPrices surplus = prices_of(row, all, s + m);
        int count = 0;
        for (int a = 0; a < rules.actions && most > 0; ++a) {
            const double value = surplus(a);
            bool is_open = value > 0.0 && !joint.is_dropped(a, branches);
            for (int c = ties.indptr[a]; is_open && c < ties.indptr[a + 1]; ++c) {
                const int e = ties.group[c];
                joint.room[e] = ties.room[e * all.subscribers + s];
                joint.price[e] = 0;
                is_open = joint.room[e] > 0;
            }
            if (!is_open) continue;
            for (int c = rules.cap_indptr[a]; c < rules.cap_indptr[a + 1]; ++c) {
                const int d = rules.cap_group[c];
                joint.own_room[joint.own_at(n, d)] = all.cap[d * all.subscribers + s + m];
                joint.own_price[joint.own_at(n, d)] = 0;
            }
            int place = count++;
            for (; place > 0 && joint.value[joint.at(n, place - 1)] < value; --place) {
                joint.value[joint.at(n, place)] = joint.value[joint.at(n, place - 1)];
                joint.order[joint.at(n, place)] = joint.order[joint.at(n, place - 1)];
            }
            joint.value[joint.at(n, place)] = value;
            joint.order[joint.at(n, place)] = a;
        }
        if (count == 0) continue;
        joint.who[n] = m;
        joint.size[n] = most;
        joint.count[n] = count;
        if (joint.value[joint.at(n, 0)] > largest) largest = joint.value[joint.at(n, 0)];
        ++joint.n;
    }
    if (branches == 0) {
        frexp(largest, &joint.exponent);
        if (joint.exponent < LOWEST_EXPONENT) joint.exponent = LOWEST_EXPONENT;
        joint.exponent -= GRID_BITS;
    }
    const double unit = ldexp(1.0, -joint.exponent);
    for (int k = 0; k < joint.n; ++k)
        for (int i = 0; i < joint.count[k]; ++i) {
            const int a = (int)joint.order[joint.at(k, i)];
            int sharing = 0;
            for (int b = 0; b < rules.actions; ++b) sharing += rules.contact[b] == rules.contact[a];
            joint.share[joint.at(k, i)] = sharing < joint.size[k] ? sharing : joint.size[k];
            joint.gain[joint.at(k, i)] = joint.less[joint.at(k, i)] =
                (long long)rint(joint.value[joint.at(k, i)] * unit);
        }
}

// Write the two best joint choices that are allowed, and their gains.
DEVICE void branch(Joint& joint, const Members& all, long long s, int heads, int* best, int* other,
                   long long& best_total, long long& second) {
    int depth = 0;
    best_total = second = -1;
    for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) best[i] = other[i] = -1;
    while (true) {
        long long gains[2];
        gather(joint, all, s, heads, depth);
        joint.search(second, gains[0], gains[1]);
        bool is_open = false;
        for (int r = 0; r < 2 && gains[r] > second; ++r) {
            const int* found = r == 0 ? joint.best : joint.other;
            int a, b;
            if (joint.clash(heads, found, a, b)) {
                joint.dropped[depth] = joint.rules.offer[a];
                joint.instead[depth] = joint.rules.offer[b];
                joint.turn[depth] = 0;
                is_open = true;
                break;
            }
            if (best_total >= 0 && same(found, best)) continue;
            const bool is_best = gains[r] > best_total;
            if (is_best) copy(best, other);
            copy(found, is_best ? best : other);
            second = is_best ? best_total : gains[r];
            if (is_best) best_total = gains[r];
        }
        if (is_open) {
            ++depth;
            continue;
        }
        while (depth > 0 && joint.turn[depth - 1] == 1) --depth;
        if (depth == 0) return;
        joint.turn[depth - 1] = 1;
    }
}

// The margin where the best choice and one action that does not pay may be the second best.
DEVICE double one_more(const Rules& rules, const Ties& ties, const Members& all, long long s,
                       int heads, double gap, const int* best, int* other) {
    int who = -1, action = -1;
    for (int m = 0; m < heads; ++m) {
        const int* mine = best + m * MOST_BUNDLE;
        int count = 0;
        while (count < MOST_BUNDLE && mine[count] >= 0) ++count;
        if (count >= all.most[s + m]) continue;
        const Row row = member_row(rules, all, s + m);
        const AtPrices surplus = prices_of(row, all, s + m);
        for (int a = 0; a < rules.actions; ++a) {
            const double value = surplus(a);
            if (!(value <= 0.0 && 0.0 - value < gap)) continue;
            bool fit = !excluded(rules, ties, best, heads, a);
            for (int i = 0; fit && i < count; ++i)
                fit = !has_bit(rules.conflicts + (long long)a * rules.words, mine[i]);
            const bool joined = joins(rules, mine, count, a);
            for (int c = rules.cap_indptr[a]; fit && c < rules.cap_indptr[a + 1]; ++c) {
                const int d = rules.cap_group[c];
                int left = all.cap[d * all.subscribers + s + m];
                for (int i = 0; i < count; ++i)
                    for (int e = rules.cap_indptr[mine[i]]; e < rules.cap_indptr[mine[i] + 1]; ++e)
                        left -= rules.cap_group[e] == d &&
                                !(rules.per_contact[d] && joins(rules, mine, i, mine[i]));
                fit = left > 0 || (rules.per_contact[d] && joined);
            }
            for (int c = ties.indptr[a]; fit && c < ties.indptr[a + 1]; ++c) {
                const int e = ties.group[c];
                fit = left_of(rules, ties, best, heads, e, ties.room[e * all.subscribers + s]) > 0 ||
                      (ties.per_contact[e] && joined);
            }
            if (!fit) continue;
            who = m;
            action = a;
            gap = 0.0 - value;
        }
    }
    if (action < 0) return gap;
    for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) other[i] = best[i];
    int place = who * MOST_BUNDLE;
    while (other[place] >= 0) ++place;
    other[place] = action;
    return gap;
}

// Does a household begin in row s? Then fill in its answer.
CALLED bool answer_of(const Rules& rules, const Ties& ties, const Members& all, long long s,
                      int width, long long* memory, Answer& answer) {
    const long long own = all.household[s];
    if (own < 0 || (s > 0 && all.household[s - 1] == own)) return false;
    answer.heads = 0;
    for (int i = 0; i < MOST_MEMBERS * MOST_BUNDLE; ++i) answer.best[i] = answer.other[i] = -1;
    while (answer.heads < MOST_MEMBERS && s + answer.heads < all.subscribers &&
           all.household[s + answer.heads] == own) {
        const int m = answer.heads++;
        const Row row = member_row(rules, all, s + m);
        answer.margin[m] = best_of(row, prices_of(row, all, s + m), width,
                                   answer.best + m * MOST_BUNDLE, answer.other + m * MOST_BUNDLE);
    }
    answer.is_joint = !go_together(rules, ties, all, s, answer);
    if (!answer.is_joint) return true;
    Joint joint = {rules, ties, width};
    joint.lay_out(memory);
    long long best_total, second;
    branch(joint, all, s, answer.heads, answer.best, answer.other, best_total, second);
    double gap = second >= 0 ? ldexp((double)(best_total - second), joint.exponent) : INFINITE;
    gap = one_more(rules, ties, all, s, answer.heads, gap, answer.best, answer.other);
    for (int m = 0; m < answer.heads; ++m) answer.margin[m] = gap;
    return true;
}

extern "C" __global__ void choose_households(
    const float* propensity,                     // [A, S] in [0, 1], NaN where not open
    const float* weight,                         // [S] weight of the subscriber's value
    const int* group,                            // [S] scope group, 0 <= group < G
    const unsigned char* most,                   // [S] actions at most
    const unsigned char* cap,                    // [D, S]
    const long long* household,                  // [S] negative: of none
    const unsigned char* room,                   // [E, S]
    const int* offer,                            // [A] this and what follows: as in Rules
    const int* kind,                             // [A]
    const int* contact,                          // [A]
    const int* cap_indptr,                       // [A + 1]
    const int* cap_group,                        // [...]
    const unsigned char* per_contact,            // [D]
    const long long* conflicts,                  // [A, W]
    const int* household_indptr,                 // [A + 1] this and what follows: as in Ties
    const int* household_group,                  // [...]
    const unsigned char* household_per_contact,  // [E]
    const long long* household_conflicts,        // [A, W]
    const double* value_fixed,                   // [A] money per contact
    const double* value_accept,                  // [A] money per acceptance
    const double* price_fixed,                   // [G, A] money per contact, at the prices
    const double* price_accept,                  // [G, A] money per acceptance, at the prices
    const int* classes,                          // [A] as in Ties
    long long subscribers,                       // S
    int actions,                                 // A
    int caps,                                    // D
    int household_caps,                          // E
    int words,                                   // W
    int width,                                   // Q
    long long* memory,                           // [threads, M] scratch
    long long each,                              // M
    short* chosen,                               // [Q, S] in/out: actions of the bundle, then -1
    float* margin,                               // [S] in/out
    long long* tally)                            // [G, A, 4] in/out
{
    const Rules rules = {offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts,
                         nullptr, actions, caps, words, 0};
    const Ties ties = {household_indptr, household_group, household_per_contact,
                       household_conflicts, room, classes, household_caps};
    const Members all = {propensity, weight, group, most, cap, household, value_fixed, value_accept,
                         price_fixed, price_accept, subscribers};
    memory += each * (blockIdx.x * (long long)blockDim.x + threadIdx.x);
    ROWS(s, subscribers) {
        Answer answer;
        if (!answer_of(rules, ties, all, s, width, memory, answer)) continue;
        for (int m = 0; m < answer.heads; ++m) {
            margin[s + m] = (float)answer.margin[m];
            for (int i = 0; i < width; ++i) {
                const int a = answer.best[m * MOST_BUNDLE + i];
                chosen[i * subscribers + s + m] = (short)a;
                if (a >= 0)
                    count(tally + 4 * ((long long)group[s + m] * actions + a),
                          propensity[a * subscribers + s + m], weight[s + m]);
            }
        }
    }
}

extern "C" __global__ void curve_households(
    const float* propensity,                     // this and what follows: as above
    const float* weight,                         // [S]
    const int* group,                            // [S]
    const unsigned char* most,                   // [S]
    const unsigned char* cap,                    // [D, S]
    const long long* household,                  // [S]
    const unsigned char* room,                   // [E, S]
    const int* offer,                            // [A]
    const int* kind,                             // [A]
    const int* contact,                          // [A]
    const int* cap_indptr,                       // [A + 1]
    const int* cap_group,                        // [...]
    const unsigned char* per_contact,            // [D]
    const long long* conflicts,                  // [A, W]
    const int* household_indptr,                 // [A + 1]
    const int* household_group,                  // [...]
    const unsigned char* household_per_contact,  // [E]
    const long long* household_conflicts,        // [A, W]
    const double* value_fixed,                   // [A]
    const double* value_accept,                  // [A]
    const double* price_fixed,                   // [G, A]
    const double* price_accept,                  // [G, A]
    const long long* first,                      // [G A + 1] entries of a cell
    const long long* constraint,                 // [N] increasing within a cell
    const double* use_fixed,                     // [N]
    const double* use_accept,                    // [N]
    double bandwidth,                            // money
    double unit,                                 // squares in whole numbers of 1 / unit
    const int* classes,                          // [A] as in Ties
    long long subscribers,                       // S
    int actions,                                 // A
    int caps,                                    // D
    int household_caps,                          // E
    int words,                                   // W
    int width,                                   // Q
    long long constraints,                       // K
    long long* memory,                           // [threads, M] scratch
    long long each,                              // M
    long long* tally,                            // [G, A, 4] in/out
    long long* curvature,                        // [K, K] in/out: lower triangle
    long long* near)                             // [1] in/out: margins below the bandwidth
{
    const Rules rules = {offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts,
                         nullptr, actions, caps, words, 0};
    const Ties ties = {household_indptr, household_group, household_per_contact,
                       household_conflicts, room, classes, household_caps};
    const Members all = {propensity, weight, group, most, cap, household, value_fixed, value_accept,
                         price_fixed, price_accept, subscribers};
    memory += each * (blockIdx.x * (long long)blockDim.x + threadIdx.x);
    ROWS(s, subscribers) {
        Answer answer;
        if (!answer_of(rules, ties, all, s, width, memory, answer)) continue;
        for (int m = 0; m < answer.heads; ++m)
            for (int i = 0; i < width; ++i) {
                const int a = answer.best[m * MOST_BUNDLE + i];
                if (a >= 0)
                    count(tally + 4 * ((long long)group[s + m] * actions + a),
                          propensity[a * subscribers + s + m], weight[s + m]);
            }
        const int together = answer.is_joint ? answer.heads : 1;  // who switch at once
        for (int begin = 0; begin < answer.heads; begin += together) {
            if (!(answer.margin[begin] < bandwidth)) continue;
            ADD_INT64(near, 1);
            DifferenceOf<2 * MOST_MEMBERS * MOST_BUNDLE> difference = {
                constraint, use_fixed, use_accept, {}, {}, {}, {}, 0};
            for (int side = 0; side < 2; ++side)
                for (int m = begin; m < begin + together; ++m)
                    for (int i = 0; i < width; ++i) {
                        const int a = (side ? answer.other : answer.best)[m * MOST_BUNDLE + i];
                        if (a < 0) continue;
                        difference.list(first + (long long)group[s + m] * actions + a,
                                        propensity[a * subscribers + s + m], side);
                    }
            add_squares(difference, unit, constraints, curvature);
        }
    }
}
