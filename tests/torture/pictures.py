"""Picture files of every format and mode, and odd ones, as bytes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, features

_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "GIF": ("1", "L", "P", "RGB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
    "WEBP": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I"),
    "TGA": ("L", "P", "RGB", "RGBA"),
    "PCX": ("1", "L", "P", "RGB"),
    "ICO": ("RGBA",),
    "EPS": ("L", "RGB"),
}


def pictures(random: np.random.Generator) -> dict[str, bytes]:
    """Returns files by name: a drawing in every format and mode, odd sizes, animations, bombs, and other files."""
    page = np.full((90, 70), 230.0)
    page[20:70, 30:36] = 20
    drawing = Image.fromarray(np.clip(page + random.normal(0, 5, page.shape), 0, 255).astype(np.uint8))
    files = {
        f"{kind} {mode}": _saved(_as_mode(drawing, mode), kind)
        for kind, modes in _MODES.items()
        for mode in modes
        if kind != "WEBP" or features.check("webp")
    }
    for size in ((1, 1), (1, 3000), (3000, 1), (28, 28), (2, 40_000)):
        files[f"PNG {size}"] = _saved(Image.new("L", size, 200), "PNG")
    frames = [_as_mode(drawing.rotate(angle), "P") for angle in (0, 90, 180)]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        files[f"animated {kind}"] = _saved(
            frames[0].convert("RGB"), kind, save_all=True, append_images=frames[1:]
        )
    for orientation in range(0, 10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"JPEG turned {orientation}"] = _saved(drawing, "JPEG", exif=exif)
    transparent = _as_mode(drawing, "P")
    files["PNG P transparent"] = _saved(transparent, "PNG", transparency=0)
    files["PNG P transparent by shades"] = _saved(transparent, "PNG", transparency=bytes(range(256)))
    files["JPEG progressive"] = _saved(drawing, "JPEG", progressive=True)
    for kind in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"):
        mode = "1" if kind == "group4" else "L"
        files[f"TIFF {kind}"] = _saved(_as_mode(drawing, mode), "TIFF", compression=kind)
    files["TIFF of no numbers"] = _saved(Image.fromarray(np.full((40, 40), np.nan, np.float32)), "TIFF")
    return files | _bombs() | _no_pictures()


def _bombs() -> dict[str, bytes]:
    """Returns files of a few kilobytes that contain, or claim to contain, many millions of pixels."""
    sizes = ((4400, 4500), (10_000, 10_000), (65_535, 65_535), (2**31 - 1, 2**31 - 1), (20_000_000, 1))
    bombs = {f"PNG bomb {size} {kind}": png(*size, kind) for size in sizes for kind in (0, 2, 3, 4, 6)}
    bombs |= {f"PNG bomb of 16 bits {size}": png(*size, 0, 16) for size in sizes}
    bombs["JPEG of 50 million pixels"] = _saved(Image.new("L", (8_000, 6_250), 255), "JPEG")
    bombs["GIF bomb"] = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + bytes(20)
    bombs["TIFF bomb"] = _saved(Image.new("1", (4_400, 4_500)), "TIFF", compression="group4")
    bombs["PNG bomb of text"] = _with_text(zlib.compress(bytes(100_000_000)))
    return bombs


def png(width: int, height: int, kind: int, bits: int = 8) -> bytes:
    """Returns a blank PNG of a colour type `kind`; above 20 million pixels its data are missing."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    row = b"\0" + bytes(width * samples * bits // 8) if width * height <= 20_000_000 else b""
    packed = zlib.compressobj(1)
    rows = b"".join(packed.compress(row) for _ in range(height if row else 0))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    palette = _chunk(b"PLTE", bytes(range(256)) * 3) if kind == 3 else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + palette
        + _chunk(b"IDAT", rows + packed.flush())
        + _chunk(b"IEND", b"")
    )


def _with_text(packed: bytes) -> bytes:
    blank = png(30, 30, 0)
    return blank[:33] + _chunk(b"zTXt", b"Comment\0\0" + packed) + blank[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _no_pictures() -> dict[str, bytes]:
    return {
        "empty": b"",
        "text": b"This is not an image.\n" * 50,
        "web page": b"<!DOCTYPE html><html></html>",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n{} loop\n",
        "archive": b"PK\x05\x06" + bytes(18),
        "zeros": bytes(4096),
        "PPM of 10^9 columns": b"P6 1000000000 1000000000 255\n",
        "PPM of a million digits": b"P5 " + b"9" * 1_000_000,
        "XBM": b"#define a_width 60000\n#define a_height 60000\nstatic char a_bits[] = {\n0x00 };",
    }


def _as_mode(drawing: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(drawing).astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.merge("LAB", [drawing] * 3)
    return drawing.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else drawing.convert(mode)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
