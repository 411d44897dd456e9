"""Training runs: the host loop, and everything in a run folder."""
