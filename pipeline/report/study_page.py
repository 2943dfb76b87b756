"""The comparison of a study: one HTML page that needs nothing else, its figures, and its tables as CSV.

It looks like the report of a run, whose style it takes over.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from pipeline.common.files import replacing, write_text
from pipeline.report import wording
from pipeline.report.figures.drawing import Picture
from pipeline.report.figures.study import comparison_figures, plus_minus
from pipeline.report.page import TEMPLATE as REPORT

TEMPLATE = Path(__file__).with_name("study_page.html.j2")
# Heading -> column, factor, decimals.
SCORES = {
    "mAP": ("student_mAP", 100, 1),
    "R1": ("student_rank1", 100, 1),
    "R5": ("student_rank5", 100, 1),
    "R10": ("student_rank10", 100, 1),
    "mINP": ("student_mINP", 100, 1),
    "teacher mAP": ("teacher_mAP", 100, 1),
    "teacher R1": ("teacher_rank1", 100, 1),
    "best mAP": ("student_best_mAP", 100, 1),
}
CLUSTERS = {
    "clusters": ("clusters", 1, 0),
    "outliers": ("outliers", 1, 0),
    "ARI": ("ari", 1, 2),
    "purity %": ("purity", 100, 1),
    "pairwise F %": ("pairwise_f", 100, 1),
    "minutes": ("minutes", 1, 1),
}
_RUN = {key: SCORES[key] for key in ("mAP", "R1", "teacher mAP")} | {k: CLUSTERS[k] for k in ("clusters", "minutes")}


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """Everything that a comparison shows; scores are fractions in [0, 1].

    Attributes:
        title, description: of the study.
        dataset, backbone: what all its runs share; several are given with commas.
        settings: names of the settings that differ between the variants, which are columns of `summary`.
        summary: a row a variant: `variant`, the settings, `seeds`, `seeds_wanted`, `<name>_mean`, `<name>_std`.
        runs: a row a run: `variant`, `seed`, the same names, `experiment`, `revision`, `mlflow_run`.
        history: a row an epoch of a run: `variant`, `seed`, `epoch`, ...
        provenance: what finds this comparison again.
    """

    title: str
    description: str
    dataset: str
    backbone: str
    settings: tuple[str, ...]
    summary: pd.DataFrame
    runs: pd.DataFrame
    history: pd.DataFrame
    provenance: Mapping[str, str] = field(default_factory=dict)


def write_comparison(data: ComparisonData, output: Path) -> list[Path]:
    """Writes `<output>.html`, `<output>.csv`, `<output>_runs.csv` and `<output>/*.png`.

    Everything is drawn before the first byte is written, and each of the four takes the place of its predecessor in one
    step.

    Returns:
        what was written.
    """
    pictures = comparison_figures(data.summary, data.runs, data.history)
    page = render(data, pictures)
    with replacing(output) as folder:
        folder.mkdir()
        for picture in pictures:
            (folder / f"{picture.name}.png").write_bytes(picture.png)
    tables = {
        output.with_name(f"{output.name}.csv"): data.summary,
        output.with_name(f"{output.name}_runs.csv"): data.runs,
    }
    for path, table in tables.items():
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    html = output.with_name(f"{output.name}.html")
    write_text(html, page)
    return [html, *tables, output]


def render(data: ComparisonData, pictures: list[Picture]) -> str:
    """The page as HTML text."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    scored = bool(data.runs["student_mAP"].notna().any())
    return template.render(
        data=data,
        style=report_style(),
        sentence=_sentence(data),
        scores=_table(data.summary, SCORES) if scored else None,
        clusters=_table(data.summary, CLUSTERS),
        first=[picture for picture in pictures if picture.name == "scores"],
        curves=[picture for picture in pictures if picture.name != "scores"],
        settings=_settings(data),
        runs=_runs(data),
        runs_headings=_known(_RUN, data.runs, ""),
        uri=lambda picture: f"data:image/png;base64,{base64.b64encode(picture.png).decode('ascii')}",
        size=_size,
    )


