"""Photographs of handwritten digits: MNIST's digits on paper, boards and desks of our own making."""
