"""What `jaxmnist.diagnostics.doctor` found, in the terminal."""

from typing import Any

from rich.console import Console

NO_REMEDY = (
    "neither a fresh compilation nor other settings mended it, so install the versions of constraints.txt, or "
    "another jaxlib"
)


def print_survey(console: Console, facts: dict[str, Any], notes: list[str]) -> None:
    """Versions, machine, folders, data, and a line for each thing worth a word."""
    versions, machine, data = facts["versions"], facts["machine"], facts["data"]
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in versions["packages"].items())
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.1f} GiB of memory"
    _line(
        console,
        "versions",
        f"jaxmnist {versions['jaxmnist'] or '(sources)'}, Python {versions['python']}, {packages}",
    )
    _line(console, "machine", f"{machine['platform']}, {machine['cpus']} CPU cores{memory}")
    _line(console, "devices", f"{', '.join(machine['devices'])}; {machine['device']} is used")
    for name, folder in facts["folders"].items():
        _line(console, name, _folder(folder))
    _line(console, "MNIST", f"from {data['source']}" if data["source"] else data["reason"])
    for name, value in machine["environment"].items():
        _line(console, "variable", f"{name}={value}")
    for note in notes:
        _line(console, "note", note)


def print_check_heading(console: Console, archs: tuple[str, ...]) -> None:
    """That the numeric check begins, which takes a while."""
    several = archs[0] if len(archs) == 1 else f"{len(archs)} networks, some seconds each"
    _print(console, f"\nNumbers beside PyTorch's in double precision: largest differences ({several})")


def print_check(console: Console, check: dict[str, Any]) -> None:
    """One network's differences."""
    errors = "  ".join(
        f"{kind} {'not finite' if error is None else f'{error:.0e}'}"
        for kind, error in check["errors"].items()
    )
    verdict = "ok    " if check["passed"] else "FAILED" if check["failure"] else "WRONG "
    worst = "" if check["passed"] or check["failure"] else f"  (worst: {check['worst']})"
    _print(
        console,
        f"{check['arch']:<16}{verdict}  {check['failure'] or errors}  {check['seconds']:.1f} s{worst}",
    )


def print_search(console: Console) -> None:
    """That a remedy is looked for, which takes a while."""
    _print(console, "\nTrying what may mend it, each in a process of its own ...")


def print_passed(console: Console, checks: list[dict[str, Any]]) -> None:
    """That all is well, and what that means."""
    limits = ", ".join(f"{kind} {limit:.0e}" for kind, limit in checks[0]["tolerances"].items())
    seconds = sum(check["seconds"] for check in checks)
    _print(console, f"All numbers are right ({limits} are allowed); {seconds:.0f} s.")


def _folder(folder: dict[str, Any]) -> str:
    if folder["path"] is None:
        return "none: there is no home folder"
    state = "is not there yet" if not folder["there"] else f"{_size(folder['size'])} in it"
    writable = "" if folder["writable"] else ", NOT WRITABLE"
    return f"{folder['path']}: {state}{writable}, {_size(folder['free'])} free"


def _size(size: int | None) -> str:
    return (
        "an unknown size"
        if size is None
        else f"{size / 1e9:,.1f} GB"
        if size >= 10**9
        else f"{size / 1e6:,.1f} MB"
    )


def _line(console: Console, name: str, text: str) -> None:
    _print(console, f"{name:<21}{text}")


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
