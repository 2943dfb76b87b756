"""Shares by rows and columns as a heat map."""

import numpy as np
import pandas as pd

from pipeline.report.figures.drawing import INK, Table, canvas, png_bytes
from pipeline.report.wording import DASH, percent, shortened

_LONGEST = 16  # characters of a name
_LONGEST_LEVEL = 3  # characters of a name that stands level below its column


def heatmap_png(
    matrix: pd.DataFrame, *, title: str, rows: str, columns: str, longest: int = _LONGEST, digits: int = 0
) -> bytes:
    """A PNG of shares in [0, 1], shown in percent; a dash where there is none.

    Args:
        matrix: one row and one column per name.
        title: of the figure.
        rows, columns: what their names are.
        longest: characters of a name.
        digits: decimals of a cell.
    """
    values = 100 * matrix.to_numpy()
    num_rows, num_columns = values.shape
    most = max(num_rows, num_columns)
    side = float(np.clip(0.5 * most + 1.6, 3.6, 9.0))
    size = (side + 0.6, max(3.0, side * num_rows / num_columns if num_columns else side))
    with canvas(size=size) as (figure, axes):
        ax = axes[0]
        shades = ax.imshow(values, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        ax.grid(visible=False)
        names = [[shortened(str(name), longest) for name in axis] for axis in (matrix.columns, matrix.index)]
        ax.set_xticks(range(num_columns), names[0])
        ax.set_yticks(range(num_rows), names[1])
        if max(map(len, names[0])) > _LONGEST_LEVEL:
            ax.tick_params(axis="x", rotation=90)
        ax.set(xlabel=columns, ylabel=rows)
        ax.set_title(title)
        ax.tick_params(length=0)
        number = {"ha": "center", "va": "center", "fontsize": float(np.clip(90 / most, 6, 10))}
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            ax.text(column, row, f"{value:.{digits}f}", color="white" if value > 55 else INK, **number)
        for row, column in np.argwhere(~np.isfinite(values)):
            ax.text(column, row, DASH, color="#6B7280", **{**number, "fontsize": 8})
        bar = figure.colorbar(shades, ax=ax, shrink=0.85)
        bar.outline.set_visible(False)
        return png_bytes(figure)


def heatmap_table(matrix: pd.DataFrame, *, caption: str, heading: str) -> Table:
    """The numbers of a heat map; `heading` stands above the names of its rows."""
    rows = tuple(
        (str(name), tuple(percent(value) for value in row))
        for name, row in zip(matrix.index, matrix.to_numpy(), strict=True)
    )
    return Table(caption, (heading, *map(str, matrix.columns)), rows)
