"""Which eps to begin with, as text for the terminal and as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.clustering.eps_choice import LARGEST, suggested
from pipeline.common.files import replacing, write_text
from pipeline.report.figures.suggestion_figure import suggestion_figure
from pipeline.report.signal_wording import MANY_SINGLE

_PERCENT = {"outliers": "outliers", "largest": "largest cluster", "single_camera": "single-camera clusters"}


def suggestion_text(table: pd.DataFrame, *, k1: int, settings: Mapping[str, Any]) -> str:
    """The table and, below it, what to do.

    Args:
        table: as from `eps_choice.clusterings`.
        k1: of the settings.
        settings: nested as in params.yaml.
    """
    return f"{clusterings_text(table, k1=k1)}\n\n{_advice(suggested(table, k1=k1), k1, settings)}"


def clusterings_text(table: pd.DataFrame, *, k1: int) -> str:
    """The table for the terminal, with a mark at the clustering that is suggested.

    Args:
        table: as from `eps_choice.clusterings`.
        k1: of the settings.
    """
    row = suggested(table, k1=k1)
    chosen = "" if row is None else f"{row['k1']:.0f} {row['eps']:g}"
    shown = pd.DataFrame({"eps": table["eps"].map("{:g}".format), "clusters": table["clusters"].astype(str)})
    if table["k1"].any():
        shown.insert(0, "k1", table["k1"].astype(str))
    for column, title in _PERCENT.items():
        if column in table:
            shown[title] = table[column].map(lambda share: "-" if pd.isna(share) else f"{100 * share:.0f}%")
    marks = [f"{k:.0f} {eps:g}" == chosen for k, eps in zip(table["k1"], table["eps"], strict=True)]
    shown[""] = ["<- suggested" if mark else "" for mark in marks]
    return str(shown.to_string(index=False))


def _advice(row: pd.Series | None, k1: int, settings: Mapping[str, Any]) -> str:
    if row is None:
        return (
            f"no eps finds two clusters or more of which none holds more than {100 * LARGEST:.0f}% of the images: "
            "these embeddings do not tell individuals apart; start from published weights (pretrained), or name a "
            "trained network with --model"
        )
    told = f"begin with clustering.eps={row['eps']:g}"
    if row["k1"] and row["k1"] != k1:
        told += f" and clustering.k1={row['k1']:.0f} (k1 has to be below the number of images)"
    told += f": {row['clusters']:.0f} clusters, {100 * row['outliers']:.0f}% of the images in none"
    single = row.get("single_camera")
    if single is not None and single >= MANY_SINGLE and settings["clustering"]["distance"] == "jaccard":
        told += (
            f"; {100 * single:.0f}% of the clusters hold one camera only: try clustering.distance=camera_jaccard too"
        )
    return told


def write_suggestion(table: pd.DataFrame, folder: Path, *, k1: int) -> tuple[str, str]:
    """Writes the table and its picture into `folder`; returns their names."""
    picture = suggestion_figure(table, suggested(table, k1=k1))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "suggestion.csv", table.to_csv(index=False))
    with replacing(folder / "suggestion.png") as temporary:
        temporary.write_bytes(picture.png)
    return "suggestion.csv", "suggestion.png"
