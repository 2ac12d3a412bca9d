// Twin: choose.py, choose_cpu and curve_cpu.
// Shapes: S subscribers, A actions, C channels, H categories, G scope groups, Q most actions of any.
// Of equal bundles the first in the order of the search wins, as in the twin: same bits.

#define MOST_ACTIONS 512  // open actions of one subscriber that the bundle search can hold
#define MOST_BUNDLE 4     // actions of one bundle
#define LARGEST (1.0 / 0.0)

struct Row {
    const float* propensity;            // [A, S] in [0, 1], NaN where the action is not open
    const unsigned char* channel_most;  // [C, S]
    const unsigned char* category_most; // [H, S]
    const int* offer;                   // [A]
    const int* channel;                 // [A]
    const int* category;                // [A]
    long long subscribers;              // S
    long long s;                        // this subscriber
};

// May action `a` join the first `count` actions of `bundle`? Caps count channels and categories;
// an offer is taken on one channel.
DEVICE bool fits(const Row& row, const int* bundle, int count, int a) {
    int in_channel = 0, in_category = 0;
    for (int i = 0; i < count; ++i) {
        const int b = bundle[i];
        if (row.offer[b] == row.offer[a]) return false;
        in_channel += row.channel[b] == row.channel[a];
        in_category += row.category[b] == row.category[a];
    }
    return in_channel < row.channel_most[row.channel[a] * row.subscribers + row.s] &&
           in_category < row.category_most[row.category[a] * row.subscribers + row.s];
}

// Surplus of an action at the prices, money.
struct AtPrices {
    const Row& row;
    const double *value_fixed, *value_accept, *price_fixed, *price_accept;  // of this group
    double weight;

    DEVICE double operator()(int a) const {
        const double p = row.propensity[a * row.subscribers + row.s];
        return (weight * value_fixed[a] - price_fixed[a]) +
               (weight * value_accept[a] - price_accept[a]) * p;
    }
};

// Sort the positive surpluses, best first (ties: lowest action), and drop those never in the two
// best bundles: of `most + 1` better ones of the same channel and category, two can take its place.
template <class Surplus>
DEVICE int candidates(const Row& row, const Surplus& surplus, int actions, int most,
                      short* order, double* sorted) {
    int count = 0;
    for (int a = 0; a < actions; ++a) {
        const double value = surplus(a);
        if (!(value > 0.0)) continue;  // NaN: not open
        int place = count;
        while (place > 0 && sorted[place - 1] < value) {
            sorted[place] = sorted[place - 1];
            order[place] = order[place - 1];
            --place;
        }
        sorted[place] = value;
        order[place] = (short)a;
        ++count;
    }
    int kept = 0;
    for (int i = 0; i < count; ++i) {
        int better = 0;
        for (int j = 0; j < kept; ++j)
            better += row.channel[order[j]] == row.channel[order[i]] &&
                      row.category[order[j]] == row.category[order[i]];
        if (better <= most) {
            order[kept] = order[i];
            sorted[kept] = sorted[i];
            ++kept;
        }
    }
    return kept;
}

// What no bundle with this beginning exceeds: of the candidates from `first` on that may join it,
// the best while their channel has room. Offers and categories of the rest are ignored.
DEVICE double reach(const Row& row, const int* bundle, int depth, double total, int first, int most,
                    int count, const short* order, const double* sorted) {
    int picked[MOST_BUNDLE];
    int picks = depth;
    for (int j = first; j < count && picks < most; ++j) {
        const int a = order[j];
        if (!fits(row, bundle, depth, a)) continue;
        int in_channel = 0;
        for (int i = 0; i < depth; ++i) in_channel += row.channel[bundle[i]] == row.channel[a];
        for (int i = depth; i < picks; ++i) in_channel += row.channel[picked[i]] == row.channel[a];
        if (in_channel < row.channel_most[row.channel[a] * row.subscribers + row.s]) {
            picked[picks++] = a;
            total += sorted[j];
        }
    }
    return total;
}

