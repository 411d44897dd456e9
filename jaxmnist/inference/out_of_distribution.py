"""Out-of-distribution check: a warning for images that do not look like a digit.

A network names a digit whatever the image shows. A few simple measurements give away most other images. Their limits
were chosen on the training images of MNIST, to warn of 0.1 % of them; with the confidence of a `flagship` 0.40 % of its
5,000 held-out images are warned of. The shape alone warns of 92 % of Fashion-MNIST's test images.
"""

import numpy as np
import scipy  # loads `ndimage` when it is first used, which takes 0.3 s
from jaxtyping import Float32, UInt8

LEAST_INK, MOST_INK = 0.02, 0.32
"""Limits of the mean grey value, in [0, 1]. All training images are above the first, 99.98 % below the second."""

MOST_AT_BORDER = 0.065
"""Limit of the share of ink in the two outer rows and columns; 99.96 % of the training images have less."""

MOST_SHADED = 0.25
"""Limit of the share of inked pixels that are grey, as are all eight around them. Strokes are grey at their edges only:
no training image of MNIST has more than 0.03, and 99 % of the blurred ones of scikit-learn's digits stay below the
limit. Pages of noise and half of Fashion-MNIST have more."""

LEAST_SECOND = 0.2
"""Limit of the ink of the second largest piece, as a share of the largest one's, if they stand side by side; 99.97 % of
the training images have less, and 99 % of pairs of digits more."""

LEAST_CONFIDENCE = 0.63
"""Limit of the calibrated probability of the prediction. It was chosen on held-out training images, to warn of as many
as false alarms allow; docs/photographs.md has what other limits would find."""


def find_doubt(
    image: UInt8[np.ndarray, "28 28"], probabilities: Float32[np.ndarray, " classes"], is_digit: bool = True
) -> str | None:
    """Looks for a reason to doubt a prediction.

    Args:
        image: light ink on black, see `jaxmnist.data.mnist_style.to_mnist_style`.
        probabilities: the network's probabilities.
        is_digit: True if the network was trained on digits; otherwise only a blank image and a low probability
            count.

    Returns:
        The reason in a few words, or None.
    """
    if not image.any():
        return "nothing is drawn"
    if is_digit and (doubt := _find_doubt_in_shape(image)):
        return doubt
    confidence = float(probabilities.max())
    if confidence < LEAST_CONFIDENCE:
        return f"the network is only {100 * confidence:.0f} % sure"
    return None


_AROUND = np.ones((3, 3))


def _find_doubt_in_shape(image: np.ndarray) -> str | None:
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
        return "it looks like several digits, which predict --many reads"
    return None


def _has_neighbours(image: np.ndarray) -> bool:
    """True if the two largest pieces are of similar size and stand side by side, without a common column."""
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
