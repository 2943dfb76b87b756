"""The most confused identities with their pictures, and their contact sheet.

N: images in the catalogue, H x W: size of an image.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.report.contents import ConfusedPair
from pipeline.report.figures.drawing import Picture, canvas, png_bytes
from pipeline.report.figures.sheet import draw_image, fewer_colours
from pipeline.report.wording import confusion_caption, count


def illustrate_pairs(table: pd.DataFrame, *, catalogue: pd.DataFrame, images: np.ndarray) -> tuple[ConfusedPair, ...]:
    """Adds the pictures to what `confused_pairs` found.

    Only the rows that are shown are read of `images`, so a memory map will do.

    Args:
        table: As `pipeline.evaluation.diagnostics.confusion.confused_pairs` returns it, or read back from its CSV file.
        catalogue: One row an image in the order of `images`, columns `pid`, `split`.
        images: (N, H, W, 3) uint8.
    """
    rows = {split: np.flatnonzero((catalogue["split"] == split).to_numpy()) for split in ("query", "gallery")}
    pids = catalogue["pid"].tolist()
    pairs = []
    for _, found in table.groupby(["identity", "other"], sort=False):
        identity, other = int(found["identity"].iloc[0]), int(found["other"].iloc[0])
        examples = []
        for example in found.to_dict(orient="records"):
            shown = [int(rows[split][int(example[split])]) for split in ("query", "gallery")]
            first, second = sorted(shown, key=lambda row: pids[row] != identity)
            examples.append((np.array(images[first]), np.array(images[second]), float(example["similarity"])))
        pairs.append(ConfusedPair(identity, other, int(found["count"].iloc[0]), tuple(examples)))
    return tuple(pairs)


def confusion_sheet(pairs: Sequence[ConfusedPair]) -> Picture | None:
    """All the pairs in one picture, one row a pair, two columns of rows; None where there is none."""
    if not pairs:
        return None
    first = pairs[0].examples[0][0]
    aspect, places = max(1.0, first.shape[0] / first.shape[1]), max(len(pair.examples) for pair in pairs)
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
        png = fewer_colours(png_bytes(figure, dpi=128))
    worst = pairs[0]
    return Picture(
        name="confused_pairs",
        alt=f"{count(len(pairs), 'pair')} of identities that the network takes for each other, each with up to"
        f" {places} couples of images; the most confused are {worst.identity} and {worst.other}.",
        caption="Each couple: an image of one identity, and one of the other that stood above its right match.",
        png=png,
    )
