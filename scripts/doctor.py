"""Looks at this machine, and whether it computes the right numbers; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("doctor")
