"""The embedding as a map: points in the colour of their identity, and pictures where they do not overlap.

N: images on the map, H x W: size of an image.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pipeline.report.contents import EmbeddingMap
from pipeline.report.figures.drawing import BLUE, GREEN, ORANGE, PURPLE, Picture, canvas, png_bytes
from pipeline.report.figures.sheet import fewer_colours
from pipeline.report.wording import count

LIMIT = 1.06  # the map reaches from -LIMIT to LIMIT on both axes
_WIDTH = 0.062  # of a picture on the map
_MOST = 160  # pictures
_COLOURED = 12  # labels with a colour of their own
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#8A6D00", "#3B3FB6")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_OTHERS, _ALONE = "#9AA0A6", "#D3D6DA"


def read_map(table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray) -> EmbeddingMap | None:
    """The map that `evaluate` computed, with the pictures that fit on it; None where there is no image.

    Only the rows that are shown are read of `images`, so a memory map will do.

    Args:
        table: As `pipeline.evaluation.diagnostics` makes it, or read back from its CSV file.
        catalogue: One row an image in the order of `images`, column `split`.
        images: (M, H, W, 3) uint8, those of the whole catalogue.
    """
    if table.empty:
        return None
    rows = {split: np.flatnonzero((catalogue["split"] == split).to_numpy()) for split in table["split"].unique()}
    at = [int(rows[split][image]) for split, image in zip(table["split"], table["image"], strict=True)]
    points, labels = table[["x", "y"]].to_numpy(float), table["label"].to_numpy(int)
    of_clusters = bool((table["split"] == "train").all())
    shown = apart(points, width=_WIDTH, height=_WIDTH * images.shape[1] / images.shape[2], most=_MOST)
    return EmbeddingMap(
        points=points,
        labels=labels,
        alone=labels < 0 if of_clusters else labels == 0,
        groups="cluster" if of_clusters else "identity",
        pictures={int(row): np.array(images[at[row]]) for row in shown},
    )


def apart(points: np.ndarray, *, width: float, height: float, most: int, seed: int = 0) -> np.ndarray:
    """Rows of points (N, 2) around which rectangles of that size do not overlap, in a drawn order, `most` at most."""
    chosen: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(points)):
        distance = np.abs(points[chosen] - points[row])
        if len(chosen) < most and ((distance[:, 0] >= width) | (distance[:, 1] >= height)).all():
            chosen.append(int(row))
    return np.array(chosen, dtype=np.int64)


def map_figure(embedding: EmbeddingMap) -> Picture:
    """The map in one picture."""
    labels, alone = embedding.labels, embedding.alone
    sizes = pd.Series(labels[~alone]).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    coloured = [int(label) for label in sizes.index[:_COLOURED]]
    nobody = "distractors" if embedding.groups == "identity" else "outliers"
    with canvas(size=(8.4, 9.0)) as (figure, axes):
        ax = axes[0]
        ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        others = ~alone & ~np.isin(labels, coloured)
        handles = _points(ax, embedding.points[alone], nobody, color=_ALONE, marker="x", s=10, linewidth=0.8)
        handles += _points(ax, embedding.points[others], "others", color=_OTHERS, marker=".", s=22, linewidth=0)
        looks: dict[int, str] = {}
        for position, label in enumerate(coloured):
            looks[label] = _COLOURS[position % len(_COLOURS)]
            marker = _MARKERS[position % len(_MARKERS)]
            handles += _points(
                ax,
                embedding.points[labels == label],
                f"{embedding.groups} {label}",
                color=looks[label],
                marker=marker,
                s=26,
                linewidth=0.4,
                edgecolor="white",
            )
        for row, image in embedding.pictures.items():
            _thumbnail(ax, embedding.points[row], image, looks.get(int(labels[row]), _OTHERS))
        ax.set_title("The embedding on a plane (t-SNE)")
        figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=5, markerscale=1.6)
        png = fewer_colours(png_bytes(figure, dpi=144))
    number = count(len(sizes), embedding.groups)
    return Picture(
        name="embedding_map",
        alt=f"t-SNE map of {count(len(labels), 'image')} of {number}, with the pictures of {len(embedding.pictures)};"
        f" {len(coloured)} of them in a colour of their own, the largest {embedding.groups} {coloured[0]}."
        if coloured
        else f"t-SNE map of {count(len(labels), 'image')}, none of them in a {embedding.groups}.",
        caption=f"Images that the network finds alike lie near each other; colours mark the {len(coloured)} with"
        " the most images. Neighbourhoods mean something on such a map; distances between far groups, sizes and"
        " axes do not.",
        png=png,
    )


def _points(ax: Any, points: np.ndarray, name: str, **look: Any) -> list[tuple[Any, str]]:
    if not len(points):
        return []
    return [(ax.scatter(points[:, 0], points[:, 1], zorder=2, **look), f"{name} ({len(points)})")]


def _thumbnail(ax: Any, centre: np.ndarray, image: np.ndarray, colour: str) -> None:
    width, height = 0.9 * _WIDTH, 0.9 * _WIDTH * image.shape[0] / image.shape[1]
    left, low = centre[0] - width / 2, centre[1] - height / 2
    ax.imshow(image, extent=(left, left + width, low, low + height), interpolation="antialiased", zorder=3)
    ax.add_patch(Rectangle((left, low), width, height, fill=False, edgecolor=colour, linewidth=1.5, zorder=4))
