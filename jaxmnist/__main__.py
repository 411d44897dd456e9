"""Entry point of `python -m jaxmnist`, which is the `jaxmnist` command."""

from jaxmnist.cli.main import main

if __name__ == "__main__":
    main()
