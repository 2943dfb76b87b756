"""Every layout in miniature, with its official quirks; and what is said about folders that are otherwise."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.datasets.catalogue import validate
from pipeline.datasets.readers import PUBLISHED_COUNTS, READERS, count_warning, dataset_folder
from pipeline.errors import UserError


def rows(catalogue: pd.DataFrame) -> list[tuple[Any, ...]]:
    validate(catalogue)
    return list(catalogue.itertuples(index=False, name=None))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def duke(raw: Path) -> Path:
    folder = raw / "dukemtmcreid" / "DukeMTMC-reID"
    touch(
        folder,
        "bounding_box_train/0002_c2_f0046182.jpg",
        "bounding_box_train/0001_c2_f0046182.jpg",
        "query/0005_c8_f0000001.jpg",
        "bounding_box_test/7140_c4_f0175716.jpg",
        "bounding_box_test/0005_c1_f0000009.jpg",
        "LICENSE_DukeMTMC.txt",
    )
    return folder


def msmt(raw: Path, version: str) -> Path:
    folder = raw / "msmt17" / f"MSMT17_{version}"
    train, test = ("train", "test") if version == "V1" else ("mask_train_v2", "mask_test_v2")
    lists = {
        "list_train.txt": (train, ["0001/0001_000_02_0303morning_0008_0.jpg 1", "0000/0000_000_01_0303noon_0_0.jpg 0"]),
        "list_val.txt": (train, ["0000/0000_001_15_0302afternoon_0_1.jpg 0", ""]),
        "list_query.txt": (test, ["0000/0000_007_03_0113morning_0_0.jpg 0"]),
        "list_gallery.txt": (test, ["0000/0000_000_14_0113morning_0_0.jpg 0"]),
    }
    for name, (part, lines) in lists.items():
        touch(folder / part, *(line.split()[0] for line in lines if line))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_market1501_leaves_out_junk_and_keeps_distractors(market_folder: Path) -> None:
    assert rows(READERS["market1501"](market_folder)) == [
        ("bounding_box_train/0002_c1s1_000451_03.jpg", 2, 1, "train"),
        ("bounding_box_train/0002_c3s1_000551_00.jpg", 2, 3, "train"),
        ("bounding_box_train/0007_c2s3_000451_03.jpg", 7, 2, "train"),
        ("query/0003_c1s1_000001_00.jpg", 3, 1, "query"),
        ("bounding_box_test/0000_c6s3_086542_01.jpg", 0, 6, "gallery"),
        ("bounding_box_test/0003_c1s1_000001_02.jpg.jpg", 3, 1, "gallery"),
        ("bounding_box_test/0003_c5s1_000002_01.jpg", 3, 5, "gallery"),
    ]


def test_synthetic_is_read_like_market1501(market_folder: Path) -> None:
    pd.testing.assert_frame_equal(READERS["synthetic"](market_folder), READERS["market1501"](market_folder))


@pytest.mark.parametrize("name", ["dukemtmc", "dukemtmcreid"])
def test_dukemtmc_distractors_have_identities(tmp_path: Path, name: str) -> None:
    duke(tmp_path)
    assert rows(READERS[name](dataset_folder(name, tmp_path))) == [
        ("bounding_box_train/0001_c2_f0046182.jpg", 1, 2, "train"),
        ("bounding_box_train/0002_c2_f0046182.jpg", 2, 2, "train"),
        ("query/0005_c8_f0000001.jpg", 5, 8, "query"),
        ("bounding_box_test/0005_c1_f0000009.jpg", 5, 1, "gallery"),
        ("bounding_box_test/7140_c4_f0175716.jpg", 7140, 4, "gallery"),
    ]


@pytest.mark.parametrize(
    ("version", "train", "test"), [("V1", "train", "test"), ("V2", "mask_train_v2", "mask_test_v2")]
)
def test_msmt17_trains_on_both_train_lists(tmp_path: Path, version: str, train: str, test: str) -> None:
    folder = msmt(tmp_path, version)
    assert dataset_folder("msmt17", tmp_path) == folder
    assert rows(READERS["msmt17"](folder)) == [
        (f"{train}/0000/0000_000_01_0303noon_0_0.jpg", 0, 1, "train"),
        (f"{train}/0000/0000_001_15_0302afternoon_0_1.jpg", 0, 15, "train"),
        (f"{train}/0001/0001_000_02_0303morning_0008_0.jpg", 1, 2, "train"),
        (f"{test}/0000/0000_007_03_0113morning_0_0.jpg", 0, 3, "query"),
        (f"{test}/0000/0000_000_14_0113morning_0_0.jpg", 0, 14, "gallery"),
    ]


def test_msmt17_names_lines_that_it_does_not_understand(tmp_path: Path) -> None:
    folder = msmt(tmp_path, "V1")
    (folder / "list_val.txt").write_text("0000/0000_000_01_x.jpg\n0000/picture.jpg 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list_val\.txt: 2 lines are not like .*: line 1 \(.*\), line 2 \(.*\)"):
        READERS["msmt17"](folder)


def test_msmt17_refuses_lists_that_are_empty_or_no_text(tmp_path: Path) -> None:
    folder = msmt(tmp_path, "V1")
    (folder / "list_query.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"list_query\.txt is not a text file"):
        READERS["msmt17"](folder)
    for path in folder.glob("list_*.txt"):
        path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="name no images"):
        READERS["msmt17"](folder)


def test_msmt17_refuses_to_leave_its_folder(tmp_path: Path) -> None:
    folder = msmt(tmp_path, "V1")
    (folder / "list_query.txt").write_text("../../0000_000_01_0.jpg 0\n", encoding="utf-8")
    with pytest.raises(UserError, match="path must be relative"):
        READERS["msmt17"](folder)


@pytest.mark.parametrize("name", sorted(READERS))
def test_reader_says_where_to_put_what(tmp_path: Path, name: str) -> None:
    folder = dataset_folder(name, tmp_path / "data" / "raw")
    with pytest.raises(UserError, match=r"is missing: put .* there, so that it holds") as caught:
        READERS[name](folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("part", ["bounding_box_train", "query", "bounding_box_test"])
def test_reader_says_which_part_is_missing_or_empty(market_folder: Path, part: str) -> None:
    for path in (market_folder / part).iterdir():
        path.unlink()
    with pytest.raises(UserError, match=f"{part} holds no images: names like 0002_c1s1"):
        READERS["market1501"](market_folder)
    (market_folder / part).rmdir()
    with pytest.raises(UserError, match=f"Market-1501-v15.09.15 holds no {part}:"):
        READERS["market1501"](market_folder)
    touch(market_folder, part)  # a file, where a folder should be
    with pytest.raises(UserError, match=f"Market-1501-v15.09.15 holds no {part}:"):
        READERS["market1501"](market_folder)


def test_reader_lists_names_that_do_not_match(market_folder: Path) -> None:
    touch(market_folder / "query", "0001.jpg", "photo.png", "0001_c1s1_000001_00.txt", "more/0001_c1s1_000001_00.jpg")
    with pytest.raises(UserError, match=r"query: 4 names are not like .*: 0001\.jpg, .*\.txt, more, photo\.png"):
        READERS["market1501"](market_folder)
    touch(market_folder / "query", *(f"{i}.jpg" for i in range(20)))
    with pytest.raises(UserError, match=r"query: 24 names are not like .*, \.\.\. \(rename") as caught:
        READERS["market1501"](market_folder)
    assert len(str(caught.value)) < 500 + len(str(market_folder))


def test_reader_shows_strange_characters_in_one_line(market_folder: Path) -> None:
    touch(market_folder / "query", "a\nb.jpg", "\udcff.jpg")
    with pytest.raises(UserError, match=r"query: 2 names are not like .*: 'a\\nb\.jpg', '\\udcff\.jpg' \(rename"):
        READERS["market1501"](market_folder)


def test_reader_refuses_a_name_that_matches_and_is_not_text(market_folder: Path) -> None:
    touch(market_folder / "query", "0003_c1s1_\udcff.jpg")
    with pytest.raises(UserError, match=r"0003_c1s1_\\udcff\.jpg' is not UTF-8"):
        READERS["market1501"](market_folder)


def test_dataset_folder_refuses_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset must be one of dukemtmc, .*synthetic, got 'market'"):
        dataset_folder("market", tmp_path)


def test_dataset_folder_prefers_v1(tmp_path: Path) -> None:
    assert dataset_folder("msmt17", tmp_path).name == "MSMT17_V1"
    msmt(tmp_path, "V2")
    assert dataset_folder("msmt17", tmp_path).name == "MSMT17_V2"
    msmt(tmp_path, "V1")
    assert dataset_folder("msmt17", tmp_path).name == "MSMT17_V1"


def test_count_warning_names_both_counts(market_folder: Path) -> None:
    catalogue = READERS["market1501"](market_folder)
    warning = count_warning("market1501", catalogue)
    assert warning is not None and "\n" not in warning
    assert "3 train, 1 query, 3 gallery" in warning and "12,936 train, 3,368 query, 15,913 gallery" in warning
    assert count_warning("synthetic", catalogue) is None


@pytest.mark.parametrize("name", sorted(PUBLISHED_COUNTS))
def test_count_warning_is_silent_for_the_published_counts(name: str) -> None:
    splits = [split for split, count in PUBLISHED_COUNTS[name].items() for _ in range(count)]
    assert count_warning(name, pd.DataFrame({"split": splits})) is None
    assert count_warning(name, pd.DataFrame({"split": splits[1:]})) is not None
