"""The catalogue: its contract, its file, its digest."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import (
    combine_digest,
    digest,
    from_rows,
    image_hash,
    is_image_path,
    read_catalogue,
    validate,
    write_catalogue,
)

ROWS = [
    ("gallery/b.jpg", 3, 2, "gallery"),
    ("query/a.jpg", 3, 1, "query"),
    ("train/b.jpg", 1, 1, "train"),
    ("gallery/a.jpg", 0, 2, "gallery"),
    ("train/a.jpg", 2, 2, "train"),
    ("train/B.jpg", 2, 1, "train"),
]
SORTED_PATHS = ["train/B.jpg", "train/a.jpg", "train/b.jpg", "query/a.jpg", "gallery/a.jpg", "gallery/b.jpg"]


@pytest.fixture
def catalogue() -> pd.DataFrame:
    return from_rows(ROWS)


def test_from_rows_sorts_by_split_then_path(catalogue: pd.DataFrame) -> None:
    assert list(catalogue["path"]) == SORTED_PATHS
    assert list(catalogue["pid"]) == [2, 2, 1, 3, 0, 3]
    assert list(catalogue["camid"]) == [1, 2, 1, 1, 2, 2]
    assert list(catalogue.index) == list(range(6))


def test_from_rows_order_of_input_does_not_matter(catalogue: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(catalogue, from_rows(reversed(ROWS)))


def test_validate_returns_its_input_unchanged(catalogue: pd.DataFrame) -> None:
    before = catalogue.copy(deep=True)
    assert validate(catalogue) is catalogue
    pd.testing.assert_frame_equal(catalogue, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.drop(columns="camid"), "columns must be path, pid, camid, split, got path, pid, split"),
        (lambda c: c.astype({"pid": "float64"}), "column pid must be whole numbers"),
        (lambda c: c.iloc[:0], "there are no images in it"),
        (
            lambda c: c.replace({"split": {"query": "test"}}),
            r"row 4 \(query/a.jpg\): split must be 'train', 'query' or 'gallery', got 'test'",
        ),
        (lambda c: c.replace({"path": {"train/a.jpg": "/train/a.jpg"}}), r"row 2 .*path must be relative"),
        (lambda c: c.replace({"path": {"train/a.jpg": "train/../a.jpg"}}), r"row 2 .*path must be relative"),
        (lambda c: c.replace({"path": {"train/a.jpg": "train\\a.jpg"}}), r"row 2 .*path must be relative"),
        (
            lambda c: c.replace({"path": {"train/a.jpg": "train/\n.jpg"}}),
            r"row 2 \('train/\\n.jpg'\): path must be relative",
        ),
        (lambda c: c.replace({"path": {"train/a.jpg": "train/b.jpg"}}), r"row 3 \(train/b.jpg\): .*listed twice"),
        (lambda c: c.replace({"pid": {1: -1}}), r"row 3 .*pid must be greater than or equal to 0, got -1"),
        (
            lambda c: c.assign(camid=c["camid"].where(c.index != 1)),
            r"row 2 .*camid is missing here, but given for other",
        ),
        (
            lambda c: c.assign(pid=c["pid"].where(c["split"] != "query")),
            r"row 4 \(query/a.jpg\): pid is missing here, but given for other query and gallery images$",
        ),
        (
            lambda c: c.assign(camid=c["camid"].where(c["split"] != "gallery")),
            r"row 5 .*camid is missing here, but given for other query and gallery images \(and 1 more\)",
        ),
        (lambda c: c.iloc[::-1].reset_index(drop=True), "rows must be sorted by split"),
    ],
)
def test_validate_names_what_is_wrong(catalogue: pd.DataFrame, change: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        validate(change(catalogue), source="data/catalogue.csv")  # type: ignore[operator]
    assert str(caught.value).startswith("data/catalogue.csv: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("untold", [["train"], ["query", "gallery"], ["train", "query", "gallery"]])
@pytest.mark.parametrize("column", ["pid", "camid"])
def test_validate_a_column_may_be_unknown_for_training_or_for_test(
    catalogue: pd.DataFrame, column: str, untold: list[str]
) -> None:
    validate(catalogue.assign(**{column: catalogue[column].where(~catalogue["split"].isin(untold))}))


@pytest.mark.parametrize("path", ["a.jpg", "a/b.jpg", "ü/ .jpg", "a/..b.jpg", "...", "~", "c:/a.jpg", ".a/b"])
def test_image_path_may_be_anything_below_the_folder(path: str) -> None:
    assert is_image_path(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "a//b", "a/", ".", "./a", "a/.", "..", "a/../b", "a\\b", "a\nb", "\0", "\udcff"]
)
def test_image_path_stays_below_the_folder(path: str) -> None:
    assert not is_image_path(path)


@given(st.text(st.sampled_from("ab./\\\n"), max_size=8))
def test_image_path_is_a_normal_relative_path(path: str) -> None:
    pure = PurePosixPath(path)
    normal = path != "." and str(pure) == path and not pure.is_absolute() and ".." not in pure.parts
    assert is_image_path(path) == (normal and not set(path) & set("\\\n"))


def test_from_rows_names_a_number_that_is_too_large() -> None:
    assert from_rows([("a.jpg", 2**63 - 1, None, "train")])["pid"][0] == 2**63 - 1
    with pytest.raises(UserError, match=r"image a\.jpg has too large a number for an identity or a camera"):
        from_rows([("a.jpg", 1, 2**63, "train")])


def test_from_rows_names_a_file_name_that_is_not_text() -> None:
    with pytest.raises(UserError, match=r"image 'train/\\udcff.jpg' is not UTF-8: rename it"):
        from_rows([("train/\udcff.jpg", 1, 1, "train")])


def test_validate_counts_further_rows(catalogue: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"row 1 .*and 5 more"):
        validate(catalogue.assign(camid=pd.array([-1] * 6, dtype="Int64")))


def test_validate_one_image_may_be_query_and_gallery() -> None:
    assert len(from_rows([("a.jpg", 1, 1, "query"), ("a.jpg", 1, 1, "gallery")])) == 2


def test_write_catalogue_is_readable_by_people(catalogue: pd.DataFrame, tmp_path: Path) -> None:
    write_catalogue(catalogue.iloc[:2], tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_bytes() == b"path,pid,camid,split\ntrain/B.jpg,2,1,train\ntrain/a.jpg,2,2,train\n"


def test_write_catalogue_refuses_an_invalid_one(catalogue: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c\.csv: rows must be sorted"):
        write_catalogue(catalogue.iloc[::-1], tmp_path / "c.csv")
    assert list(tmp_path.iterdir()) == []


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\", exclude_categories=["Cc"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(names=st.lists(NAMES, min_size=1, max_size=6, unique=True), known=st.booleans())
def test_read_catalogue_returns_what_was_written(tmp_path: Path, names: list[str], known: bool) -> None:
    rows = [(name, i if known else None, None, "train") for i, name in enumerate([*names, "NA", "nan", ' "q", '])]
    catalogue = from_rows(dict(zip([row[0] for row in rows], rows, strict=True)).values())
    write_catalogue(catalogue, tmp_path / "c.csv")
    pd.testing.assert_frame_equal(read_catalogue(tmp_path / "c.csv"), catalogue)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a catalogue"),
        (b"\xff\xfe\x00bad", "is not a catalogue"),
        (b"path,pid,camid,split\na.jpg,one,1,train\n", "is not a catalogue"),
        (b"path,pid,camid,split\na.jpg,1.5,1,train\n", "is not a catalogue"),
        (b"path,pid,camid,split\na.jpg,inf,1,train\n", "is not a catalogue"),
        (b"path,pid,camid,split\na.jpg,99999999999999999999,1,train\n", "is not a catalogue"),
        (b'path,pid,camid,split\n"a.jpg,1,1,train\n', "is not a catalogue"),
        (b"path,pid\na.jpg,1\n", "columns must be path, pid, camid, split"),
        (b"path,pid,camid,split\na,1,b.jpg,1,3,train\n", "its rows have more values than there are columns"),
        ("path,pid,camid,\u2028\na.jpg,1,1,train\n".encode(), r"got path, pid, camid, '\\u2028'"),
        (b"path,pid,camid,split\na.jpg,1,1,\n", "split must be 'train', 'query' or 'gallery', got ''"),
    ],
)
def test_read_catalogue_refuses_another_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_catalogue(tmp_path / "c.csv")


def test_read_catalogue_says_which_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c\.csv is missing: run the prepare stage first"):
        read_catalogue(tmp_path / "c.csv")


def test_digest_is_the_documented_hash() -> None:
    import hashlib

    catalogue = from_rows([("a.jpg", 1, None, "train")])
    assert digest(catalogue) == hashlib.sha256(b"a.jpg\x001\x00\x00train\n").hexdigest()


@pytest.mark.parametrize("column", ["path", "pid", "camid", "split"])
def test_digest_changes_with_every_column(catalogue: pd.DataFrame, column: str) -> None:
    changed = catalogue.copy()
    changed[column] = [changed[column][0] + (9 if column in ("pid", "camid") else "x"), *changed[column][1:]]
    assert digest(changed) != digest(catalogue)


def test_digest_changes_with_one_pixel_and_not_with_the_storage(catalogue: pd.DataFrame) -> None:
    images = np.random.default_rng(0).integers(0, 256, size=(6, 4, 3, 3), dtype=np.uint8)
    version = digest(catalogue, images)
    assert version == digest(catalogue.copy(), np.asfortranarray(images))
    assert version == combine_digest(catalogue, [image_hash(image) for image in images])
    assert version != digest(catalogue)
    assert version != digest(catalogue, images.reshape(6, 3, 4, 3))
    images[5, 3, 2, 2] ^= 1
    assert version != digest(catalogue, images)
