"""Repeats a training over many seeds; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("study")
