"""The networks as PyTorch modules: exported as source text, and the other side of `jaxmnist benchmark --torch`.

A file for each of `jaxmnist.models`, with the same classes and, for their layers, the sources' names, so a `state_dict`
fits `jaxmnist.interop.torch`. They are the only modules here that import PyTorch, and nothing else of jaxmnist;
`jaxmnist.interop.pytorch.source` reads them as text.
"""
