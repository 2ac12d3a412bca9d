// The binary logarithm of a whole number >= 1 in IEEE operations alone, so that both sides have the
// same bits. Twin: logarithm.py.
DEVICE double binary_logarithm(long long number)
{
    double rest = (double)number, halvings = 0.0;
    while (rest > 1.4142135623730951) {
        rest *= 0.5;
        halvings += 1.0;
    }
    double z = (rest - 1.0) / (rest + 1.0), series = 0.0;
    for (int term = 12; term > 0; --term) {
        series = series * (z * z) + 1.0 / (double)(2 * term - 1);
    }
    return halvings + z * series * 2.8853900817779268;
}
