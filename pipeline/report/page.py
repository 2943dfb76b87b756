"""The report of a run: one HTML page that needs nothing else, and its figures as PNG files.

What is written depends on the values alone, not on the time.
"""

from itertools import groupby
from pathlib import Path

from pipeline.common.files import replacing, write_text
from pipeline.evaluation.metrics import MAIN, METRICS, Metric
from pipeline.report import figures, wording
from pipeline.report.contents import RankedList, ReportData, ResultRow
from pipeline.report.figures.drawing import Picture
from pipeline.report.published import published_remark
from pipeline.report.rendering import Section, group_by_section, render_template


def write_report(data: ReportData, folder: Path) -> None:
    """Writes `report.html` and `figures/*.png` into `folder`.

    Everything is drawn before the first byte is written, and page and folder of figures each take the place of their
    predecessor in one step: a failure leaves the previous report as it was. Figures of an earlier report that this one
    does not have disappear with the folder.

    Args:
        data: What to show.
        folder: Created if it does not exist.
    """
    folder = Path(folder)
    pictures = figures.draw(data)
    page = render(data, pictures)
    with replacing(folder / "figures") as target:
        target.mkdir()
        for picture in pictures:
            (target / f"{picture.name}.png").write_bytes(picture.png)
    write_text(folder / "report.html", page)


def render(data: ReportData, pictures: list[Picture]) -> str:
    """The page as HTML text."""
    groups = [(group, list(lists)) for group, lists in groupby(data.ranked_lists, key=lambda ranked: ranked.group)]
    ranked = [(group, lists) for group, lists in groups if group != "worst"]
    hardest = [(group, lists) for group, lists in groups if group == "worst"]
    remark = published_remark(data.dataset, data.splits)
    metrics = _metrics(data)
    columns = _history_columns(data)
    split_headings, splits = _splits(data)
    return render_template(
        "report.html.j2",
        data=data,
        folder="report_sections",
        facts={"data set": data.shown_dataset, "backbone": data.backbone, "method": data.method},
        sections=_sections(data, pictures, ranked=ranked, hardest=hardest),
        headline=_headline(data),
        summary=wording.summary(data),
        protocol=wording.protocol(data),
        notes=[*data.notes, *([remark] if remark else [])],
        metrics=metrics,
        groups=_result_groups(data),
        ranked=ranked,
        hardest=hardest,
        columns=columns,
        epochs=_epochs(data, columns),
        split_headings=split_headings,
        splits=splits,
        settings=_settings(data),
    )


def _sections(
    data: ReportData,
    pictures: list[Picture],
    *,
    ranked: list[tuple[str, list[RankedList]]],
    hardest: list[tuple[str, list[RankedList]]],
) -> tuple[Section, ...]:
    """The sections of the page; some have text or thumbnails of their own besides pictures."""
    own = {"lists": ranked, "failures": hardest or data.confused, "clusters": data.clusters}
    always = ["result", "learning", "data", "settings", *(key for key, content in own.items() if content)]
    return group_by_section(pictures, figures.SECTIONS, always=always)


def _headline(data: ReportData) -> list[tuple[str, str, str]]:
    """(value, what it is, remark) of the numbers at the top of the page; the first is the largest."""
    result, baseline, train = data.first("result"), data.first("baseline"), data.split("train")
    whose = wording.by_result(data).removeprefix("the ")
    tiles = []
    if result is not None and MAIN.key in result.scores:
        score = result.scores[MAIN.key]
        tiles.append((wording.percent(score, unit=True), MAIN.heading, whose))
        if "rank1" in result.scores:
            tiles.append((wording.percent(result.scores["rank1"], unit=True), METRICS["rank1"].heading, whose))
        if baseline is not None and MAIN.key in baseline.scores:
            level = baseline.scores[MAIN.key]
            remark = f"above the {wording.percent(level, unit=True)} of the {wording.lowered(baseline.name)}"
            tiles.append((wording.points(score - level), f"points of {MAIN.heading}", remark))
    if data.cluster_count is not None:
        truth = f"; in truth {wording.count(train.identities, 'identity')}" if train and train.identities else ""
        tiles.append((f"{data.cluster_count.clusters:,}", "clusters", f"by the {whose}{truth}"))
    return tiles


def _metrics(data: ReportData) -> list[Metric]:
    """The columns of the result table: the metrics that a row has."""
    return [metric for key, metric in METRICS.items() if any(key in row.scores for row in data.results)]


def _result_groups(data: ReportData) -> list[tuple[str, str, list[ResultRow]]]:
    """(title, remark, rows) by kind: result, best of the run, baselines, published."""
    groups = []
    for kind, title in wording.KIND_TITLES.items():
        rows = [row for row in data.results if row.kind == kind]
        if rows:
            groups.append((title, wording.KIND_REMARKS[kind], rows))
    return groups


def _history_columns(data: ReportData) -> dict[str, str]:
    """Column -> heading of those columns of the history that hold any value."""
    present = [name for name in wording.HISTORY_COLUMNS if name in data.history]
    return {name: wording.HISTORY_COLUMNS[name] for name in present if data.history[name].notna().any()}


def _epochs(data: ReportData, columns: dict[str, str]) -> list[list[str]]:
    return [
        [wording.history_cell(column, row[column]) for column in columns]
        for row in data.history.to_dict(orient="records")
    ]


def _splits(data: ReportData) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of splits; distractors only if there are any."""
    distractors = any(split.distractors for split in data.splits)
    headings = ["Split", "images", "identities", "cameras", *(["distractors"] if distractors else [])]
    rows = []
    for split in data.splits:
        counts = [split.images, split.identities, split.cameras, *([split.distractors or None] if distractors else [])]
        rows.append([split.split, *(wording.DASH if number is None else f"{number:,}" for number in counts)])
    return headings, rows


def _settings(data: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, its dotted keys and values); single settings at the top level come first, without a section."""
    nested = {key: value for key, value in data.settings.items() if isinstance(value, dict) and value}
    single = {key: value for key, value in data.settings.items() if key not in nested}
    sections = [("", single)] if single else []
    return [(title, list(wording.flattened(values))) for title, values in [*sections, *nested.items()]]
