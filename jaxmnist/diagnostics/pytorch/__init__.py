"""The other side of `jaxmnist benchmark --torch`: PyTorch, eager, on the CPU, in a process of its own.

The only package that imports PyTorch. It needs nothing of the rest of jaxmnist, so that its process has no
second thread pool: it is told what to do in words and numbers.
"""
