"""Classifies images with a trained network; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("predict")
