// Twin: repeats.py, repeats_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows.

extern "C" __global__ void repeats(
    const long long* time,     // [E] instant of an event, s
    const bool* kept,          // [E] whether an event counts; not read unless narrowed
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    long long within,          // longest gap of a repeat, s
    long long narrowed,        // whether only some events count
    long long rows,            // R
    long long lengths,         // W
    long long* count)          // [W, R] out: repeats in the window
{
    ROWS(r, rows) {
        long long found = 0, newer = 0, e = stop[r];
        bool any = false;
        for (long long w = 0; w < lengths; ++w) {
            // The event after the gap counts: the one before it may lie before the window.
            long long edge = at[r] - windows[w];
            for (; e > start[r] && !(any && newer <= edge); --e) {
                if (narrowed && !kept[e - 1]) {
                    continue;
                }
                found += any && newer - time[e - 1] <= within;
                newer = time[e - 1];
                any = true;
            }
            count[w * rows + r] = found;
        }
    }
}
