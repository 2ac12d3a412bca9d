// Logarithms in IEEE operations alone, so that both sides have the same bits. Twin: logarithm.py.

// log2 of a whole number >= 1.
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

// ln(1 + y), y >= 0
DEVICE double logarithm_1p(double y)
{
    int halvings = 0;
    double z = y / (2.0 + y);
    if (y > 0.4) {
        double rest = frexp(1.0 + y, &halvings);
        if (rest < 0.5 * 1.4142135623730951) {
            rest *= 2.0;
            halvings -= 1;
        }
        z = (rest - 1.0) / (rest + 1.0);
    }
    double square = z * z, series = 0.0;
    for (int term = 12; term > 0; --term) {
        series = (series + 1.0 / (double)(2 * term + 1)) * square;
    }
    double low = (double)halvings * 1.9082149292705877e-10;
    return (double)halvings * 0.6931471803691238 + (2.0 * z + (2.0 * z * series + low));
}
