"""Rank-1 by pairs of cameras, drawn."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.figures.cameras import camera_figure, camera_matrix, camera_table

PAIRS = pd.DataFrame(
    [[1, 10, 4, 0.5], [1, 2, 8, 0.25], [10, 1, 2, 1.0]], columns=["query_camera", "gallery_camera", "queries", "rank1"]
)


def test_camera_matrix_has_its_cameras_in_order_and_gaps_where_no_query_was_valid() -> None:
    matrix = camera_matrix(PAIRS)
    assert list(matrix.index) == [1, 10] and list(matrix.columns) == [1, 2, 10]
    np.testing.assert_array_equal(matrix.to_numpy(), [[np.nan, 0.25, 0.5], [1.0, np.nan, np.nan]])


def test_camera_table_is_the_matrix_in_words() -> None:
    assert camera_table(PAIRS) == (["1", "2", "10"], [("1", ["–", "25.0", "50.0"]), ("10", ["100.0", "–", "–"])])


def test_camera_figure_names_the_best_and_the_worst_pair() -> None:
    picture = camera_figure(PAIRS)
    assert picture is not None and picture.alt == (
        "Rank-1 of 2 query cameras on 3 gallery cameras. Lowest: camera 1 finds in camera 2 25.0%; highest: camera 10"
        " in camera 1 100.0%."
    )
    assert camera_figure(PAIRS.iloc[:0]) is None


@pytest.mark.parametrize("cameras", [1, 15, 40])
def test_camera_figure_takes_few_and_many_cameras(cameras: int) -> None:
    rows = [(a, b, 1, 0.5) for a in range(cameras) for b in range(cameras) if a != b] or [(0, 1, 1, 0.5)]
    picture = camera_figure(pd.DataFrame(rows, columns=list(PAIRS)))
    assert picture is not None and min(picture.size) > 300 and max(picture.size) < 2500
