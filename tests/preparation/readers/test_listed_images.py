"""Layouts whose images are named by lists: MSMT17 and VehicleID."""

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.preparation.readers import msmt17, vehicleid


def rows(catalogue: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(catalogue.astype(object).where(catalogue.notna(), None).itertuples(index=False, name=None))


@pytest.fixture(params=["V1", "V2"])
def msmt(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, str]:
    """(folder, folder of training images, folder of test images)"""
    train, test = ("train", "test") if request.param == "V1" else ("mask_train_v2", "mask_test_v2")
    lists = {
        "list_train.txt": ["0001/0001_000_02_0303morning_0008_0.jpeg 1", "0000/0000_000_01_0303noon_0_0.jpg 0"],
        "list_val.txt": ["0000/0000_001_15_0302afternoon_0_1.jpg 0", ""],
        "list_query.txt": ["0000/0000_007_03_0113morning_0_0.jpg 0"],
        "list_gallery.txt": ["0000/0000_000_14_0113morning_0_0.jpg 0"],
    }
    for name, lines in lists.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / train).mkdir()
    (tmp_path / test).mkdir()
    return tmp_path, train, test


def test_msmt17_trains_on_both_train_lists(msmt: tuple[Path, str, str]) -> None:
    folder, train, test = msmt
    assert rows(msmt17.read(folder).catalogue) == [
        (f"{train}/0000/0000_000_01_0303noon_0_0.jpg", 0, 1, "train"),
        (f"{train}/0000/0000_001_15_0302afternoon_0_1.jpg", 0, 15, "train"),
        (f"{train}/0001/0001_000_02_0303morning_0008_0.jpeg", 1, 2, "train"),
        (f"{test}/0000/0000_007_03_0113morning_0_0.jpg", 0, 3, "query"),
        (f"{test}/0000/0000_000_14_0113morning_0_0.jpg", 0, 14, "gallery"),
    ]


def test_msmt17_names_lines_that_it_does_not_understand(msmt: tuple[Path, str, str]) -> None:
    folder, _, _ = msmt
    (folder / "list_val.txt").write_text("0000/0000_000_01_x.jpg\n\n0000/picture.jpg 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list_val\.txt: 2 lines are not like .*: line 1 \(.*\), line 3 \(.*\)"):
        msmt17.read(folder)


def test_msmt17_refuses_numbers_that_no_table_holds(msmt: tuple[Path, str, str]) -> None:
    folder, _, _ = msmt
    (folder / "list_val.txt").write_text(f"0000/0000_000_01_x.jpg {'1' * 5000}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list_val\.txt: 1 lines are not like"):
        msmt17.read(folder)


def test_msmt17_refuses_lists_that_are_empty_or_no_text(msmt: tuple[Path, str, str]) -> None:
    folder, _, _ = msmt
    (folder / "list_query.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"list_query\.txt is not a text file"):
        msmt17.read(folder)
    for path in folder.glob("list_*.txt"):
        path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="name no images"):
        msmt17.read(folder)


def test_msmt17_says_which_list_is_missing(msmt: tuple[Path, str, str]) -> None:
    folder, _, _ = msmt
    (folder / "list_val.txt").unlink()
    with pytest.raises(UserError, match=r"holds no list_val\.txt: MSMT17_V"):
        msmt17.read(folder)


def test_msmt17_refuses_to_leave_its_folder(msmt: tuple[Path, str, str]) -> None:
    folder, _, _ = msmt
    (folder / "list_query.txt").write_text("../../0000_000_01_0.jpg 0\n", encoding="utf-8")
    with pytest.raises(UserError, match="path must be relative"):
        msmt17.read(folder)


