"""Compares runs with each other and with the published figures; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("compare")
