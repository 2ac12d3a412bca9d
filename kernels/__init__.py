"""Arrays in, arrays out: each operation for the CPU and for CUDA; the arrays choose."""
