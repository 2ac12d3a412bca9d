// Twins: ranges.py, ranges_cpu, disordered_cpu and events_until_cpu.
// Shapes: E events, R rows (a subscriber at an instant).

DEVICE long long first_not_below(const long long* key, long long keys, long long wanted)
{
    long long low = 0, high = keys;
    while (low < high) {
        long long middle = low + (high - low) / 2;
        if (key[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

extern "C" __global__ void ranges(
    const long long* key,     // [E] subscriber of an event, ascending
    const long long* wanted,  // [R] subscriber of a row, ascending
    long long keys,           // E
    long long rows,           // R
    long long* start,         // [R] out: first event of the subscriber
    long long* end)           // [R] out: first event after those of the subscriber
{
    ROWS(r, rows) {
        start[r] = first_not_below(key, keys, wanted[r]);
        // Keys are 64-bit: the largest has no successor, and its events are the last there are.
        end[r] = wanted[r] == 0x7fffffffffffffffLL ? keys
                                                    : first_not_below(key, keys, wanted[r] + 1);
    }
}

extern "C" __global__ void disordered(
    const long long* key,   // [E] subscriber of an event
    const long long* time,  // [E] instant of an event, s
    long long events,       // E
    long long* count)       // [1] in and out: events that should stand before the one before them
{
    ROWS(e, events) {
        if (e > 0 && (key[e] < key[e - 1] || (key[e] == key[e - 1] && time[e] < time[e - 1]))) {
            ADD_INT64(count, 1);
        }
    }
}

// The events of a row's subscriber are start[r] .. end[r] - 1, in time order.
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