def vehicles(
    folder: Path, *, test: dict[int, list[str]], train: str = "0000001 7\n0000002 7\n", size: int = 800
) -> Path:
    (folder / "image").mkdir(exist_ok=True)
    (folder / "train_test_split").mkdir(exist_ok=True)
    (folder / "train_test_split" / "train_list.txt").write_text(train, encoding="utf-8")
    lines = [f"{name} {pid}\n" for pid, names in test.items() for name in names]
    (folder / "train_test_split" / f"test_list_{size}.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def gallery(folder: Path, *, seed: int, size: int = 800) -> dict[int, str]:
    catalogue = vehicleid.read(folder, test_size=size, seed=seed).catalogue
    chosen = catalogue[catalogue["split"] == "gallery"]
    return dict(zip(chosen["pid"], chosen["path"], strict=True))


TEST = {pid: [f"{pid}{shot:04d}" for shot in range(4)] for pid in range(100, 130)}


def test_vehicleid_training_images_have_no_camera(tmp_path: Path) -> None:
    catalogue = vehicleid.read(vehicles(tmp_path, test={9: ["0000005"]}), test_size=800, seed=1).catalogue
    assert rows(catalogue) == [
        ("image/0000001.jpg", 7, None, "train"),
        ("image/0000002.jpg", 7, None, "train"),
        ("image/0000005.jpg", 9, None, "gallery"),
    ]


def test_vehicleid_gallery_is_one_image_of_each_identity_and_queries_are_the_others(tmp_path: Path) -> None:
    catalogue = vehicleid.read(vehicles(tmp_path, test=TEST), test_size=800, seed=1).catalogue
    of = {split: catalogue[catalogue["split"] == split] for split in ("query", "gallery")}
    assert Counter(of["gallery"]["pid"]) == dict.fromkeys(TEST, 1)
    assert Counter(of["query"]["pid"]) == dict.fromkeys(TEST, 3)
    paths = [*of["query"]["path"], *of["gallery"]["path"]]
    assert sorted(paths) == sorted(f"image/{name}.jpg" for names in TEST.values() for name in names)


def test_vehicleid_gallery_follows_from_the_seed(tmp_path: Path) -> None:
    vehicles(tmp_path, test=TEST)
    assert gallery(tmp_path, seed=1) == gallery(tmp_path, seed=1)
    draws = [gallery(tmp_path, seed=seed) for seed in range(40)]
    for pid, names in TEST.items():  # every image has its chance
        assert {draw[pid] for draw in draws} == {f"image/{name}.jpg" for name in names}


def test_vehicleid_gallery_depends_on_neither_order_nor_other_identities(tmp_path: Path) -> None:
    before = gallery(vehicles(tmp_path, test=TEST), seed=3)
    backwards = {pid: names[::-1] for pid, names in reversed(TEST.items())}
    assert gallery(vehicles(tmp_path, test=backwards), seed=3) == before
    assert gallery(vehicles(tmp_path, test={104: TEST[104]}), seed=3) == {104: before[104]}


def test_vehicleid_gallery_is_the_documented_draw(tmp_path: Path) -> None:
    import hashlib

    vehicles(tmp_path, test={5: ["0000011", "0000012"]})
    hashes = {name: hashlib.sha256(f"1 image/{name}.jpg".encode()).hexdigest() for name in ("0000011", "0000012")}
    assert gallery(tmp_path, seed=1) == {5: f"image/{min(hashes, key=hashes.__getitem__)}.jpg"}


def test_vehicleid_reads_the_list_of_its_test_size_only(tmp_path: Path) -> None:
    vehicles(tmp_path, test={9: ["0000005"]}, size=2400)
    assert gallery(tmp_path, seed=1, size=2400) == {9: "image/0000005.jpg"}
    with pytest.raises(UserError, match=r"holds no train_test_split/test_list_800\.txt: VehicleID must be there"):
        gallery(tmp_path, seed=1, size=800)
    with pytest.raises(UserError, match=r"vehicleid\.test_size must be one of 800, 1600, 2400, got 13164"):
        gallery(tmp_path, seed=1, size=13164)


def test_vehicleid_names_may_have_their_suffix(tmp_path: Path) -> None:
    vehicles(tmp_path, test={9: ["0000005.jpg"]}, train="0000001.jpg\t7\r\n\r\n")
    catalogue = vehicleid.read(tmp_path, test_size=800, seed=1).catalogue
    assert list(catalogue["path"]) == ["image/0000001.jpg", "image/0000005.jpg"]


@pytest.mark.parametrize("line", ["0000001", "0000001 x", "a/0000001 1", "0000001 1 1", "..\\1 1", "1 -1"])
def test_vehicleid_names_lines_that_it_does_not_understand(tmp_path: Path, line: str) -> None:
    vehicles(tmp_path, test={9: ["0000005"]}, train=f"0000001 1\n{line}\n")
    with pytest.raises(UserError, match=r"train_list\.txt: 1 lines are not like 0000001 7: line 2 \(") as caught:
        vehicleid.read(tmp_path, test_size=800, seed=1)
    assert line in str(caught.value)


def test_vehicleid_refuses_empty_lists_and_repeated_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train_list\.txt names no images"):
        vehicleid.read(vehicles(tmp_path, test={9: ["0000005"]}, train="\n"), test_size=800, seed=1)
    with pytest.raises(UserError, match=r"test_list_800\.txt names no images"):
        vehicleid.read(vehicles(tmp_path, test={}), test_size=800, seed=1)
    with pytest.raises(UserError, match=r"image/0000001\.jpg\): the image is listed twice in one split"):
        vehicleid.read(vehicles(tmp_path, test=TEST, train="0000001 1\n0000001 2\n"), test_size=800, seed=1)
