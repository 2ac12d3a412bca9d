// Twin: choose.py, choose_cpu and settled_cpu.
// Shapes: S subscribers, A actions, C channels, H categories, G scope groups, Q most actions of any.
// Of equal bundles the first in the order of the search wins, as in the twin: same bits.

#define MOST_ACTIONS 512  // open actions of one subscriber that the bundle search can hold
#define MOST_BUNDLE 4     // actions of one bundle

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

// The least that a chosen action's surplus may fall to, the most that another's may rise to.
struct AtWorst {
    const AtPrices& at_prices;
    const double *spread_fixed, *spread_accept;  // of this group
    const short* chosen;                         // [Q, S]
    int width;                                   // Q

    DEVICE double operator()(int a) const {
        const Row& row = at_prices.row;
        const double p = row.propensity[a * row.subscribers + row.s];
        double spread = spread_fixed[a] + spread_accept[a] * p;
        for (int i = 0; i < width; ++i)
            if (chosen[i * row.subscribers + row.s] == a) spread = -spread;
        return at_prices(a) + spread;
    }
};

// Sort the positive surpluses, best first (ties: lowest action), and drop each action that `most`
// better ones of the same channel and category dominate.
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
        if (better < most) {
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

// Exact search for the best bundle of at most `most` actions: depth first over the sorted
// candidates; a branch ends when what it can reach does not beat the best.
template <class Surplus>
DEVICE void best_bundle(const Row& row, const Surplus& surplus, int actions, int most, int width,
                        int* best) {
    short order[MOST_ACTIONS];
    double sorted[MOST_ACTIONS];
    const int count = candidates(row, surplus, actions, most, order, sorted);
    int next[MOST_BUNDLE + 1], bundle[MOST_BUNDLE];
    double sum[MOST_BUNDLE + 1];
    double best_sum = 0.0;
    int depth = 0;
    next[0] = 0;
    sum[0] = 0.0;
    while (depth >= 0) {
        const int i = next[depth];
        bool open = depth < most && i < count;
        if (open) {
            double highest = sum[depth];  // the cheaper bound first
            for (int d = depth; d < most; ++d) highest += sorted[i];
            open = highest > best_sum &&
                   reach(row, bundle, depth, sum[depth], i, most, count, order, sorted) > best_sum;
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
            best_sum = total;
            for (int d = 0; d < width; ++d) best[d] = d <= depth ? bundle[d] : -1;
        }
        ++depth;
        next[depth] = i + 1;
        sum[depth] = total;
    }
}

// One action takes one pass and no memory of its own, for any number of actions.
template <class Surplus>
DEVICE void best_of(const Row& row, const Surplus& surplus, int actions, int most, int width,
                    int* best) {
    for (int i = 0; i < width; ++i) best[i] = -1;
    if (most > 1) {
        best_bundle(row, surplus, actions, most, width, best);
        return;
    }
    double best_surplus = 0.0;
    for (int a = 0; a < actions && most > 0; ++a) {
        const double value = surplus(a);
        if (value > best_surplus) {  // strict: the first of equals wins
            best_surplus = value;
            best[0] = a;
        }
    }
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
    long long groups,                    // G
    int width,                           // Q
    short* chosen,                       // [Q, S] out: actions of the bundle, then -1
    long long* tally)                    // [4, G, A] in/out: contacts, p, w, w p in grid units
{
    ROWS(s, subscribers) {
        const Row row = {propensity, channel_most, category_most, offer, channel, category,
                         subscribers, s};
        const long long table = (long long)group[s] * actions;
        const double w = weight[s];
        const AtPrices surplus = {row, value_fixed, value_accept, price_fixed + table,
                                  price_accept + table, w};
        int best[MOST_BUNDLE];
        best_of(row, surplus, actions, most[s], width, best);
        for (int i = 0; i < width; ++i) {
            chosen[i * subscribers + s] = (short)best[i];
            if (best[i] < 0) continue;
            const long long cell = table + best[i], cells = groups * actions;
            const long long p = (long long)((double)propensity[best[i] * subscribers + s] *
                                            16777216.0);
            const long long units = (long long)(w * 1024.0);
            ADD_INT64(tally + cell, 1);
            ADD_INT64(tally + cells + cell, p);
            ADD_INT64(tally + 2 * cells + cell, units);
            ADD_INT64(tally + 3 * cells + cell, units * p);
        }
    }
}

extern "C" __global__ void settled(
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
    const double* spread_fixed,          // [G, A] how far a contact's surplus may move, money
    const double* spread_accept,         // [G, A] and an acceptance's
    const short* chosen,                 // [Q, S] bundle at the prices
    long long subscribers,               // S
    int actions,                         // A
    int width,                           // Q
    unsigned char* still)                // [S] out: 1 when the bundle wins wherever surplus moves
{
    ROWS(s, subscribers) {
        const Row row = {propensity, channel_most, category_most, offer, channel, category,
                         subscribers, s};
        const long long table = (long long)group[s] * actions;
        const AtPrices at_prices = {row, value_fixed, value_accept, price_fixed + table,
                                    price_accept + table, weight[s]};
        const AtWorst surplus = {at_prices, spread_fixed + table, spread_accept + table, chosen,
                                 width};
        int best[MOST_BUNDLE];
        best_of(row, surplus, actions, most[s], width, best);
        bool same = true;  // as sets: the same number of actions, each among the chosen
        for (int i = 0; i < width; ++i) {
            bool found = false;
            for (int j = 0; j < width; ++j) found |= chosen[j * subscribers + s] == best[i];
            same &= found && (best[i] < 0) == (chosen[i * subscribers + s] < 0);
        }
        still[s] = same;
    }
}
