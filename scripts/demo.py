"""Opens a page on which a trained network reads what is drawn; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("demo")
