"""Layouts whose file names tell identity and camera: those of `SPLIT_FOLDERS` and `TRAINING_ONLY`."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import validate
from pipeline.preparation.readers import training_only
from pipeline.preparation.readers.layout import Reading
from pipeline.preparation.readers.split_folders import SPLIT_FOLDERS, read
from pipeline.preparation.readers.training_only import TRAINING_ONLY


def rows(catalogue: pd.DataFrame) -> list[tuple[Any, ...]]:
    validate(catalogue)
    return list(catalogue.itertuples(index=False, name=None))


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_market1501_leaves_out_junk_and_keeps_distractors(market_folder: Path) -> None:
    assert rows(read(market_folder, SPLIT_FOLDERS["market1501"]).catalogue) == [
        ("bounding_box_train/0002_c1s1_000451_03.jpg", 2, 1, "train"),
        ("bounding_box_train/0002_c3s1_000551_00.jpg", 2, 3, "train"),
        ("bounding_box_train/0007_c2s3_000451_03.jpg", 7, 2, "train"),
        ("query/0003_c1s1_000001_00.jpg", 3, 1, "query"),
        ("bounding_box_test/0000_c6s3_086542_01.jpg", 0, 6, "gallery"),
        ("bounding_box_test/0003_c1s1_000001_02.jpg.jpg", 3, 1, "gallery"),
        ("bounding_box_test/0003_c5s1_000002_01.jpg", 3, 5, "gallery"),
    ]


def test_dukemtmc_distractors_have_identities(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "bounding_box_train/0002_c2_f0046182.jpg",
        "bounding_box_train/0001_c2_f0046182.jpg",
        "query/0005_c8_f0000001.jpg",
        "bounding_box_test/7140_c4_f0175716.jpg",
        "bounding_box_test/0005_c1_f0000009.jpg",
        "LICENSE_DukeMTMC.txt",
    )
    assert rows(read(tmp_path, SPLIT_FOLDERS["dukemtmc"]).catalogue) == [
        ("bounding_box_train/0001_c2_f0046182.jpg", 1, 2, "train"),
        ("bounding_box_train/0002_c2_f0046182.jpg", 2, 2, "train"),
        ("query/0005_c8_f0000001.jpg", 5, 8, "query"),
        ("bounding_box_test/0005_c1_f0000009.jpg", 5, 1, "gallery"),
        ("bounding_box_test/7140_c4_f0175716.jpg", 7140, 4, "gallery"),
    ]


def test_personx_keeps_the_numbers_of_its_cameras_whatever_follows_them(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "bounding_box_train/0001_c10s1_000012_00.jpg",
        "bounding_box_train/0001_c4_12.jpg",
        "query/0002_c3.jpg",
        "bounding_box_test/1266_c12s1_000300_01.JPG",
    )
    assert rows(read(tmp_path, SPLIT_FOLDERS["personx"]).catalogue) == [
        ("bounding_box_train/0001_c10s1_000012_00.jpg", 1, 10, "train"),
        ("bounding_box_train/0001_c4_12.jpg", 1, 4, "train"),
        ("query/0002_c3.jpg", 2, 3, "query"),
        ("bounding_box_test/1266_c12s1_000300_01.JPG", 1266, 12, "gallery"),
    ]


def test_veri_query_images_are_in_the_gallery_too(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "image_train/0001_c001_00016450_0.jpg",
        "image_query/0776_c020_00003105_0.jpg",
        "image_test/0776_c020_00003105_0.jpg",
        "image_test/0776_c002_00003110_1.jpg",
        "name_train.txt",
        "gt_index.txt",
    )
    assert rows(read(tmp_path, SPLIT_FOLDERS["veri"]).catalogue) == [
        ("image_train/0001_c001_00016450_0.jpg", 1, 1, "train"),
        ("image_query/0776_c020_00003105_0.jpg", 776, 20, "query"),
        ("image_test/0776_c002_00003110_1.jpg", 776, 2, "gallery"),
        ("image_test/0776_c020_00003105_0.jpg", 776, 20, "gallery"),
    ]


def vehiclex(folder: Path) -> Reading:
    return training_only.read(folder, TRAINING_ONLY["vehiclex"])


@pytest.mark.parametrize("place", ["", "sys_image_train/", "image_train/0001/"])
def test_vehiclex_images_may_lie_anywhere(tmp_path: Path, place: str) -> None:
    touch(tmp_path, f"{place}0001_c002_1.jpg", f"{place}1362_c011_53.jpg", "train_label.xml", f"{place}Thumbs.db")
    assert rows(vehiclex(tmp_path).catalogue) == [
        (f"{place}0001_c002_1.jpg", 1, 2, "train"),
        (f"{place}1362_c011_53.jpg", 1362, 11, "train"),
    ]


def test_vehiclex_refuses_images_of_two_styles(tmp_path: Path) -> None:
    touch(tmp_path, "plain/0001_c002_1.jpg", "styled/0001_c002_1.jpg", "styled/0001_c002_2.jpg")
    with pytest.raises(
        UserError, match=r"1 images are there twice, like plain/0001_c002_1.jpg and styled/0001_c002_1.jpg: keep one"
    ):
        vehiclex(tmp_path)


def test_vehiclex_refuses_an_empty_folder_and_other_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no images: names like 0001_c001_1.jpg"):
        vehiclex(tmp_path)
    with pytest.raises(UserError, match=r"1 names are not like 0001_c001_1.jpg: 000001.jpg"):
        vehiclex(touch(tmp_path, "000001.jpg"))


def test_cameras_are_counted_anew_in_each_scene(tmp_path: Path) -> None:
    touch(
        tmp_path / "rand",
        "000000_s00_c01_f001632.jpg",
        "000000_s10_c01_f000264.jpg",
        "scene01/000007_c03_s01_f000264.jpg",  # as the first publication wrote them
        "camera0_1_point.txt",
    )
    found = training_only.read(tmp_path / "rand", TRAINING_ONLY["randperson"])
    assert rows(found.catalogue) == [
        ("000000_s00_c01_f001632.jpg", 0, 1, "train"),
        ("000000_s10_c01_f000264.jpg", 0, 10_001, "train"),
        ("scene01/000007_c03_s01_f000264.jpg", 7, 1003, "train"),
    ]
    assert found.names.camera(10_001) == "scene 10, camera 1" and found.names.camera(1) == "scene 0, camera 1"
    touch(
        tmp_path / "cloned",
        "train/700000_s02_c00_f023389.jpg",
        "test/query/705227_s02_c02_f001117.jpg",
        "test/gallery/705227_s12_c02_f003229.jpg",
    )
    cloned = read(tmp_path / "cloned", SPLIT_FOLDERS["clonedperson"])
    assert list(cloned.catalogue["camid"]) == [2000, 2002, 12_002]
    assert cloned.names.camera(12_002) == "scene 12, camera 2"
    for name in ("000000_s00_s01_f1.jpg", "000000_c00_c01_f1.jpg", "000000_s00_f1.jpg"):
        folder = touch(tmp_path / name.replace(".", "_"), name)
        with pytest.raises(UserError, match="1 names are not like 000000_s00_c01"):
            training_only.read(folder, TRAINING_ONLY["randperson"])


@pytest.mark.parametrize("name", SPLIT_FOLDERS)
def test_reader_accepts_its_example(tmp_path: Path, name: str) -> None:
    layout = SPLIT_FOLDERS[name]
    touch(tmp_path, *(f"{part}/{layout.example}" for part in layout.parts))
    assert list(read(tmp_path, layout).catalogue["split"]) == ["train", "query", "gallery"]


@pytest.mark.parametrize("part", ["bounding_box_train", "query", "bounding_box_test"])
def test_reader_says_which_part_is_missing_or_empty(market_folder: Path, part: str) -> None:
    for path in (market_folder / part).iterdir():
        path.unlink()
    with pytest.raises(UserError, match=f"{part} holds no images: names like 0002_c1s1"):
        read(market_folder, SPLIT_FOLDERS["market1501"])
    (market_folder / part).rmdir()
    with pytest.raises(UserError, match=f"Market-1501-v15.09.15 holds no {part}:"):
        read(market_folder, SPLIT_FOLDERS["market1501"])
    touch(market_folder, part)  # a file, where a folder should be
    with pytest.raises(UserError, match=f"Market-1501-v15.09.15 holds no {part}:"):
        read(market_folder, SPLIT_FOLDERS["market1501"])


def test_reader_lists_names_that_do_not_match(market_folder: Path) -> None:
    touch(market_folder / "query", "0001.jpg", "photo.png", "0001_c1s1_000001_00.txt", "more/0001_c1s1_000001_00.jpg")
    with pytest.raises(UserError, match=r"query: 4 names are not like .*: 0001\.jpg, .*\.txt, more, photo\.png"):
        read(market_folder, SPLIT_FOLDERS["market1501"])
    touch(market_folder / "query", *(f"{i}.jpg" for i in range(20)))
    with pytest.raises(UserError, match=r"query: 24 names are not like .*, \.\.\. \(rename") as caught:
        read(market_folder, SPLIT_FOLDERS["market1501"])
    assert len(str(caught.value)) < 500 + len(str(market_folder))


def test_reader_shows_strange_characters_in_one_line(market_folder: Path) -> None:
    touch(market_folder / "query", "a\nb.jpg", "\udcff.jpg")
    with pytest.raises(UserError, match=r"query: 2 names are not like .*: 'a\\nb\.jpg', '\\udcff\.jpg' \(rename"):
        read(market_folder, SPLIT_FOLDERS["market1501"])


def test_reader_refuses_a_name_that_matches_and_is_not_text(market_folder: Path) -> None:
    touch(market_folder / "query", "0003_c1s1_\udcff.jpg")
    with pytest.raises(UserError, match=r"0003_c1s1_\\udcff\.jpg' is not UTF-8"):
        read(market_folder, SPLIT_FOLDERS["market1501"])


@pytest.mark.parametrize("name", ["0003_c1s1_a\\b.jpg", "0003_c1s1_a\tb.jpg"])
def test_reader_refuses_a_name_that_cannot_stand_in_a_catalogue(market_folder: Path, name: str) -> None:
    touch(market_folder / "query", name)
    with pytest.raises(UserError, match=r"0003_c1s1_a\\.*path must be relative, UTF-8"):
        read(market_folder, SPLIT_FOLDERS["market1501"])


def test_reader_refuses_numbers_that_no_table_holds(market_folder: Path) -> None:
    touch(market_folder / "query", f"{10**20}_c1s1_1.jpg")
    with pytest.raises(UserError, match=r"query/1000.*jpg has too large a number for an identity or a camera"):
        read(market_folder, SPLIT_FOLDERS["market1501"])
