"""What an exported network is checked with."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.datasets.catalogue import from_rows
from pipeline.inference.example_crops import NUM_CROPS, crops_to_check
from pipeline.preparation.prepared_folder import write_prepared_folder


def prepared(folder: Path, *, number: int) -> Path:
    (folder / "raw").mkdir()
    for index in range(number):
        Image.new("RGB", (16, 32), (index, 255 - index, 99)).save(folder / "raw" / f"{index:03d}.png")
    catalogue = from_rows((f"{i:03d}.png", None, None, "train") for i in range(number))
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
