"""Curves of the report: learning curves over the epochs, and the CMC curve.

E: epochs, R: ranks.
"""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pipeline.report.figures.clusters import cluster_curves
from pipeline.report.figures.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    Picture,
    canvas,
    course,
    draw_lines,
    finish,
    from_zero,
    lines_of,
    png_bytes,
)
from pipeline.report.figures.epoch_time import time_figure
from pipeline.report.wording import percent, shortened


def learning_curves(
    history: pd.DataFrame,
    *,
    baselines: Mapping[str, float] | None = None,
    num_identities: int | None = None,
    num_images: int | None = None,
) -> list[Picture]:
    """Accuracy, loss, clusters, learning rate and time over the epochs: those for which there are finite values.

    Args:
        history: E rows, see `ReportData.history`; E may be 1, and a column may be missing or all NaN.
        baselines: Name -> mAP (a fraction) without training, each drawn as a level in the figure of mAP.
        num_identities, num_images: Of the training images, see `cluster_curves`.
    """
    curves = history.sort_values("epoch", kind="stable")
    drawn = (
        _accuracy(curves, baselines or {}),
        _losses(curves),
        *cluster_curves(curves, num_identities=num_identities, num_images=num_images),
        _rate(curves),
        time_figure(curves),
    )
    return [picture for picture in drawn if picture is not None]


def cmc_curve(curves: Mapping[str, ArrayLike]) -> Picture | None:
    """Cumulative match characteristic: name -> (R,) fractions; None where there is no curve."""
    if not curves:
        return None
    shares = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
    with canvas() as (figure, axes):
        ax = axes[0]
        looks = ((BLUE, "-"), (ORANGE, "--"), (GREY, ":"), (PURPLE, "-."), (GREEN, (0, (5, 1, 1, 1, 1, 1))))
        handles = []
        for position, curve in enumerate(shares.values()):
            colour, dash = looks[position % len(looks)]
            ranks = np.arange(1, len(curve) + 1)
            marker = "o" if len(curve) == 1 else None
            handles += ax.plot(ranks, 100 * curve, color=colour, linestyle=dash, marker=marker)
        longest = max(len(curve) for curve in shares.values())
        lowest = min(float(np.min(curve)) for curve in shares.values())
        ax.set(xlim=(1 - 0.02 * longest, longest + 0.5), ylim=(10 * np.floor(9.9 * lowest), 101.5))
        ax.set_xticks([rank for rank in (1, 5, 10, 20, 30, 40, 50) if rank <= longest])
        ax.set(title="CMC: a right image among the first r", xlabel="rank r", ylabel="queries, %")
        ax.legend(handles, [shortened(name) for name in shares], loc="lower right")
        png = png_bytes(figure)
    parts = "; ".join(f"{name} {percent(float(curve[0]), unit=True)}" for name, curve in shares.items())
    return Picture(
        name="cmc",
        alt=f"CMC curve up to rank {longest}. At rank 1: {parts}.",
        caption="Share of the queries that have a right image among the first r places of their ranked list.",
        png=png,
    )


def _accuracy(history: pd.DataFrame, baselines: Mapping[str, float]) -> Picture | None:
    lines = lines_of(history, {"student_map": "student", "teacher_map": "teacher"}, scale=100)
    if not lines:
        return None
    with canvas() as (figure, axes):
        ax = axes[0]
        handles = draw_lines(ax, lines, markers=True)
        for (name, score), dash in zip(baselines.items(), cycle((":", (0, (5, 3)), "-.")), strict=False):
            handles.append((ax.axhline(100 * score, color=GREY, linestyle=dash, linewidth=1.4), name))
        finish(ax, history, [], title="Accuracy on the test set", ylabel="mAP, %")
        from_zero(ax)
        # Below the axes: levels and curves leave no place among them that is always free.
        names = [shortened(name) for _, name in handles]
        figure.legend([handle for handle, _ in handles], names, loc="outside lower left", ncols=2)
        png = png_bytes(figure)
    levels = "".join(f"; {name} {percent(score)}" for name, score in baselines.items())
    return Picture(
        name="map",
        alt=f"mAP over the epochs, in percent: {course(lines)}{levels}.",
        caption=f"mAP of the student{' and of its moving average, the teacher,' if 'teacher' in lines else ''} at the"
        " epochs that were evaluated.",
        png=png,
    )


def _losses(history: pd.DataFrame) -> Picture | None:
    names = {"loss": "total", "loss_hard": "hard labels", "loss_soft": "soft labels"}
    lines = lines_of(history, names)
    if not lines:
        return None
    for part in ("hard labels", "soft labels"):
        if "total" in lines and part in lines and lines[part].equals(lines["total"]):
            lines[f"{part} (the total)"] = lines.pop(part)
            del lines["total"]
    with canvas() as (figure, axes):
        finish(axes[0], history, draw_lines(axes[0], lines, markers=True), title="Loss", ylabel="mean of the epoch")
        png = png_bytes(figure)
    return Picture(
        name="loss",
        alt=f"Loss over the epochs: {course(lines, digits=2)}.",
        caption="Contrastive loss against the memory of clusters. The number of clusters, hence of classes, changes"
        " from epoch to epoch, so values of different epochs compare only roughly.",
        png=png,
    )


def _rate(history: pd.DataFrame) -> Picture | None:
    lines = lines_of(history, {"learning_rate": "learning rate"}, scale=1e4)
    if not lines:
        return None
    with canvas() as (figure, axes):
        draw_lines(axes[0], lines, markers=True)
        finish(axes[0], history, [], title="Learning rate", ylabel="learning rate, 10⁻⁴")
        from_zero(axes[0])
        png = png_bytes(figure)
    return Picture(
        name="learning_rate",
        alt=f"Learning rate over the epochs: {course(lines, digits=3)} (in units of 10⁻⁴).",
        caption="The learning rate of the optimiser.",
        png=png,
    )
