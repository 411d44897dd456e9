"""The same seed gives the same bytes in any process."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.torture import program, states
from tests.torture.battery import Attack, Trial


def same_seed_in_two_processes(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Trains one seed in two processes, to equal states, metrics and results."""
    for trial, seed in enumerate(random.integers(0, 2**31, trials).tolist()):

        def compare(trial: int = trial, seed: int = seed) -> None:
            first, second = (
                program.train(folder / f"{trial}-{name}", "--seed", str(seed), "--epochs", "1")
                for name in ("first", "second")
            )
            states.assert_equal_runs(first, second)

        yield compare


ATTACKS = (Attack("same-seed-twice", 5, 0, same_seed_in_two_processes),)
