"""Tries a training with other values of its recipe; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("sweep")
