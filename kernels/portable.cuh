// One grid-stride loop for both sides. Kernels that use ROWS and no shared memory also compile as
// C++; tests then run them without a GPU, thread by thread over a small grid.
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define DEVICE __device__ __forceinline__
#define CALLED __device__ __noinline__  // what is long and called from several places
#define INFINITE __longlong_as_double(0x7ff0000000000000LL)
// 64-bit integer sums do not depend on the order of the adds, so atomics keep the same bits.
#define ADD_INT64(place, amount) \
    atomicAdd((unsigned long long*)(place), (unsigned long long)(long long)(amount))
#else
#include <cmath>
#define __global__
#define DEVICE inline
#define CALLED inline
#define INFINITE HUGE_VAL
#define ADD_INT64(place, amount) (*(place) += (long long)(amount))
struct Place {
    unsigned int x;
};
extern "C" {
Place gridDim = {1}, blockDim = {1}, blockIdx = {0}, threadIdx = {0};
}
#endif
#define ROWS(i, n)                                                                   \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n);    \
         i += (long long)blockDim.x * gridDim.x)
