"""Draws what a recipe's augmentation does to images; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("preview")
