"""Image files as the networks read them: decoded, oriented, converted to grey and to 28x28."""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jaxmnist.data.dataset import Fit
from jaxmnist.data.fitting import to_28x28
from jaxmnist.data.grey_values import to_grey
from jaxmnist.data.image_formats import (
    MAX_DECODED_PIXELS,
    MAX_PIXELS,
    known_formats,
    require_format,
    require_pixels,
    too_large,
)
from jaxmnist.data.mnist_style import Ink
from jaxmnist.errors import DataError
from jaxmnist.runtime.reading import UnsuitableFileError, open_regular

MAX_FILE_BYTES = 2**27
"""Longest image file, as decoders of some formats read it whole; `MAX_DECODED_PIXELS` without compression."""

MAX_STREAM_BYTES = 2**26
"""Longest image on a pipe, which is read into memory whole; the largest photos have half of that."""

_LARGE = 4_000  # side from which a JPEG is decoded at a half, a quarter or an eighth of its size
_ENOUGH = 8 * 28  # for an average of areas: a JPEG decoded at a fraction of its size is averaged as well


def read_image(
    path: Path, ink: Ink = "auto", side: int = 20, fit: Fit = "mnist", is_digits: bool = False
) -> UInt8[np.ndarray, "28 28"]:
    """Reads an image file in any usual format; of an animation or a multi-page file the first image.

    The image is rotated to its EXIF orientation, then goes through `to_grey` and `to_28x28`. The pixels of an
    MNIST image that was saved without loss come back unchanged.

    Args:
        path: the file.
        ink: see `to_28x28`.
        side: see `to_mnist_style`.
        fit: see `to_28x28`.
        is_digits: see `to_28x28`.

    Raises:
        DataError: the file does not exist, is a folder, empty, damaged, not an image, or has too many pixels.
    """
    return to_28x28(read_grey(path, fit), fit, ink, side, is_digits)


def read_grey(path: Path, fit: Fit = "mnist") -> UInt8[np.ndarray, "height width"]:
    """Reads the grey values of an image file in its own size; large JPEGs at a fraction. Errors as `read_image`."""
    with pillow_warnings(), _reading(str(path)):
        if path.is_dir():
            raise DataError(f"{path} is a folder; name the image files in it, for example {path / '*.png'}.")
        if not path.exists():
            raise DataError(f"{path} does not exist; name an image file.")
        with open_regular(path, MAX_FILE_BYTES) as file:
            if not os.fstat(file.fileno()).st_size:
                raise DataError(f"{path} is empty; name an image file.")
            return _decode(file, str(path), fit)


def read_stream(
    read: Callable[[int], bytes],
    name: str,
    ink: Ink = "auto",
    side: int = 20,
    fit: Fit = "mnist",
    is_digits: bool = False,
) -> UInt8[np.ndarray, "28 28"]:
    """Reads an image from a binary stream; otherwise like `read_image`.

    Args:
        read: method of the stream; at most `MAX_STREAM_BYTES + 1` bytes are read.
        name: name of the stream in error messages.
        ink: see `to_28x28`.
        side: see `to_mnist_style`.
        fit: see `to_28x28`.
        is_digits: see `to_28x28`.

    Raises:
        DataError: the stream is empty, too long, damaged, not an image, or has too many pixels.
    """
    return to_28x28(read_grey_stream(read, name, fit), fit, ink, side, is_digits)


def read_grey_stream(
    read: Callable[[int], bytes], name: str, fit: Fit = "mnist"
) -> UInt8[np.ndarray, "height width"]:
    """Reads the grey values of an image on a binary stream; otherwise like `read_grey`."""
    with pillow_warnings(), _reading(name):
        content = read(MAX_STREAM_BYTES + 1)
        if not content:
            raise DataError(f"{name} is empty; pipe an image into it.")
        if len(content) > MAX_STREAM_BYTES:
            raise DataError(
                f"{name} has more than {MAX_STREAM_BYTES:,} bytes; save the image and name the file."
            )
        return _decode(io.BytesIO(content), name, fit)


def decode(content: bytes, name: str, fit: Fit) -> UInt8[np.ndarray, "28 28"]:
    """Reads an image from the bytes of its file, in one of several threads; otherwise like `read_image`.

    Call it within `pillow_warnings`, which concerns all threads.

    Raises:
        DataError: there are no bytes, or they are damaged, not an image, or have too many pixels.
    """
    with _reading(name):
        if not content:
            raise DataError(f"{name} is empty; remove or replace it.")
        return to_28x28(_decode(io.BytesIO(content), name, fit), fit)


def from_pillow(
    image: Image.Image, ink: Ink = "auto", side: int = 20, fit: Fit = "mnist", is_digits: bool = False
) -> UInt8[np.ndarray, "28 28"]:
    """Converts an image that is open in Pillow; otherwise like `read_image`. The image is not changed.

    Raises:
        DataError: the image is damaged, or has too many pixels.
    """
    return to_28x28(grey_of_pillow(image), fit, ink, side, is_digits)


def grey_of_pillow(image: Image.Image) -> UInt8[np.ndarray, "height width"]:
    """Returns the grey values of an image that is open in Pillow, upright; errors as `from_pillow`."""
    name = "the image"
    with pillow_warnings(), _reading(name):
        require_pixels(name, image, MAX_PIXELS)
        return to_grey(ImageOps.exif_transpose(image))


@contextlib.contextmanager
def pillow_warnings() -> Iterator[None]:
    """Context manager that ignores Pillow's warnings of repairs, and makes errors of those of decompression bombs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Context manager that turns any error into a `DataError` about `name`."""
    try:
        yield
    except DataError:
        raise
    except UnsuitableFileError as error:
        raise DataError(f"{name} {str(error).removeprefix('it ')}; name an image file.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(name, MAX_PIXELS) from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{name} is not a readable image; save it as PNG or JPEG.") from error
    # Decoders have many ways to fail on damaged data: OSError, SyntaxError, ValueError, struct.error, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0] or type(error).__name__
        raise DataError(f"{name} cannot be read ({reason}); check the file or save it again.") from error


def _decode(file: io.BufferedReader | io.BytesIO, name: str, fit: Fit) -> UInt8[np.ndarray, "height width"]:
    require_format(file, name)
    with Image.open(file, formats=known_formats()) as image:
        require_pixels(name, image, MAX_PIXELS)
        if fit != "mnist":
            image.draft(None, (_ENOUGH, _ENOUGH))
        elif max(image.size) > _LARGE:
            image.draft(None, (_LARGE // 2, _LARGE // 2))
        require_pixels(name, image, MAX_DECODED_PIXELS)
        ImageOps.exif_transpose(image, in_place=True)
        return to_grey(image)
