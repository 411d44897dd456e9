"""Exports a trained network to files for other programs; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("export")
