"""Runs the battery of attacks: `python -m tests.torture` makes all trials, `--short` a few of each attack."""

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from tests.torture.attacks import ATTACKS
from tests.torture.battery import markdown, read_outcomes, run_attack, table


def main() -> int:
    """Runs the chosen attacks; returns 1 if a trial failed."""
    names = [attack.name for attack in ATTACKS]
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few trials of each attack")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=names, help=f"attacks to run: {', '.join(names)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: 0)")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="also write the outcomes to a file; those of other attacks in it are kept",
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="run nothing; print such a file as a table"
    )
    options = parser.parse_args()
    if options.markdown:
        print(markdown(read_outcomes(options.markdown), ATTACKS))
        return 0
    kept = read_outcomes(options.json) if options.json else []
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        for attack in ATTACKS:
            if options.only and attack.name not in options.only:
                continue
            trials = attack.short if options.short else attack.trials
            print(f"{attack.name}: {trials:,} trials ...", file=sys.stderr, flush=True)
            outcomes.append(run_attack(attack, trials, Path(folder, attack.name), options.seed))
            # After each attack, since the whole battery takes an hour or two.
            print(table(outcomes[-1:]).split("\n", 1)[1], file=sys.stderr, flush=True)
            if options.json:
                made = {outcome.name: outcome for outcome in (*kept, *outcomes)}
                in_order = [dataclasses.asdict(made[name]) for name in names if name in made]
                values = {"seed": options.seed, "outcomes": in_order}
                options.json.write_text(json.dumps(values, indent=2) + "\n")
    print(table(outcomes))
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
