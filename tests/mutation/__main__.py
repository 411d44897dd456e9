"""Puts faults into a copy of the code, one at a time, and counts those that the tests notice.

A fault that is caught in the file of results is not tried again while it and its tests are named as they were.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.mutation.battery import Outcome, changed_since, copied, run_fault, run_tests
from tests.mutation.faults import Fault, read_faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries the chosen faults; returns 1 if one survived or could not be tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--part", default="1/1", metavar="I/N", help="the I-th of N equal parts")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="rooms, files, or parts of the names of faults"
    )
    parser.add_argument("--changed", metavar="REF", help="faults in files that differ from a revision")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file of results, read first and kept up to date"
    )
    parser.add_argument(
        "--clean", action="store_true", help="run the tests without any fault first: all must pass"
    )
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="run nothing; print a file of results as a table"
    )
    parser.add_argument("--list", action="store_true", help="only print the names of the faults")
    options = parser.parse_args(arguments)
    faults = chosen(read_faults(), options.part, options.only, options.changed)
    if options.list:
        print("\n".join(f"{fault.room}: {fault.name}" for fault in faults))
        return 0
    if options.markdown:
        print(markdown(faults, read_outcomes(options.markdown)))
        return 0
    kept = read_outcomes(options.out) if options.out else {}
    found = []
    with copied() as copy:
        if options.clean and run_tests(sorted({test for fault in faults for test in fault.tests}), copy):
            print("The tests fail without any fault.", file=sys.stderr)
            return 1
        for number, fault in enumerate(faults, 1):
            outcome = kept.get(fault.name)
            if outcome is None or outcome.verdict != "caught" or outcome.digest != fault.digest:
                first = None if outcome is None else outcome.first
                outcome = run_fault(fault, copy)
                line = f"{outcome.verdict}: {fault.name} ({outcome.seconds:.0f} s)"
                print(f"{number}/{len(faults)} {line}", flush=True)
                outcome = outcome._replace(first=first or outcome.verdict)
            found.append(outcome)
            if options.out:
                kept[fault.name] = outcome
                values = [outcome._asdict() for outcome in kept.values()]
                options.out.write_text(json.dumps(values, indent=1) + "\n")
    counts = Counter(outcome.verdict for outcome in found)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "no fault is chosen")
    for outcome in found:
        if outcome.verdict != "caught":
            print(f"{outcome.verdict}: {outcome.name}")
    return int(counts["caught"] < len(found))


def markdown(faults: Sequence[Fault], outcomes: Mapping[str, Outcome]) -> str:
    """Returns a table for docs/reliability.md, a line for each room, of the faults with a result."""
    rooms: dict[str, list[Outcome]] = {}
    for fault in faults:
        outcome = outcomes.get(fault.name)
        if outcome is not None and outcome.digest == fault.digest:
            rooms.setdefault(fault.room, []).append(outcome)
    lines = ["| room | faults | caught | caught at first |", "|---|---|---|---|"]
    rooms = {name: rooms[name] for name in sorted(rooms)} | {
        "all": [one for tried in rooms.values() for one in tried]
    }
    for name, tried in rooms.items():
        caught = [sum(getattr(one, when) == "caught" for one in tried) for when in ("verdict", "first")]
        lines.append(f"| {name} | {len(tried)} | {caught[0]} | {caught[1]} |")
    return "\n".join(lines)


def chosen(faults: list[Fault], part: str, only: Sequence[str] | None, revision: str | None) -> list[Fault]:
    """Returns the faults that the options choose."""
    if only:
        faults = [
            fault
            for fault in faults
            if any(word in (fault.room, fault.file) or word in fault.name for word in only)
        ]
    if revision is not None:
        changed = changed_since(revision)
        faults = [fault for fault in faults if fault.file in changed]
    index, parts = map(int, part.split("/"))
    return faults[index - 1 :: parts]


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Reads a file of results; empty if there is none."""
    values = json.loads(path.read_text()) if path.is_file() else []
    return {value["name"]: Outcome(**value) for value in values}


if __name__ == "__main__":
    sys.exit(main())
