"""Opens a page in the browser where a network reads a drawn digit; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("demo")
