"""Pictures with the digits that were read in them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxmnist.errors import UsageError, writing
from jaxmnist.inference.predict import FileReading
from jaxmnist.runtime.files import write_atomically

_SURE, _DOUBTFUL = (20, 120, 60), (200, 60, 20)


def save_annotated(row: FileReading, out: Path, count: int) -> Path:
    """Writes a picture with a box around each digit, its name and its probability; doubtful ones are red.

    Args:
        row: the file and its digits.
        out: the file to write, or with several images the folder.
        count: number of images.

    Returns:
        The file written.

    Raises:
        UsageError: the file's name has no suffix of an image.
    """
    file = out if count == 1 and not out.is_dir() else out / f"{Path(row.file).stem}.png"
    kind = Image.registered_extensions().get(file.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP", "BMP", "TIFF"):
        raise UsageError(f"--annotate {out} is no name of an image file; let it end in .png or .jpg.")
    with writing(out, "name another place with --annotate"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, _content(_annotated(row), kind))
    return file


def _annotated(row: FileReading) -> Image.Image:
    picture = Image.fromarray(np.stack([row.grey] * 3, axis=-1))
    pen = ImageDraw.Draw(picture)
    for digit in row.reading.digits:
        left, top, right, bottom = digit.box
        colour = _DOUBTFUL if digit.warning else _SURE
        pen.rectangle((left, top, right, bottom), outline=colour, width=max(1, (bottom - top) // 40))
        name = row.reading.classes[digit.prediction]
        text = f"{name} {100 * max(digit.probabilities):.0f} %"
        size = max(9, (bottom - top) // 5)
        font = ImageFont.load_default(size)
        pen.text((left, max(0, top - 1.3 * size)), text, fill=colour, font=font)
    return picture


def _content(picture: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind)
    return content.getvalue()
