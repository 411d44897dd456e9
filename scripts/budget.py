"""Names the best network and recipe for a budget; `--help` lists the options."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main("budget")
