"""What an exported network is checked with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.catalogue import from_rows
from pipeline.inference import example_crops
from pipeline.inference.example_crops import NUM_CALIBRATION, NUM_CROPS, crops_to_calibrate, crops_to_check
from pipeline.preparation.prepared_folder import write_prepared_folder


def prepared(folder: Path, *, number: int, splits: tuple[str, ...] = ("train",), known: bool = False) -> Path:
    """Images whose shade of red is their number; `known`: three of each identity, one after the other."""
    (folder / "raw").mkdir()
    for index in range(number):
        Image.new("RGB", (16, 32), (index, 255 - index, 99)).save(folder / "raw" / f"{index:03d}.png")
    catalogue = from_rows(
        (f"{i:03d}.png", i // 3 if known else None, None, splits[i % len(splits)]) for i in range(number)
    )
    write_prepared_folder(catalogue, folder / "raw", folder / "prepared", height=32, width=16, workers=1)
    return folder / "prepared"


def test_crops_are_spread_over_the_prepared_images(tmp_path: Path) -> None:
    folder = prepared(tmp_path, number=200)
    crops, what = crops_to_check(folder, height=32, width=16)
    assert crops.shape == (NUM_CROPS, 32, 16, 3) and crops.dtype == np.uint8
    shades = crops[:, 0, 0, 0]
    assert shades[0] == 0 and shades[-1] == 199 and (np.diff(shades) > 0).all()
    assert what == f"{NUM_CROPS} images of {folder}"


def test_crops_of_a_small_folder_are_all_of_it(tmp_path: Path) -> None:
    assert len(crops_to_check(prepared(tmp_path, number=3), height=32, width=16)[0]) == 3


def test_crops_of_another_size_are_resized_and_it_is_told(tmp_path: Path) -> None:
    crops, what = crops_to_check(prepared(tmp_path, number=3), height=20, width=30)
    assert crops.shape == (3, 20, 30, 3) and what.endswith("resized to 20 x 30")
    assert (crops[2] == (2, 253, 99)).all()


def test_crops_are_drawn_where_nothing_is_prepared_and_it_is_told(tmp_path: Path) -> None:
    crops, what = crops_to_check(tmp_path / "nothing", height=64, width=32)
    assert crops.shape == (32, 64, 32, 3) and crops.std() > 20
    assert what == f"32 drawn people, as there is no {tmp_path / 'nothing'}, resized to 64 x 32"


def test_calibration_is_of_the_gallery_spread_over_it_and_the_same_each_time(tmp_path: Path) -> None:
    folder = prepared(tmp_path, number=12, splits=("gallery", "query"))
    crops = crops_to_calibrate(folder, height=32, width=16)
    assert crops[:, 0, 0, 0].tolist() == [0, 2, 4, 6, 8, 10]
    assert (crops == crops_to_calibrate(folder, height=32, width=16)).all()
    assert crops_to_calibrate(folder, height=20, width=30).shape == (6, 20, 30, 3)


def test_calibration_takes_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example_crops, "NUM_CALIBRATION", 3)
    crops = crops_to_calibrate(prepared(tmp_path, number=9, splits=("gallery",)), height=32, width=16)
    assert crops[:, 0, 0, 0].tolist() == [0, 4, 8]


def test_calibration_is_of_all_images_without_a_gallery_and_drawn_without_a_folder(tmp_path: Path) -> None:
    assert len(crops_to_calibrate(prepared(tmp_path, number=5), height=32, width=16)) == 5
    drawn = crops_to_calibrate(tmp_path / "nothing", height=32, width=16)
    assert drawn.shape == (NUM_CALIBRATION, 32, 16, 3) and drawn.std() > 20
    assert (drawn == crops_to_calibrate(tmp_path / "nothing", height=32, width=16)).all()


def test_scoring_set_is_there_where_it_can_be_scored(tmp_path: Path) -> None:
    folder = prepared(tmp_path, number=12, splits=("gallery", "gallery", "query"), known=True)
    test, reason = example_crops.scoring_set(folder, height=32, width=16)
    assert test is not None and (len(test.query), len(test.gallery), reason) == (4, 8, "")
    other = example_crops.scoring_set(folder, height=64, width=16)
    assert other == (None, f"the images of {folder} are of another size")


def test_scoring_set_tells_why_there_is_none(tmp_path: Path) -> None:
    size = {"height": 32, "width": 16}
    nothing = tmp_path / "nothing"
    assert example_crops.scoring_set(nothing, **size) == (None, f"there is no {nothing}")
    without = example_crops.scoring_set(prepared(tmp_path, number=4), **size)
    assert without == (None, "the data set has no query images")
