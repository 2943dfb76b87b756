"""Rank-1 by pairs of cameras as a heat map.

C: cameras.
"""

import numpy as np
import pandas as pd

from pipeline.report.contents import ReportData
from pipeline.report.figures.drawing import INK, Picture, Table, canvas, png_bytes
from pipeline.report.wording import DASH, percent, shortened

MOST_CAMERAS = 24  # up to which names and numbers are legible in the width of the page
_MOST_IN_COLUMN = 12  # ... in one of two columns
_LONGEST = 16  # characters of a name
_LONGEST_LEVEL = 3  # characters of a name that stands level below its column


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
    png = _draw(matrix)
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
        table=_table(matrix),
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


def _draw(matrix: pd.DataFrame) -> bytes:
    values = 100 * matrix.to_numpy()
    rows, columns = values.shape
    most = max(rows, columns)
    side = float(np.clip(0.5 * most + 1.6, 3.6, 9.0))
    with canvas(size=(side + 0.6, max(3.0, side * rows / columns if columns else side))) as (figure, axes):
        ax = axes[0]
        shades = ax.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        ax.grid(visible=False)
        names = [[shortened(str(camera), _LONGEST) for camera in axis] for axis in (matrix.columns, matrix.index)]
        ax.set_xticks(range(columns), names[0])
        ax.set_yticks(range(rows), names[1])
        if max(map(len, names[0])) > _LONGEST_LEVEL:
            ax.tick_params(axis="x", rotation=90)
        ax.set(xlabel="gallery: camera", ylabel="query: camera")
        ax.set_title("Rank-1 by cameras, %")
        ax.tick_params(length=0)
        number = {"ha": "center", "va": "center", "fontsize": float(np.clip(90 / most, 6, 10))}
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            ax.text(column, row, f"{value:.0f}", color="white" if value > 55 else INK, **number)
        for row, column in np.argwhere(~np.isfinite(values)):
            ax.text(column, row, DASH, color="#6B7280", **{**number, "fontsize": 8})
        bar = figure.colorbar(shades, ax=ax, shrink=0.85)
        bar.outline.set_visible(False)
        return png_bytes(figure)


def _table(matrix: pd.DataFrame) -> Table:
    rows = tuple(
        (str(camera), tuple(percent(value) for value in row))
        for camera, row in zip(matrix.index, matrix.to_numpy(), strict=True)
    )
    caption = "Rank-1 in percent: one row per query camera, one column per gallery camera"
    return Table(caption, ("camera", *map(str, matrix.columns)), rows)