// Exact search for the best bundle of at most `most` actions and the second best: depth first over
// the sorted candidates; a branch ends when what it can reach does not beat the second best. The
// second best may be the best with an action of no positive surplus added.
template <class Surplus>
DEVICE double best_bundle(const Row& row, const Surplus& surplus, int actions, int most, int width,
                          int* best, int* other) {
    short order[MOST_ACTIONS];
    double sorted[MOST_ACTIONS];
    const int count = candidates(row, surplus, actions, most, order, sorted);
    int next[MOST_BUNDLE + 1], bundle[MOST_BUNDLE];
    double sum[MOST_BUNDLE + 1];
    double best_sum = 0.0, other_sum = -LARGEST;
    int depth = 0;
    next[0] = 0;
    sum[0] = 0.0;
    while (depth >= 0) {
        const int i = next[depth];
        bool open = depth < most && i < count;
        if (open) {
            double highest = sum[depth];  // the cheaper bound first
            for (int d = depth; d < most; ++d) highest += sorted[i];
            open = highest > other_sum &&
                   reach(row, bundle, depth, sum[depth], i, most, count, order, sorted) > other_sum;
        }
        if (!open) {
            --depth;
            continue;
        }
        next[depth] = i + 1;
        if (!fits(row, bundle, depth, order[i])) continue;
        bundle[depth] = order[i];
        const double total = sum[depth] + sorted[i];
        if (total > best_sum) {
            other_sum = best_sum;
            for (int d = 0; d < width; ++d) other[d] = best[d];
            best_sum = total;
            for (int d = 0; d < width; ++d) best[d] = d <= depth ? bundle[d] : -1;
        } else if (total > other_sum) {
            other_sum = total;
            for (int d = 0; d < width; ++d) other[d] = d <= depth ? bundle[d] : -1;
        }
        ++depth;
        next[depth] = i + 1;
        sum[depth] = total;
    }
    int size = 0;
    while (size < width && best[size] >= 0) ++size;
    for (int a = 0; a < actions && size < most; ++a) {
        const double value = surplus(a);
        if (value <= 0.0 && best_sum + value > other_sum && fits(row, best, size, a)) {
            other_sum = best_sum + value;
            for (int d = 0; d < width; ++d) other[d] = d < size ? best[d] : -1;
            other[size] = a;
        }
    }
    return best_sum - other_sum;
}

// Fills in the best bundle and the second best; returns the margin between them, infinite where
// nothing is allowed. One action takes one pass and no memory of its own.
template <class Surplus>
DEVICE double two_best(const Row& row, const Surplus& surplus, int actions, int most, int width,
                       int* best, int* other) {
    for (int i = 0; i < width; ++i) best[i] = other[i] = -1;
    if (most == 0) return LARGEST;
    if (most > 1) return best_bundle(row, surplus, actions, most, width, best, other);
    double best_surplus = 0.0, other_surplus = -LARGEST;
    for (int a = 0; a < actions; ++a) {
        const double value = surplus(a);
        if (value > best_surplus) {  // strict: the first of equals wins
            other_surplus = best_surplus;
            other[0] = best[0];
            best_surplus = value;
            best[0] = a;
        } else if (value > other_surplus) {
            other_surplus = value;
            other[0] = a;
        }
    }
    return best_surplus - other_surplus;
}

DEVICE void count(long long* tally, double p, double w) {
    const long long accepts = (long long)(p * 16777216.0), units = (long long)(w * 1024.0);
    ADD_INT64(tally, 1);
    ADD_INT64(tally + 1, accepts);
    ADD_INT64(tally + 2, units);
    ADD_INT64(tally + 3, units * accepts);
}

extern "C" __global__ void choose(
    const float* propensity,             // [A, S] in [0, 1], NaN where the action is not open
    const float* weight,                 // [S] weight of the subscriber's value
    const int* group,                    // [S] scope group, 0 <= group < G
    const unsigned char* most,           // [S] actions at most
    const unsigned char* channel_most,   // [C, S]
    const unsigned char* category_most,  // [H, S]
    const int* offer,                    // [A]
    const int* channel,                  // [A]
    const int* category,                 // [A]
    const double* value_fixed,           // [A] money per contact
    const double* value_accept,          // [A] money per acceptance
    const double* price_fixed,           // [G, A] money per contact, at the prices
    const double* price_accept,          // [G, A] money per acceptance, at the prices
    long long subscribers,               // S
    int actions,                         // A
    int width,                           // Q
    short* chosen,                       // [Q, S] out: actions of the bundle, then -1
    float* margin,                       // [S] out: money
    long long* tally)                    // [G, A, 4] in/out: contacts, p, w, w p in grid units
{
    ROWS(s, subscribers) {
        const Row row = {propensity, channel_most, category_most, offer, channel, category,
                         subscribers, s};
        const long long table = (long long)group[s] * actions;
        const double w = weight[s];
        const AtPrices surplus = {row, value_fixed, value_accept, price_fixed + table,
                                  price_accept + table, w};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        margin[s] = (float)two_best(row, surplus, actions, most[s], width, best, other);
        for (int i = 0; i < width; ++i) {
            chosen[i * subscribers + s] = (short)best[i];
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[best[i] * subscribers + s], w);
        }
    }
}

