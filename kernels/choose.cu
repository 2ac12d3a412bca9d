// Twin: choose.py, choose_cpu and curve_cpu of bundles, and within_cpu.
// Shapes: S subscribers, A actions, D caps, W words of 64 actions, R requirements, G scope groups,
// Q most actions of any.
// Of equal bundles the first in the order of the search wins, as in the twin: same bits.

#include "relations.cuh"
#include "tally.cuh"
#include "bundle_search.cuh"

extern "C" __global__ void choose(
    const float* propensity,             // [A, S] in [0, 1], NaN where the action is not open
    const float* weight,                 // [S] weight of the subscriber's value
    const int* group,                    // [S] scope group, 0 <= group < G
    const unsigned char* most,           // [S] actions at most
    const unsigned char* fewest,         // [S] actions at least, if any, and the flag MUST
    const unsigned char* cap,            // [D, S]
    const int* offer,                    // [A] this and what follows: as in Rules
    const int* kind,                     // [A]
    const int* contact,                  // [A]
    const int* cap_indptr,               // [A + 1]
    const int* cap_group,                // [...]
    const unsigned char* per_contact,    // [D]
    const long long* conflicts,          // [A, W]
    const long long* requires_one,       // [R, A, W]
    const double* value_fixed,           // [A] money per contact
    const double* value_accept,          // [A] money per acceptance
    const double* price_fixed,           // [G, A] money per contact, at the prices
    const double* price_accept,          // [G, A] money per acceptance, at the prices
    long long subscribers,               // S
    int actions,                         // A
    int caps,                            // D
    int words,                           // W
    int requirements,                    // R
    int width,                           // Q
    short* chosen,                       // [Q, S] out: actions of the bundle, then -1
    float* margin,                       // [S] out: surplus less that of the second best bundle
    long long* tally)                    // [G, A, 4] in/out: contacts, p, w, w p in grid units
{
    const Rules rules = {offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts,
                         requires_one, actions, caps, words, requirements};
    ROWS(s, subscribers) {
        const Row row = row_of(rules, propensity, most, fewest, cap, subscribers, s);
        const long long table = (long long)group[s] * actions;
        const double w = weight[s];
        const AtPrices surplus = {row, value_fixed, value_accept, price_fixed + table,
                                  price_accept + table, w};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        margin[s] = (float)best_of(row, surplus, width, best, other);
        for (int i = 0; i < width; ++i) {
            chosen[i * subscribers + s] = (short)best[i];
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[best[i] * subscribers + s], w);
        }
    }
}

extern "C" __global__ void within(
    const short* chosen,                 // [Q, S]
    const float* margin,                 // [S] money
    const int* group,                    // [S]
    const double* reach,                 // [G, 1 + A] money, of no action and of each
    long long subscribers,               // S
    int actions,                         // A
    int width,                           // Q
    unsigned char* near)                 // [S] out: 1 where the margin is less than the reach
{
    ROWS(s, subscribers) {
        const double* reaches = reach + (long long)group[s] * (actions + 1);
        double within = chosen[s] < 0 ? reaches[0] : 0.0;
        for (int i = 0; i < width; ++i) {
            const int a = chosen[i * subscribers + s];
            if (a >= 0) within += reaches[a + 1];
        }
        near[s] = (double)margin[s] < within;
    }
}

extern "C" __global__ void curve(
    const float* propensity,             // as in choose
    const float* weight,                 // [S] weight of the subscriber's value
    const int* group,                    // [S] scope group, 0 <= group < G
    const unsigned char* most,           // [S] actions at most
    const unsigned char* fewest,         // [S] actions at least, if any, and the flag MUST
    const unsigned char* cap,            // [D, S]
    const int* offer,                    // [A] this and what follows: as in Rules
    const int* kind,                     // [A]
    const int* contact,                  // [A]
    const int* cap_indptr,               // [A + 1]
    const int* cap_group,                // [...]
    const unsigned char* per_contact,    // [D]
    const long long* conflicts,          // [A, W]
    const long long* requires_one,       // [R, A, W]
    const double* value_fixed,           // [A] money per contact
    const double* value_accept,          // [A] money per acceptance
    const double* price_fixed,           // [G, A] money per contact, at the prices
    const double* price_accept,          // [G, A] money per acceptance, at the prices
    const long long* first,              // [G A + 1] entries of a cell
    const long long* constraint,         // [N] increasing within a cell
    const double* use_fixed,             // [N]
    const double* use_accept,            // [N]
    double bandwidth,                    // money
    double unit,                         // squares are summed in whole numbers of 1 / unit
    long long subscribers,               // S
    int actions,                         // A
    int caps,                            // D
    int words,                           // W
    int requirements,                    // R
    int width,                           // Q
    long long constraints,               // K
    long long* tally,                    // [G, A, 4] in/out
    long long* curvature,                // [K, K] in/out: lower triangle
    long long* near)                     // [1] in/out: rows with a margin below the bandwidth
{
    const Rules rules = {offer, kind, contact, cap_indptr, cap_group, per_contact, conflicts,
                         requires_one, actions, caps, words, requirements};
    ROWS(s, subscribers) {
        const Row row = row_of(rules, propensity, most, fewest, cap, subscribers, s);
        const long long table = (long long)group[s] * actions;
        const AtPrices surplus = {row, value_fixed, value_accept, price_fixed + table,
                                  price_accept + table, weight[s]};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        const double margin = best_of(row, surplus, width, best, other);
        for (int i = 0; i < width; ++i)
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[best[i] * subscribers + s],
                      weight[s]);
        if (!(margin < bandwidth)) continue;
        ADD_INT64(near, 1);
        Difference difference = {constraint, use_fixed, use_accept, {}, {}, {}, {}, 0};
        for (int side = 0; side < 2; ++side)
            for (int i = 0; i < width; ++i) {
                const int a = side ? other[i] : best[i];
                if (a < 0) continue;
                difference.list(first + table + a, propensity[a * subscribers + s], side);
            }
        add_squares(difference, unit, constraints, curvature);
    }
}
