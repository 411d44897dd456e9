"""The report of runs as a page: `run` of one, `runs` of several side by side."""
