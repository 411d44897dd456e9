"""Grey values of images of any mode, and of arrays."""

import numpy as np
from jaxtyping import Float32, Num, UInt8
from PIL import Image

from jaxmnist.errors import DataError


def to_grey(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Converts an image of any mode to grey values: colours by luminance (ITU-R 601), grey values exactly.

    Of 16 bits the upper 8 count. Transparent pixels take the ground that their image was made for: white
    under dark ink or beside a light page, black under light ink or beside a dark page.
    """
    if image.mode[0] in "IF":  # 16- or 32-bit integers, floats
        return _to_bytes(np.asarray(image))
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    image = image if image.mode == "RGBA" else image.convert("RGBA")
    grey, alpha = image.convert("L"), image.getchannel("A")
    on_black, on_white = (
        np.asarray(Image.composite(grey, Image.new("L", image.size, ground), alpha)) for ground in (0, 255)
    )
    opacity = np.asarray(alpha).mean()
    is_dark = on_black.mean() < opacity / 2
    is_ink = opacity < 255 / 2
    return on_white if is_dark == is_ink else on_black


def grey_values_of(values: np.ndarray) -> UInt8[np.ndarray, "n 28 28"] | Float32[np.ndarray, "n 28 28"]:
    """Returns an array of images as grey values from 0 to 255.

    Raises:
        DataError: it has another shape, or values that are no grey values.
    """
    if values.shape[-2:] != (28, 28) or values.ndim not in (2, 3):
        raise DataError(
            f"the images are an array of shape {values.shape}, which must be [n, 28, 28] or [28, 28]; "
            "give images of other sizes as files or as Pillow's images."
        )
    values = values.reshape(-1, 28, 28)
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    if values.dtype.kind not in "biuf":
        raise DataError(f"the images are an array of {values.dtype}; give integers or floats.")
    low, high = float(values.min()), float(values.max())
    # Also true if a value is NaN.
    if not (low >= 0 and high <= 255):
        raise DataError(
            f"the images have values from {low:g} to {high:g}, which must be from 0 to 1 or to 255; "
            "give them before normalisation."
        )
    is_share = values.dtype.kind == "b" or (values.dtype.kind == "f" and high <= 1)
    return values.astype(np.float32) * np.float32(255 if is_share else 1)


def _to_bytes(values: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("some pixels are not finite")
    if values.dtype.kind == "f" and high <= 1:
        return np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    # The mode does not tell the value of white: 16-bit files often hold 8-bit values.
    white = next((limit for limit in (255, 65535) if high <= limit), high)
    return np.clip(values.astype(np.float32) * (256 / (white + 1)), 0, 255).astype(np.uint8)
