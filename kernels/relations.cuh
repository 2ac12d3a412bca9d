// What actions require of one another, and the best of single actions; shared by sources.
// `Rules` has `requires_one`, [R, A, W] bits of those of which one is required, and its sizes
// `actions` A, `words` W and `requirements` R; `Row` has `rules`, `must` and `least`.

DEVICE bool has_bit(const long long* words, int a) { return words[a >> 6] >> (a & 63) & 1; }

template <class Rules>
DEVICE const long long* required(const Rules& rules, int r, int a) {
    return rules.requires_one + ((long long)r * rules.actions + a) * rules.words;
}

template <class Rules>
DEVICE bool needs(const Rules& rules, int r, int a) {
    for (int word = 0; word < rules.words; ++word)
        if (required(rules, r, a)[word] != 0) return true;
    return false;
}

// Has every action of the bundle what it requires?
template <class Rules>
DEVICE bool is_complete(const Rules& rules, const int* bundle, int count) {
    for (int r = 0; r < rules.requirements; ++r)
        for (int i = 0; i < count; ++i) {
            bool met = !needs(rules, r, bundle[i]);
            for (int j = 0; j < count; ++j) met |= has_bit(required(rules, r, bundle[i]), bundle[j]);
            if (!met) return false;
        }
    return true;
}

// One action takes one pass and no memory of its own, for any number of actions.
template <class Row, class Surplus>
DEVICE double best_single(const Row& row, const Surplus& surplus, int* best, int* other) {
    if (row.least > 1) return INFINITE;
    double best_surplus = row.must ? -INFINITE : 0.0, second = -INFINITE;
    for (int a = 0; a < row.rules.actions; ++a) {
        const double value = surplus(a);
        bool is_free = value > second;
        for (int r = 0; is_free && r < row.rules.requirements; ++r) is_free = !needs(row.rules, r, a);
        if (!is_free) continue;
        if (value > best_surplus) {  // strict: the first of equals wins
            second = best_surplus;
            best_surplus = value;
            other[0] = best[0];
            best[0] = a;
        } else {
            second = value;
            other[0] = a;
        }
    }
    return best_surplus > -INFINITE ? best_surplus - second : INFINITE;
}
