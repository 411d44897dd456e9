"""Grey values of images of any mode."""

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image


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


def _to_bytes(values: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("some pixels are not finite")
    if values.dtype.kind == "f" and high <= 1:
        return np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    # The mode does not tell the value of white: 16-bit files often hold 8-bit values.
    white = next((limit for limit in (255, 65535) if high <= limit), high)
    return np.clip(values.astype(np.float32) * (256 / (white + 1)), 0, 255).astype(np.uint8)
