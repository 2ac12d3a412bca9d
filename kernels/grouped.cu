// Twin: grouped.py, grouped_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows, G groups.
#define DAY_S 86400
#define MOST_GROUPS 16  // as in grouped.py

extern "C" __global__ void grouped(
    const long long* time,     // [E] instant of an event, s
    const double* value,       // [E] value of an event; not read unless valued
    const signed char* code,   // [E] code of an event
    const signed char* group,  // [128] group of a code; G: none
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    long long rows,            // R
    long long lengths,         // W
    long long groups,          // G <= MOST_GROUPS
    long long valued,          // whether events have values that are added
    long long recent,          // whether the last event of each group is wanted
    double* recency_days,      // [G, R] out: age of the last event, days
    double* count,             // [W, G, R] out: events in the window
    double* total)             // [W, G, R] out: their values added, newest first
{
    ROWS(r, rows) {
        // the place after the last group is that of the events of none
        double seen[MOST_GROUPS + 1] = {0.0}, added[MOST_GROUPS + 1] = {0.0};
        long long newest[MOST_GROUPS + 1];
        long long first = start[r], e = stop[r], instant = at[r];
        for (long long w = 0; w < lengths + recent; ++w) {
            for (; e > first && (w == lengths || time[e - 1] > instant - windows[w]); --e) {
                int g = group[code[e - 1]];
                if (seen[g] == 0.0) {
                    newest[g] = time[e - 1];
                }
                seen[g] += 1.0;
                if (valued) {
                    added[g] += value[e - 1];
                }
            }
            for (long long g = 0; g < groups && w < lengths; ++g) {
                long long place = (w * groups + g) * rows + r;
                count[place] = seen[g];
                if (valued) {
                    total[place] = added[g];
                }
            }
        }
        for (long long g = 0; g < groups * recent; ++g) {
            double days = (double)(instant - newest[g]) / (double)DAY_S;
            recency_days[g * rows + r] = seen[g] > 0.0 ? days : nan("");
        }
    }
}
