// Twin: summary.py, summarised_cpu.
// Shapes: E events, R rows (a subscriber at an instant), W windows, H half-lives, T trends.
#define DAY_S 86400
#define SHIFT 11  // as in weights.py
#define FINE (1 << SHIFT)
#define MOST_WEIGHED 4

extern "C" __global__ void summarised(
    const long long* time,     // [E] instant of an event, s
    const double* value,       // [E] value of an event; not read unless valued
    const bool* kept,          // [E] whether an event counts; not read unless narrowed
    const long long* start,    // [R] first event of a row
    const long long* stop,     // [R] first event after those of a row
    const long long* at,       // [R] instant of a row, s
    const long long* windows,  // [W] lengths, s, ascending
    const double* fine,        // [H, FINE] factor of the low bits of an age
    const double* coarse,      // [H, coarse_size] factor of its high bits
    const double* slopes,      // [T, slope_size] weight of a day of age
    long long narrowed,        // whether only some events count
    long long coarse_size,
    long long slope_size,
    long long rows,            // R
    long long lengths,         // W
    long long turns,           // W, or W + 1: then what is older than all windows is read too
    long long half_lives,      // H <= MOST_WEIGHED
    long long trends,          // T <= MOST_WEIGHED
    long long valued,          // whether events have values; else each counts 1
    long long extremes,        // whether least and most are wanted
    long long spread,          // whether deviations are wanted
    long long days,            // whether active days are wanted
    double* recency_days,      // [R] out: age of the last event, days
    double* age_days,          // [R] out: age of the first event, days
    double* gap_mean_days,     // [R] out: mean gap, days
    double* gap_std_days,      // [R] out: population standard deviation of the gaps, days
    double* latest,            // [R] out: value of the last event
    double* count,             // [W, R] out: events in the window
    double* total,             // [W, R] out: their values added, newest first
    double* least,             // [W, R] out: smallest value
    double* most,              // [W, R] out: largest value
    double* deviation,         // [W, R] out: population standard deviation of the values
    double* active,            // [W, R] out: days with events
    double* decayed,           // [H, R] out: decayed sum
    double* trend)             // [T, R] out: slope
{
    ROWS(r, rows) {
        long long first = start[r], end = stop[r], instant = at[r], last_day = -1;
        double sums[MOST_WEIGHED] = {0.0}, tilts[MOST_WEIGHED] = {0.0};
        double added = 0.0, squares = 0.0, mean = 0.0, usual = 0.0, distinct = 0.0, seen = 0.0;
        double low = INFINITE, high = -INFINITE;
        recency_days[r] = age_days[r] = gap_mean_days[r] = gap_std_days[r] = latest[r] = nan("");
        long long events = end - first;
        if (narrowed) {  // the range shrinks to its first and last kept events
            for (; first < end && !kept[first]; ++first) {
            }
            for (; end > first && !kept[end - 1]; --end) {
            }
            events = 0;
            for (long long e = first; e < end; ++e) {
                events += kept[e];
            }
        }
        long long e = end, newer = instant;
        if (events > 0) {
            newer = time[end - 1];
            latest[r] = valued ? value[end - 1] : 1.0;
            recency_days[r] = (double)(instant - newer) / (double)DAY_S;
            age_days[r] = (double)(instant - time[first]) / (double)DAY_S;
            if (events > 1) {
                mean = (double)(newer - time[first]) / (double)(events - 1);
                gap_mean_days[r] = mean / (double)DAY_S;
            }
        }
        for (long long w = 0; w < turns; ++w) {
            // A longer window goes on where the shorter one ended: each event is read once. The
            // turn after the longest takes all that is left.
            for (; e > first && (w == lengths || time[e - 1] > instant - windows[w]); --e) {
                if (narrowed && !kept[e - 1]) {
                    continue;
                }
                long long t = time[e - 1], age = instant - t, day = age / DAY_S;
                double v = valued ? value[e - 1] : 1.0;
                double away = (double)(newer - t) - usual;
                seen += 1.0;
                added += v;
                squares += away * away;
                newer = t;
                usual = mean;  // so that the first event, which ends no gap, adds 0
                low = v < low ? v : low;
                high = v > high ? v : high;
                distinct += day != last_day;
                last_day = day;
#pragma unroll
                for (int h = 0; h < MOST_WEIGHED; ++h) {
                    if (h < half_lives) {
                        double weight = coarse[h * coarse_size + (age >> SHIFT)];
                        weight *= fine[h * FINE + (age & (FINE - 1))];
                        sums[h] += v * weight;
                    }
                }
#pragma unroll
                for (int k = 0; k < MOST_WEIGHED; ++k) {
                    if (k < trends) {
                        tilts[k] += v * slopes[k * slope_size + day];
                    }
                }
            }
            if (w < lengths) {
                long long place = w * rows + r;
                count[place] = seen;
                total[place] = added;
                if (extremes) {
                    least[place] = seen > 0.0 ? low : nan("");
                    most[place] = seen > 0.0 ? high : nan("");
                }
                if (days) {
                    active[place] = distinct;
                }
            } else if (events > 1) {
                gap_std_days[r] = sqrt(squares / (double)(events - 1)) / (double)DAY_S;
            }
        }
#pragma unroll
        for (int h = 0; h < MOST_WEIGHED; ++h) {
            if (h < half_lives) {
                decayed[h * rows + r] = sums[h];
            }
        }
#pragma unroll
        for (int k = 0; k < MOST_WEIGHED; ++k) {
            if (k < trends) {
                trend[k * rows + r] = tilts[k];
            }
        }
        for (long long w = 0; w < lengths * spread; ++w) {
            double inside = count[w * rows + r], middle = total[w * rows + r] / inside, sum = 0.0;
            for (e = end; e > first && time[e - 1] > instant - windows[w]; --e) {
                if (!narrowed || kept[e - 1]) {
                    double away = (valued ? value[e - 1] : 1.0) - middle;
                    sum += away * away;
                }
            }
            deviation[w * rows + r] = sqrt(sum / inside);  // 0 / 0, NaN, without events
        }
    }
}
