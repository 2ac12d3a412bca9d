// Twin: hours.py, hours_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows.
#include "logarithm.cuh"
#define HOURS 168

// Monday, 0:00 is 0; instants are moved by whole weeks so that none is negative.
DEVICE int hour_of_week(long long time, unsigned long long shift)
{
    return (int)(((unsigned long long)time + shift) % 604800ULL / 3600ULL);
}

DEVICE double logarithm_of(long long number, const double* logarithms, long long table)
{
    return number < table ? logarithms[number] : binary_logarithm(number);
}

extern "C" __global__ void hours(
    const long long* time,     // [E] instant of an event, s
    const bool* kept,          // [E] whether an event counts; not read unless narrowed
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    const double* logarithms,  // [table] binary logarithms of whole numbers
    long long shift,           // from an instant to a time since some Monday, s
    long long narrowed,        // whether only some events count
    long long table,
    long long rows,            // R
    long long lengths,         // W
    double* best,              // [W, R] out: hour with most events, or NaN
    double* share,             // [W, R] out: its share of the events, or NaN
    double* entropy,           // [W, R] out: entropy of the hours over that of equal ones, or NaN
    long long* distinct)       // [W, R] out: hours with events
{
    unsigned int bins[HOURS];  // all 0 between rows
    for (int hour = 0; hour < HOURS; ++hour) {
        bins[hour] = 0;
    }
    double most_even = logarithms[HOURS];
    ROWS(r, rows) {
        for (long long w = 0; w < lengths; ++w) {
            long long oldest = stop[r], events = 0, edge = at[r] - windows[w];
            for (; oldest > start[r] && time[oldest - 1] > edge; --oldest) {
                if (!narrowed || kept[oldest - 1]) {
                    ++bins[hour_of_week(time[oldest - 1], shift)];
                    ++events;
                }
            }
            // Only the hours that were met are looked at, and cleared, newest event first.
            long long place = w * rows + r, left = events, met = 0, most = 0;
            int first = 0;
            double bits = 0.0, whole = events ? logarithm_of(events, logarithms, table) : 0.0;
            for (long long e = stop[r] - 1; left > 0; --e) {
                int hour = hour_of_week(time[e], shift);
                long long own = !narrowed || kept[e] ? bins[hour] : 0;
                if (own == 0) {
                    continue;
                }
                bins[hour] = 0;
                left -= own;
                ++met;
                bits += (double)own * (whole - logarithm_of(own, logarithms, table));
                if (own > most || (own == most && hour < first)) {
                    most = own;
                    first = hour;
                }
            }
            double relative = bits / (double)events / most_even;  // 0 / 0, NaN, without events
            best[place] = events ? (double)first : nan("");
            share[place] = (double)most / (double)events;
            entropy[place] = relative > 1.0 ? 1.0 : relative;  // by rounding
            distinct[place] = met;
        }
    }
}
