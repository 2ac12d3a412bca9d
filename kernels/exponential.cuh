// e to the power of x in IEEE operations alone, so that both sides have the same bits; x <= 700.
// Twin: exponential.py. Within 2 units in the last place; below -745 it is 0.
DEVICE double exponential(double x)
{
    if (!(x >= -745.0)) {
        return x != x ? x : 0.0;
    }
    double halves = floor(x * 1.4426950408889634 + 0.5);
    double rest = (x - halves * 0.6931471803691238) - halves * 1.9082149292705877e-10;
    // 1 / n! of even and odd n from 2 on, the highest first: two short chains
    const double even_terms[7] = {
        1.1470745597729725e-11, 2.08767569878681e-09, 2.755731922398589e-07, 2.48015873015873e-05,
        0.001388888888888889, 0.041666666666666664, 0.5};
    const double odd_terms[6] = {
        1.6059043836821613e-10, 2.505210838544172e-08, 2.7557319223985893e-06,
        0.0001984126984126984, 0.008333333333333333, 0.16666666666666666};
    double square = rest * rest, even = 0.0, odd = 0.0;
    for (int term = 0; term < 7; ++term) {
        even = even * square + even_terms[term];
    }
    for (int term = 0; term < 6; ++term) {
        odd = odd * square + odd_terms[term];
    }
    return ldexp(1.0 + (rest + square * (even + odd * rest)), (int)halves);
}
