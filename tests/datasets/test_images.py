"""One file to pixels: every format and mode against values worked out by hand or by Pillow, and every refusal."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from pipeline.datasets.images import UnreadableImageError, locate, read_image

SIZE: dict[str, Any] = {"height": 24, "width": 16}


def as_it_is(path: Path) -> np.ndarray:
    """Reads an image at its own size: resizing to it changes nothing."""
    with Image.open(path) as file:
        width, height = file.size
    return read_image(path, height=height, width=width)


def save(pixels: np.ndarray, path: Path, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=-1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG file, to the letter; `data` are its rows, each after a 0."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("colour.jpg", "RGB", {}),
        ("progressive.jpg", "RGB", {"progressive": True}),
        ("grey.jpg", "L", {}),
        ("print.jpg", "CMYK", {}),
        ("colour.png", "RGB", {}),
        ("grey.png", "L", {}),
        ("palette.png", "P", {}),
        ("bits.png", "1", {}),
        ("plain.bmp", "RGB", {}),
        ("grey.bmp", "L", {}),
        ("web.webp", "RGB", {}),
        ("exact.webp", "RGB", {"lossless": True}),
        ("old.tiff", "RGB", {}),
        ("packed.tif", "RGB", {"compression": "tiff_lzw"}),
        ("jpeg_inside.tif", "RGB", {"compression": "jpeg"}),
        ("print.tif", "CMYK", {}),
        ("video.tif", "YCbCr", {}),
        ("bits.tif", "1", {"compression": "group4"}),
        ("with space and ü.jpg", "RGB", {}),
        ("wrong_extension.jpg", "RGB", {"format": "PNG"}),
        ("no_extension", "RGB", {"format": "JPEG"}),
        ("what.eps", "RGB", {"format": "TIFF"}),
        ("two pictures.jpg", "RGB", {"format": "MPO", "save_all": True, "append_images": [Image.new("RGB", (9, 9))]}),
    ],
)
def test_read_image_equals_pillow_for_every_format(tmp_path: Path, write_image, name, mode, options) -> None:
    path = write_image(tmp_path / name, mode=mode, **options)
    with Image.open(path) as file:
        expected = ImageOps.exif_transpose(file).convert("RGB").resize((16, 24), Image.Resampling.BICUBIC)
    image = read_image(path, **SIZE)
    assert image.shape == (24, 16, 3) and image.dtype == np.uint8 and image.flags["C_CONTIGUOUS"]
    assert np.array_equal(image, np.asarray(expected))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_turns_as_exif_says(tmp_path: Path, write_image, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / f"turned.{suffix}", height=33, width=21, exif=exif)
    plain = write_image(tmp_path / "plain" / f"turned.{suffix}", height=33, width=21)
    with Image.open(plain) as file:
        stored = np.asarray(file.convert("RGB"))
    # Where row 0 and column 0 of what is stored lie on the upright picture, by the standard's table.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: stored.transpose(1, 0, 2)[:, ::-1],
        7: stored.transpose(1, 0, 2)[::-1, ::-1],
        8: stored.transpose(1, 0, 2)[::-1],
    }[orientation]
    expected = Image.fromarray(np.ascontiguousarray(upright)).resize((16, 24), Image.Resampling.BICUBIC)
    assert np.array_equal(read_image(path, **SIZE), np.asarray(expected))


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense" * 9])
def test_read_image_is_not_stopped_by_broken_exif(tmp_path: Path, write_image, exif: bytes) -> None:
    plain = write_image(tmp_path / "a" / "a.jpg")
    broken = write_image(tmp_path / "b" / "a.jpg", exif=exif)
    assert np.array_equal(read_image(broken, **SIZE), read_image(plain, **SIZE))


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_read_image_lays_transparent_pixels_on_white(tmp_path: Path, suffix: str) -> None:
    pixels = np.array([[[200, 10, 30, 255], [200, 10, 30, 0], [100, 0, 50, 128]]], dtype=np.uint8)
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image = as_it_is(save(pixels, tmp_path / f"a.{suffix}", **options))
    # 100 * 128/255 + 255 * 127/255 = 177.2; 127; 152.1
    assert np.abs(image.astype(int) - [[[200, 10, 30], [255, 255, 255], [177, 127, 152]]]).max() <= 1
    assert image[0, :2].tolist() == [[200, 10, 30], [255, 255, 255]]


def test_read_image_lays_grey_and_palette_transparency_on_white(tmp_path: Path) -> None:
    with_alpha = np.array([[[7, 255], [7, 0]]], dtype=np.uint8)
    assert as_it_is(save(with_alpha, tmp_path / "grey.png")).tolist() == [[[7, 7, 7], [255, 255, 255]]]
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.save(tmp_path / "table.png", transparency=bytes([255, 0, 255]))
    assert as_it_is(tmp_path / "table.png").tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    palette.save(tmp_path / "one.png", transparency=2)
    assert as_it_is(tmp_path / "one.png").tolist() == [[[10, 20, 30], [40, 50, 60], [255, 255, 255]]]
    Image.fromarray(np.array([[9, 8]], dtype=np.uint8)).save(tmp_path / "key.png", transparency=8)
    assert as_it_is(tmp_path / "key.png").tolist() == [[[9, 9, 9], [255, 255, 255]]]


def test_read_image_of_opaque_pixels_does_not_depend_on_the_alpha_channel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(20, 30, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(as_it_is(save(pixels, tmp_path / "a.png")), pixels[..., :3])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_read_image_scales_16_bits(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256, 32_768, 65_280, 65_535]], dtype=np.uint16)
    assert np.array_equal(as_it_is(save(values, tmp_path / f"a.{suffix}")), grey([[0, 0, 1, 128, 255, 255]]))
    dark = np.full((2, 3), 100, dtype=np.uint16)  # stays dark: the format says what white is
    assert np.array_equal(as_it_is(save(dark, tmp_path / f"b.{suffix}")), np.zeros((2, 3, 3)))


def test_read_image_scales_16_bit_colours_alike(tmp_path: Path) -> None:
    data = b"\0" + struct.pack(">6H", 0x1234, 0x00FF, 0xFFFF, 0x0100, 0x8000, 0xFEDC)
    (tmp_path / "a.png").write_bytes(png(2, 1, depth=16, data=data))
    assert as_it_is(tmp_path / "a.png").tolist() == [[[0x12, 0, 0xFF], [1, 0x80, 0xFE]]]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([0, 256, 65_535], np.int32, [0, 1, 255]),
        ([0, 65_536, 2**31 - 1], np.int32, [0, 0, 255]),
        ([0, 256, 32_767], np.int16, [0, 1, 127]),
        ([0.0, 0.5, 1.0], np.float32, [0, 128, 255]),
        ([0.0, 0.25, 0.5], np.float32, [0, 64, 128]),
        ([0.0, 100.4, 255.0], np.float32, [0, 100, 255]),
        ([0.0, 256.0, 65_535.0], np.float32, [0, 1, 255]),
        ([0.0, 2.0**30, 2.0**31], np.float32, [0, 128, 255]),
        ([0.0, 0.0, 0.0], np.float32, [0, 0, 0]),
    ],
)
def test_read_image_scales_integers_and_floats(tmp_path: Path, values, kind, expected) -> None:
    image = as_it_is(save(np.array([values], dtype=kind), tmp_path / "a.tif"))
    assert np.array_equal(image, grey([expected]))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.5, np.nan], "pixels that are no finite numbers"),
        ([0.5, np.inf], "pixels that are no finite numbers"),
        ([-0.5, 0.5], r"pixels from -0.5 to 0.5, where 0 to 2\^31 - 1 can be scaled"),
        ([0.0, 1e12], r"pixels from 0 to 1e\+12"),
    ],
)
def test_read_image_refuses_floats_that_are_no_shades(tmp_path: Path, values, reason) -> None:
    path = save(np.array([values], dtype=np.float32), tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(path, **SIZE)


def test_read_image_of_one_pixel(tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "bmp", "webp", "tif"):
        path = save(np.full((1, 1, 3), 77, dtype=np.uint8), tmp_path / f"a.{suffix}")
        assert np.abs(read_image(path, **SIZE).astype(int) - 77).max() <= 2


@pytest.mark.parametrize("suffix", ["webp", "png", "tif"])
def test_read_image_takes_the_first_frame(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (read_image(tmp_path / f"a.{suffix}", **SIZE) == [255, 0, 0]).all()


def spoilt(path: Path) -> dict[str, tuple[bytes, str]]:
    """Contents of a file that is no whole image, and what is said of it."""
    jpeg = path.read_bytes()
    gif = io.BytesIO()
    Image.new("P", (4, 4)).save(gif, "GIF")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    return {
        "empty": (b"", r"an empty file$"),
        "text": (b"hello", r"not an image \(JPEG, PNG, BMP, WebP or TIFF\)$"),
        "zeros": (bytes(999), r"not an image"),
        "half": (jpeg[: len(jpeg) // 2], r"damaged: .*[Tt]runcated"),
        "header": (jpeg[:40], r"damaged: .*[Tt]runcated"),
        "gif": (gif.getvalue(), r"a GIF, not JPEG, PNG, BMP, WebP or TIFF$"),
        "pdf": (b"%PDF-1.7 \n", r"a PDF, not"),
        "postscript": (postscript, r"a PostScript file, not"),
        "page": (b"\n<!DOCTYPE html><title>404</title>", r"a web page, not"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", r"a Git LFS pointer: run"),
        "phone": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", r"a HEIC, not"),
        "film": (b"\0\0\0\x18ftypisom\0\0\0\0", r"a video, not"),
        "no pixels": (png(0, 5), r"damaged: the beginning is that of an image, what follows is not$"),
    }


@pytest.mark.parametrize("case", [*spoilt(Path(__file__))])
def test_read_image_says_what_is_wrong(tmp_path: Path, write_image, case: str) -> None:
    contents, reason = spoilt(write_image(tmp_path / "good.jpg"))[case]
    path = tmp_path / "bad.jpg"
    path.write_bytes(contents)
    with pytest.raises(UnreadableImageError, match=reason) as caught:
        read_image(path, **SIZE)
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


def test_read_image_says_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="no such file"):
        read_image(tmp_path / "none.jpg", **SIZE)
    with pytest.raises(UnreadableImageError, match="a folder, not a file"):
        read_image(tmp_path, **SIZE)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImageError, match="a pipe or device, not a file"):  # and does not wait for a writer
        read_image(tmp_path / "pipe.jpg", **SIZE)
    with pytest.raises(UnreadableImageError, match="cannot be opened: File name too long"):
        read_image(tmp_path / ("a" * 300), **SIZE)


def test_read_image_refuses_bombs_before_it_decodes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = b"\0" + bytes(3 * 10_000)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(10_000)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b""))

    def decode(_image: object) -> None:
        pytest.fail("it is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    with pytest.raises(UnreadableImageError, match="too many pixels to be decoded safely, more than 89,478,485"):
        read_image(tmp_path / "bomb.png", **SIZE)


@pytest.mark.parametrize("limit", [100, 600])  # 40 x 20 = 800 pixels: an error of Pillow's, and a warning
def test_read_image_refuses_more_pixels_than_pillow_allows(
    tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = write_image(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableImageError, match=f"too many pixels to be decoded safely, more than {limit}"):
        read_image(path, **SIZE)


def test_read_image_lets_no_warning_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_image) -> None:
    path = write_image(tmp_path / "a.tif")

    def convert(image: Image.Image, *args: object, **options: object) -> Image.Image:
        warnings.warn("odd metadata", UserWarning, stacklevel=1)
        return original(image, *args, **options)  # type: ignore[arg-type]

    original = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", convert)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(path, **SIZE)
        assert caught == []
        warnings.warn("still heard", UserWarning, stacklevel=1)
        assert len(caught) == 1


def test_read_image_silences_the_tiff_library(tmp_path: Path, write_image, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(write_image(tmp_path / "a.tif", mode="1", compression="group4").read_bytes())
    with Image.open(tmp_path / "a.tif") as image:
        (pixels,) = image.tag_v2[273]  # type: ignore[attr-defined]  # StripOffsets
    data[pixels : pixels + 8] = b"\1" * 8
    (tmp_path / "a.tif").write_bytes(data)
    with Image.open(tmp_path / "a.tif") as image, contextlib.suppress(OSError):
        image.load()
    assert "Fax4Decode" in capfd.readouterr().err  # Pillow lets it through
    with contextlib.suppress(UnreadableImageError):
        read_image(tmp_path / "a.tif", **SIZE)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still heard")
    assert capfd.readouterr().err == "still heard"


def test_locate_follows_links_that_stay_inside(tmp_path: Path) -> None:
    inside = tmp_path.resolve() / "data"
    (inside / "folder").mkdir(parents=True)
    (inside / "folder" / "a.jpg").write_bytes(b"x")
    (inside / "link.jpg").symlink_to("folder/a.jpg")
    (inside / "again.jpg").symlink_to(inside / "link.jpg")
    (inside / "other").symlink_to("folder", target_is_directory=True)
    names = ["folder/a.jpg", "link.jpg", "again.jpg", "other/a.jpg"]
    known: dict[str, str] = {}
    for name in names:
        assert locate(inside, name) == locate(inside, name, known) == inside / "folder" / "a.jpg"
    assert known.keys() == {str(inside), f"{inside}/folder", f"{inside}/other"}


def test_locate_refuses_links_that_leave(tmp_path: Path) -> None:
    inside = tmp_path.resolve() / "data"
    beside = tmp_path.resolve() / "data2"  # begins with the folder's name
    for folder in (inside, beside):
        folder.mkdir()
        (folder / "a.jpg").write_bytes(b"x")
    (inside / "link.jpg").symlink_to("../data2/a.jpg")
    (inside / "through.jpg").symlink_to("link.jpg")
    (inside / "folder").symlink_to(beside, target_is_directory=True)
    (inside / "back.jpg").symlink_to("../data/a.jpg")
    for name in ("link.jpg", "through.jpg", "folder/a.jpg"):
        with pytest.raises(
            UnreadableImageError, match=r"a symbolic link leads out of the data set's folder, to .*data2"
        ):
            locate(inside, name)
    assert locate(inside, "back.jpg") == inside / "a.jpg"


def test_locate_refuses_links_that_lead_nowhere(tmp_path: Path) -> None:
    inside = tmp_path.resolve()
    (inside / "broken.jpg").symlink_to("gone.jpg")
    (inside / "circle.jpg").symlink_to("circle.jpg")
    with pytest.raises(UnreadableImageError, match="a symbolic link that leads nowhere"):
        locate(inside, "broken.jpg")
    with pytest.raises(UnreadableImageError, match="cannot be opened: Too many levels of symbolic links"):
        locate(inside, "circle.jpg")
    with pytest.raises(UnreadableImageError, match="no such file"):
        locate(inside, "folder/none.jpg")
