"""Is this machine fit to run the package? What is installed, where things lie, and whether the numbers are right."""

QUICK = ("third", "dilated", "challenge_ll")
"""Networks that have every kind of layer between them, but for biases."""
