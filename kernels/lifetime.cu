// Twin: lifetime.py, lifetime_cpu.
// Shapes: R rows (a subscriber at an instant).
#include "exponential.cuh"
#include "logarithm.cuh"
#define STEPS 12  // as in lifetime.py
#define MOST_TERMS 1000000
#define ENOUGH 1.1102230246251565e-16

// (1 - exp(-y)) / y, faded being exp(-y)
DEVICE double mean_fading(double y, double faded)
{
    const double factors[15] = {  // 1 / n!, the highest n first
        7.647163731819816e-13, 1.1470745597729725e-11, 1.6059043836821613e-10,
        2.08767569878681e-09, 2.505210838544172e-08, 2.755731922398589e-07,
        2.7557319223985893e-06, 2.48015873015873e-05, 0.0001984126984126984, 0.001388888888888889,
        0.008333333333333333, 0.041666666666666664, 0.16666666666666666, 0.5, 1.0};
    if (fabs(y) > 0.5) {
        return (1.0 - faded) / y;
    }
    double series = 0.0;
    for (int term = 0; term < 15; ++term) {
        series = factors[term] - y * series;
    }
    return series;
}

// Transactions of one who is alive, within each time of z = t / (alpha + T + t); scaled = 1 + t /
// (alpha + T) as its logarithm. Positive terms; few where s and z are small.
DEVICE void by_purchases(double s, double b, double bottom, const double* z, const double* scaled,
                         double* found)
{
    double term[STEPS], made = 0.0, share = 1.0;
    for (int i = 0; i < STEPS; ++i) {
        term[i] = exponential(-s * scaled[i]);
        found[i] = 0.0;
    }
    for (int n = 1; n < MOST_TERMS; ++n) {
        made += share;  // of n purchases, if nobody dropped out
        share *= (b + (n - 1.0)) / (bottom + (n - 1.0));
        double factor = (s + (n - 1.0)) / n;
        for (int i = 0; i < STEPS; ++i) {
            term[i] *= factor * z[i];
            found[i] += term[i] * made;
        }
        // Further ratios of terms are at most this, so the rest is at most a geometric series.
        double ratio = z[STEPS - 1] * ((s + n) / n > 1.0 ? (s + n) / n : 1.0);
        if (term[STEPS - 1] * made * ratio <= ENOUGH * found[STEPS - 1] * (1.0 - ratio)) {
            break;
        }
    }
}

// The same, by a series whose length does not depend on how many transactions there were.
DEVICE void by_dropout(double low, double a, double bottom, const double* z, const double* scaled,
                       double* found)
{
    double term[STEPS], total[STEPS];
    for (int i = 0; i < STEPS; ++i) {
        double y = (a - 1.0) * scaled[i];
        double faded = exponential(-y);
        found[i] = (bottom - 1.0) * scaled[i] * mean_fading(y, faded);
        term[i] = total[i] = low * z[i] * faded;
    }
    double n = 0.0, last = z[STEPS - 1];
    while (n < MOST_TERMS) {  // two terms at a time
        double factor = (low + (n + 1.0)) * (a + n) / ((bottom + n) * (n + 2.0));
        n += 1.0;
        double further = (low + (n + 1.0)) * (a + n) / ((bottom + n) * (n + 2.0));
        n += 1.0;
        for (int i = 0; i < STEPS; ++i) {
            double one = term[i] * (factor * z[i]);
            term[i] = one * (further * z[i]);
            total[i] += one + term[i];
        }
        double later = last * (a + n > n + 2.0 ? a + n : n + 2.0);
        if (low + (n + 1.0) > 0.0
            && fabs(term[STEPS - 1]) * later
                   <= ENOUGH * fabs(total[STEPS - 1]) * (n + 2.0 - later)) {
            break;
        }
    }
    for (int i = 0; i < STEPS; ++i) {
        found[i] -= total[i];
    }
}

extern "C" __global__ void lifetime(
    const double* events,   // [R] transactions
    const double* recency,  // [R] age of the last one, days
    const double* age,      // [R] age of the first one, days
    const double* spent,    // [R] amounts of all of them, money
    const double* model,    // [9] r, alpha, a, b, p, q, gamma, horizon, discount
    long long rows,         // R
    double* alive,          // [R] out: probability of being alive, or NaN
    double* expected,       // [R] out: transactions within the horizon, or NaN
    double* spend,          // [R] out: money per transaction, or NaN
    double* value)          // [R] out: discounted money, or NaN
{
    double shape = model[0], alpha = model[1], a = model[2], b = model[3];
    double z[STEPS], scaled[STEPS], found[STEPS];
    ROWS(row, rows) {
        alive[row] = expected[row] = spend[row] = value[row] = nan("");
        if (!(events[row] >= 1.0)) {
            continue;
        }
        double x = events[row] - 1.0, scale = alpha + age[row], s = shape + x;
        double chance = 1.0;
        if (x > 0.0) {
            double late = s * logarithm_1p(recency[row] / (alpha + (age[row] - recency[row])));
            chance = 1.0 / (1.0 + a / (b + x - 1.0) * exponential(late < 700.0 ? late : 700.0));
        }
        for (int i = 0; i < STEPS; ++i) {
            double days = model[7] * (i + 1.0) / STEPS;
            z[i] = days / (scale + days);
            scaled[i] = logarithm_1p(days / scale);
        }
        double low = a + b - 1.0 - shape;
        if (low < 0.0 && x <= shape) {
            by_purchases(s, b + x, a + b + x, z, scaled, found);
        } else {
            by_dropout(low, a, a + b + x, z, scaled, found);
        }
        double fading = 1.0, discounted = 0.0, before = 0.0;
        for (int i = 0; i < STEPS; ++i) {
            fading *= model[8];
            discounted += (found[i] - before) * fading;
            before = found[i];
        }
        alive[row] = chance;
        expected[row] = chance * found[STEPS - 1];
        spend[row] = model[4] * (model[6] + spent[row]) / (model[4] * events[row] + model[5] - 1.0);
        value[row] = chance * discounted * spend[row];
    }
}
