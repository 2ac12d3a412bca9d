// Twin: choose_pairs.py, choose_pairs_cpu and curve_pairs_cpu.
// Shapes: S subscribers, N pairs, M uses, A actions, K constraints, C channels, H categories,
// G classes, Q most pairs of any. Of equal bundles the first in the order of the search wins.

#define MOST_PAIRS 512  // pairs of one subscriber that the bundle search can hold
#define MOST_BUNDLE 4   // pairs of one bundle
#define LARGEST (1.0 / 0.0)

struct Lists {
    const long long* key;               // [S] its remainder modulo G is the class
    const long long* indptr;            // [S + 1] pairs of a subscriber
    const int* action;                  // [N] ascending within a subscriber
    const long long* value;             // [N] whole units
    const long long* use_first;         // [N + 1] uses of a pair
    const int* use_row;                 // [M] constraint, increasing within a pair
    const long long* use_amount;        // [M] whole units
    const unsigned char* most;          // [S] pairs at most
    const unsigned char* fewest;        // [S] 1 where the bundle may not be empty
    const unsigned char* channel_most;  // [C, S]
    const unsigned char* category_most; // [H, S]
    const int* offer;                   // [A]
    const int* channel;                 // [A]
    const int* category;                // [A]
    const double* price;                // [K] money per whole unit of the constraint
    double worth;                       // money per whole unit of value
    long long subscribers;              // S

    // Surplus of a pair at the prices, money; uses are added in their order.
    DEVICE double surplus(long long n) const {
        double paid = 0.0;
        for (long long e = use_first[n]; e < use_first[n + 1]; ++e)
            paid += price[use_row[e]] * (double)use_amount[e];
        return (double)value[n] * worth - paid;
    }

    // May pair `n` of subscriber s join the first `count` pairs of `bundle`?
    DEVICE bool joins(long long s, const long long* bundle, int count, long long n) const {
        const int a = action[n];
        int in_channel = 0, in_category = 0;
        for (int i = 0; i < count; ++i) {
            const int b = action[bundle[i]];
            if (offer[b] == offer[a]) return false;
            in_channel += channel[b] == channel[a];
            in_category += category[b] == category[a];
        }
        return in_channel < channel_most[channel[a] * subscribers + s] &&
               in_category < category_most[category[a] * subscribers + s];
    }

    // Adds a pair to its class's value and uses.
    DEVICE void count(long long n, long long* total) const {
        ADD_INT64(total, value[n]);
        for (long long e = use_first[n]; e < use_first[n + 1]; ++e)
            ADD_INT64(total + 1 + use_row[e], use_amount[e]);
    }
};

// Depth first over the pairs of positive surplus, best first; a branch ends when it cannot beat the
// second best. The second best may also be the best with another pair added.
DEVICE double best_bundle(const Lists& lists, long long s, int most, int width, long long* best,
                          long long* other) {
    int order[MOST_PAIRS];  // place in the subscriber's list
    double ranked[MOST_PAIRS];
    const long long low = lists.indptr[s], high = lists.indptr[s + 1];
    int count = 0;
    for (long long n = low; n < high; ++n) {
        const double v = lists.surplus(n);
        if (!(v > 0.0)) continue;
        int place = count;
        while (place > 0 && ranked[place - 1] < v) {
            ranked[place] = ranked[place - 1];
            order[place] = order[place - 1];
            --place;
        }
        ranked[place] = v;
        order[place] = (int)(n - low);
        ++count;
    }
    long long held[MOST_BUNDLE + 1];
    int follow[MOST_BUNDLE + 1];
    double total[MOST_BUNDLE + 1];
    double best_total = 0.0, other_total = -LARGEST;
    int depth = 0;
    follow[0] = 0;
    total[0] = 0.0;
    while (depth >= 0) {
        const int i = follow[depth];
        bool open = depth < most && i < count;
        if (open) {
            double highest = total[depth];
            for (int j = i; j < i + most - depth && j < count; ++j) highest += ranked[j];
            open = highest > other_total;
        }
        if (!open) {
            --depth;
            continue;
        }
        follow[depth] = i + 1;
        if (!lists.joins(s, held, depth, low + order[i])) continue;
        held[depth] = low + order[i];
        const double reached = total[depth] + ranked[i];
        if (reached > best_total) {
            other_total = best_total;
            for (int d = 0; d < width; ++d) other[d] = best[d];
            best_total = reached;
            for (int d = 0; d < width; ++d) best[d] = d <= depth ? held[d] : -1;
        } else if (reached > other_total) {
            other_total = reached;
            for (int d = 0; d < width; ++d) other[d] = d <= depth ? held[d] : -1;
        }
        ++depth;
        follow[depth] = i + 1;
        total[depth] = reached;
    }
    int size = 0;
    while (size < width && best[size] >= 0) ++size;
    for (long long n = low; n < high && size < most; ++n) {
        const double v = lists.surplus(n);
        if (v <= 0.0 && best_total + v > other_total && lists.joins(s, best, size, n)) {
            other_total = best_total + v;
            for (int d = 0; d < width; ++d) other[d] = d < size ? best[d] : -1;
            other[size] = n;
        }
    }
    return best_total - other_total;
}

