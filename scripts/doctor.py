"""Checks this machine and the numbers it computes; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("doctor")
