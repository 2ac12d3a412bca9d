// Twin: saturation.py, saturation_cpu.
// Shapes: R rows (a subscriber at an instant).
#include "exponential.cuh"
#define FULL 64.0      // as in saturation.py
#define NONE -1100.0

extern "C" __global__ void saturation(
    const double* amount,  // [R] NaN is unknown
    double scale,          // amount that gives 1 / 2
    long long rows,        // R
    double* out)           // [R] out: 1 - 2 ** (-amount / scale)
{
    ROWS(r, rows) {
        double halvings = amount[r] / scale;
        if (halvings != halvings) {
            out[r] = halvings;
            continue;
        }
        halvings = halvings > FULL ? FULL : halvings < NONE ? NONE : halvings;
        double whole = floor(halvings);
        double part = exponential(-0.6931471805599453 * (halvings - whole));
        out[r] = 1.0 - ldexp(part, -(int)whole);
    }
}
