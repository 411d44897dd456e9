"""Formats and sizes of image files that are read."""

import io
from pathlib import Path

from PIL import Image

from jaxmnist.errors import DataError

MAX_PIXELS = 64_000_000
"""Most pixels of a file; larger ones are refused unread, as a few kilobytes can unpack to gigabytes. Large photos
have 50 million."""

MAX_DECODED_PIXELS = 20_000_000
"""Most pixels to decode, at up to 12 bytes each; JPEGs can be decoded at a fraction of their size."""

MAX_SIDE = 65_535
"""Longest side in pixels, as tables for scaling grow with it; the limit of JPEG."""

# Formats that Pillow itself decodes to pixels. Others start programs (EPS: Ghostscript), hold more than their header
# promises (icons contain whole files), or are not images (HDF5).
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
    "HEIF",  # with pillow-heif
)

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def is_image_name(path: Path) -> bool:
    """True if a file's suffix, in upper or lower case, is that of a format that can be read, perhaps with a plugin."""
    suffix = path.suffix.lower()
    return suffix in (".heic", ".heif") or Image.registered_extensions().get(suffix) in _FORMATS


def known_formats() -> list[str]:
    """Returns the formats that this Pillow can read."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]  # AVIF is not in every Pillow


def require_format(file: io.BufferedReader | io.BytesIO, name: str) -> None:
    """Prepares Pillow for a HEIC file; refuses files that are no images with what to do instead."""
    start = file.read(12)
    file.seek(0)
    if start.startswith(b"%PDF"):
        raise DataError(
            f"{name} is a PDF document; save its page as an image, as pdftoppm -r 150 -png does, and name that."
        )
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS:
        try:
            from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise DataError(
                f"{name} is a HEIC photograph; install pillow-heif to read it, or save it as JPEG or PNG."
            ) from error
        register_heif_opener()


def require_pixels(name: str, image: Image.Image, most: int) -> None:
    """Refuses an image with a side above `MAX_SIDE`, or with more than `most` pixels."""
    if max(image.size) > MAX_SIDE:
        raise DataError(f"{name} has a side of more than {MAX_SIDE:,} pixels; scale it down first.")
    if image.width * image.height > most:
        raise too_large(name, most)


def too_large(name: str, most: int) -> DataError:
    """Makes the error for an image with more than that many pixels."""
    return DataError(f"{name} has more than {most:,} pixels; scale it down first.")
