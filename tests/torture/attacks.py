"""All attacks there are, in the order in which they are run."""

import importlib.util
from importlib import import_module

from tests.torture.battery import Attack

_MODULES = ("interruptions", "damage", "guard", "disk", "folders", "repeats", "inputs", "surroundings")

ATTACKS: tuple[Attack, ...] = tuple(
    attack
    for module in _MODULES
    if importlib.util.find_spec(f"tests.torture.{module}")
    for attack in import_module(f"tests.torture.{module}").ATTACKS
)
