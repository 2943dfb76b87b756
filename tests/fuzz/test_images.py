"""Mutated images and strange names, thrown at a reader and the packing: never a traceback, a half, or a silent loss.

What comes out is a UserError in one line, or a prepared folder with every file that is not in the table of bad images.
"""

import io
import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.common.text import csv_cell
from pipeline.datasets.catalogue import digest
from pipeline.datasets.packed_images import PackedImages
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.readers import image_folder, split_folders
from tests.fuzz.mutations import rounds

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "folder": lambda folder: image_folder.read(folder, camera=None).catalogue,
    "market1501": lambda folder: split_folders.read(folder, split_folders.SPLIT_FOLDERS["market1501"]).catalogue,
}
SIZE: dict[str, Any] = {"height": 12, "width": 8}
SUFFIXES = (".jpg", ".JPEG", ".png", ".bmp", ".webp", ".tif", ".tiff")
NAMES = [
    "plain",
    "with space",
    " before",
    "behind ",
    "a,b",
    'a"b',
    "it's",
    "a;b|c&d",
    "$(x)`y`",
    "-rf",
    "--",
    "~",
    "*?",
    "%00%s{0}",
    "NA",
    "nan",
    "null",
    "None",
    "=1+1",
    "#x",
    "@x",
    "<b>",
    "\u2400",
    "\x7f",
    "\x85",
    "\u2028",
    "\u200f\u202etxt",
    "\ufeffbom",
    "e\u0301",
    "\u00e9",
    "猫",
    "🐈\u200d⬛",
    "C:",
    "CON",
    "a.b.c",
    "x" * 240,
    "ü" * 120,
    "0",
    "\xa0",
]
# The catalogue, or Python's text, cannot hold these.
IMPOSSIBLE_NAMES = ["a\nb", "a\rb", "tab\tbed", "\x01", "back\\slash", "broken\udcff", "\udce9t\udce9"]
LEFT = {"prepared", "bad_images.csv"}


