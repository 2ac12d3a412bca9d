// Twin: fatigue.py, fatigue_cpu.
// Shapes: E events, R rows (a subscriber at an instant).
#define DAY_S 86400.0

DEVICE double leaked(double level, double leak_per_day, long long seconds)
{
    double left = level - leak_per_day * ((double)seconds / DAY_S);
    return left > 0.0 ? left : 0.0;
}

extern "C" __global__ void fatigue(
    const long long* time,   // [E] instant of an event, s
    const double* value,     // [E] value of an event; not read unless valued
    const bool* kept,        // [E] whether an event counts; not read unless narrowed
    const long long* start,  // [R] first event of a row
    const long long* stop,   // [R] first event after those of a row
    const long long* at,     // [R] instant of a row, s
    double leak_per_day,     // what a level loses in a day
    long long valued,        // whether events have values
    long long narrowed,      // whether only some events count
    long long rows,          // R
    double* level)           // [R] out: the level at the instant
{
    ROWS(r, rows) {
        double full = 0.0;
        long long before = start[r] < stop[r] ? time[start[r]] : at[r];
        for (long long e = start[r]; e < stop[r]; ++e) {
            if (narrowed && !kept[e]) {
                continue;
            }
            full = leaked(full, leak_per_day, time[e] - before) + (valued ? value[e] : 1.0);
            before = time[e];
        }
        level[r] = leaked(full, leak_per_day, at[r] - before);
    }
}
