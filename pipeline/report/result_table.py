"""The results of the stages as rows and curves of a report."""

from collections.abc import Mapping

import pandas as pd

from pipeline.evaluation.candidates import BY_TRACKLET, MEAN, ON
from pipeline.evaluation.metrics import METRICS
from pipeline.model.saved import ROLES
from pipeline.report.contents import Kind, ResultRow

# Name in metrics.json -> (name in the report, kind), in the order of the table.
_ROWS: dict[str, tuple[str, Kind]] = {
    "student": ("Student", "result"),
    "teacher": ("Teacher", "result"),
    "student_reranked": ("Student, re-ranked", "result"),
    "teacher_reranked": ("Teacher, re-ranked", "result"),
    "student_best_of_run": ("Student", "best-of-run"),
    "teacher_best_of_run": ("Teacher", "best-of-run"),
    "untrained": ("Untrained network (random weights)", "baseline"),
    "pretrained": ("Starting weights", "baseline"),
    "colour_histogram": ("Colour histogram", "baseline"),
}
_IMAGES = ("student", "teacher", "untrained", "pretrained", "colour_histogram")
_ROWS |= {f"{name}{BY_TRACKLET}": (_ROWS[name][0], "tracklets") for name in _IMAGES}
_CMC_NAMES = {name: title for name, (title, kind) in _ROWS.items() if kind != "best-of-run"}


def result_rows(metrics: Mapping[str, Mapping[str, float]]) -> tuple[ResultRow, ...]:
    """The scores of metrics.json as rows; the epoch of a best evaluation goes into its name."""
    rows = []
    for key, (name, kind) in _ROWS.items():
        if (scores := metrics.get(key)) is not None:
            title = f"{name}, epoch {scores['epoch']:.0f}" if "epoch" in scores else name
            rows.append(ResultRow(title, kind, {metric: scores[metric] for metric in METRICS}))
    return (*rows, *_member_rows(metrics))


def _member_rows(metrics: Mapping[str, Mapping[str, float]]) -> list[ResultRow]:
    """The scores of the trained networks on each data set of a union."""
    rows = []
    for key, scores in metrics.items():
        candidate, _, member = key.partition(ON)
        if member and candidate in ROLES:
            where = "mean over the data sets" if member == MEAN else f"on {member}"
            rows.append(ResultRow(f"{_ROWS[candidate][0]}, {where}", "members", {m: scores[m] for m in METRICS}))
    return rows


def cmc_curves(table: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """cmc.csv as name -> shares at ranks 1, 2, ...; a column is empty if a training has no such network."""
    return {title: table[name] for name, title in _CMC_NAMES.items() if name in table and table[name].notna().any()}
