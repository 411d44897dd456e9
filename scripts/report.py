"""Writes a page about a run, or about several side by side; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("report")
