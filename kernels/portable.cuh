// One loop for both sides: a grid-stride loop under CUDA, a plain loop on the host.
// Kernels that use ROWS and no shared memory also compile as C++, so tests run them without a GPU.
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define ROWS(i, n)                                                                   \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n);    \
         i += (long long)blockDim.x * gridDim.x)
#define DEVICE __device__ __forceinline__
// 64-bit integer sums do not depend on the order of the adds, so atomics keep the same bits.
#define ADD_INT64(place, amount) \
    atomicAdd((unsigned long long*)(place), (unsigned long long)(long long)(amount))
#else
#include <cmath>
#define __global__
#define DEVICE static inline
#define ROWS(i, n) for (long long i = 0; i < (n); ++i)
#define ADD_INT64(place, amount) (*(place) += (long long)(amount))
#endif
