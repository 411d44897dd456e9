"""Finds a learning rate by a range test; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("find_lr")
