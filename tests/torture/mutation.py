"""Mutations of bytes, as from broken disks, broken transfers and attackers."""

from collections.abc import Callable

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
