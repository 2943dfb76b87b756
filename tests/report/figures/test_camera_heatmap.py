"""Rank-1 by pairs of cameras, drawn."""

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.names import Names
from pipeline.report.figures.camera_heatmap import MOST_CAMERAS, camera_figure, camera_matrix
from tests.report.minimal import minimal_report

PAIRS = pd.DataFrame(
    [[1, 10, 4, 0.5], [1, 2, 8, 0.25], [10, 1, 2, 1.0]], columns=["query_camera", "gallery_camera", "queries", "rank1"]
)


def test_camera_matrix_has_its_cameras_in_order_and_gaps_where_no_query_was_valid() -> None:
    matrix = camera_matrix(PAIRS)
    assert list(matrix.index) == [1, 10] and list(matrix.columns) == [1, 2, 10]
    np.testing.assert_array_equal(matrix.to_numpy(), [[np.nan, 0.25, 0.5], [1.0, np.nan, np.nan]])


def drawn(pairs: pd.DataFrame):
    return camera_figure(minimal_report(tables={"camera_pairs": pairs}))


def test_camera_figure_names_the_best_and_the_worst_pair() -> None:
    picture = drawn(PAIRS)
    assert picture is not None and picture.alt == (
        "Rank-1 of 2 query cameras on 3 gallery cameras. Lowest: camera 1 finds in camera 2 25.0%; highest: camera 10"
        " in camera 1 100.0%."
    )
    assert drawn(PAIRS.iloc[:0]) is None and camera_figure(minimal_report()) is None


def test_camera_figure_has_its_numbers_as_a_table() -> None:
    picture = drawn(PAIRS)
    assert picture is not None and picture.table is not None
    assert picture.table.headings == ("camera", "1", "2", "10")
    assert picture.table.rows == (("1", ("–", "25.0", "50.0")), ("10", ("100.0", "–", "–")))


def all_pairs(cameras: int) -> pd.DataFrame:
    """Camera 7 has twice as many queries as each other one, camera 0 half as many."""
    weight = {0: 1, 7: 4}
    rows = [(a, b, weight.get(a, 2), 0.5) for a in range(cameras) for b in range(cameras) if a != b]
    return pd.DataFrame(rows or [(0, 1, 1, 0.5)], columns=list(PAIRS))


@pytest.mark.parametrize("cameras", [1, 15, 40, 150])
def test_camera_figure_takes_few_and_many_cameras(cameras: int) -> None:
    picture = drawn(all_pairs(cameras))
    assert picture is not None and min(picture.size) > 300 and max(picture.size) < 2500


def test_camera_figure_of_many_cameras_shows_those_with_the_most_queries_and_says_so() -> None:
    picture = drawn(all_pairs(150))
    assert picture is not None and picture.table is not None
    assert "the 24 of 150 cameras with the most queries; all pairs are in data/evaluation/camera_pairs.csv" in (
        picture.caption
    )
    names = picture.table.headings[1:]
    assert len(names) == len(picture.table.rows) == MOST_CAMERAS
    assert "7" in names and "0" not in names
    few = drawn(all_pairs(MOST_CAMERAS))
    assert few is not None and "with the most queries" not in few.caption


def test_camera_figure_calls_the_cameras_by_their_names() -> None:
    names = Names(cameras={1: "north gate beside the old river", 2: "yard"})
    picture = camera_figure(minimal_report(tables={"camera_pairs": PAIRS}, names=names))
    assert picture is not None and picture.table is not None
    assert picture.table.headings == ("camera", "north gate beside the old river", "yard", "10")
    assert "camera north gate beside the old river finds in camera yard 25.0%" in picture.alt
