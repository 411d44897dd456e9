"""Damaged checkpoints, and runs resumed from each of their steps."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jaxmnist.errors import CheckpointError
from jaxmnist.runs.about import SCHEMA
from jaxmnist.runs.folder import METRICS
from tests.torture import program, states, steps
from tests.torture.battery import Attack, Trial, error_of

TRUNCATIONS = 64


def truncated_states(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Truncates a file of the newest checkpoint at a random byte, in the last trial to nothing."""
    damaged = _prepare(folder)
    files, sizes = _files(damaged)
    for trial in range(trials):

        def cut(trial: int = trial) -> None:
            at = 0 if trial == trials - 1 else int(random.integers(0, sum(sizes)))
            number, offset = _place(sizes, at)
            _assert_noticed(damaged, files[number], lambda content: content[:offset])

        yield cut


def flipped_bits(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Flips a random bit in the files of the newest checkpoint."""
    damaged = _prepare(folder)
    files, sizes = _files(damaged)
    for _ in range(trials):

        def flip() -> None:
            number, offset = _place(sizes, int(random.integers(0, sum(sizes))))
            bit = 1 << int(random.integers(0, 8))

            def change(content: bytes) -> bytes:
                return content[:offset] + bytes([content[offset] ^ bit]) + content[offset + 1 :]

            _assert_noticed(damaged, files[number], change)

        yield flip


def mixed_states(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Deletes files of the newest checkpoint, or replaces them or all of it by the previous one's."""
    damaged = _prepare(folder)
    newest, previous = _newest(damaged)
    files = [path for path in newest.rglob("*") if path.is_file()]
    for trial in range(trials):

        def mix(trial: int = trial) -> None:
            backup = folder / "backup"
            shutil.copytree(newest, backup)
            try:
                file = files[trial % len(files)]
                twin = previous / file.relative_to(newest)
                if trial == 0:
                    shutil.rmtree(newest)
                    shutil.copytree(previous, newest)
                elif trial % 2 and twin.exists():
                    shutil.copy(twin, file)
                else:
                    file.unlink()
                if file.exists() and file.read_bytes() == (backup / file.relative_to(newest)).read_bytes():
                    file.unlink()
                _assert_previous_is_used(damaged)
            finally:
                shutil.rmtree(newest)
                backup.rename(newest)

        yield mix


def damaged_metrics(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Deletes, truncates or changes metrics.jsonl, which a resumed run restores."""
    whole = program.train(folder / "whole")
    content = (whole / METRICS).read_bytes()
    damages: list[Callable[[], bytes | None]] = [
        lambda: None,
        lambda: content[: int(random.integers(0, content.index(b"\n")))],
        lambda: content.replace(b'"epoch": 1', b'"epoch": 7'),
        lambda: bytes(random.integers(0, 256, 200, np.uint8)),
    ]
    for trial in range(trials):

        def damage(trial: int = trial) -> None:
            run = folder / f"{trial}"
            shutil.copytree(whole, run)
            changed = damages[trial % len(damages)]()
            (run / METRICS).unlink()
            if changed is not None:
                (run / METRICS).write_bytes(changed)
            done = program.call(*program.TRAIN, "--resume", run)
            assert (run / METRICS).read_bytes() == content, "the lines are not those of the run"
            assert "differs from the run's checkpoint" in done.stderr, "there is no warning"

        yield damage


def resume_at_every_step(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Stops a run after a step and resumes it to the same end, for every step of a short run."""
    del random
    whole = steps.trained(folder / "whole")
    for step in np.linspace(1, steps.TOTAL, trials).round().astype(int).tolist():

        def resume(step: int = step) -> None:
            run = steps.stopped(folder / f"{step}", step)
            steps.go_on(run)
            states.assert_equal_runs(run, whole)
            shutil.rmtree(run.parent)

        yield resume


def other_schemas(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Gives a checkpoint another schema, arch, configuration, step or other arrays; the error names both sides."""
    del random
    whole = _prepare(folder)
    newest, _ = _newest(whole)
    held = json.loads((newest / "about.json").read_text())["shapes"]
    kernel = "state/params/conv1/kernel"
    others = {path: shape for path, shape in held.items() if path != kernel}
    half = {kernel: held[kernel].replace("float32", "float16")}
    changes: list[tuple[dict[str, object], str]] = [
        (
            {"schema": SCHEMA + 1, "versions": {"jaxmnist": "9.0.0"}},
            f"schema {SCHEMA + 1}.*reads schema {SCHEMA}; use jaxmnist 9.0.0",
        ),
        (
            {"schema": 0, "versions": {"jaxmnist": "0.0.1"}},
            f"schema 0.*reads schema {SCHEMA}; use jaxmnist 0.0.1",
        ),
        ({"arch": "third"}, "of arch 'third', not 'second'"),
        ({"shapes": {}}, "holds nothing at metrics/bad_step.*needs int32"),
        ({"shapes": others}, f"holds nothing at {kernel}.*needs float32"),
        ({"shapes": others | half}, f"holds float16.* at {kernel}.*needs float32"),
        (
            {"shapes": held | {"state/params/other/bias": "float32[8]"}},
            "holds float32.8. at .*/other/bias.*nothing",
        ),
        ({"step": 1}, "it is the checkpoint of step 1"),
    ]
    for trial in range(trials):

        def change(trial: int = trial) -> None:
            changed, message = changes[trial % len(changes)]
            about = newest / "about.json"
            before = about.read_text()
            try:
                about.write_text(states.sealed(json.loads(before) | changed))
                states.assert_says(whole, message)
            finally:
                about.write_text(before)

        yield change


def _prepare(folder: Path) -> Path:
    return steps.trained(folder / "run")


def _newest(run: Path) -> tuple[Path, Path]:
    """Returns the folders of the newest checkpoint and the one before it."""
    names = sorted((run / "checkpoints").iterdir(), key=lambda state: int(state.name), reverse=True)
    return names[0], names[1]


def _files(run: Path) -> tuple[list[Path], list[int]]:
    files = sorted(path for path in _newest(run)[0].rglob("*") if path.is_file())
    return files, [file.stat().st_size for file in files]


def _place(sizes: list[int], at: int) -> tuple[int, int]:
    """Returns the file, and the position in it, of a byte of the concatenated files."""
    ends = np.cumsum(sizes)
    number = int(np.searchsorted(ends, at, side="right"))
    return number, at - int(ends[number] - sizes[number])


def _assert_noticed(run: Path, file: Path, change: Callable[[bytes], bytes]) -> None:
    content = file.read_bytes()
    try:
        file.write_bytes(change(content))
        _assert_previous_is_used(run)
    finally:
        file.write_bytes(content)


def _assert_previous_is_used(run: Path) -> None:
    newest, previous = _newest(run)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        snapshot = states.read(run)
    assert int(snapshot.state.step) == int(previous.name), "the damaged state was used"
    said = [str(warning.message) for warning in caught]
    assert len(said) == 1, f"there are {len(said)} warnings"
    assert str(newest) in said[0], f"the damaged state is not named in {said[0]}"
    assert str(previous) in said[0], f"the state used is not named in {said[0]}"


def nothing_intact(trials: int, folder: Path, random: np.random.Generator) -> Iterator[Trial]:
    """Damages all checkpoints; the error names each of them."""
    run = _prepare(folder)
    for _ in range(trials):

        def damage_all() -> None:
            folders = _newest(run)
            kept = {}
            try:
                for state in folders:
                    file = state / "about.json"
                    kept[file] = file.read_bytes()
                    file.write_bytes(kept[file][: int(random.integers(0, len(kept[file]) - 2))])
                error = error_of(CheckpointError, lambda: states.read(run))
                assert error, "a damaged state was used"
                assert all(str(state) in str(error) for state in folders), str(error)
            finally:
                for file, content in kept.items():
                    file.write_bytes(content)

        yield damage_all


ATTACKS = (
    Attack("truncated-state", TRUNCATIONS + 1, 8, truncated_states),
    Attack("flipped-bit", 500, 20, flipped_bits),
    Attack("mixed-state", 30, 6, mixed_states),
    Attack("nothing-intact", 5, 1, nothing_intact),
    Attack("damaged-metrics", 4, 0, damaged_metrics),
    Attack("resume-at-every-step", steps.TOTAL, 4, resume_at_every_step),
    Attack("other-schema", 8, 8, other_schemas),
)
