// Twins: decay.py, decayed_cpu and trend_cpu.
// Shapes: E events, R rows (a subscriber at an instant).
#define DAY_S 86400

extern "C" __global__ void decayed(
    const long long* time,   // [E] instant of an event, s
    const double* value,     // [E] value of an event
    const long long* start,  // [R] first event of a row
    const long long* stop,   // [R] first event after those of a row
    const long long* at,     // [R] instant of a row, s
    double half_life,        // age at which an event weighs half, s
    long long rows,          // R
    double* sum)             // [R] out: decayed sum
{
    ROWS(r, rows) {
        double total = 0.0;
        for (long long e = stop[r] - 1; e >= start[r]; --e) {
            total += value[e] * exp2(-((double)(at[r] - time[e]) / half_life));
        }
        sum[r] = total;
    }
}

extern "C" __global__ void trend(
    const long long* time,   // [E] instant of an event, s
    const double* value,     // [E] value of an event
    const long long* start,  // [R] first event of a row
    const long long* stop,   // [R] first event after those of a row
    const long long* at,     // [R] instant of a row, s
    long long window_days,   // D, days
    long long rows,          // R
    double* slope)           // [R] out: slope of the daily sums, per day
{
    double days = (double)window_days;
    double middle = (days - 1.0) / 2.0;
    double squares = days * (days * days - 1.0) / 12.0;
    ROWS(r, rows) {
        double total = 0.0;
        for (long long e = stop[r] - 1; e >= start[r]; --e) {
            long long day = (at[r] - time[e]) / DAY_S;
            if (day >= window_days) {
                break;
            }
            total += value[e] * (middle - (double)day);
        }
        slope[r] = total / squares;
    }
}
