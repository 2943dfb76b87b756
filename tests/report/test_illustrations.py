"""Ranked lists get the pictures of the rows that they name."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report import illustrate

TABLE = pd.DataFrame(
    [
        ("best", 1, 0.9, 2, 0, 0.7, "distractor"),
        ("best", 1, 0.9, 1, 2, 0.8, "right"),
        ("worst", 0, 0.1, 1, 1, 0.6, "wrong"),
    ],
    columns=["group", "query", "average_precision", "rank", "gallery", "similarity", "verdict"],
)


@pytest.fixture
def catalogue():
    return pd.DataFrame(
        {
            "split": ["train", "query", "query", "gallery", "gallery", "gallery"],
            "pid": pd.array([9, 1, 2, 0, 3, 2], dtype="Int64"),
            "camid": pd.array([1, 1, None, 2, 3, 4], dtype="Int64"),
        }
    )


@pytest.fixture
def images():
    return np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 2, 3), np.uint8)


def test_illustrate_takes_the_rows_of_each_split_in_order_of_rank(catalogue, images):
    best, worst = illustrate(TABLE, catalogue=catalogue, images=images)
    assert (best.group, best.average_precision, best.query_pid, best.query_camid) == ("best", 0.9, 2, None)
    assert best.query_image[0, 0, 0] == 2
    shown = [(entry.image[0, 0, 0], entry.verdict, entry.pid, entry.camid, entry.similarity) for entry in best.entries]
    assert shown == [(5, "right", 2, 4, 0.8), (3, "distractor", 0, 2, 0.7)]
    assert (worst.group, worst.query_pid, worst.query_camid, worst.entries[0].pid) == ("worst", 1, 1, 3)


def test_illustrate_reads_a_table_back_from_csv_and_a_memory_map(catalogue, images, tmp_path):
    TABLE.to_csv(tmp_path / "lists.csv", index=False)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    lists = illustrate(pd.read_csv(tmp_path / "lists.csv"), catalogue=catalogue, images=mapped)
    assert [entry.verdict for entry in lists[0].entries] == ["right", "distractor"]
    assert type(lists[0].query_image) is np.ndarray


def test_illustrate_of_nothing_is_empty(catalogue, images):
    assert illustrate(TABLE.iloc[:0], catalogue=catalogue, images=images) == ()


def test_illustrate_leaves_its_input_alone(catalogue, images):
    before = TABLE.copy(deep=True), catalogue.copy(deep=True), images.copy()
    illustrate(TABLE, catalogue=catalogue, images=images)
    pd.testing.assert_frame_equal(TABLE, before[0])
    pd.testing.assert_frame_equal(catalogue, before[1])
    np.testing.assert_array_equal(images, before[2])
