"""Timings of the kernels, each checked against its definition or twin before it is timed."""