// Fills in the best pairs and the second best; returns the margin between them, infinite where
// there is no second.
DEVICE double two_best(const Lists& lists, long long s, int width, long long* best,
                       long long* other) {
    for (int i = 0; i < width; ++i) best[i] = other[i] = -1;
    const int most = lists.most[s];
    if (most == 0) return LARGEST;
    if (most > 1) return best_bundle(lists, s, most, width, best, other);
    double b = lists.fewest[s] ? -LARGEST : 0.0, c = -LARGEST;
    for (long long n = lists.indptr[s]; n < lists.indptr[s + 1]; ++n) {
        const double v = lists.surplus(n);
        if (v > b) {  // strict: the first of equals wins
            c = b;
            other[0] = best[0];
            b = v;
            best[0] = n;
        } else if (v > c) {
            c = v;
            other[0] = n;
        }
    }
    return c > -LARGEST ? b - c : LARGEST;
}

#define LISTS                                                                                  \
    const long long *key, const long long *indptr, const int *action, const long long *value,  \
        const long long *use_first, const int *use_row, const long long *use_amount,           \
        const unsigned char *most, const unsigned char *fewest,                                \
        const unsigned char *channel_most, const unsigned char *category_most,                 \
        const int *offer, const int *channel, const int *category, const double *price

extern "C" __global__ void choose_pairs(
    LISTS,                  // as in Lists
    double worth,
    long long classes,      // G
    long long constraints,  // K
    long long subscribers,  // S
    int width,              // Q
    short* chosen,          // [Q, S] out: actions of the bundle, then -1
    float* margin,          // [S] out: money
    long long* total)       // [G, 1 + K] in/out: value and uses, whole units
{
    const Lists lists = {key, indptr, action, value, use_first, use_row, use_amount, most, fewest,
                         channel_most, category_most, offer, channel, category, price, worth,
                         subscribers};
    ROWS(s, subscribers) {
        long long best[MOST_BUNDLE], other[MOST_BUNDLE];
        margin[s] = (float)two_best(lists, s, width, best, other);
        long long* mine = total + key[s] % classes * (1 + constraints);
        for (int i = 0; i < width; ++i) {
            chosen[i * subscribers + s] = best[i] < 0 ? -1 : (short)action[best[i]];
            if (best[i] >= 0) lists.count(best[i], mine);
        }
    }
}

// The use that a switch from one bundle to another changes, constraint by constraint.
struct Difference {
    const int* row;
    const long long* amount;
    const double* step;
    long long at[2 * MOST_BUNDLE], end[2 * MOST_BUNDLE];  // uses not yet told, of each pair
    double sign[2 * MOST_BUNDLE];
    int lists;

    // Tell the next constraint and the change of its use; false when there are no more.
    DEVICE bool next(int& k, double& change) {
        k = -1;
        for (int i = 0; i < lists; ++i)
            if (at[i] < end[i] && (k < 0 || row[at[i]] < k)) k = row[at[i]];
        if (k < 0) return false;
        bool first = true;
        for (int i = 0; i < lists; ++i) {
            if (at[i] == end[i] || row[at[i]] != k) continue;
            const double more = sign[i] * ((double)amount[at[i]] * step[k]);
            change = first ? more : change + more;
            first = false;
            ++at[i];
        }
        return true;
    }
};

extern "C" __global__ void curve_pairs(
    LISTS,                  // as in Lists
    const double* step,     // [K] what a whole unit of a constraint counts in a change
    double worth,
    double bandwidth,       // money
    double unit,            // squares are summed in whole numbers of 1 / unit
    long long classes,      // G
    long long constraints,  // K
    long long subscribers,  // S
    int width,              // Q
    long long* total,       // [G, 1 + K] in/out
    long long* curvature,   // [K, K] in/out: lower triangle
    long long* near)        // [1] in/out: rows with a margin below the bandwidth
{
    const Lists lists = {key, indptr, action, value, use_first, use_row, use_amount, most, fewest,
                         channel_most, category_most, offer, channel, category, price, worth,
                         subscribers};
    ROWS(s, subscribers) {
        long long best[MOST_BUNDLE], other[MOST_BUNDLE];
        const double margin = two_best(lists, s, width, best, other);
        long long* mine = total + key[s] % classes * (1 + constraints);
        for (int i = 0; i < width; ++i)
            if (best[i] >= 0) lists.count(best[i], mine);
        if (!(margin < bandwidth)) continue;
        ADD_INT64(near, 1);
        Difference difference = {use_row, use_amount, step, {}, {}, {}, 0};
        for (int side = 0; side < 2; ++side)
            for (int i = 0; i < width; ++i) {
                const long long n = side ? other[i] : best[i];
                if (n < 0) continue;
                const int l = difference.lists++;
                difference.at[l] = use_first[n];
                difference.end[l] = use_first[n + 1];
                difference.sign[l] = side ? -1.0 : 1.0;
            }
        int k, j;
        double change = 0.0, more = 0.0;
        for (Difference outer = difference; outer.next(k, change);)
            for (Difference inner = difference; inner.next(j, more) && j <= k;)
                ADD_INT64(curvature + k * constraints + j, (long long)rint(change * more * unit));
    }
}
