"""Conversion of grey images to 28x28 in the ways a dataset can say: in the form of MNIST, or by area."""

import numpy as np
from jaxtyping import UInt8

from jaxmnist.data.dataset import Fit
from jaxmnist.data.digit import to_digit
from jaxmnist.data.mnist_style import Ink, border, to_mnist_style

_SIDE = 28


def to_28x28(
    grey: UInt8[np.ndarray, "height width"],
    fit: Fit,
    ink: Ink = "auto",
    side: int = 20,
    is_digits: bool = False,
) -> UInt8[np.ndarray, "28 28"]:
    """Converts a grey image as the pictures of a dataset were converted.

    `"mnist"` is `jaxmnist.data.mnist_style.to_mnist_style`, and for pictures of digits
    `jaxmnist.data.digit.to_digit`. `"stretch"` and `"pad"` average areas and change neither contrast nor place; an
    image of 28x28 comes back as it is. `"stretch"` gives up the proportions. `"pad"` keeps them: the longer side
    becomes 28, and the median of the border fills the rest.

    Args:
        grey: 0 black, 255 white.
        fit: the dataset's `fit`.
        ink: ink of the image. With `"stretch"` and `"pad"` only `"dark"` inverts: an image alone does not tell if
            its dataset was inverted, see `Dataset.inverted`.
        side: as for `to_mnist_style`.
        is_digits: True for a picture of a handwritten digit.
    """
    if fit == "mnist" and is_digits:
        return to_digit(grey, ink, side)
    if fit == "mnist":
        return to_mnist_style(grey, ink, side)
    # Inverted last, as the dataset's were: averages are rounded.
    averages = grey if grey.shape == (_SIDE, _SIDE) else _averages(grey, fit)
    return 255 - averages if ink == "dark" else averages


def _averages(grey: np.ndarray, fit: Fit) -> np.ndarray:
    from PIL import Image

    longest = max(grey.shape)
    height, width = (
        _SIDE if fit == "stretch" else max(1, round(_SIDE * length / longest)) for length in grey.shape
    )
    # Pillow's box filter is the average over the area of a pixel.
    box = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))
    square = np.full((_SIDE, _SIDE), round(float(np.median(border(grey)))), np.uint8)
    top, left = (_SIDE - height) // 2, (_SIDE - width) // 2
    square[top : top + height, left : left + width] = box
    return square
