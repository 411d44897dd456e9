"""PyTorch's side of `jaxmnist benchmark --torch`: eager, on the CPU, in its own process.

The only package that imports PyTorch. It imports nothing else of jaxmnist, so its process has no second thread pool;
its tasks arrive as words and numbers.
"""
