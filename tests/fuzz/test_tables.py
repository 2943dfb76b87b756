"""Tables of images: a user's own, and a prepared folder's catalogue. Damaged or odd, they are right or one line."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.catalogue import read_catalogue, validate, write_catalogue
from pipeline.preparation.readers import csv_table, msmt17
from tests.fuzz.mutations import mutated, mutated_table, rounds

Survive = Callable[[Callable[[Path], None], bytes, str], None]
ROWS = [
    ["path", "split", "pid", "camid"],
    ["monday/0001.jpg", "train", "", "gate"],
    ["monday/0002.jpg", "train", "", "yard"],
    ["tuesday/0007.jpg", "query", "anna", "gate"],
    ["tuesday/0031.jpg", "gallery", "anna", "yard"],
    ["tuesday/0032.jpg", "gallery", "0", "01"],
]
CATALOGUE = [
    ["path", "pid", "camid", "split"],
    ["a.jpg", "1", "3", "train"],
    ["b.jpg", "2", "4", "train"],
    ["c.jpg", "", "", "query"],
    ["d.jpg", "", "", "gallery"],
]


def as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def read_table(path: Path) -> None:
    reading = csv_table.read(path.parent, table=path.name)
    validate(reading.catalogue)
    assert all(map(str.isprintable, (*reading.warnings, *reading.notes)))


def read_list(path: Path) -> None:
    validate(msmt17.read(path.parent).catalogue)


def read_prepared(path: Path) -> None:
    """What is read can be written, and is the same afterwards."""
    catalogue = read_catalogue(path)
    copy = path.with_name("copy.csv")
    write_catalogue(catalogue, copy)
    assert read_catalogue(copy).equals(catalogue)


@pytest.mark.parametrize(("read", "rows"), [(read_table, ROWS), (read_prepared, CATALOGUE)], ids=["table", "catalogue"])
def test_table_with_odd_cells_is_read_or_refused_in_one_line(
    survive: Survive, read: Callable[[Path], None], rows: list[list[str]]
) -> None:
    rng = np.random.default_rng(1)
    for _ in rounds(f"odd cells, {read.__name__}"):
        survive(read, mutated_table(rows, rng), "images.csv")


@pytest.mark.parametrize(("read", "rows"), [(read_table, ROWS), (read_prepared, CATALOGUE)], ids=["table", "catalogue"])
def test_damaged_table_is_read_or_refused_in_one_line(
    survive: Survive, read: Callable[[Path], None], rows: list[list[str]]
) -> None:
    rng = np.random.default_rng(2)
    good = as_csv(rows)
    for _ in rounds(f"damaged, {read.__name__}"):
        survive(read, mutated(good, rng), "images.csv")


def test_damaged_list_of_images_is_read_or_refused_in_one_line(survive: Survive, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for folder in msmt17.V1_FOLDERS:
        (tmp_path / folder).mkdir()
    good = b"0000/0000_000_01_0303morning_0008_0.jpg 0\n0001/0001_000_05_0303noon_0008_0.jpg 1\n"
    for name in msmt17.LISTS:
        (tmp_path / name).write_bytes(good)
    for _ in rounds("list of images"):
        survive(
            lambda path: validate(msmt17.read(path.parent).catalogue) and None, mutated(good, rng), "list_query.txt"
        )