def pixels() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, size=(5, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((24, 30), Image.Resampling.BILINEAR)


@cache
def images() -> tuple[bytes, ...]:
    """Whole image files of all formats, and of kinds of pixels that have code of their own."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    colour = pixels()
    wide = Image.fromarray(np.asarray(colour.convert("L")).astype(np.uint16) * 200)
    kinds: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("JPEG", colour, {"exif": exif}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("JPEG", colour, {"progressive": True}),
        ("PNG", colour, {"exif": exif}),
        ("PNG", colour.convert("P"), {"transparency": 1}),
        ("PNG", wide, {}),
        ("PNG", colour.convert("RGBA"), {"save_all": True, "append_images": [colour.convert("RGBA").rotate(9)]}),
        ("BMP", colour, {}),
        ("BMP", colour.convert("P"), {}),
        ("WEBP", colour, {"exif": exif}),
        ("WEBP", colour.convert("RGBA"), {"save_all": True, "append_images": [colour.convert("RGBA").rotate(9)]}),
        ("TIFF", colour, {"compression": "tiff_lzw", "exif": exif}),
        ("TIFF", colour, {"compression": "jpeg"}),
        ("TIFF", colour.convert("1"), {"compression": "group4"}),
        ("TIFF", colour.convert("F"), {}),
        ("TIFF", wide, {"compression": "tiff_deflate"}),
        ("TIFF", colour.convert("LAB"), {}),
        ("MPO", colour, {"save_all": True, "append_images": [colour]}),
        ("GIF", colour, {}),
    ]
    files = []
    for kind, image, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return tuple(files)


def flip_bits(data: bytearray, generator: random.Random) -> None:
    for _ in range(generator.choice([1, 1, 4, 30])):
        # Half of them near the start: headers are shorter than pixels, and have more to say.
        place = generator.randrange(min(len(data), 200) if generator.random() < 0.5 else len(data))
        data[place] ^= 1 << generator.randrange(8)


def cut(data: bytearray, generator: random.Random) -> None:
    del data[generator.randrange(len(data)) :]


def take_out(data: bytearray, generator: random.Random) -> None:
    start = generator.randrange(len(data))
    del data[start : start + generator.randrange(1, 100)]


def swap_header(data: bytearray, generator: random.Random) -> None:
    length = generator.choice([4, 12, 40, 120])
    data[:length] = generator.choice(images())[:length]


def set_number(data: bytearray, generator: random.Random) -> None:
    numbers = [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\1\0\0", b"\xff\xff\0\0"]
    start = generator.randrange(min(len(data), 200))
    data[start : start + 4] = generator.choice(numbers)


def replace_all(data: bytearray, generator: random.Random) -> None:
    data[:] = generator.randbytes(generator.choice([0, 1, 16, 500]))


def append(data: bytearray, generator: random.Random) -> None:
    data += generator.choice(images())


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    flip_bits,
    flip_bits,
    cut,
    take_out,
    swap_header,
    set_number,
    set_number,
    replace_all,
    append,
]


def some_file(generator: random.Random) -> bytes:
    data = bytearray(generator.choice(images()))
    for _ in range(generator.choice([0, 0, 1, 1, 2])):
        if data:
            generator.choice(MUTATIONS)(data, generator)
    return bytes(data)


def throw(read: Callable[[Path], pd.DataFrame], source: Path, target: Path, names: set[str]) -> set[str]:
    """Reads and packs `source`, first without, then with skip_bad. Returns which of `names` were packed."""
    packed: set[str] = set()
    for skip_bad in (False, True, True):
        try:
            catalogue = read(source)
            assert set(catalogue["path"]) == names  # what the reader leaves out, it must say
            summary = write_prepared_folder(catalogue, source, target, **SIZE, skip_bad=skip_bad)
        except UserError as error:
            assert "\n" not in str(error)
            assert not target.exists()
        else:
            packed = complete(target, summary)
            listed = bad_images(target)
            assert cells(packed).isdisjoint(listed) and cells(packed) | listed == cells(names)
            assert skip_bad or packed == names
        assert {path.name for path in target.parent.iterdir()} <= LEFT
    return packed


def complete(target: Path, summary: dict[str, object]) -> set[str]:
    opened = PackedImages(target)
    assert read_json(target / "summary.json") == summary
    assert summary["digest"] == digest(opened.catalogue, opened.images)
    assert summary["images"] == len(opened.catalogue) and summary["skipped"] == len(bad_images(target))
    return set(opened.catalogue["path"])


def cells(names: set[str]) -> set[str]:
    """The names as a table shows them."""
    return {csv_cell(name) for name in names}


def bad_images(target: Path) -> set[str]:
    table = (target if target.exists() else target.parent) / "bad_images.csv"
    if not table.exists():
        return set()
    listed = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8")
    assert list(listed.columns) == ["path", "reason"] and all(map(str.isprintable, listed["reason"]))
    return set(listed["path"])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "prepared"


def test_prepare_of_mutated_images_and_strange_names_loses_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in rounds("images", files=20):
        generator = random.Random(seed)
        source, target = tmp_path / f"raw{seed}", tmp_path / f"data{seed}" / "prepared"
        target.parent.mkdir()
        names = set()
        for stem in generator.sample(NAMES, 20):
            folder = generator.choice(["", "one/", "two, too/", "-3/"])
            name = f"{folder}{stem}{generator.choice(SUFFIXES)}"
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(some_file(generator))
            names.add(name)
        (source / "whole.png").write_bytes(images()[5])  # so that there is one
        packed = throw(READERS["folder"], source, target, names | {"whole.png"})
        assert "whole.png" in packed
        assert capfd.readouterr() == ("", "")  # no decoder says anything to anybody
        shutil.rmtree(source)
        shutil.rmtree(target.parent)


def test_prepare_of_mutated_images_in_a_named_layout_loses_nothing(tmp_path: Path) -> None:
    for seed in rounds("images in a named layout", files=18):
        generator = random.Random(seed)
        source, target = tmp_path / f"raw{seed}", tmp_path / f"data{seed}" / "prepared"
        target.parent.mkdir()
        names = set()
        for part in ("bounding_box_train", "query", "bounding_box_test"):
            (source / part).mkdir(parents=True)
            for number, stem in enumerate([*generator.sample(NAMES[:-5], 6), "whole"]):
                name = f"{part}/{number:04d}_c1s1_{stem}"[:200] + ".jpg"
                (source / name).write_bytes(images()[0] if stem == "whole" else some_file(generator))
                names.add(name)
        packed = throw(READERS["market1501"], source, target, names)
        assert len(packed) >= 3
        shutil.rmtree(source)
        shutil.rmtree(target.parent)


@pytest.mark.parametrize("layout", ["folder", "market1501"])
@pytest.mark.parametrize("name", IMPOSSIBLE_NAMES)
def test_prepare_of_a_name_that_cannot_be_held_is_refused(tmp_path: Path, target: Path, name: str, layout: str) -> None:
    source = tmp_path / "raw"
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        (source / part).mkdir(parents=True)
        (source / part / "0001_c1s1_0.jpg").write_bytes(images()[0])
    (source / "query" / f"0001_c1s1_{name}.jpg").write_bytes(images()[0])
    with pytest.raises(UserError, match=r"rename|must be") as caught:
        write_prepared_folder(READERS[layout](source), source, target, **SIZE)
    assert str(caught.value).isprintable()
    assert list(target.parent.iterdir()) == []
