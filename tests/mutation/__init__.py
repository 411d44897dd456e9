"""Single faults put into the code, each of which a test must notice: `python -m tests.mutation --help`."""
