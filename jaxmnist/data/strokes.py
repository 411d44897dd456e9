"""Ink in photographs: strokes on paper or a board, apart from desk, shadows and printed lines.

The ground under the strokes is a morphological closing: it fills all that is narrower than a window and darker than its
surroundings, so edges of a page, shadows and light that falls off stay in it. The window shrinks to the width of the
strokes once these are known. Light ink is dark ink of the inverted picture; of the two readings the likelier one has
longer strokes, which differ from the median of their surroundings. `page/strokes.js` does the same in a browser.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads `ndimage` when it is first used, which takes 0.3 s
from jaxtyping import Bool, Float, Float32, Int32, UInt8

SIDE = 256
"""Longer side, in pixels, at which a photograph of one digit is searched: a digit of a tenth of it is still found."""

_WINDOW = 0.25
"""First window for the ground, as a share of the longer side: the boldest strokes of digits that fill a picture are
narrower."""
_RUN = 0.6
"""Ink along a border is shorter than this share of a side; anything longer is taken for a desk."""
_LEAST_CONTRAST = 0.03
"""Least share of the ground's light that ink takes away: three grey levels of a hundred."""
_FAINT = 0.2
"""Share of the full ink below which a pixel is ground."""
_SHARES = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Thresholds to try, as shares of the typical ink, until the main piece no longer spans the picture as lines do."""
_AROUND = np.ones((3, 3), bool)


class Pieces(NamedTuple):
    """Connected pieces of ink: arrays with a value for each."""

    labels: Int32[np.ndarray, "height width"]
    """Number of the piece a pixel belongs to, from 1; 0 for the ground."""
    boxes: Int32[np.ndarray, "pieces 4"]
    """Top, bottom, left, right; bottom and right are the first row and column beyond."""
    mass: Float[np.ndarray, " pieces"]
    """Sum of the ink."""
    level: Float[np.ndarray, " pieces"]
    """Typical ink: the mean weighted with itself, which ignores soft edges."""
    thickness: Int32[np.ndarray, " pieces"]
    """Side of the largest square within."""
    elongation: Float[np.ndarray, " pieces"]
    """Area in such squares: 4 and more for digits, 1 to 3 for blots and for gaps between strokes."""

    @property
    def main(self) -> int:
        """Index of the likeliest piece of writing: dark, large and long."""
        return int(np.argmax(self.mass * self.level * np.clip(self.elongation, 0.5, 6)))


class Strokes(NamedTuple):
    """Ink found in a picture."""

    ink: Float32[np.ndarray, "height width"]
    """Share of the full ink, from 0 to 1."""
    pieces: Pieces
    """Its connected pieces."""
    is_dark: bool
    """True for dark ink on a lighter ground."""
    score: float
    """Likelihood of the reading as dark or light ink, in no unit."""


def find_strokes(
    grey: UInt8[np.ndarray, "height width"], is_dark: bool | None = None, several: bool = False
) -> Strokes | None:
    """Finds the ink in a picture; None if there is none.

    Args:
        grey: 0 black, 255 white.
        is_dark: True for ink that is darker than its ground; None finds out.
        several: True for several digits, perhaps in frames, whose lines are thinner than the strokes.
    """
    even = scipy.ndimage.uniform_filter(np.asarray(grey, np.float32), 3, mode="nearest")
    typical = _median_around(even) if is_dark is None else even
    readings = [
        _read(even if dark else 255 - even, typical if dark else 255 - typical, dark, several)
        for dark in ((True, False) if is_dark is None else (is_dark,))
    ]
    found = [reading for reading in readings if reading is not None]
    return max(found, key=lambda reading: reading.score, default=None)


def _read(dark: np.ndarray, typical: np.ndarray, is_dark: bool, several: bool) -> Strokes | None:
    """Finds dark ink; `typical` is the median around each pixel."""
    size = _WINDOW * max(dark.shape)
    for run in (_RUN, None):
        ground = _ground(dark, size, run)
        found = _threshold(dark, ground)
        if found is None:
            return None
        # Ink that grows out of a dark edge is no desk's, but the bar of a 7 along the border, say.
        if run is None or not _touches_edge(found[1], ground):
            break
    window = 1.5 * _thickness(found[1], several) + 3
    if window < 0.7 * size:
        ground = _ground(dark, window, run)
        found = _threshold(dark, ground) or found
    ink, pieces = found
    within = ink > 0.5
    contrast = (ground - dark)[within].sum()
    novelty = np.clip((typical - dark)[within], 0, None).sum() / max(contrast, 1e-6)
    elongation = float(pieces.elongation[pieces.main])
    border = 2 if _is_even_border(dark) else 1
    return Strokes(ink, pieces, is_dark, float(border * elongation * novelty))


def _thickness(pieces: Pieces, several: bool) -> float:
    """Returns the thickness of the main piece, or of several the largest of all that may be strokes."""
    if not several:
        return float(pieces.thickness[pieces.main])
    strokes = (pieces.mass >= 0.05 * pieces.mass[pieces.main]) & (pieces.elongation >= 4)
    return float(pieces.thickness[strokes | (np.arange(len(strokes)) == pieces.main)].max())


def _median_around(grey: np.ndarray) -> np.ndarray:
    """Returns the median within two fifths of the longer side around each pixel."""
    step = max(1, -(-max(grey.shape) // 43))
    small = scipy.ndimage.uniform_filter(grey, step, mode="nearest")[step // 2 :: step, step // 2 :: step]
    size = 2 * (2 * max(small.shape) // 10) + 1
    median = scipy.ndimage.median_filter(small, size, mode="nearest")
    rows, columns = (
        np.minimum(np.arange(length) // step, count - 1)
        for length, count in zip(grey.shape, median.shape, strict=True)
    )
    return median[rows[:, None], columns]


def _ground(dark: np.ndarray, window: float, run: float | None) -> np.ndarray:
    """Returns the closing of a picture whose surroundings continue its border, without the ink that reaches it."""
    size = round(window) | 1
    padded = np.pad(dark, 1, mode="edge")
    down, right = (np.arange(length - 1) for length in padded.shape)
    bottom, last = (length - 1 for length in padded.shape)
    rows = np.concatenate([0 * right, down, 0 * right + bottom, bottom - down])
    columns = np.concatenate([right, 0 * down + last, last - right, 0 * down])
    border = padded[rows, columns]
    if run is None:
        padded[rows, columns] = np.percentile(border, 90)
    else:
        length = round(run * min(dark.shape)) | 1
        padded[rows, columns] = scipy.ndimage.grey_closing(border, length, mode="wrap")
    closed = scipy.ndimage.grey_closing(np.pad(padded, size, mode="edge"), (size, size))
    return closed[size + 1 : -size - 1, size + 1 : -size - 1]


def _threshold(dark: np.ndarray, ground: np.ndarray) -> tuple[np.ndarray, Pieces] | None:
    """Returns the ink that differs clearly from noise, from 0 to 1, and its pieces; None if there is none."""
    bright = float(np.percentile(ground, 90))
    share = (ground - dark) / np.maximum(
        ground, max(12.0, 0.35 * bright)
    )  # of the light that the ink takes away
    # Noise is estimated from the lower half of all pixels, as up to half of them may be ink.
    low, middle = np.percentile(share, [5, 35])
    noise = (middle - low) / 1.26
    share = (share - (middle + 0.385 * noise)).astype(np.float32)
    if share.max() < max(_LEAST_CONTRAST, 5 * noise):
        return None
    typical = float(np.median(share[share > _otsu(share[share > max(0.02, 3 * noise)])]))
    levels = [max(level * typical, 3 * noise) for level in _SHARES]
    for level in levels:
        pieces = _pieces(share, level)
        if not _spans(pieces.boxes[pieces.main], share.shape):
            break
    else:
        level = levels[0]
        pieces = _pieces(share, level)
    main = pieces.main
    kept = (pieces.level >= 0.5 * pieces.level[main]) & (pieces.mass >= 0.01 * pieces.mass[main])
    share = np.where(np.concatenate([[False], kept])[_grown(pieces.labels)], share, 0)
    full = float(pieces.level[main])
    faint = _FAINT * full if level == levels[0] else 0.85 * level
    ink = np.clip((share - faint) / max(full - faint, 1e-3), 0, 1)
    return ink.astype(np.float32), _pieces(share, level)


def _pieces(share: np.ndarray, level: float) -> Pieces:
    labels = np.zeros(share.shape, np.int32)
    scipy.ndimage.label(share > level, _AROUND, output=labels)
    count = int(labels.max()) + 1
    depth = scipy.ndimage.distance_transform_cdt(np.pad(labels > 0, 1), "chessboard")[1:-1, 1:-1]
    depths = np.zeros(count, np.int32)
    np.maximum.at(depths, labels.ravel(), depth.ravel())
    thickness = 2 * depths[1:] - 1
    area, mass, square = (
        np.bincount(labels.ravel(), values, count)[1:]
        for values in (None, share.ravel(), (share * share).ravel())
    )
    boxes = [
        [side for part in box for side in (part.start, part.stop)]
        for box in scipy.ndimage.find_objects(labels)
    ]
    return Pieces(labels, np.array(boxes, np.int32), mass, square / mass, thickness, area / thickness**2)


def _grown(labels: np.ndarray) -> np.ndarray:
    """Returns pieces with the two pixels around them, where the soft edges of strokes are."""
    return scipy.ndimage.grey_dilation(labels, footprint=np.ones((5, 5)))


def _spans(box: np.ndarray, shape: tuple[int, ...]) -> bool:
    top, bottom, left, right = box
    return bool((top <= 1 and bottom >= shape[0] - 1) or (left <= 1 and right >= shape[1] - 1))


def _touches_edge(pieces: Pieces, ground: np.ndarray) -> bool:
    """True if the main piece meets ground as dark as a desk."""
    around = scipy.ndimage.binary_dilation(pieces.labels == pieces.main + 1, _AROUND, iterations=2)
    edge: Bool[np.ndarray, "height width"] = ground < 0.6 * np.percentile(ground, 90)
    return bool((around & edge).sum() > 0.02 * around.sum())


def _is_even_border(dark: np.ndarray) -> bool:
    """True if the border is even and lighter than the middle between the extremes, as paper around dark ink is."""
    border = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    low, high = float(dark.min()), float(dark.max())
    is_even = np.mean(np.abs(border - np.median(border)) < 0.15 * (high - low)) > 0.9
    return bool(is_even and border.mean() > (low + high) / 2)


def _otsu(values: np.ndarray) -> float:
    """Returns the threshold that separates two classes best (Otsu, 1979)."""
    counts, edges = np.histogram(values, 128)
    below, sums = np.cumsum(counts), np.cumsum(counts * (edges[1:] + edges[:-1]) / 2)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between[:-1])])
