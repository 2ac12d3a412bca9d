// Twin: bursts.py, bursts_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows.
#define DAY_S 86400.0

extern "C" __global__ void bursts(
    const long long* time,     // [E] instant of an event, s
    const bool* kept,          // [E] whether an event counts; not read unless narrowed
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    long long at_least,        // events that make a moment
    long long within,          // in such a time, s; a longer gap ends it
    long long narrowed,        // whether only some events count
    long long rows,            // R
    long long lengths,         // W
    long long* count,          // [W, R] out: moments that began in the window
    double* recency_days)      // [R] out: age of the last event of the last moment, or NaN
{
    ROWS(r, rows) {
        for (long long w = 0; w < lengths; ++w) {
            count[w * rows + r] = 0;
        }
        recency_days[r] = nan("");
        long long seen = 0, oldest = start[r], before = 0;
        bool inside = false;
        for (long long e = start[r]; e < stop[r]; ++e) {
            if (narrowed && !kept[e]) {
                continue;
            }
            long long t = time[e];
            inside = inside && t - before <= within;
            before = t;
            // The event at_least - 1 kept events ago, once there are so many.
            oldest += seen >= at_least;
            for (; narrowed && !kept[oldest]; ++oldest) {
            }
            ++seen;
            long long begin = time[oldest];
            if (!inside && seen >= at_least && t - begin <= within) {
                inside = true;
                for (long long w = lengths - 1; w >= 0 && begin > at[r] - windows[w]; --w) {
                    ++count[w * rows + r];
                }
            }
            if (inside) {
                recency_days[r] = (double)(at[r] - t) / DAY_S;
            }
        }
    }
}