extern "C" __global__ void within(
    const short* chosen,                 // [Q, S]
    const float* margin,                 // [S] money
    const int* group,                    // [S]
    const double* reach,                 // [G, 1 + A] money, of no action and of each
    long long subscribers,               // S
    int actions,                         // A
    int width,                           // Q
    unsigned char* near)                 // [S] out: 1 where the margin is less than the reach
{
    ROWS(s, subscribers) {
        const double* reaches = reach + (long long)group[s] * (actions + 1);
        double within = chosen[s] < 0 ? reaches[0] : 0.0;
        for (int i = 0; i < width; ++i) {
            const int a = chosen[i * subscribers + s];
            if (a >= 0) within += reaches[a + 1];
        }
        near[s] = (double)margin[s] < within;
    }
}

// The use that a switch from one bundle to another changes, constraint by constraint.
struct Difference {
    const long long* constraint;
    const double *fixed, *accept;
    long long at[2 * MOST_BUNDLE], end[2 * MOST_BUNDLE];  // entries not yet told, of each action
    double p[2 * MOST_BUNDLE], sign[2 * MOST_BUNDLE];
    int lists;

    // Tell the next constraint and the change of its use; false when there are no more.
    DEVICE bool next(long long& k, double& amount) {
        k = -1;
        for (int i = 0; i < lists; ++i)
            if (at[i] < end[i] && (k < 0 || constraint[at[i]] < k)) k = constraint[at[i]];
        if (k < 0) return false;
        bool first = true;
        for (int i = 0; i < lists; ++i) {
            if (at[i] == end[i] || constraint[at[i]] != k) continue;
            const double more = sign[i] * (fixed[at[i]] + accept[at[i]] * p[i]);
            amount = first ? more : amount + more;
            first = false;
            ++at[i];
        }
        return true;
    }
};

extern "C" __global__ void curve(
    const float* propensity,             // as in choose
    const float* weight,
    const int* group,
    const unsigned char* most,
    const unsigned char* channel_most,
    const unsigned char* category_most,
    const int* offer,
    const int* channel,
    const int* category,
    const double* value_fixed,
    const double* value_accept,
    const double* price_fixed,
    const double* price_accept,
    const long long* first,              // [G A + 1] entries of a cell
    const long long* constraint,         // [N] increasing within a cell
    const double* use_fixed,             // [N]
    const double* use_accept,            // [N]
    double bandwidth,                    // money
    double unit,                         // squares are summed in whole numbers of 1 / unit
    long long subscribers,               // S
    int actions,                         // A
    int width,                           // Q
    long long constraints,               // K
    long long* tally,                    // [G, A, 4] in/out
    long long* curvature,                // [K, K] in/out: lower triangle
    long long* near)                     // [1] in/out: rows with a margin below the bandwidth
{
    ROWS(s, subscribers) {
        const Row row = {propensity, channel_most, category_most, offer, channel, category,
                         subscribers, s};
        const long long table = (long long)group[s] * actions;
        const AtPrices surplus = {row, value_fixed, value_accept, price_fixed + table,
                                  price_accept + table, weight[s]};
        int best[MOST_BUNDLE], other[MOST_BUNDLE];
        const double margin = two_best(row, surplus, actions, most[s], width, best, other);
        for (int i = 0; i < width; ++i)
            if (best[i] >= 0)
                count(tally + 4 * (table + best[i]), propensity[best[i] * subscribers + s],
                      weight[s]);
        if (!(margin < bandwidth)) continue;
        ADD_INT64(near, 1);
        Difference difference = {constraint, use_fixed, use_accept, {}, {}, {}, {}, 0};
        for (int side = 0; side < 2; ++side)
            for (int i = 0; i < width; ++i) {
                const int a = side ? other[i] : best[i];
                if (a < 0) continue;
                const int l = difference.lists++;
                difference.at[l] = first[table + a];
                difference.end[l] = first[table + a + 1];
                difference.p[l] = propensity[a * subscribers + s];
                difference.sign[l] = side ? -1.0 : 1.0;
            }
        long long k, j;
        double amount = 0.0, more = 0.0;
        for (Difference outer = difference; outer.next(k, amount);)
            for (Difference inner = difference; inner.next(j, more) && j <= k;)
                ADD_INT64(curvature + k * constraints + j, (long long)rint(amount * more * unit));
    }
}