@cache
def report_style() -> str:
    """The style sheet of the report of a run."""
    found = re.search(r"<style>\n?(.*?)</style>", REPORT.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{REPORT} has no style"
    return found[1]


def printed(summary: pd.DataFrame) -> list[str]:
    """The comparison for a terminal: a line a variant."""
    width = max((len(str(name)) for name in summary["variant"]), default=0)
    return [
        f"{row['variant']!s:{width}}  mAP {plus_minus(row['student_mAP_mean'], row['student_mAP_std'])} ({_count(row)})"
        for row in summary.to_dict("records")
    ]


def named_figures(summary: pd.DataFrame) -> dict[str, float]:
    """Every figure of a comparison under one name: `DCCC (all)/student_mAP_mean`."""
    names = [name for name in summary.columns if name.endswith(("_mean", "_std"))]
    return {f"{row['variant']}/{name}": float(row[name]) for row in summary.to_dict("records") for name in names}


def _count(row: Mapping[Any, Any]) -> str:
    there, wanted = int(row["seeds"]), int(row["seeds_wanted"])
    return f"n = {there}" if there == wanted else f"n = {there} of {wanted}"


def _known(
    columns: Mapping[str, tuple[str, int, int]], table: pd.DataFrame, suffix: str
) -> dict[str, tuple[str, int, int]]:
    """Those columns that hold any value."""
    return {heading: each for heading, each in columns.items() if table[f"{each[0]}{suffix}"].notna().any()}


def _table(summary: pd.DataFrame, columns: Mapping[str, tuple[str, int, int]]) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row of cells for each variant: name, how many seeds, mean ± standard deviation."""
    known = _known(columns, summary, "_mean")
    rows = [
        [str(row["variant"]), _count(row)]
        + [
            plus_minus(row[f"{name}_mean"], row[f"{name}_std"], scale=scale, digits=digits)
            for name, scale, digits in known.values()
        ]
        for row in summary.to_dict("records")
    ]
    return list(known), rows


def _runs(data: ComparisonData) -> list[list[str]]:
    columns = _known(_RUN, data.runs, "").values()
    return [
        [str(row["variant"]), str(row["seed"])]
        + [plus_minus(row[name], None, scale=scale, digits=digits) for name, scale, digits in columns]
        + [str(row["experiment"]), str(row["mlflow_run"])]
        for row in data.runs.to_dict("records")
    ]


def _settings(data: ComparisonData) -> list[list[str]]:
    values = [[row[key] for key in data.settings] for row in data.summary.to_dict("records")]
    names = [str(name) for name in data.summary["variant"]]
    return [
        [name, *(text for _, text in wording.flattened(dict(zip(data.settings, each, strict=True))))]
        for name, each in zip(names, values, strict=True)
    ]


def _sentence(data: ComparisonData) -> str:
    """What came out, in a sentence or two."""
    known = data.summary[data.summary["student_mAP_mean"].notna()].to_dict("records")
    if len(known) < 2:
        return ""
    first, best = known[0], max(known, key=lambda row: float(row["student_mAP_mean"]))
    level = plus_minus(first["student_mAP_mean"], first["student_mAP_std"])
    if best is first:
        return f"{first['variant']} has the highest mean mAP: {level} percent."
    gain = wording.points(best["student_mAP_mean"] - first["student_mAP_mean"])
    top = plus_minus(best["student_mAP_mean"], best["student_mAP_std"])
    return (
        f"{best['variant']} has the highest mean mAP: {top} percent, {gain} points against {first['variant']}"
        f" ({level})."
        " Differences smaller than the spread over the seeds say little."
    )


def _size(picture: Picture) -> tuple[int, int]:
    """Width and height that a browser shows, half of the pixels."""
    width, height = (int.from_bytes(picture.png[start : start + 4], "big") for start in (16, 20))
    return width // 2, height // 2
