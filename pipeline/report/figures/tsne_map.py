"""The embedding as a map: points in the colour of their identity, and pictures where they do not overlap.

N: images on the map, H x W: size of an image.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from pipeline.report.contents import EmbeddingMap, ReportData
from pipeline.report.figures.drawing import BLUE, GREEN, ORANGE, PURPLE, Picture, canvas, photographs_bytes
from pipeline.report.illustrations import MAP_THUMBNAIL
from pipeline.report.wording import count

LIMIT = 1.06  # the map reaches from -LIMIT to LIMIT on both axes
_COLOURED = 12  # labels with a colour of their own
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#8A6D00", "#3B3FB6")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_OTHERS, _ALONE = "#9AA0A6", "#D3D6DA"


def map_figure(data: ReportData) -> Picture | None:
    """The map of the embedding; None if there is none."""
    return None if data.embedding is None else draw_map(data.embedding)


def draw_map(embedding: EmbeddingMap) -> Picture:
    """Draws the map."""
    labels, alone = embedding.labels, embedding.alone
    sizes = pd.Series(labels[~alone]).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    coloured = [int(label) for label in sizes.index[:_COLOURED]]
    shown = _shown(embedding)
    nobody = "distractors" if embedding.groups == "identity" else "outliers"
    with canvas(size=(8.4, 9.0)) as (figure, axes):
        ax = axes[0]
        ax.set(xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT), aspect="equal", xticks=[], yticks=[])
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        others = ~alone & ~np.isin(labels, coloured)
        handles = _points(ax, embedding.points[alone], nobody, color=_ALONE, marker="x", s=10, linewidth=0.8)
        handles += _points(ax, embedding.points[others], "others", color=_OTHERS, marker=".", s=22, linewidth=0)
        styles: dict[int, str] = {}
        for position, label in enumerate(coloured):
            styles[label] = _COLOURS[position % len(_COLOURS)]
            marker = _MARKERS[position % len(_MARKERS)]
            handles += _points(
                ax,
                embedding.points[labels == label],
                f"{embedding.groups} {label}",
                color=styles[label],
                marker=marker,
                s=26,
                linewidth=0.4,
                edgecolor="white",
            )
        for row, image in embedding.pictures.items():
            _thumbnail(ax, embedding.points[row], image, styles.get(int(labels[row]), _OTHERS))
        ax.set_title(f"The embedding on a plane (t-SNE): {shown}")
        figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=5, markerscale=1.6)
        png = photographs_bytes(figure, dpi=144)
    number = count(len(sizes), embedding.groups)
    return Picture(
        name="embedding_map",
        alt=f"t-SNE map of {count(len(labels), 'image')} of {number}, with the pictures of {len(embedding.pictures)};"
        f" {len(coloured)} of them in a colour of their own, the largest {embedding.groups} {coloured[0]}."
        if coloured
        else f"t-SNE map of {count(len(labels), 'image')}, none of them in a {embedding.groups}.",
        caption=f"{shown[0].upper()}{shown[1:]}. Images that the network finds alike lie near each other; colours mark"
        f" the {len(coloured)} with the most images. Neighbourhoods mean something on such a map; distances between far"
        " groups, sizes and axes do not.",
        png=png,
        section="map",
        wide=True,
    )


def _shown(embedding: EmbeddingMap) -> str:
    """`all 1,200 test images`, or `a sample, 1,500 of 19,281 test images`, where the map shows a sample."""
    images = "test images" if embedding.groups == "identity" else "training images"
    shown, total = len(embedding.points), embedding.total
    return f"all {total:,} {images}" if shown == total else f"a sample, {shown:,} of {total:,} {images}"


def _points(ax: Any, points: np.ndarray, name: str, **look: Any) -> list[tuple[Any, str]]:
    if not len(points):
        return []
    return [(ax.scatter(points[:, 0], points[:, 1], zorder=2, **look), f"{name} ({len(points)})")]


def _thumbnail(ax: Any, centre: np.ndarray, image: np.ndarray, colour: str) -> None:
    width, height = 0.9 * MAP_THUMBNAIL, 0.9 * MAP_THUMBNAIL * image.shape[0] / image.shape[1]
    left, low = centre[0] - width / 2, centre[1] - height / 2
    ax.imshow(image, extent=(left, left + width, low, low + height), interpolation="antialiased", zorder=3)
    ax.add_patch(Rectangle((left, low), width, height, fill=False, edgecolor=colour, linewidth=1.5, zorder=4))
