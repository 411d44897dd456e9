"""Whether an image looks like a digit at all, for a warning beside its prediction.

A network names a digit whatever it is shown. A few simple facts give away most of what is none. Their limits were
chosen on the 60,000 training images of MNIST, so that together they warn of fewer than 1 %: it is 0.5 % there and,
for the published `dilated`, on the test images, and 96 % of Fashion-MNIST's (`python -m tests.no_digits`).
"""

import numpy as np
import scipy  # loads `ndimage` when it is first used, which takes 0.3 s
from jaxtyping import Float32, UInt8

LEAST_INK, MOST_INK = 0.02, 0.29
"""Mean grey value, of 1. All training images are above the first, 99.9 % below the second."""

MOST_AT_BORDER = 0.055
"""Share of the ink in the two outer rows and columns of each side; 99.7 % of the training images have less."""

MOST_SHADED = 0.25
"""Share of the inked pixels that are grey, neither faint nor strong, among none but grey ones. Strokes are grey at
their edges: no training image of MNIST has more than 0.03, and 99 % of those of scikit-learn's digits, which are
blurred, less than the limit. Pages of noise and half of Fashion-MNIST have more."""

LEAST_SECOND = 0.2
"""Ink of the second largest piece as a share of that of the largest, where one stands beside the other; 99.97 % of
the training images have less, and 99 % of pairs of digits more."""

LEAST_CONFIDENCE = 0.5
"""Below it the network takes all other digits together for likelier than the one it names."""


def find_doubt(
    image: UInt8[np.ndarray, "28 28"], probabilities: Float32[np.ndarray, "10"], is_digit: bool = True
) -> str | None:
    """Why an image may not be what its prediction says, in a few words; None where nothing speaks against it.

    Args:
        image: as `jaxmnist.data.mnist_style.to_mnist_style` makes it, light ink on black.
        probabilities: what the network makes of it.
        is_digit: whether the network was trained on digits; otherwise only a blank image and the network's own
            doubts count.
    """
    if not image.any():
        return "nothing is drawn"
    if is_digit and (doubt := _doubt_of_shape(image)):
        return doubt
    confidence = float(probabilities.max())
    if confidence < LEAST_CONFIDENCE:
        return f"the network is only {100 * confidence:.0f} % sure"
    return None


_AROUND = np.ones((3, 3))


def _doubt_of_shape(image: np.ndarray) -> str | None:
    ink = image.mean() / 255
    if ink < LEAST_INK:
        return "there is less ink than a digit has"
    if ink > MOST_INK:
        return "there is more ink than a digit has"
    if 1 - image[2:-2, 2:-2].sum() / image.sum() > MOST_AT_BORDER:
        return "it reaches the border as no digit does"
    inked = image > 40
    shaded = scipy.ndimage.binary_erosion(inked & (image < 215), _AROUND)
    if shaded.sum() > MOST_SHADED * inked.sum():
        return "it has shades of grey where a digit has strokes"
    if _has_neighbours(image):
        return "it looks like several digits"
    return None


def _has_neighbours(image: np.ndarray) -> bool:
    """Whether the two largest pieces are of similar size and stand side by side, one's columns after the other's."""
    pieces = np.zeros(image.shape, np.int32)
    scipy.ndimage.label(image > 64, _AROUND, output=pieces)
    count = pieces.max()
    if count < 2:
        return False
    masses = scipy.ndimage.sum_labels(image, pieces, np.arange(1, count + 1))
    first, second = np.argsort(-masses)[:2]
    if masses[second] < LEAST_SECOND * masses[first]:
        return False
    boxes = scipy.ndimage.find_objects(pieces)
    (one, other) = sorted((boxes[i][1] for i in (first, second)), key=lambda columns: columns.start)
    return one.stop <= other.start
