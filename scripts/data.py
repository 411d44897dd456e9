"""Shows what a dataset holds; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("data")
