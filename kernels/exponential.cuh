// e to the power of x in IEEE operations alone, so that both sides have the same bits; x <= 700.
// Twin: exponential.py. Within 2 units in the last place; below -745 it is 0.
DEVICE double exponential(double x)
{
    if (!(x >= -745.0)) {
        return x != x ? x : 0.0;
    }
    double halves = floor(x * 1.4426950408889634 + 0.5);
    double rest = (x - halves * 0.6931471803691238) - halves * 1.9082149292705877e-10;
    double series = 1.0;
    for (int term = 14; term > 0; --term) {
        series = 1.0 + rest * series / (double)term;
    }
    return ldexp(series, (int)halves);
}
