"""Draws training images before and after a recipe's augmentation; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("preview")
