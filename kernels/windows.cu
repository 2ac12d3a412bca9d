// Twins: windows.py, windowed_cpu and events_until_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows.

// The events of a row are start[r] .. stop[r] - 1, in time order.
extern "C" __global__ void events_until(
    const long long* time,   // [E] instant of an event, s
    const long long* start,  // [R] first event of the row's subscriber
    const long long* end,    // [R] first event after those of the row's subscriber
    const long long* at,     // [R] last instant that counts, s
    long long rows,          // R
    long long* stop)         // [R] out: first event after the instant
{
    ROWS(r, rows) {
        long long low = start[r];
        long long high = end[r];
        while (low < high) {
            long long middle = low + (high - low) / 2;
            if (time[middle] <= at[r]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        stop[r] = low;
    }
}

extern "C" __global__ void windowed(
    const long long* time,     // [E] instant of an event, s
    const double* value,       // [E] value of an event
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    long long rows,            // R
    long long lengths,         // W
    long long* count,          // [W, R] out: events in the window
    double* sum,               // [W, R] out: their values added, newest first
    double* largest)           // [W, R] out: their largest value, or NaN
{
    ROWS(r, rows) {
        long long events = 0;
        double total = 0.0;
        double most = nan("");
        long long e = stop[r] - 1;
        for (long long w = 0; w < lengths; ++w) {
            // A longer window goes on where the shorter one ended: each event is read once.
            for (; e >= start[r] && time[e] > at[r] - windows[w]; --e) {
                ++events;
                total += value[e];
                if (!(most >= value[e])) {  // also true while there is none yet (NaN)
                    most = value[e];
                }
            }
            count[w * rows + r] = events;
            sum[w * rows + r] = total;
            largest[w * rows + r] = most;
        }
    }
}
