"""Measures training, evaluation and prediction; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("benchmark")
