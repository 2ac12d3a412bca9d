// Twin: rhythm.py, rhythm_cpu.
// Shapes: E events, R rows (a subscriber at an instant).
#define DAY_S 86400.0

extern "C" __global__ void rhythm(
    const long long* time,   // [E] instant of an event, s
    const long long* start,  // [R] first event of a row
    const long long* stop,   // [R] first event after those of a row
    const long long* at,     // [R] instant of a row, s
    long long rows,          // R
    double* recency_days,    // [R] out: age of the last event, or NaN
    double* gap_mean_days,   // [R] out: mean gap, or NaN
    double* gap_std_days)    // [R] out: population standard deviation of the gaps, or NaN
{
    ROWS(r, rows) {
        long long events = stop[r] - start[r];
        recency_days[r] = gap_mean_days[r] = gap_std_days[r] = nan("");
        if (events > 0) {
            recency_days[r] = (double)(at[r] - time[stop[r] - 1]) / DAY_S;
        }
        if (events > 1) {
            double gaps = (double)(events - 1);
            double mean = (double)(time[stop[r] - 1] - time[start[r]]) / gaps;
            double squares = 0.0;
            for (long long e = start[r] + 1; e < stop[r]; ++e) {
                double away = (double)(time[e] - time[e - 1]) - mean;
                squares += away * away;
            }
            gap_mean_days[r] = mean / DAY_S;
            gap_std_days[r] = sqrt(squares / gaps) / DAY_S;
        }
    }
}
