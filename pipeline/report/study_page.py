"""The comparison of a study: one HTML page that needs nothing else, its figures, and its tables as CSV.

It shares layout and style with the report of a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.files import replacing, write_text
from pipeline.common.text import csv_cell, one_line
from pipeline.evaluation.metrics import MAIN
from pipeline.report import wording
from pipeline.report.figures.drawing import Picture
from pipeline.report.figures.study_figures import comparison_figures, plus_minus
from pipeline.report.rendering import group_by_section, render_template
from pipeline.report.study_columns import CLUSTERS, RUNS, SCORES, Column

SECTIONS = {"result": "Result", "epochs": "Over the epochs", "settings": "Settings that differ", "runs": "Trainings"}
_MAIN_COLUMN = f"student_{MAIN.key}"


@dataclass(frozen=True, eq=False)
class ComparisonData:
    """Everything that a comparison shows; scores are fractions in [0, 1].

    Attributes:
        title, description: Of the study.
        dataset, backbone: What all its runs share; several are separated by commas.
        settings: Names of the settings that differ between the variants, which are columns of `summary`.
        summary: One row per variant: `variant`, the settings, `seeds`, `seeds_wanted`, `<name>_mean`, `<name>_std`.
        runs: One row per run: `variant`, `seed`, the same names, `experiment`, `revision`, `mlflow_run`.
        history: One row per epoch of a run: `variant`, `seed`, `epoch`, ...
        provenance: Where this comparison comes from.
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
            table.map(_cell).to_csv(temporary, index=False, lineterminator="\n")
    html = output.with_name(f"{output.name}.html")
    write_text(html, page)
    return [html, *tables, output]


def render(data: ComparisonData, pictures: list[Picture]) -> str:
    """The page as HTML text."""
    scored = bool(data.runs[_MAIN_COLUMN].notna().any())
    return render_template(
        "study.html.j2",
        data=data,
        folder="study_sections",
        facts={
            "data set": data.dataset,
            "backbone": data.backbone,
            "runs": len(data.summary),
            "trainings": len(data.runs),
        },
        sections=group_by_section(pictures, SECTIONS, always=("result", "settings", "runs")),
        sentence=_sentence(data),
        scores=_table(data.summary, SCORES) if scored else None,
        clusters=_table(data.summary, CLUSTERS),
        settings=_settings(data),
        runs=_runs(data),
    )


def printed(summary: pd.DataFrame) -> list[str]:
    """The comparison for a terminal: one line per variant."""
    names = [one_line(name) for name in summary["variant"]]
    width = max(map(len, names), default=0)
    return [
        f"{name:{width}}  {MAIN.heading} {_main_score(row)} ({_count(row)})"
        for name, row in zip(names, summary.to_dict("records"), strict=True)
    ]


def named_numbers(summary: pd.DataFrame) -> dict[str, float]:
    """Every number of a comparison under one name: `DCCC (all)/student_mAP_mean`."""
    names = [name for name in summary.columns if name.endswith(("_mean", "_std"))]
    return {f"{row['variant']}/{name}": float(row[name]) for row in summary.to_dict("records") for name in names}


def _cell(value: Any) -> Any:
    """A value as a cell of a CSV file: no text becomes a formula in a spreadsheet."""
    return csv_cell(value) if isinstance(value, str) else value


def _count(row: Mapping[Any, Any]) -> str:
    there, wanted = int(row["seeds"]), int(row["seeds_wanted"])
    return f"n = {there}" if there == wanted else f"n = {there} of {wanted}"


def _main_score(row: Mapping[Any, Any]) -> str:
    return plus_minus(row[f"{_MAIN_COLUMN}_mean"], row[f"{_MAIN_COLUMN}_std"], digits=MAIN.digits)


def _shown(columns: Sequence[Column], table: pd.DataFrame, suffix: str) -> list[Column]:
    """Those columns for the page that hold any value."""
    return [column for column in columns if column.shown and table[f"{column.name}{suffix}"].notna().any()]


def _table(summary: pd.DataFrame, columns: Sequence[Column]) -> tuple[list[str], list[list[str]]]:
    """Headings, and one row of cells per variant: name, number of seeds, mean ± standard deviation."""
    shown = _shown(columns, summary, "_mean")
    rows = [
        [str(row["variant"]), _count(row)]
        + [
            plus_minus(row[f"{each.name}_mean"], row[f"{each.name}_std"], scale=each.scale, digits=each.digits)
            for each in shown
        ]
        for row in summary.to_dict("records")
    ]
    return ["Run", "seeds", *(each.heading for each in shown)], rows


def _runs(data: ComparisonData) -> tuple[list[str], list[list[str]]]:
    """Headings, and one row of cells per training."""
    shown = _shown(RUNS, data.runs, "")
    rows = [
        [str(row["variant"]), str(row["seed"])]
        + [plus_minus(row[each.name], None, scale=each.scale, digits=each.digits) for each in shown]
        + [str(row["experiment"]), str(row["mlflow_run"])]
        for row in data.runs.to_dict("records")
    ]
    return ["Run", "seed", *(each.heading for each in shown), "experiment", "MLflow run"], rows


def _settings(data: ComparisonData) -> list[list[str]]:
    values = [[row[key] for key in data.settings] for row in data.summary.to_dict("records")]
    names = [str(name) for name in data.summary["variant"]]
    return [
        [name, *(text for _, text in wording.flattened(dict(zip(data.settings, each, strict=True))))]
        for name, each in zip(names, values, strict=True)
    ]


def _sentence(data: ComparisonData) -> str:
    """The outcome in a sentence or two."""
    mean = f"{_MAIN_COLUMN}_mean"
    known = data.summary[data.summary[mean].notna()].to_dict("records")
    if len(known) < 2:
        return ""
    ranked = sorted(known, key=lambda row: float(row[mean]), reverse=True)
    if min(row["seeds"] for row in known) < 2:
        scores = ", ".join(f"{row['variant']} {_main_score(row)}" for row in ranked)
        return f"{MAIN.heading} in percent: {scores}. A single seed does not say which is better: take more."
    best, others = ranked[0], ranked[1:]
    spread = f"{_MAIN_COLUMN}_std"
    near = [row for row in others if best[mean] - row[mean] < max(float(best[spread]), float(row[spread]))]
    if near:
        names = ", ".join(str(row["variant"]) for row in near)
        return (
            f"{best['variant']} has the highest mean {MAIN.heading}, {_main_score(best)} percent, but no clear lead on"
            f" {names}: the seeds differ by more."
        )
    first = known[0] if best is not known[0] else others[0]
    gain = wording.points(best[mean] - first[mean])
    return (
        f"{best['variant']} has the highest mean {MAIN.heading}: {_main_score(best)} percent, {gain} points against"
        f" {first['variant']} ({_main_score(first)})."
    )
