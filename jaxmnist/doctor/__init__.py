"""Is this machine fit to run the package? What is installed, where things lie, and whether the numbers are right."""
