"""Check of a machine: versions, devices, folders and data, and whether networks compute the right numbers."""

QUICK = ("third", "dilated", "challenge_ll")
"""Networks that between them have every kind of layer except biases."""
