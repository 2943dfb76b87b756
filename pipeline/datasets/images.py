"""One image file as pixels: what a viewer would show, in 8-bit RGB, at the requested size.

The contents decide, not the name: JPEG, PNG, BMP, WebP and TIFF are decoded, by Pillow's own decoders alone; some of
its other plugins run programs. What the pixels become:

- turned as EXIF (or XMP) says; data there that cannot be read say nothing
- transparent pixels: laid on white. What colour a file keeps below them is chance
- palette, CMYK, YCbCr, LAB, one bit: their RGB
- more than 8 bits: scaled, not clipped. For 16 bits without sign 65,535 is white; for other integers and floats, where
  no rule says, the smallest of 1 (floats only), 255, 65,535 and 2^31 - 1 that no pixel exceeds
- animations and documents of several pages: the first one
"""

import logging
import os
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from pipeline.common.contents import Folders
from pipeline.common.text import first_line, one_line

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")  # by Pillow's names

LINK_OUT = "a symbolic link leads out of the data set's folder"

_NAMES = "JPEG, PNG, BMP, WebP or TIFF"
_BYTES_TO_TELL = 512
# How files of other kinds begin, so that a message can name what lies in the image's place.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer: run `git lfs pull`"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
)
_ISO_BRANDS = {b"avif": "an AVIF", b"heic": "a HEIC", b"heix": "a HEIC", b"mif1": "a HEIF"}
_OUR_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations that swap height and width
# Pillow also logs why it refuses a file: to stderr, if logging has not been set up.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class UnreadableImageError(Exception):
    """A file gives no pixels. The message is the reason alone: one line, without the file's name."""


def read_image(path: Path, *, height: int, width: int) -> np.ndarray:
    """Decodes one file, see above, and resizes it by Pillow's bicubic filter.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UnreadableImageError: whatever is wrong with the file. An image of more pixels than Image.MAX_IMAGE_PIXELS is
            refused before any of them is decoded.
    """
    with _explained(path):
        _require_contents(path)
        return _decoded(path, height=height, width=width)


def read_within(path: Path, *, height: int, width: int) -> np.ndarray:
    """As `read_image`, in the image's own shape: as large as fits into `height` x `width`."""
    own_height, own_width = image_size(path)
    scale = min(height / own_height, width / own_width)
    return read_image(path, height=max(1, round(scale * own_height)), width=max(1, round(scale * own_width)))


def read_content(content: bytes, *, height: int, width: int) -> np.ndarray:
    """As `read_image`, of a file's content."""
    with _explained(content):
        if not content:
            raise UnreadableImageError("an empty file")
        return _decoded(BytesIO(content), height=height, width=width)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, upright, from the head of its file: no pixel is decoded.

    Raises:
        UnreadableImageError: as `read_image`, as far as the head tells.
    """
    with _explained(path):
        _require_contents(path)
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (width, height) if _orientation(image) in _LYING else (height, width)


@contextmanager
def _explained(source: Path | bytes) -> Iterator[None]:
    """Whatever goes wrong within becomes an UnreadableImageError that says what is wrong with the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata; what cannot be decoded raises
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except UnreadableImageError:
            raise
        except Exception as error:  # a broken file can make Pillow raise nearly anything
            raise UnreadableImageError(_reason(error, source)) from error


def _decoded(file: Path | BytesIO, *, height: int, width: int) -> np.ndarray:
    with Image.open(file, formats=FORMATS) as image:
        # Pillow warns of it, which raises here, but for another thread that has set the warnings otherwise.
        if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError
        return _resized(image, height=height, width=width)


def resized_image(image: Image.Image, *, height: int, width: int) -> np.ndarray:
    """As `read_image`, for an image that is open or was made in memory.

    Raises:
        UnreadableImageError: it cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _resized(image, height=height, width=width)
        except UnreadableImageError:
            raise
        except Exception as error:
            raise UnreadableImageError(f"damaged: {first_line(error)}") from error


def _resized(image: Image.Image, *, height: int, width: int) -> np.ndarray:
    _load(image)
    upright = _turned(_rgb(image), _orientation(image))
    return np.ascontiguousarray(upright.resize((width, height), Image.Resampling.BICUBIC))


def folder_and_name(source: Folders, path: str) -> tuple[Path, str]:
    """The data set's folder in which the image `path` of a catalogue lies, and its path below that."""
    if isinstance(source, Path):
        return source, path
    member, _, name = path.partition("/")
    return source[member], name


