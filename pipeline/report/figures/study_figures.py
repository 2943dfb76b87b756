"""Figures of a comparison: the scores of every seed, and the course of every variant over the epochs.

V: variants, E: epochs. A band is one standard deviation (of a sample) around the mean over the seeds.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures.drawing import (
    BLUE,
    ORANGE,
    Picture,
    canvas,
    course,
    draw_lines,
    finish,
    from_zero,
    png_bytes,
)
from pipeline.report.wording import DASH, shortened

_TOGETHER = 6  # variants in one figure of curves: as many as there are line styles
_BAND = "Mean over the seeds; the band is one standard deviation."
_ROLES = (("student", BLUE, "o"), ("teacher", ORANGE, "s"))


def comparison_figures(summary: pd.DataFrame, runs: pd.DataFrame, history: pd.DataFrame) -> list[Picture]:
    """All figures that the values allow.

    Args:
        summary: V rows, `variant` and `<name>_mean`, `<name>_std` of student_mAP and teacher_mAP.
        runs: One row per run, `variant`, `student_mAP`, `teacher_mAP` (fractions, or NaN).
        history: One row per epoch of a run, `variant`, `seed`, `epoch`, and where there are any `student_mAP`, `eps`,
            `num_clusters`.
    """
    pictures = [_scores(summary, runs)]
    variants = [name for name in summary["variant"] if (history["variant"] == name).any()]
    number = math.ceil(len(variants) / _TOGETHER)
    for position, chosen in enumerate(np.array_split(np.array(variants, dtype=object), number) if number else ()):
        which = f"_{position + 1}" if number > 1 else ""
        here = history[history["variant"].isin(list(chosen))]
        pictures += [_accuracy(here, list(chosen), which), _clusters(here, list(chosen), which)]
    return [picture for picture in pictures if picture is not None]


def plus_minus(mean: float | None, std: float | None, *, scale: float = 100.0, digits: int = 1) -> str:
    """`40.4 ± 5.1`; the mean alone where there is no spread, a dash where there is nothing."""
    if mean is None or not math.isfinite(mean):
        return DASH
    text = f"{scale * mean:,.{digits}f}"
    return text if std is None or not math.isfinite(std) else f"{text} ± {scale * std:,.{digits}f}"


def _scores(summary: pd.DataFrame, runs: pd.DataFrame) -> Picture | None:
    roles = [role for role in _ROLES if runs[f"{role[0]}_mAP"].notna().any()]
    if not roles:
        return None
    with canvas(size=(7.2, 1.0 + 0.62 * len(summary))) as (figure, (ax,)):
        for place, row in enumerate(summary.to_dict("records")):
            for number, (role, colour, marker) in enumerate(roles):
                at = place + (number - (len(roles) - 1) / 2) * 0.34
                _draw_row(
                    ax, row, runs[runs["variant"] == row["variant"]], role, colour, marker, at=at, label=place == 0
                )
        names = [shortened(str(name)) for name in summary["variant"]]
        ax.set(
            yticks=range(len(names)),
            yticklabels=names,
            ylim=(len(names) - 0.4, -0.6),
            xlabel="mAP on the test images, %",
        )
        ax.set_xlim(0, ax.get_xlim()[1])
        ax.grid(axis="y", visible=False)
        ax.set_title("mAP: every seed, mean ± standard deviation")
        if len(roles) > 1:
            handles = [ax.plot([], [], color=colour, marker=marker, linestyle="none")[0] for _, colour, marker in roles]
            figure.legend(handles, [role for role, _, _ in roles], loc="outside lower right", ncols=2)
        png = png_bytes(figure)
    values = "; ".join(
        f"{row['variant']}: "
        + ", ".join(f"{role} {plus_minus(row[f'{role}_mAP_mean'], row[f'{role}_mAP_std'])}" for role, _, _ in roles)
        for row in summary.to_dict("records")
    )
    return Picture(
        name="scores",
        alt=f"mAP in percent, mean ± standard deviation over the seeds. {values}.",
        caption="A mark is a seed; the line is the mean over the seeds, the bar one standard deviation to either side.",
        png=png,
        section="result",
        wide=True,
    )


def _draw_row(
    ax: Any, row: Mapping[Any, Any], runs: pd.DataFrame, role: str, colour: str, marker: str, *, at: float, label: bool
) -> None:
    """The seeds of one variant and one network as marks, their mean as a line across, their spread as a bar."""
    mean, std = 100 * row[f"{role}_mAP_mean"], 100 * row[f"{role}_mAP_std"]
    if not math.isfinite(mean):
        return
    if math.isfinite(std):
        ax.barh(at, 2 * std, left=mean - std, height=0.24, color=colour, alpha=0.22, linewidth=0)
    ax.plot([mean, mean], [at - 0.15, at + 0.15], color=colour, linewidth=2.6, solid_capstyle="butt")
    values = 100 * runs[f"{role}_mAP"].dropna().to_numpy(float)
    ax.plot(
        values,
        np.full(len(values), at),
        linestyle="none",
        marker=marker,
        color=colour,
        markeredgecolor="white",
        markersize=6,
    )


def _accuracy(history: pd.DataFrame, variants: Sequence[str], which: str) -> Picture | None:
    lines, spread = _courses(history, variants, "student_mAP", scale=100)
    if not lines:
        return None
    with canvas(size=(6.4, 4.0)) as (figure, (ax,)):
        handles = draw_lines(ax, lines, markers=True)
        _draw_bands(ax, handles, lines, spread)
        finish(ax, history, handles, ylabel="%", title="Student's mAP on the test images")
        _room_for(ax, lines, spread)
        png = png_bytes(figure)
    alt = f"Student's mAP in percent over the epochs, mean over the seeds: {course(lines)}."
    return Picture(f"map_by_epoch{which}", alt, _BAND, png, section="epochs")


def _clusters(history: pd.DataFrame, variants: Sequence[str], which: str) -> Picture | None:
    clusters, spread = _courses(history, variants, "num_clusters")
    eps, _ = _courses(history, variants, "eps")
    if not clusters or not eps:
        return None
    with canvas(rows=2, size=(6.4, 5.4)) as (figure, (above, below)):
        handles = draw_lines(above, clusters)
        _draw_bands(above, handles, clusters, spread)
        finish(above, history, handles, ylabel="clusters", title="Clusters, and eps of DBSCAN", last=False)
        _room_for(above, clusters, spread)
        draw_lines(below, eps)
        finish(below, history, [], ylabel="eps")
        below.yaxis.set_major_locator(MaxNLocator(nbins=5))
        png = png_bytes(figure)
    alt = f"Over the epochs, mean over the seeds. Clusters: {course(clusters, digits=0)}. Eps: {course(eps, digits=3)}."
    return Picture(f"clusters_by_epoch{which}", alt, _BAND, png, section="epochs")


def _courses(
    history: pd.DataFrame, variants: Sequence[str], column: str, *, scale: float = 1.0
) -> tuple[dict[str, pd.Series], dict[str, pd.Series]]:
    """Variant -> mean, and standard deviation, over the seeds by epoch, of the epochs that have values."""
    means: dict[str, pd.Series] = {}
    spread: dict[str, pd.Series] = {}
    if column not in history:
        return means, spread
    for variant in variants:
        known = history[(history["variant"] == variant) & history[column].notna()]
        if len(known):
            by_epoch = (scale * known.set_index("epoch")[column]).groupby(level="epoch")
            means[variant], spread[variant] = by_epoch.mean(), by_epoch.std(ddof=1)
    return means, spread


def _room_for(ax: Any, means: Mapping[str, pd.Series], spread: Mapping[str, pd.Series]) -> None:
    """Lets a panel begin at 0 and end above the highest line and the highest band."""
    from_zero(ax)
    highest = max(float((means[name] + spread[name].fillna(0)).max()) for name in means)
    ax.set_ylim(top=max(ax.get_ylim()[1], 1.04 * highest))


def _draw_bands(
    ax: Any, handles: Sequence[tuple[Any, str]], means: Mapping[str, pd.Series], spread: Mapping[str, pd.Series]
) -> None:
    for handle, variant in handles:
        mean, std = means[variant], spread[variant]
        if std.notna().any():
            ax.fill_between(mean.index, mean - std, mean + std, color=handle.get_color(), alpha=0.13, linewidth=0)
