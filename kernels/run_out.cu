// Twin: run_out.py, run_out_cpu.
// Shapes: R rows (a subscriber at an instant).
#include "exponential.cuh"
#define HALVINGS 30  // as in run_out.py
#define SECANTS 8

// exp(exponent + z * z / 2) * P(N > z) of a standard normal N, z >= 0.
DEVICE double tail(double z, double exponent)
{
    const double erfc_terms[10] = {-1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806,
                                   0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277};
    double t = 1.0 / (1.0 + 0.5 * z * 0.7071067811865476);
    double power = 0.0;
    for (int term = 9; term >= 0; --term) {
        power = power * t + erfc_terms[term];
    }
    return 0.5 * t * exponential(power + exponent);
}

DEVICE double spent_within(double hours, double balance, double rate, double variance)
{
    double deviation = sqrt(variance * hours);
    if (!(deviation > 0.0)) {  // no variance, or next to none: spending is steady
        return rate * hours >= balance ? 1.0 : 0.0;
    }
    double ahead = (balance - rate * hours) / deviation;
    double both = (balance + rate * hours) / deviation;
    // 2 rate B / variance - both ** 2 / 2 is -ahead ** 2 / 2: its large parts are never made.
    double exponent = -0.5 * ahead * ahead;
    double first = tail(fabs(ahead), exponent);
    double chance = (ahead >= 0.0 ? first : 1.0 - first) + tail(both, exponent);
    return chance < 1.0 ? chance : 1.0;
}

// When the mean spend is z standard deviations below the balance.
DEVICE double passed(double z, double balance, double rate, double variance)
{
    double reach = z * sqrt(variance);
    double root = 2.0 * balance / (reach + sqrt(reach * reach + 4.0 * rate * balance));
    return root * root;
}

// The fewest cells of the horizon with so much probability; -1: all have less.
DEVICE double cells_until(double balance, double rate, double variance, double horizon_h,
                          double quantile, double last_z, double first_z)
{
    double cells = (double)(1 << HALVINGS), cell = horizon_h / cells, low = 0.0;
    double high = ceil(passed(last_z, balance, rate, variance) / cell);
    high = high < cells ? high : cells;  // a NaN is beyond too
    double above = spent_within(high * cell, balance, rate, variance);
    if (above < quantile && high < cells) {
        low = high;
        high = cells;
        above = spent_within(horizon_h, balance, rate, variance);
    }
    if (above < quantile) {
        return -1.0;
    }
    double guess = floor(passed(first_z, balance, rate, variance) / cell);
    double here = high, chance = above;
    for (int turn = 1; high - low > 1.0; ++turn) {
        guess = guess > low ? guess : low + 1.0;
        guess = guess < high ? guess : high - 1.0;
        double other = here, others = chance;
        here = guess;
        chance = spent_within(guess * cell, balance, rate, variance);
        if (chance < quantile) {
            low = here;
        } else {
            high = here;
        }
        guess = ceil(here - (chance - quantile) * (here - other) / (chance - others));
        if (turn > SECANTS && turn % 2 == 0) {
            guess = floor(0.5 * (low + high));
        }
    }
    return high;
}

extern "C" __global__ void run_out(
    const double* balance,   // [R] money; NaN is unknown
    const double* rate,      // [R] mean spend, money per hour
    const double* variance,  // [R] variance of spend, money ** 2 per hour
    double horizon_h,        // longest time told, h
    double within_h,         // time whose probability is wanted, h
    double quantile,         // share of the time distribution
    double last_z,           // Phi(-z) is a little more than it
    double first_z,          // Phi(-z) is less than half of it
    long long rows,          // R
    double* expected,        // [R] out: mean time, h
    double* early,           // [R] out: time of the quantile, h
    double* chance)          // [R] out: probability of within_h
{
    ROWS(r, rows) {
        if (!(balance[r] > 0.0)) {
            bool missing = balance[r] != balance[r];
            expected[r] = early[r] = missing ? nan("") : 0.0;
            chance[r] = missing ? nan("") : 1.0;
            continue;
        }
        expected[r] = early[r] = horizon_h;
        chance[r] = 0.0;
        if (!(rate[r] > 0.0)) {
            continue;
        }
        if (balance[r] < rate[r] * horizon_h) {
            expected[r] = balance[r] / rate[r];
        }
        if (within_h > 0.0) {
            chance[r] = spent_within(within_h, balance[r], rate[r], variance[r]);
        }
        if (quantile == 0.0) {
            early[r] = 0.0;
            continue;
        }
        double cells = cells_until(balance[r], rate[r], variance[r], horizon_h, quantile, last_z,
                                   first_z);
        if (cells >= 0.0) {
            early[r] = cells * (horizon_h / (double)(1 << HALVINGS));
        }
    }
}
