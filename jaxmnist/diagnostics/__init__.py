"""Measurements of speed and of numerical correctness on the machine at hand."""
