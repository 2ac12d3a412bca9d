// Twin: open_case.py, open_case_cpu.
// Shapes: E events, R rows (a subscriber at an instant).
#define DAY_S 86400.0

extern "C" __global__ void open_case(
    const long long* time,    // [E] instant of an event, s
    const signed char* mark,  // [E] 1 opens, -1 closes, 0 neither
    const long long* start,   // [R] first event of a row
    const long long* stop,    // [R] first event after those of a row
    const long long* at,      // [R] instant of a row, s
    long long rows,           // R
    long long* openings,      // [R] out: openings after the last closing
    double* age_days)         // [R] out: age of the first of these, or NaN
{
    ROWS(r, rows) {
        long long closing = stop[r] - 1;
        while (closing >= start[r] && mark[closing] >= 0) {
            --closing;
        }
        long long opened = 0;
        age_days[r] = nan("");
        for (long long e = closing + 1; e < stop[r]; ++e) {
            // What opens in the second of the last closing is closed by it, wherever it stands.
            if (mark[e] > 0 && (closing < start[r] || time[e] > time[closing])) {
                if (opened == 0) {
                    age_days[r] = (double)(at[r] - time[e]) / DAY_S;
                }
                ++opened;
            }
        }
        openings[r] = opened;
    }
}
