"""Test images that are training images: found by their bytes, and by nothing else."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import from_rows, image_hash
from pipeline.datasets.images import read_image
from pipeline.preparation import leakage
from pipeline.preparation.leakage import leaked_images
from pipeline.preparation.prepared_folder import write_prepared_folder

SIZE: dict[str, Any] = {"height": 24, "width": 16}


def pairs(table: pd.DataFrame) -> list[tuple[str, str]]:
    return list(table[["train", "test"]].itertuples(index=False, name=None))


def rows(names: dict[str, str]) -> pd.DataFrame:
    return from_rows((path, None if split == "train" else 1, None, split) for path, split in names.items())


@pytest.fixture
def source(tmp_path: Path, write_image) -> Path:
    """a and b are training images, q a query; c and d are b again, e is b's pixels in other bytes."""
    folder = tmp_path / "raw"
    for name in ("a.png", "b.png", "q.png"):
        write_image(folder / name)
    for name in ("c.png", "d.png"):
        shutil.copy(folder / "b.png", folder / name)
    with Image.open(folder / "b.png") as image:
        image.save(folder / "e.png", compress_level=0)
    return folder


CATALOGUE = {
    "a.png": "train",
    "b.png": "train",
    "d.png": "gallery",
    "c.png": "query",
    "e.png": "gallery",
    "q.png": "query",
}


def test_leaked_images_by_hand(source: Path) -> None:
    catalogue = rows(CATALOGUE)
    hashes = [image_hash(read_image(source / path, **SIZE)) for path in catalogue["path"]]
    assert pairs(leaked_images(catalogue, hashes, source)) == [("b.png", "c.png"), ("b.png", "d.png")]


def test_leaked_images_reads_no_file_where_no_pixels_agree(tmp_path: Path) -> None:
    catalogue = rows({"a.png": "train", "b.png": "train", "c.png": "query", "d.png": "gallery"})
    table = leaked_images(catalogue, [b"1", b"1", b"2", b"2"], tmp_path / "nothing is here")
    assert len(table) == 0 and list(table.columns) == ["train", "test"]


@settings(max_examples=60, deadline=None)
@given(
    images=st.lists(
        st.tuples(st.sampled_from("AABC"), st.sampled_from("xy"), st.sampled_from(["train", "query", "gallery"])),
        min_size=1,
        max_size=12,
    )
)
def test_leaked_images_equals_a_loop(images: list[tuple[str, str, str]]) -> None:
    """Each image has pixels (A to C) and bytes: its pixels and how they are stored (x or y)."""
    names = {f"{i:02d}": image for i, image in enumerate(images)}
    catalogue = rows({name: split for name, (_, _, split) in names.items()})
    hashes = [names[path][0].encode() for path in catalogue["path"]]
    expected = []
    for test, (pixels, stored, split) in names.items():
        same = [n for n, (p, s, other) in names.items() if other == "train" and (p, s) == (pixels, stored)]
        if split != "train" and same:
            expected.append((same[0], test))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "_file_hash", lambda path: "".join(names[path.name][:2]).encode())
        assert pairs(leaked_images(catalogue, hashes, Path())) == sorted(expected, key=lambda pair: pair[1])


def test_leaked_images_finds_an_image_listed_in_both(source: Path) -> None:
    catalogue = from_rows([("a.png", 1, None, split) for split in ("train", "query", "gallery")])
    assert pairs(leaked_images(catalogue, [b"1"] * 3, source)) == [("a.png", "a.png")]


def test_leaked_images_says_when_a_file_has_gone(source: Path) -> None:
    catalogue = rows({"a.png": "train", "gone.png": "query"})
    with pytest.raises(UserError, match=r"gone\.png could be read a moment ago, not now \(No such file"):
        leaked_images(catalogue, [b"1", b"1"], source)


def test_write_prepared_folder_lists_leaked_images(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "out" / "prepared"
    table = target / "leaked_images.csv"
    summary = write_prepared_folder(rows(CATALOGUE), source, target, **SIZE)
    assert summary["leaked"] == 2
    assert table.read_text(encoding="utf-8") == "train,test\nb.png,c.png\nb.png,d.png\n"

    clean = {path: split for path, split in CATALOGUE.items() if path != "b.png"}
    assert write_prepared_folder(rows(clean), source, target, **SIZE)["leaked"] == 0
    assert not table.exists()


def test_write_prepared_folder_looks_for_leaks_among_what_can_be_read(tmp_path: Path, source: Path) -> None:
    for name in ("b.png", "c.png"):  # empty files equal each other, but are no images
        (source / name).write_bytes(b"")
    summary = write_prepared_folder(rows(CATALOGUE), source, tmp_path / "prepared", **SIZE, skip_bad=True)
    assert (summary["skipped"], summary["leaked"]) == (2, 0)
