"""Digits that touch: wide pieces are cut where the network is surer of what comes out."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxmnist.data.strokes import Strokes
from jaxmnist.inference.digit_parts import LEAST_HEIGHT, Part, image_of, part_of
from jaxmnist.train.network import Network

_WIDE = 1.15
"""Width from which a piece may be two digits, as a share of the typical height."""

_NARROW = 0.7
"""The same for digits that are said to touch."""

_MOST_PARTS = 6
"""Most digits that one piece is split into."""

_CUT_COST = 0.3
"""Cost of each part, in natural logarithms of probability: a whole is as good as slightly likelier parts.

Parts that are ahead of other digits by less are doubtful. Of lines of four touching digits from training images that
has 37 of the 42 misread ones, and 13 of the 108 others."""


def split_touching(
    network: Network, found: Strokes, parts: list[Part], height: float, touching: bool
) -> list[Part]:
    """Cuts wide parts where the network is surer of what comes out.

    Args:
        network: a network trained on digits.
        found: the ink of the picture.
        parts: its digits, some of which may be several.
        height: typical height of a digit in pixels.
        touching: True if digits are said to touch, so that narrower parts are tried as well.
    """
    result, wide = [], _NARROW if touching else _WIDE
    for part in parts:
        is_one = part.width < wide * min(height, part.height)
        result += [part] if is_one else _best_cut(network, found, part, height)
    return result


def _best_cut(network: Network, found: Strokes, part: Part, height: float) -> list[Part]:
    """Returns the sequence of parts with the highest score; doubtful if other digits have nearly as high a one."""
    ink = found.ink[part.top : part.bottom, part.left : part.right] * part.mask
    paths = _paths(ink, height)
    walls = [np.zeros(part.height, int), *paths, np.full(part.height, part.width)]
    columns = np.arange(part.width)
    pieces: dict[tuple[int, int], Part] = {}
    for first, last in itertools.combinations(range(len(walls)), 2):
        between = (columns >= walls[first][:, None]) & (columns < walls[last][:, None]) & part.mask
        width = (walls[last] - walls[first]).mean()
        is_whole = (first, last) == (0, len(walls) - 1)
        if is_whole or (between.any() and 0.12 * height < width < 1.4 * height):
            piece = part_of(between, part.top, part.left)
            if is_whole or piece.height > LEAST_HEIGHT * height:
                pieces[first, last] = piece
    images = np.stack([image_of(found, piece, network.data_info.ink_side) for piece in pieces.values()])
    digits, shares = network.probabilities(images)
    scored = list(zip(pieces.items(), digits.tolist(), np.log(shares.max(1)) - _CUT_COST, strict=True))
    # For each wall the two best sequences of different digits that end there.
    best: dict[int, list[_Sequence]] = {0: [_Sequence(0.0, (), [])]}
    for end in range(1, len(walls)):
        options = [
            _Sequence(before.score + score, (*before.digits, digit), [*before.parts, piece])
            for ((first, last), piece), digit, score in scored
            if last == end
            for before in best[first]
            if len(before.parts) < _MOST_PARTS
        ]
        options.sort(key=lambda option: -option.score)
        others = [option for option in options if option.digits != options[0].digits]
        best[end] = [*options[:1], *others[:1]]
    chosen, *rivals = best[len(walls) - 1]
    is_doubtful = bool(rivals) and chosen.score - rivals[0].score < _CUT_COST
    return [part._replace(is_doubtful=is_doubtful) for part in chosen.parts]


class _Sequence(NamedTuple):
    """Parts that a piece may be cut into, from the left."""

    score: float
    digits: tuple[int, ...]
    parts: list[Part]


def _paths(ink: Float32[np.ndarray, "height width"], height: float) -> list[np.ndarray]:
    """Returns paths from top to bottom through little ink, one near each of several columns."""
    rows, width = ink.shape
    step = max(2, round(0.12 * height))
    paths = []
    for middle in range(step, width - step + 1, step):
        low, high = max(1, middle - step), min(width, middle + step)
        cost = ink[:, low:high] + 1e-3
        total = cost.copy()
        for row in range(1, rows):
            before = np.pad(total[row - 1], 1, constant_values=np.inf)
            total[row] += np.minimum(np.minimum(before[:-2] + 0.01, before[1:-1]), before[2:] + 0.01)
        path = np.empty(rows, int)
        path[-1] = int(np.argmin(total[-1]))
        for row in range(rows - 2, -1, -1):
            first = max(0, path[row + 1] - 1)
            path[row] = first + int(np.argmin(total[row, first : path[row + 1] + 2]))
        paths.append(path + low)
    unique = {path.tobytes(): path for path in paths}
    return sorted(unique.values(), key=lambda path: path.mean())
