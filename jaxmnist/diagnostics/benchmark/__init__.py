"""Benchmarks: speed of a network beside PyTorch, growth of an epoch's time, profile of a step, start of `train`."""
