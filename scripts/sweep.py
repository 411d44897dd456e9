"""Tries a training with many values of its recipe's fields; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("sweep")
