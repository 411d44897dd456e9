"""Puts runs beside each other and beside the published ones; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("compare")
