// What chosen actions add up to, and what a switch between bundles moves; shared by sources.

#define MOST_BUNDLE 4  // actions of one bundle
#define MUST 128       // flag in `fewest`: the empty bundle is allowed only where no other is

// Add one contact to its cell: contacts, p, w, w p in whole grid units.
DEVICE void count(long long* tally, double p, double w) {
    const long long accepts = (long long)(p * 16777216.0), units = (long long)(w * 1024.0);
    ADD_INT64(tally, 1);
    ADD_INT64(tally + 1, accepts);
    ADD_INT64(tally + 2, units);
    ADD_INT64(tally + 3, units * accepts);
}

// The use that a switch from one bundle to another changes, constraint by constraint.
template <int MOST>
struct DifferenceOf {
    const long long* constraint;
    const double *fixed, *accept;
    long long at[MOST], end[MOST];  // entries not yet told, of each action
    double p[MOST], sign[MOST];
    int lists;

    // List the entries of an action with its propensity; those of the other side are taken off.
    DEVICE void list(const long long* entries, double propensity, bool other) {
        at[lists] = entries[0];
        end[lists] = entries[1];
        p[lists] = propensity;
        sign[lists++] = other ? -1.0 : 1.0;
    }

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

using Difference = DifferenceOf<2 * MOST_BUNDLE>;

// Add the products of the changed uses to the curvature's lower triangle, [K, K] in 1 / unit.
template <class Difference>
DEVICE void add_squares(const Difference& difference, double unit, long long constraints,
                        long long* curvature) {
    long long k, j;
    double amount = 0.0, more = 0.0;
    for (Difference outer = difference; outer.next(k, amount);)
        for (Difference inner = difference; inner.next(j, more) && j <= k;)
            ADD_INT64(curvature + k * constraints + j, (long long)rint(amount * more * unit));
}
