"""Lists the layers of a network and their costs; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("summary")
