"""Rank-1 by pairs of cameras, as a heat map with its numbers.

C: cameras.
"""

import numpy as np
import pandas as pd

from pipeline.report.figures.drawing import INK, Picture, canvas, png_bytes
from pipeline.report.wording import DASH, percent

_NUMBERED = 24  # cameras up to which a number fits into a cell


def camera_matrix(pairs: pd.DataFrame) -> pd.DataFrame:
    """Rank-1 with a row a query camera and a column a gallery camera, NaN where no query was valid.

    Args:
        pairs: As `pipeline.evaluation.diagnostics.camera_pairs.camera_pairs` returns it.
    """
    matrix = pairs.pivot_table(index="query_camera", columns="gallery_camera", values="rank1")
    return matrix.sort_index().sort_index(axis="columns").astype(float)


def camera_table(pairs: pd.DataFrame) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of the gallery's cameras, and (name, percents) of each query camera; a dash where no query was valid."""
    matrix = camera_matrix(pairs)
    rows = [
        (f"{camera}", [percent(value) for value in row])
        for camera, row in zip(matrix.index, matrix.to_numpy(), strict=True)
    ]
    return [f"{camera}" for camera in matrix.columns], rows


def camera_figure(pairs: pd.DataFrame) -> Picture | None:
    """The heat map; None where there is no pair."""
    if pairs.empty:
        return None
    matrix = camera_matrix(pairs)
    values = 100 * matrix.to_numpy()
    rows, columns = values.shape
    most = max(rows, columns)
    side = float(np.clip(0.5 * most + 1.6, 3.6, 9.0))
    with canvas(size=(side + 0.6, max(3.0, side * rows / columns if columns else side))) as (figure, axes):
        ax = axes[0]
        shades = ax.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        ax.grid(visible=False)
        ax.set_xticks(range(columns), [str(camera) for camera in matrix.columns])
        ax.set_yticks(range(rows), [str(camera) for camera in matrix.index])
        ax.set(xlabel="gallery: camera", ylabel="query: camera")
        ax.set_title("Rank-1 by cameras, %")
        ax.tick_params(length=0)
        for row, column in np.argwhere(np.isfinite(values)):
            if most <= _NUMBERED:
                value = values[row, column]
                ax.text(
                    column,
                    row,
                    f"{value:.0f}",
                    ha="center",
                    va="center",
                    color="white" if value > 55 else INK,
                    fontsize=float(np.clip(90 / most, 6, 10)),
                )
        for row, column in np.argwhere(~np.isfinite(values)):
            ax.text(column, row, DASH, ha="center", va="center", color="#6B7280", fontsize=8)
        bar = figure.colorbar(shades, ax=ax, shrink=0.85)
        bar.outline.set_visible(False)
        png = png_bytes(figure)
    ordered = pairs.sort_values("rank1", kind="stable")
    low, high = ordered.iloc[0], ordered.iloc[-1]
    return Picture(
        name="camera_pairs",
        alt=f"Rank-1 of {rows} query cameras on {columns} gallery cameras. Lowest: camera {low['query_camera']:.0f}"
        f" finds in camera {low['gallery_camera']:.0f} {percent(low['rank1'], unit=True)}; highest: camera"
        f" {high['query_camera']:.0f} in camera {high['gallery_camera']:.0f} {percent(high['rank1'], unit=True)}.",
        caption="Each cell: the queries of one camera rank the images of another camera alone. A dash: no query has a"
        " right image there, as in a camera beside itself, whose images of the query's identity are taken out.",
        png=png,
    )
