"""A prepared folder, opened: its splits, what training can see, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.datasets import packed_images
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.packed_images import LabelledImages, PackedImages, TrainingImages, open_training_images
from pipeline.preparation.prepared_folder import write_prepared_folder

SIZE: dict[str, Any] = {"height": 24, "width": 16}
ROWS = (
    ("train/a.jpg", 2, 1, "train"),
    ("train/b.jpg", 2, 3, "train"),
    ("train/c.jpg", 7, 2, "train"),
    ("query/a.jpg", 3, 1, "query"),
    ("test/a.jpg", 0, 6, "gallery"),
    ("test/b.jpg", 3, 1, "gallery"),
    ("test/c.jpg", 3, 5, "gallery"),
)


@pytest.fixture
def catalogue() -> pd.DataFrame:
    return from_rows(ROWS)


@pytest.fixture
def prepared(tmp_path: Path, catalogue: pd.DataFrame, write_image) -> Path:
    for path in catalogue["path"]:
        write_image(tmp_path / "raw" / path)
    write_prepared_folder(catalogue, tmp_path / "raw", tmp_path / "prepared", **SIZE)
    return tmp_path / "prepared"


def test_packed_images_splits_in_catalogue_order(prepared: Path, catalogue: pd.DataFrame) -> None:
    opened = PackedImages(prepared)
    pd.testing.assert_frame_equal(opened.catalogue, catalogue)
    gallery = opened.split("gallery")
    assert len(gallery) == 3 and gallery.paths == ("test/a.jpg", "test/b.jpg", "test/c.jpg")
    assert gallery.pids is not None and gallery.pids.tolist() == [0, 3, 3] and gallery.pids.dtype == np.int64
    assert gallery.camids is not None and gallery.camids.tolist() == [6, 1, 5]
    assert np.array_equal(gallery.images, opened.images[4:])
    assert isinstance(gallery.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        gallery.images[0] = 0


def test_packed_images_without_labels(tmp_path: Path, write_image) -> None:
    write_image(tmp_path / "raw" / "a.jpg")
    write_prepared_folder(from_rows([("a.jpg", None, None, "train")]), tmp_path / "raw", tmp_path / "out", **SIZE)
    train, query = (PackedImages(tmp_path / "out").split(name) for name in ("train", "query"))
    assert train.pids is None and train.camids is None and len(train) == 1
    assert len(query) == 0 and query.paths == () and query.images.shape == (0, 24, 16, 3)
    assert open_training_images(tmp_path / "out").camids is None


def test_training_images_hold_no_identity(prepared: Path) -> None:
    training = open_training_images(prepared)
    assert type(training) is TrainingImages and len(training) == 3
    assert [field.name for field in dataclasses.fields(training)] == ["images", "camids", "links"]
    assert not issubclass(LabelledImages, TrainingImages)
    assert vars(training).keys() == {"images", "camids", "links"} and training.links is None
    assert training.camids is not None and training.camids.tolist() == [1, 3, 2]


def test_open_training_images_needs_some(tmp_path: Path, write_image) -> None:
    write_image(tmp_path / "raw" / "a.jpg")
    write_prepared_folder(from_rows([("a.jpg", 1, 1, "query")]), tmp_path / "raw", tmp_path / "out", **SIZE)
    with pytest.raises(UserError, match="there are no training images in it"):
        open_training_images(tmp_path / "out")


def test_packed_images_says_what_is_wrong(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(UserError, match=r"catalogue\.csv is missing: run the prepare stage first"):
        PackedImages(tmp_path)
    images = prepared / packed_images.IMAGES
    np.save(images, np.zeros((6, 24, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"images\.npy holds 6 images, catalogue\.csv 7: run the prepare stage again"):
        PackedImages(prepared)
    np.save(images, np.zeros((7, 24, 16, 3), np.float32))
    with pytest.raises(UserError, match=r"must be \(N, H, W, 3\) uint8"):
        PackedImages(prepared)
    for damaged in (b"", b"not an array", images.read_bytes()[:500]):
        images.write_bytes(damaged)
        with pytest.raises(UserError, match=r"images\.npy is damaged"):
            PackedImages(prepared)
    images.unlink()
    with pytest.raises(UserError, match=r"images\.npy is missing"):
        PackedImages(prepared)
