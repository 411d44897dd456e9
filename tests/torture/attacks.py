"""All attacks, in the order in which they run."""

from importlib import import_module

from tests.torture.battery import Attack

_MODULES = (
    "interruptions",
    "damage",
    "guard",
    "disk",
    "folders",
    "repeats",
    "inputs",
    "surroundings",
    "processes",
    "flips",
    "fuzzed_folders",
    "hostile_weights",
    "names",
    "servers",
)

ATTACKS: tuple[Attack, ...] = tuple(
    attack for module in _MODULES for attack in import_module(f"tests.torture.{module}").ATTACKS
)
