// Twin: choose.py, choose_cpu and curve_cpu where nobody gets more than one action.
// Shapes: S subscribers, A actions, N usable actions, G scope groups, K constraints.
// Surpluses are screened in float32, see screen.py; whom that leaves in doubt in float64.

#include "tally.cuh"

// Tables of one precision at the prices.
template <class Real>
struct Tables {
    const Real *value_fixed, *value_accept;  // [A] money per contact, per acceptance
    const Real *price_fixed, *price_accept;  // [G, A]
};

// The two best single actions of one subscriber, -1: none; the first of equals wins.
template <class Real>
struct TwoBest {
    int best, other;
    Real first, second;

    DEVICE TwoBest(const float* propensity, long long subscribers, long long s, float weight,
                   bool must, const long long* usable, int count, const Tables<Real>& tables,
                   long long table)
        : best(-1), other(-1), first(must ? -(Real)INFINITE : (Real)0), second(-(Real)INFINITE) {
        const Real w = weight;
        for (int i = 0; i < count; ++i) {
            const int a = (int)usable[i];
            const Real p = propensity[a * subscribers + s];
            const Real value =
                (w * tables.value_fixed[a] - tables.price_fixed[table + a]) +
                (w * tables.value_accept[a] - tables.price_accept[table + a]) * p;
            if (value > first) {
                second = first;
                first = value;
                other = best;
                best = a;
            } else if (value > second) {
                second = value;
                other = a;
            }
        }
    }
};

// What both kernels read.
struct Base {
    const float *propensity, *weight;     // [A, S], [S]
    const int* group;                     // [S]
    const unsigned char *most, *fewest;   // [S]
    const long long* usable;              // [N] actions that may be taken alone, ascending
    const float* doubt;                   // [1 + G]
    Tables<float> screen;
    Tables<double> tables;
    long long subscribers;                // S
    int actions, count;                   // A, N
};

// The choice of one subscriber.
struct Choice {
    int best, other;
    float margin;    // as in choose_cpu
    double precise;  // in float64 where it is in doubt, else the float32 margin

    // Looks again in float64 at margins that are not certain to be more than the doubt and `more`.
    DEVICE Choice(const Base& base, long long s, float more)
        : best(-1), other(-1), margin((float)INFINITE), precise(INFINITE) {
        if (base.most[s] == 0 || (base.fewest[s] & (MUST - 1)) > 1) return;
        const int g = base.group[s];
        const long long table = (long long)g * base.actions;
        const bool must = base.fewest[s] >= MUST;
        const float w = base.weight[s];
        const TwoBest<float> rough(base.propensity, base.subscribers, s, w, must, base.usable,
                                   base.count, base.screen, table);
        best = rough.best;
        precise = margin = rough.first - rough.second;
        if (margin > w * base.doubt[0] + (base.doubt[1 + g] + more)) return;
        const TwoBest<double> exact(base.propensity, base.subscribers, s, w, must, base.usable,
                                    base.count, base.tables, table);
        best = exact.best;
        other = exact.other;
        precise = exact.first > -INFINITE ? exact.first - exact.second : INFINITE;
        margin = (float)precise;
    }
};

extern "C" __global__ void choose_single(
    const float* propensity,             // [A, S] in [0, 1], NaN where the action is not open
    const float* weight,                 // [S] weight of the subscriber's value
    const int* group,                    // [S] scope group, 0 <= group < G
    const unsigned char* most,           // [S] actions at most
    const unsigned char* fewest,         // [S] actions at least, if any, and the flag MUST
    const long long* usable,             // [N]
    const float* doubt,                  // [1 + G]
    const float* screen_value_fixed,     // [A] this and what follows: the tables in float32
    const float* screen_value_accept,    // [A]
    const float* screen_price_fixed,     // [G, A]
    const float* screen_price_accept,    // [G, A]
    const double* value_fixed,           // [A] money per contact
    const double* value_accept,          // [A] money per acceptance
    const double* price_fixed,           // [G, A] money per contact, at the prices
    const double* price_accept,          // [G, A] money per acceptance, at the prices
    long long subscribers,               // S
    int actions,                         // A
    int count_usable,                    // N
    short* chosen,                       // [1, S] out: the action, or -1
    float* margin,                       // [S] out: surplus less that of the second best
    long long* tally)                    // [G, A, 4] in/out: contacts, p, w, w p in grid units
{
    const Base base = {
        propensity, weight, group, most, fewest, usable, doubt,
        {screen_value_fixed, screen_value_accept, screen_price_fixed, screen_price_accept},
        {value_fixed, value_accept, price_fixed, price_accept}, subscribers, actions, count_usable};
    ROWS(s, subscribers) {
        const Choice choice(base, s, 0.0f);
        chosen[s] = (short)choice.best;
        margin[s] = choice.margin;
        if (choice.best >= 0)
            count(tally + 4 * ((long long)group[s] * actions + choice.best),
                  propensity[choice.best * subscribers + s], weight[s]);
    }
}

extern "C" __global__ void curve_single(
    const float* propensity,             // as in choose_single
    const float* weight,                 // [S]
    const int* group,                    // [S]
    const unsigned char* most,           // [S]
    const unsigned char* fewest,         // [S]
    const long long* usable,             // [N]
    const float* doubt,                  // [1 + G]
    const float* screen_value_fixed,     // [A]
    const float* screen_value_accept,    // [A]
    const float* screen_price_fixed,     // [G, A]
    const float* screen_price_accept,    // [G, A]
    const double* value_fixed,           // [A]
    const double* value_accept,          // [A]
    const double* price_fixed,           // [G, A]
    const double* price_accept,          // [G, A]
    const long long* first,              // [G A + 1] entries of a cell
    const long long* constraint,         // [M] increasing within a cell
    const double* use_fixed,             // [M]
    const double* use_accept,            // [M]
    double bandwidth,                    // money
    float beyond,                        // money, more than the bandwidth by its rounding
    double unit,                         // squares are summed in whole numbers of 1 / unit
    long long subscribers,               // S
    int actions,                         // A
    int count_usable,                    // N
    long long constraints,               // K
    long long* tally,                    // [G, A, 4] in/out
    long long* curvature,                // [K, K] in/out: lower triangle
    long long* near)                     // [1] in/out: rows with a margin below the bandwidth
{
    const Base base = {
        propensity, weight, group, most, fewest, usable, doubt,
        {screen_value_fixed, screen_value_accept, screen_price_fixed, screen_price_accept},
        {value_fixed, value_accept, price_fixed, price_accept}, subscribers, actions, count_usable};
    ROWS(s, subscribers) {
        const Choice choice(base, s, beyond);
        const long long table = (long long)group[s] * actions;
        if (choice.best >= 0)
            count(tally + 4 * (table + choice.best), propensity[choice.best * subscribers + s],
                  weight[s]);
        if (!(choice.precise < bandwidth)) continue;
        ADD_INT64(near, 1);
        Difference difference = {constraint, use_fixed, use_accept, {}, {}, {}, {}, 0};
        for (int side = 0; side < 2; ++side) {
            const int a = side ? choice.other : choice.best;
            if (a >= 0) difference.list(first + table + a, propensity[a * subscribers + s], side);
        }
        add_squares(difference, unit, constraints, curvature);
    }
}
