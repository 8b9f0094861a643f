"""Benchmarks: `python -m benchmarks` prints one table of figures, peers' figures from the same run, and the targets."""
