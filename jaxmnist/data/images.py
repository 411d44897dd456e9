"""Image files as the networks read them: decoded, turned upright, made grey, and fitted in."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageOps

from jaxmnist.data.mnist_style import Ink, fit
from jaxmnist.errors import DataError

MAX_PIXELS = 64_000_000
"""Larger files are refused unread: a few kilobytes can unpack to gigabytes. Large photos have 50 million."""

MAX_DECODED_PIXELS = 20_000_000
"""The same for files that can only be decoded in full, at up to 12 bytes a pixel; JPEGs can be in part."""

MAX_SIDE = 65_535
"""The same for each side, as tables for scaling grow with it; a JPEG cannot have more."""

MAX_STREAM_BYTES = 2**26
"""Longest image on a pipe, which is read into memory whole; the largest photos have half of that."""

# Those that decode the pixels themselves. Others start programs (EPS: Ghostscript), read what their header does
# not promise (icons hold whole files), or are no images (HDF5).
_FORMATS = (
    "PNG",
    "JPEG",
    "MPO",
    "GIF",
    "BMP",
    "DIB",
    "TIFF",
    "WEBP",
    "PPM",
    "JPEG2000",
    "TGA",
    "PCX",
    "AVIF",
)

_LARGE = 4_000  # side from which a JPEG is decoded at a half, a quarter or an eighth of its size


def read_image(path: Path, ink: Ink = "auto", side: int = 20) -> UInt8[np.ndarray, "28 28"]:
    """The image of a file in any usual format; of an animation or a multi-page file the first.

    Turned as its EXIF orientation says, then `to_grey`, then `fit`. The pixels of an MNIST image that was
    saved without loss come back unchanged.

    Args:
        path: the file.
        ink, side: see `fit`.

    Raises:
        DataError: there is no such file, it is a folder, empty, damaged, no image, or has too many pixels.
    """
    with _reading(str(path)):
        _require_content(path)
        return fit(_decode(path, str(path)), ink, side)


def read_stream(
    read: Callable[[int], bytes], name: str, ink: Ink = "auto", side: int = 20
) -> UInt8[np.ndarray, "28 28"]:
    """The image that a binary stream holds, as `read_image` has that of a file.

    Args:
        read: the stream's method; it is asked for no more than `MAX_STREAM_BYTES` and one.
        name: what error messages call it.
        ink, side: see `fit`.

    Raises:
        DataError: it is empty, too long, damaged, no image, or has too many pixels.
    """
    with _reading(name):
        content = read(MAX_STREAM_BYTES + 1)
        if not content:
            raise DataError(f"{name} is empty; pipe an image into it.")
        if len(content) > MAX_STREAM_BYTES:
            raise DataError(
                f"{name} has more than {MAX_STREAM_BYTES:,} bytes; save the image and name the file."
            )
        return fit(_decode(io.BytesIO(content), name), ink, side)


def from_pillow(image: Image.Image, ink: Ink = "auto", side: int = 20) -> UInt8[np.ndarray, "28 28"]:
    """An image that is open in Pillow, as `read_image` has that of a file; it is left as it is.

    Raises:
        DataError: it is damaged, or has too many pixels.
    """
    name = "the image"
    with _reading(name):
        _require_pixels(name, image, MAX_PIXELS)
        return fit(to_grey(ImageOps.exif_transpose(image)), ink, side)


def is_image_name(path: Path) -> bool:
    """Whether a file's name ends as those of the formats that can be read do, in small or capital letters."""
    return Image.registered_extensions().get(path.suffix.lower()) in _FORMATS


def to_grey(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """An image of any mode as grey values: colours by luminance (ITU-R 601), grey ones exactly.

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


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Around what reads an image: whatever goes wrong is said in a sentence about `name`."""
    try:
        # Pillow warns of what it repairs, and of bombs above its own limit; only the latter is for the user.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, MAX_PIXELS) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image that can be read; save it as PNG or JPEG.") from error
    # Decoders have many ways to fail on damaged data: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{name} cannot be read ({reason}); check the file or save it again.") from error


def _decode(file: Path | io.BytesIO, name: str) -> UInt8[np.ndarray, "height width"]:
    with Image.open(file, formats=_known_formats()) as image:
        _require_pixels(name, image, MAX_PIXELS)
        if max(image.size) > _LARGE:
            image.draft(None, (_LARGE // 2, _LARGE // 2))
        _require_pixels(name, image, MAX_DECODED_PIXELS)
        ImageOps.exif_transpose(image, in_place=True)
        return to_grey(image)


def _known_formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF is not in every Pillow


def _require_pixels(name: str, image: Image.Image, most: int) -> None:
    if max(image.size) > MAX_SIDE:
        raise DataError(f"{name} has a side of more than {MAX_SIDE:,} pixels; scale it down first.")
    if image.width * image.height > most:
        raise _too_large(name, most)


def _too_large(name: str, most: int) -> DataError:
    return DataError(f"{name} has more than {most:,} pixels; scale it down first.")


def _require_content(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the image files in it, for example {path / '*.png'}.")
    if not path.exists():
        raise DataError(f"{path} does not exist; name an image file.")
    if not path.is_file():  # a pipe or a device could keep us waiting for ever
        raise DataError(f"{path} is not a regular file; name an image file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; name an image file.")


def _to_bytes(values: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("it has pixels that are no numbers")
    if values.dtype.kind == "f" and high <= 1:
        return np.clip(np.round(values * 255), 0, 255).astype(np.uint8)
    # The mode does not say what is white: files of 16-bit type are often written with 8-bit values.
    white = next((limit for limit in (255, 65535) if high <= limit), high)
    return np.clip(values.astype(np.float32) * (256 / (white + 1)), 0, 255).astype(np.uint8)
