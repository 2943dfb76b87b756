"""Rank-1 by pairs of cameras as a heat map.

C: cameras.
"""

import pandas as pd

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import Picture
from pipeline.report.figures.heatmap import heatmap_png, heatmap_table
from pipeline.report.wording import percent

MOST_CAMERAS = 24  # up to which names and numbers are legible in the width of the page
_MOST_IN_COLUMN = 12  # ... in one of two columns


def camera_figure(data: ReportData) -> Picture | None:
    """The heat map of table `camera_pairs`; None if there is no pair of cameras."""
    pairs = data.tables.get("camera_pairs")
    if pairs is None or pairs.empty:
        return None
    matrix = camera_matrix(pairs)
    cameras = matrix.index.union(matrix.columns)
    if len(cameras) > MOST_CAMERAS:
        shown = most_frequent(pairs)
        matrix = matrix.loc[matrix.index.isin(shown), matrix.columns.isin(shown)]
    matrix.index, matrix.columns = (axis.map(data.names.camera) for axis in (matrix.index, matrix.columns))
    png = heatmap_png(matrix, title="Rank-1 by cameras, %", rows="query: camera", columns="gallery: camera")
    rows, columns = matrix.shape
    ordered = pairs.sort_values("rank1", kind="stable")
    low, high = (
        (data.names.camera(int(row["query_camera"])), data.names.camera(int(row["gallery_camera"])), row["rank1"])
        for _, row in ordered.iloc[[0, -1]].iterrows()
    )
    selection = (
        f" Shown are the {MOST_CAMERAS} of {len(cameras)} cameras with the most queries; all pairs are in"
        " data/evaluation/camera_pairs.csv."
        if len(cameras) > MOST_CAMERAS
        else ""
    )
    return Picture(
        name="camera_pairs",
        alt=f"Rank-1 of {rows} query cameras on {columns} gallery cameras. Lowest: camera {low[0]} finds in"
        f" camera {low[1]} {percent(low[2], unit=True)}; highest: camera {high[0]} in camera {high[1]}"
        f" {percent(high[2], unit=True)}.",
        caption="Each cell: the queries of one camera rank the images of another camera alone. A dash: no query has a"
        " correct match there, as for a camera with itself, whose images of the query's identity are removed."
        + selection,
        png=png,
        section="ranking",
        wide=max(matrix.shape) > _MOST_IN_COLUMN,
        table=heatmap_table(
            matrix,
            caption="Rank-1 in percent: one row per query camera, one column per gallery camera",
            heading="camera",
        ),
    )


def camera_matrix(pairs: pd.DataFrame) -> pd.DataFrame:
    """Rank-1 with one row per query camera and one column per gallery camera, NaN where no query was valid.

    Args:
        pairs: As `pipeline.evaluation.diagnostics.camera_pairs.camera_pairs` returns it.
    """
    matrix = pairs.pivot_table(index="query_camera", columns="gallery_camera", values="rank1")
    return matrix.sort_index().sort_index(axis="columns").astype(float)


def most_frequent(pairs: pd.DataFrame) -> list[int]:
    """The MOST_CAMERAS cameras with the most valid queries, as a query's camera or the gallery's."""
    by_query = pairs.groupby("query_camera")["queries"].sum()
    by_gallery = pairs.groupby("gallery_camera")["queries"].sum()
    total = by_query.add(by_gallery, fill_value=0).sort_index().sort_values(ascending=False, kind="stable")
    return [int(camera) for camera in total.index[:MOST_CAMERAS]]
