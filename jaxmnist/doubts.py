"""Whether an image looks like a digit at all, for a warning beside its prediction.

A network names a digit whatever it is shown. Four simple facts tell most of what is none: how much ink there is,
how much of it lies at the border, how evenly large its pieces are, and how sure the network is.
"""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

LEAST_INK, MOST_INK = 0.02, 0.35

MOST_AT_BORDER = 0.1

LEAST_CONFIDENCE = 0.5


def find_doubt(
    image: UInt8[np.ndarray, "28 28"], probabilities: Float32[np.ndarray, "10"], is_digit: bool = True
) -> str | None:
    """Why an image is not to be trusted to show what its prediction says, in a few words; None if it is.

    Args:
        image: as `jaxmnist.images.fit` makes it, light ink on black.
        probabilities: what the network makes of it.
        is_digit: whether the network was trained on digits; otherwise only blank images and the network's own
            doubts count.
    """
    if not image.any():
        return "nothing is drawn"
    confidence = float(probabilities.max())
    if confidence < LEAST_CONFIDENCE:
        return f"the network is only {100 * confidence:.0f} % sure"
    return None
