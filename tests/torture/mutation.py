"""Mutations of bytes and of JSON values, as from broken disks, broken transfers and attackers."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np


def mutate(content: bytes, random: np.random.Generator, most: int = 4) -> bytes:
    """Returns a copy with up to `most` changes of different kinds, sometimes none."""
    for _ in range(random.integers(0, most + 1)):
        content = _CHANGES[random.integers(len(_CHANGES))](content, random)
    return content


def flip_bit(content: bytes, random: np.random.Generator) -> bytes:
    """Flips one bit."""
    if not content:
        return content
    position = _early(len(content), random)
    return replaced(content, position, bytes([content[position] ^ (1 << random.integers(8))]))


def truncate(content: bytes, random: np.random.Generator) -> bytes:
    """Cuts off the end, sometimes everything."""
    return content[: random.integers(len(content) + 1)]


def replaced(content: bytes, position: int, new: bytes) -> bytes:
    """Replaces the bytes from a position on."""
    return content[:position] + new + content[position + len(new) :]


def _extreme_word(content: bytes, random: np.random.Generator) -> bytes:
    """Replaces a number, such as a size in a header, by an extreme one."""
    words = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    word, order = int(random.choice(words)), random.choice(["big", "little"])
    size = int(random.choice([1, 2, 4]))
    new = (word % 256**size).to_bytes(size, "big" if order == "big" else "little")
    return replaced(content, _early(len(content), random), new)


def _cut_out(content: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(content) + 1))
    return content[:start] + content[start + random.integers(1, 64) :]


def _insert(content: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(content) + 1))
    return content[:start] + random.bytes(int(random.integers(1, 64))) + content[start:]


def _repeat(content: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(content) + 1))
    return content + content[start : start + 4096]


def _zero(content: bytes, random: np.random.Generator) -> bytes:
    start, length = int(random.integers(len(content) + 1)), int(random.integers(1, 4096))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _early(length: int, random: np.random.Generator) -> int:
    """Draws a position, half of the time among the first 64 bytes, where headers are."""
    return int(random.integers(max(1, min(length, 64) if random.random() < 0.5 else length)))


_CHANGES: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (
    *(flip_bit, truncate, _extreme_word, _extreme_word),
    *(_cut_out, _insert, _repeat, _zero),
)

_NESTED = "nested"
_DEEP = "[" * 100_000 + "]" * 100_000
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 0.5, 1e308, -1e308, 2**31, 2**63, 10**400, float("nan"), float("inf")),
    *("", "third", "../up", "a\0b", "\ud800", "a\nb", "\x1b[31m", "x" * 5_000, "x" * 400_000),
    *([], [[]], {}, {"name": "third"}, {"": 1}, [None] * 1_000, _NESTED),
)


def mutate_json(content: bytes, random: np.random.Generator) -> bytes:
    """Changes one thing, at any depth, in a JSON file or in a line of a JSON Lines file."""
    values = _values(content)
    at = random.integers(len(values))
    values[at] = _changed(values[at], random)
    return _lines(values)


def as_lines(content: bytes) -> bytes:
    """Returns JSON or JSON Lines as `mutate_json` would without a change."""
    return _lines(_values(content))


def _values(content: bytes) -> list[Any]:
    try:
        return [json.loads(content)]
    except ValueError:
        return [json.loads(line) for line in content.splitlines()]


def _lines(values: list[Any]) -> bytes:
    text = "".join(json.dumps(value) + "\n" for value in values)
    return text.replace(json.dumps(_NESTED), _DEEP).encode()


def _changed(value: Any, random: np.random.Generator) -> Any:
    """Returns a copy of a JSON value with a part removed, repeated, renamed or replaced by an odd one."""
    if not isinstance(value, dict | list) or not value or random.random() < 0.1:
        if isinstance(value, int | float) and random.random() < 0.3:
            return value * random.choice([-1, 0, 2, 1e300]).item()
        return _ODD_VALUES[random.integers(len(_ODD_VALUES))]
    copy: Any = value.copy()
    key: Any = (
        list(value)[random.integers(len(value))] if isinstance(value, dict) else random.integers(len(value))
    )
    kind = random.random()
    if kind < 0.2:
        del copy[key]
    elif kind < 0.3 and isinstance(copy, dict):
        copy[key + "x" * int(random.integers(1, 1000))] = copy.pop(key)
    elif kind < 0.3:
        copy.append(copy[key])
    else:
        copy[key] = _changed(copy[key], random)
    return copy
