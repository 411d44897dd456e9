"""Attacks on the real program: `python -m tests.torture --help`."""
