"""A trained network in use: evaluation, prediction, export. Empty, so that `--help` does not load JAX."""
