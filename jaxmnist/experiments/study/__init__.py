"""Studies: the same training over many seeds, with statistics."""
