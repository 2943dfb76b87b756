"""Models on data sets: the table for the terminal, and what is written of it."""

from pathlib import Path

import pandas as pd

from pipeline.common.files import replacing, write_text
from pipeline.common.text import csv_cell
from pipeline.evaluation.metrics import MAIN, METRICS
from pipeline.report.figures.heatmap import heatmap_png

NAME = "cross"


def across_text(table: pd.DataFrame) -> str:
    """One line per model and data set, in percent.

    Args:
        table: as from `inference.across.score_across`.
    """
    shown = table[["model", "dataset"]].rename(columns={"dataset": "on"})
    for key, metric in METRICS.items():
        shown[metric.heading] = table[key].map(metric.percent)
    queries = zip(table["valid_queries"], table["queries"], strict=True)
    shown["queries"] = [f"{valid:,} of {number:,}" for valid, number in queries]
    return str(shown.to_string(index=False))


def write_across(table: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Writes the table and the heat map of its main metric into `folder`; returns their places."""
    folder.mkdir(parents=True, exist_ok=True)
    csv, png = folder / f"{NAME}.csv", folder / f"{NAME}.png"
    names = {column: table[column].map(csv_cell) for column in ("model", "trained_on", "file", "dataset")}
    write_text(csv, table.assign(**names).to_csv(index=False, lineterminator="\n"))
    matrix = table.pivot_table(index="model", columns="dataset", values=MAIN.key, sort=False)
    with replacing(png) as temporary:
        title = f"{MAIN.heading} of models on data sets, %"
        temporary.write_bytes(
            heatmap_png(matrix, title=title, rows="trained on", columns="scored on", longest=28, digits=MAIN.digits)
        )
    return csv, png
