// Twins: contact_windows.py, most_in_window_cpu and latest_burst_cpu.
// Shapes: E events, S subscribers, N codes of events, C counters, Z time zones.
#define MOST_COUNTED 255      // as in contact_windows.py
#define NEVER (-(1LL << 62))  // likewise
#define GREATEST 9223372036854775807LL

struct History {
    const long long* time;
    const int *code, *counter_indptr, *counter;
};

// Whether a counter counts the events of a code.
DEVICE bool has(const History& h, int code, long long c) {
    for (int k = h.counter_indptr[code]; k < h.counter_indptr[code + 1]; ++k) {
        if (h.counter[k] == c) {
            return true;
        }
    }
    return false;
}

// Whether an event before this one belongs to the same contact, for a counter.
DEVICE bool is_repeated(const History& h, const int* contact, long long e, long long begin,
                        long long c) {
    const int own = contact[h.code[e]];
    for (long long i = e - 1; own >= 0 && i >= begin && h.time[i] == h.time[e]; --i) {
        if (contact[h.code[i]] == own && has(h, h.code[i], c)) {
            return true;
        }
    }
    return false;
}

extern "C" __global__ void most_in_window(
    const long long* time,             // [E] instant of an event, s
    const int* code,                   // [E] code of an event
    const long long* indptr,           // [S + 1] events of a subscriber
    const int* zone,                   // [S] time zone of a subscriber
    const int* counter_indptr,         // [N + 1] counters of a code
    const int* counter,                // their numbers
    const int* contact,                // [N] what a code is part of, or -1
    const unsigned char* per_contact,  // [C] whether events of one contact count once
    const long long* width,            // [Z, C] length of a window, s
    const long long* first,            // [Z, C] first instant at which it may end, s
    const long long* last,             // [Z, C] last such instant
    long long subscribers,             // S
    long long counters,                // C
    unsigned char* used)               // [C, S] out: most events in a window
{
    History h = {time, code, counter_indptr, counter};
    ROWS(s, subscribers) {
        const long long *starts = first + zone[s] * counters, *ends = last + zone[s] * counters;
        const long long* widths = width + zone[s] * counters;
        long long begin = indptr[s], end = indptr[s + 1], oldest = GREATEST;
        for (long long c = 0; c < counters; ++c) {
            used[c * subscribers + s] = 0;
            long long edge = starts[c] - widths[c];
            oldest = edge < oldest ? edge : oldest;
        }
        for (long long e = end - 1; e >= begin && time[e] > oldest; --e) {
            for (int k = counter_indptr[code[e]]; k < counter_indptr[code[e] + 1]; ++k) {
                int c = counter[k];
                unsigned char* own = used + c * subscribers + s;
                if (time[e] <= starts[c] && time[e] > starts[c] - widths[c] &&
                    *own < MOST_COUNTED &&
                    !(per_contact[c] && is_repeated(h, contact, e, begin, c))) {
                    ++*own;
                }
            }
        }
        // Windows that end later matter where there are later events.
        for (long long c = 0; c < counters; ++c) {
            unsigned char* own = used + c * subscribers + s;
            long long e = end, tail = begin, inside = *own, best = inside;
            for (; e > begin && time[e - 1] > starts[c]; --e) {
            }
            for (; tail < e && time[tail] <= starts[c] - widths[c]; ++tail) {
            }
            for (; e < end && time[e] <= ends[c] && best < MOST_COUNTED; ++e) {
                if (!has(h, code[e], c) ||
                    (per_contact[c] && is_repeated(h, contact, e, begin, c))) {
                    continue;
                }
                ++inside;
                for (; time[tail] <= time[e] - widths[c]; ++tail) {
                    inside -= has(h, code[tail], c) &&
                              !(per_contact[c] && is_repeated(h, contact, tail, begin, c));
                }
                best = inside > best ? inside : best;
            }
            *own = best;
        }
    }
}

extern "C" __global__ void latest_burst(
    const long long* time,      // [E] instant of an event, s
    const int* code,            // [E] code of an event
    const long long* indptr,    // [S + 1] events of a subscriber
    const int* zone,            // [S] time zone of a subscriber
    const int* counter_indptr,  // [N + 1] counters of a code
    const int* counter,         // their numbers
    const int* times,           // [C] events that make a burst
    const long long* width,     // [C] in such a time, s
    const long long* until,     // [Z] last instant that matters, s
    long long subscribers,      // S
    long long counters,         // C
    long long* latest)          // [C, S] out: time of the latest burst, or NEVER
{
    History h = {time, code, counter_indptr, counter};
    ROWS(s, subscribers) {
        for (long long c = 0; c < counters; ++c) {
            long long begin = indptr[s], newer = indptr[s + 1], found = NEVER;
            int seen = 0;
            for (long long e = newer - 1; e >= begin && found == NEVER; --e) {
                if (time[e] > until[zone[s]] || !has(h, code[e], c)) {
                    continue;
                }
                // The event times - 1 counted events later, once there are so many.
                ++seen;
                if (seen == 1) {
                    newer = e;
                } else if (seen > times[c]) {
                    for (--newer; !has(h, code[newer], c); --newer) {
                    }
                }
                if (seen >= times[c] && time[e] > time[newer] - width[c]) {
                    found = time[newer];
                }
            }
            latest[c * subscribers + s] = found;
        }
    }
}
