"""Contact sheets: the ranked lists, the confused identities and the clusters of a report, each in one picture.

The page shows the same as thumbnails, so these are files beside it alone.
The results of a search are drawn by `pipeline.search.sheets` with the same functions.
"""

from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from pipeline.report.contents import RankedList, ReportData
from pipeline.report.figures.drawing import INK, Picture, canvas, photographs_bytes
from pipeline.report.wording import VERDICTS, cluster_caption, confusion_caption, count, query_caption

VERDICT_COLOURS = {"right": "#1A7F37", "wrong": "#C62828", "distractor": "#6B7280"}
_FLATTEST = 0.4  # a place for a picture, height by width
_VERDICT_DASHES = {"right": "solid", "wrong": (0, (4, 1.5)), "distractor": (0, (1, 1.5))}


def ranked_lists_sheet(data: ReportData) -> Picture | None:
    """All ranked lists, one row per query; None if there is none."""
    lists = data.ranked_lists
    if not lists:
        return None
    aspect = max(map(aspect_of, (ranked.query_image for ranked in lists)))
    places = max(1, max(len(ranked.entries) for ranked in lists))
    row_height = aspect + 0.85  # in widths of a picture: the picture, a line above it, a line below, air
    width, height = 1.14 * (places + 1) + 0.5, row_height * len(lists) + 0.1
    with canvas(size=(0.62 * width, 0.62 * height), grid=False) as (figure, axes):
        ax = axes[0]
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()
        for row, ranked in enumerate(lists):
            _draw_list(ax, ranked, top=0.42 + row * row_height, aspect=aspect)
        png = photographs_bytes(figure, dpi=128)
    shown = sum(entry.verdict == "right" for ranked in lists for entry in ranked.entries)
    total = sum(len(ranked.entries) for ranked in lists)
    return Picture(
        name="ranked_lists",
        alt=f"{len(lists)} queries with their first {places} gallery images; {shown} of {total} places are right.",
        caption="Green, solid and ✓: right. Red, dashed and ✗: another identity. Grey, dotted and ○: distractor.",
        png=png,
        section="lists",
        on_page=False,
    )


def clusters_sheet(data: ReportData) -> Picture | None:
    """Some clusters with some of their images, one row per cluster in two columns of rows; None if there is none."""
    samples = data.clusters
    if not samples:
        return None
    aspect = max(map(aspect_of, (sample.images[0] for sample in samples)))
    places = max(len(sample.images) for sample in samples)
    rows = -(-len(samples) // 2)
    row_height, column = aspect + 0.5, 1.06 * places + 0.6
    width, height = column * min(2, len(samples)) - 0.4, row_height * rows + 0.1
    with canvas(size=(0.42 * width, 0.42 * height), grid=False) as (figure, axes):
        ax = axes[0]
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()
        for position, sample in enumerate(samples):
            left, top = 0.05 + column * (position // rows), 0.4 + row_height * (position % rows)
            ax.text(left, top - 0.1, cluster_caption(sample), fontsize=6.5)
            for place, image in enumerate(sample.images):
                draw_image(ax, image, left=left + 1.06 * place, top=top, aspect=aspect)
        png = photographs_bytes(figure, dpi=128)
    shown = sum(sample.number is not None for sample in samples)
    return Picture(
        name="cluster_sheet",
        alt=f"{count(shown, 'cluster')} of training images, from the largest to the smallest, each with up to {places}"
        " of its images" + (", and some outliers." if shown < len(samples) else "."),
        caption="One row per cluster: images that the network takes for one individual.",
        png=png,
        section="clusters",
        on_page=False,
    )


def confused_pairs_sheet(data: ReportData) -> Picture | None:
    """The most confused identities, one row per pair in two columns of rows; None if there is none."""
    pairs = data.confused
    if not pairs:
        return None
    aspect, places = aspect_of(pairs[0].examples[0][0]), max(len(pair.examples) for pair in pairs)
    rows = -(-len(pairs) // 2)
    row_height, column = aspect + 0.75, max(2.4 * places, 5.0) + 0.5
    width, height = column * min(2, len(pairs)) - 0.2, row_height * rows + 0.1
    with canvas(size=(0.6 * width, 0.6 * height), grid=False) as (figure, axes):
        ax = axes[0]
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()
        for position, pair in enumerate(pairs):
            left, top = 0.1 + column * (position // rows), 0.5 + row_height * (position % rows)
            ax.text(left, top - 0.13, confusion_caption(pair), fontsize=8)
            for place, (image, other, _) in enumerate(pair.examples):
                draw_image(ax, image, left=left + 2.4 * place, top=top, aspect=aspect)
                draw_image(ax, other, left=left + 2.4 * place + 1.04, top=top, aspect=aspect)
        png = photographs_bytes(figure, dpi=128)
    worst = pairs[0]
    return Picture(
        name="confused_pairs",
        alt=f"{count(len(pairs), 'pair')} of identities that the network confuses, each with up to"
        f" {places} couples of images; the most confused are {worst.identity} and {worst.other}.",
        caption="Each couple: an image of one identity, and one of the other that was ranked above its correct match.",
        png=png,
        section="failures",
        on_page=False,
    )


def _draw_list(ax: Any, ranked: RankedList, *, top: float, aspect: float) -> None:
    ax.text(0.05, top - 0.12, ": ".join(filter(None, (ranked.group, query_caption(ranked)))), fontsize=7.5)
    draw_image(ax, ranked.query_image, left=0.05, top=top, aspect=aspect)
    ax.add_patch(Rectangle((0.05, top), 1, aspect, fill=False, edgecolor=INK, linewidth=1.2))
    for place, entry in enumerate(ranked.entries):
        left = 0.45 + 1.14 * (place + 1)
        colour, dash = VERDICT_COLOURS[entry.verdict], _VERDICT_DASHES[entry.verdict]
        draw_image(ax, entry.image, left=left, top=top, aspect=aspect)
        frame = Rectangle((left, top), 1, aspect, fill=False, edgecolor=colour, linestyle=dash, linewidth=2)
        ax.add_patch(frame)
        label = f"{VERDICTS[entry.verdict]} {place + 1}"
        ax.text(left + 0.5, top + aspect + 0.22, label, color=colour, fontsize=7.5, ha="center", weight="bold")


def aspect_of(image: np.ndarray) -> float:
    """Height by width of the place for a picture (H, W, 3); a very wide one has some room above and below."""
    return max(_FLATTEST, image.shape[0] / image.shape[1])


def draw_image(ax: Any, image: np.ndarray, *, left: float, top: float, aspect: float) -> None:
    """Fits the picture into 1 x aspect without changing its shape."""
    height, width = image.shape[:2]
    scale = min(1 / width, aspect / height)
    x, y = left + (1 - scale * width) / 2, top + (aspect - scale * height) / 2
    extent = (x, x + scale * width, y + scale * height, y)
    ax.imshow(image, extent=extent, interpolation="antialiased", aspect="equal", clip_on=False)