def resolved(source: Folders) -> Folders:
    """The same folders without symbolic links."""
    if isinstance(source, Path):
        return source.resolve()
    return {member: folder.resolve() for member, folder in source.items()}


def locate(source: Path, name: str, real_folders: dict[str, str] | None = None, *, follow_links: bool = False) -> Path:
    """Returns where the image `name` of the folder `source` lies, symbolic links followed.

    Args:
        source: without symbolic links (`Path.resolve`).
        name: relative to it.
        real_folders: remembers what folders have been resolved to, for many images of few folders.
        follow_links: out of `source`, too.

    Raises:
        UnreadableImageError: there is no such file, or a link leads out of `source`.
    """
    path = os.path.join(source, name)  # noqa: PTH118 - strings: a data set has 100,000 of them
    folder, _, last = path.rpartition("/")
    known = {} if real_folders is None else real_folders
    try:
        if folder not in known:
            known[folder] = os.path.realpath(folder, strict=True)
        real = f"{known[folder]}/{last}"
        if stat.S_ISLNK(os.lstat(real).st_mode):
            real = os.path.realpath(real, strict=True)
    except OSError as error:
        raise UnreadableImageError(_reason(error, Path(path))) from error
    if not follow_links and not real.startswith(f"{source}/"):
        raise UnreadableImageError(f"{LINK_OUT}, to {one_line(real)}")
    return Path(real)


def _require_contents(path: Path) -> None:
    """Opening a pipe would wait for ever, a device might."""
    status = os.stat(path)  # noqa: PTH116 - a data set has 100,000 of them
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImageError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImageError("a pipe or device, not a file")
    if status.st_size == 0:
        raise UnreadableImageError("an empty file")


def _load(image: Image.Image) -> None:
    """Decodes. The TIFF library writes its complaints to file descriptor 2, past Python: they are dropped."""
    if image.format != "TIFF" or sys.__stderr__ is None:
        image.load()
        return
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:  # noqa: PTH123 - for its number
            os.dup2(devnull.fileno(), 2)
        image.load()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """(H, W) of 16 or 32 bits, whole numbers or floats -> (H, W) uint8."""
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN is both lowest and highest
        raise UnreadableImageError("pixels that are no finite numbers")
    if low < 0 or high > 2**31 - 1:
        raise UnreadableImageError(f"pixels from {low:g} to {high:g}, where 0 to 2^31 - 1 can be scaled")
    if values.dtype.kind == "f":
        white = next(white for white in (1, 255, 65_535, 2**31 - 1) if high <= white)
        scaled = values * values.dtype.type(255 / white)
        return np.rint(scaled, out=scaled).astype(np.uint8)
    # The upper 8 bits, which is what Pillow takes of 16-bit colours.
    bits = 16 if values.dtype.itemsize == 2 else next(bits for bits in (8, 16, 31) if high < 2**bits)
    return (values >> (bits - 8)).astype(np.uint8)


def _orientation(image: Image.Image) -> object:
    """EXIF's number for how the camera was held; `image` must be loaded, as a PNG file may tell it at its end."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # the pixels are whole, and viewers show them; Pillow raises what it likes
        return None


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _reason(error: Exception, source: Path | bytes) -> str:
    """What is wrong with the image, a file or its content, in words."""
    if isinstance(error, FileNotFoundError):
        dangling = isinstance(source, Path) and source.is_symlink()
        return "a symbolic link that leads nowhere" if dangling else "no such file"
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(source)
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"too many pixels to be decoded safely, more than {Image.MAX_IMAGE_PIXELS:,}"
    if isinstance(error, MemoryError):
        return "damaged, or too large for the memory"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be opened: {error.strerror}"
    # Pillow's own errors are sentences; those that happen to it are not, without their names.
    text = str(error) if isinstance(error, OSError | SyntaxError) else f"{type(error).__name__}: {error}"
    return f"damaged: {one_line(' '.join(text.split()))}"


def _what_it_is(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        start = source[:_BYTES_TO_TELL]
    else:
        with source.open("rb") as file:
            start = file.read(_BYTES_TO_TELL)
    if start.startswith(_OUR_BEGINNINGS) or (start[:4], start[8:12]) == (b"RIFF", b"WEBP") or start[:2] == b"BM":
        return "damaged: the beginning is that of an image, what follows is not"
    kind = next((kind for beginning, kind in _BEGINNINGS if start.startswith(beginning)), None)
    if start[4:8] == b"ftyp":
        kind = _ISO_BRANDS.get(start[8:12], "a video")
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        kind = "a web page"
    return f"not an image ({_NAMES})" if kind is None else f"{kind}, not {_NAMES}"
