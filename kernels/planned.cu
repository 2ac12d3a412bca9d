// Twin: planned.py, spans_cpu, choose_planned_cpu and curve_planned_cpu.
// Shapes: S subscribers, P pairs, N days, A = P N actions, D caps, L groups of pairs, M classes of
// pairs, W words of 64 actions, R requirements, G scope groups, Q most actions of any.
// Of equal bundles the first in the order of the search wins, as in the twin: same bits.

#include "relations.cuh"
#include "tally.cuh"
#include "planned_search.cuh"

extern "C" __global__ void spans(
    const unsigned char* cap,  // [D, S] how many actions of a group there may be on a run of days
    const int* group,          // [D] in [0, L)
    const int* first,          // [D] the first day of the run
    const int* last,           // [D] the last day of it
    long long subscribers,     // S
    int caps,                  // D
    int reach,                 // R
    long long* out)            // [L R, S] in/out: digit d of row R l + r - 1: days that have at most
                               // r actions of group l, day d being the first; 0: no bound
{
    ROWS(s, subscribers) {
        for (int k = 0; k < caps; ++k)
            for (int r = cap[k * subscribers + s] > 1 ? cap[k * subscribers + s] : 1; r <= reach;
                 ++r) {
                long long& word = out[((long long)group[k] * reach + r - 1) * subscribers + s];
                for (int d = first[k]; d <= last[k]; ++d) {
                    const long long more = last[k] - d + 1;
                    const long long has = word >> (DIGIT * d) & LARGEST_DIGIT;
                    if (has < more) word += (more - has) << (DIGIT * d);
                }
            }
    }
}

extern "C" __global__ void choose_planned(
    const float* propensity,           // [P, S] in [0, 1], NaN where the pair is open on no day
    const float* weight,               // [S] weight of the subscriber's value
    const int* group,                  // [S] scope group, 0 <= group < G
    const unsigned char* most,         // [S] actions at most
    const unsigned char* fewest,       // [S] actions at least, if any, and the flag MUST
    const unsigned short* open_days,   // [M, S]
    const long long* spans,            // [L (Q - 1), S]
    const int* offer,                  // [A] this and what follows: as in Rules
    const long long* conflicts,        // [A, W]
    const long long* requires_one,     // [R, A, W]
    const int* day_class,              // [P]
    const int* pair_of,                // [A]
    const int* day_of,                 // [A]
    const int* indptr,                 // [P + 1]
    const int* groups,                 // [...]
    const unsigned char* within,       // [L, P]
    const double* value_fixed,         // [A] money per contact
    const double* value_accept,        // [A] money per acceptance
    const double* price_fixed,         // [G, A] money per contact, at the prices
    const double* price_accept,        // [G, A] money per acceptance, at the prices
    long long subscribers,             // S
    int pairs,                         // P
    int days,                          // N
    int words,                         // W
    int requirements,                  // R
    int width,                         // Q
    short* chosen,                     // [Q, S] out: actions of the bundle, then -1
    float* margin,                     // [S] out: surplus less that of the second best bundle
    long long* tally)                  // [G, A, 4] in/out: contacts, p, w, w p in grid units
{
    const int actions = pairs * days;
    const Rules rules = {offer, conflicts, requires_one, day_class, pair_of, day_of, indptr, groups,
                         within, actions, pairs, days, words, requirements, width - 1};
    ROWS(s, subscribers) {
        const long long table = (long long)group[s] * actions;
        const Row row = {rules, propensity, open_days, spans, value_fixed, value_accept,
                         price_fixed + table, price_accept + table, weight[s], subscribers, s,
                         most[s], fewest[s] >= MUST, fewest[s] & (MUST - 1)};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        margin[s] = (float)best_of(row, width, best, other);
        for (int i = 0; i < width; ++i) {
            chosen[i * subscribers + s] = (short)best[i];
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[pair_of[best[i]] * subscribers + s],
                      weight[s]);
        }
    }
}

extern "C" __global__ void curve_planned(
    const float* propensity,           // as in choose_planned
    const float* weight,               // [S] weight of the subscriber's value
    const int* group,                  // [S] scope group, 0 <= group < G
    const unsigned char* most,         // [S] actions at most
    const unsigned char* fewest,       // [S] actions at least, if any, and the flag MUST
    const unsigned short* open_days,   // [M, S]
    const long long* spans,            // [L (Q - 1), S]
    const int* offer,                  // [A] this and what follows: as in Rules
    const long long* conflicts,        // [A, W]
    const long long* requires_one,     // [R, A, W]
    const int* day_class,              // [P]
    const int* pair_of,                // [A]
    const int* day_of,                 // [A]
    const int* indptr,                 // [P + 1]
    const int* groups,                 // [...]
    const unsigned char* within,       // [L, P]
    const double* value_fixed,         // [A] money per contact
    const double* value_accept,        // [A] money per acceptance
    const double* price_fixed,         // [G, A] money per contact, at the prices
    const double* price_accept,        // [G, A] money per acceptance, at the prices
    const long long* first,            // [G A + 1] entries of a cell
    const long long* constraint,       // [E] increasing within a cell
    const double* use_fixed,           // [E]
    const double* use_accept,          // [E]
    double bandwidth,                  // money
    double unit,                       // squares are summed in whole numbers of 1 / unit
    long long subscribers,             // S
    int pairs,                         // P
    int days,                          // N
    int words,                         // W
    int requirements,                  // R
    int width,                         // Q
    long long constraints,             // K
    long long* tally,                  // [G, A, 4] in/out
    long long* curvature,              // [K, K] in/out: lower triangle
    long long* near)                   // [1] in/out: rows with a margin below the bandwidth
{
    const int actions = pairs * days;
    const Rules rules = {offer, conflicts, requires_one, day_class, pair_of, day_of, indptr, groups,
                         within, actions, pairs, days, words, requirements, width - 1};
    ROWS(s, subscribers) {
        const long long table = (long long)group[s] * actions;
        const Row row = {rules, propensity, open_days, spans, value_fixed, value_accept,
                         price_fixed + table, price_accept + table, weight[s], subscribers, s,
                         most[s], fewest[s] >= MUST, fewest[s] & (MUST - 1)};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        const double margin = best_of(row, width, best, other);
        for (int i = 0; i < width; ++i)
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[pair_of[best[i]] * subscribers + s],
                      weight[s]);
        if (!(margin < bandwidth)) continue;
        ADD_INT64(near, 1);
        Difference difference = {constraint, use_fixed, use_accept, {}, {}, {}, {}, 0};
        for (int side = 0; side < 2; ++side)
            for (int i = 0; i < width; ++i) {
                const int a = side ? other[i] : best[i];
                if (a < 0) continue;
                difference.list(first + table + a, propensity[pair_of[a] * subscribers + s], side);
            }
        add_squares(difference, unit, constraints, curvature);
    }
}
