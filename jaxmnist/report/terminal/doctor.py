"""Results of `jaxmnist.diagnostics.doctor` in the terminal."""

from typing import Any

from rich.console import Console

from jaxmnist.report.terminal import print_line

NO_REMEDY = (
    "neither a fresh compilation nor other settings fixed it, so install the versions of constraints.txt, or "
    "another jaxlib"
)


def print_survey(console: Console, facts: dict[str, Any], notes: list[str]) -> None:
    """Prints versions, machine, folders, data, and the notes."""
    versions, machine, data = facts["versions"], facts["machine"], facts["data"]
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in versions["packages"].items())
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.1f} GiB of memory"
    own = versions["jaxmnist"] or "(sources)"
    lines = [
        ("versions", f"jaxmnist {own}, Python {versions['python']}, {packages}"),
        ("machine", f"{machine['platform']}, {machine['cpus']} CPU cores{memory}"),
        ("devices", f"{', '.join(machine['devices'])}; {machine['device']} is used"),
        *((name, _folder(folder)) for name, folder in facts["folders"].items()),
        ("MNIST", f"from {data['source']}" if data["source"] else data["reason"]),
        *(("variable", f"{name}={value}") for name, value in machine["environment"].items()),
        *(("note", note) for note in notes),
    ]
    for name, text in lines:
        print_line(console, f"{name:<21}{text}")


def print_check(console: Console, check: dict[str, Any]) -> None:
    """Prints the differences of one network."""
    errors = "  ".join(
        f"{kind} {'not finite' if error is None else f'{error:.0e}'}"
        for kind, error in check["errors"].items()
    )
    verdict = "ok    " if check["passed"] else "FAILED" if check["failure"] else "WRONG "
    worst = "" if check["passed"] or check["failure"] else f"  (worst: {check['worst']})"
    outcome = f"{check['failure'] or errors}  {check['seconds']:.1f} s{worst}"
    print_line(console, f"{check['arch']:<16}{verdict}  {outcome}")


def print_passed(console: Console, checks: list[dict[str, Any]]) -> None:
    """Prints that all numbers are right, and the tolerances."""
    limits = ", ".join(f"{kind} {limit:.0e}" for kind, limit in checks[0]["tolerances"].items())
    seconds = sum(check["seconds"] for check in checks)
    print_line(console, f"All numbers are right ({limits} are allowed); {seconds:.0f} s.")


def _folder(folder: dict[str, Any]) -> str:
    if folder["path"] is None:
        return "none: there is no home folder"
    state = f"{_size(folder['size'])} used" if folder["there"] else "does not exist yet"
    writable = "" if folder["writable"] else ", NOT WRITABLE"
    return f"{folder['path']}: {state}{writable}, {_size(folder['free'])} free"


def _size(size: int | None) -> str:
    if size is None:
        return "an unknown size"
    return f"{size / 1e9:,.1f} GB" if size >= 10**9 else f"{size / 1e6:,.1f} MB"
