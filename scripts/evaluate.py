"""Evaluates a trained network on a dataset; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("evaluate")
