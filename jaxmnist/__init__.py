"""Small MNIST classifiers, done properly in JAX."""
