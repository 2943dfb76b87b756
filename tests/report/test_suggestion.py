"""The words beside the clusterings of a grid of eps."""

from typing import Any

import pandas as pd
import pytest

from pipeline.report.suggestion import suggestion_text

PLAIN: dict[str, Any] = {"clustering": {"distance": "jaccard"}}
AWARE: dict[str, Any] = {"clustering": {"distance": "camera_jaccard"}}


def table_of(*rows: tuple[int, float, int, float, float], **columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["k1", "eps", "clusters", "outliers", "largest"]).assign(**columns)


TABLE = table_of((30, 0.4, 9, 0.5, 0.02), (30, 0.5, 12, 0.25, 0.04), (30, 0.6, 3, 0.0, 0.7))


def test_suggested_row_alone_is_marked() -> None:
    told = suggestion_text(TABLE, k1=30, settings=PLAIN)
    (line,) = [line for line in told.splitlines() if "<- suggested" in line]
    assert line.split()[:5] == ["30", "0.5", "12", "25%", "4%"]
    assert told.endswith("\n\nbegin with clustering.eps=0.5: 12 clusters, 25% of the images in none")


@pytest.mark.parametrize(("share", "settings", "warns"), [(0.4, PLAIN, True), (0.1, PLAIN, False), (0.4, AWARE, False)])
def test_clusters_of_one_camera_are_told_where_that_can_be_mended(
    share: float, settings: dict[str, Any], warns: bool
) -> None:
    told = suggestion_text(TABLE.assign(single_camera=[float("nan"), share, 1.0]), k1=30, settings=settings)
    assert f"{100 * share:.0f}%" in told and "-" in told.splitlines()[1].split()
    assert ("of the clusters hold one camera only: try clustering.distance=camera_jaccard too" in told) == warns


def test_k1_that_there_is_not_is_told() -> None:
    told = suggestion_text(TABLE, k1=999, settings=PLAIN)
    assert "begin with clustering.eps=0.5 and clustering.k1=30 (k1 has to be below the number of images)" in told


def test_no_suggestion_says_what_to_do() -> None:
    told = suggestion_text(table_of((0, 0.5, 1, 0.0, 1.0), (0, 0.6, 1, 0.0, 1.0)), k1=30, settings=AWARE)
    assert "<-" not in told and " k1 " not in told.splitlines()[0]
    assert "no eps finds two clusters or more of which none holds more than 25% of the images" in told
    assert "--model" in told
