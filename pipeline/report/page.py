"""The report as one HTML page that needs nothing else, and its figures as PNG files.

Pictures travel inside the page as data URIs; style is in the page; there is no script; the page itself forbids the
browser to load anything (Content-Security-Policy). What is written depends on the values alone, not on the time.
"""

import base64
import io
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pipeline.common.files import replacing, write_text
from pipeline.report import wording
from pipeline.report.confusion import confusion_sheet
from pipeline.report.contents import ReportData, ResultRow
from pipeline.report.figures.cameras import camera_figure, camera_table
from pipeline.report.figures.curves import cmc_curve, learning_curves
from pipeline.report.figures.drawing import Picture
from pipeline.report.figures.embedding_map import map_figure
from pipeline.report.figures.sheet import cluster_sheet, ranked_sheet
from pipeline.report.published import published_remark

TEMPLATE = Path(__file__).with_name("page.html.j2")
_THUMBNAIL = (192, 144)  # width, height at most
# Figures that do not stand among the learning curves, as a picture or as thumbnails.
_ELSEWHERE = ("cmc", "camera_pairs", "ranked_lists", "confused_pairs", "embedding_map", "cluster_sheet")
_SCORES = {"mean_ap": "mAP", "rank1": "R1", "rank5": "R5", "rank10": "R10", "mean_inp": "mINP"}


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
    pictures = draw(data)
    page = render(data, pictures)
    with replacing(folder / "figures") as figures:
        figures.mkdir()
        for picture in pictures:
            (figures / f"{picture.name}.png").write_bytes(picture.png)
    write_text(folder / "report.html", page)


def draw(data: ReportData) -> list[Picture]:
    """All the figures that the values allow, in the order of the page."""
    train = data.split("train")
    baselines = {row.name: row.mean_ap for row in data.results if row.kind == "baseline" and row.mean_ap is not None}
    curves = learning_curves(
        data.history,
        baselines=baselines,
        num_identities=None if train is None else train.identities,
        num_images=None if train is None else train.images,
    )
    others = (
        cmc_curve(data.cmc),
        None if data.camera_pairs is None else camera_figure(data.camera_pairs),
        ranked_sheet(data.ranked_lists),
        confusion_sheet(data.confused),
        None if data.embedding is None else map_figure(data.embedding),
        cluster_sheet(data.clusters),
    )
    return [*curves, *(picture for picture in others if picture is not None)]


def render(data: ReportData, pictures: list[Picture]) -> str:
    """The page as HTML text."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    ranked = [(group, list(lists)) for group, lists in groupby(data.ranked_lists, key=lambda ranked: ranked.group)]
    by_name = {picture.name: picture for picture in pictures}
    remark = published_remark(data.dataset, data.splits)
    return template.render(
        data=data,
        headline=_headline(data),
        summary=wording.summary(data),
        protocol=wording.protocol(data),
        notes=[*data.notes, *([remark] if remark else [])],
        scores=_scores(data),
        groups=_result_groups(data),
        curves=[by_name[name] for name in by_name if name not in _ELSEWHERE],
        cmc=by_name.get("cmc"),
        cmc_table=_cmc_table(data),
        cameras=by_name.get("camera_pairs"),
        camera_table=None if data.camera_pairs is None else camera_table(data.camera_pairs),
        map=by_name.get("embedding_map"),
        ranked=[(group, lists) for group, lists in ranked if group != "worst"],
        hardest=[(group, lists) for group, lists in ranked if group == "worst"],
        distractors=any(split.distractors for split in data.splits),
        columns=_history_columns(data),
        epochs=_epochs(data),
        settings=_settings(data),
        png_uri=lambda picture: _uri(picture.png, "png"),
        percent=wording.percent,
        dash=wording.DASH,
        verdicts=wording.VERDICTS,
        cluster_caption=wording.cluster_caption,
        query_caption=wording.query_caption,
        confusion_caption=wording.confusion_caption,
        group_title=wording.group_title,
        entry_alt=wording.entry_alt,
        thumbnail=_thumbnail,
    )


def _headline(data: ReportData) -> list[tuple[str, str, str]]:
    """(value, what it is, remark) of the figures at the top of the page; the first is the largest."""
    result, baseline, train = data.first("result"), data.first("baseline"), data.split("train")
    tiles = []
    if result is not None and result.mean_ap is not None:
        tiles.append((wording.percent(result.mean_ap, unit=True), "mAP", result.name))
        if baseline is not None and baseline.mean_ap is not None:
            gain = wording.points(result.mean_ap - baseline.mean_ap)
            tiles.append((wording.percent(baseline.mean_ap, unit=True), "mAP", baseline.name))
            tiles.append((gain, "points of mAP", f"against the {wording.lowered(baseline.name)}"))
        if result.rank1 is not None:
            tiles.append((wording.percent(result.rank1, unit=True), "rank-1", result.name))
    if len(data.history) and "num_clusters" in data.history and np.isfinite(data.history["num_clusters"].iloc[-1]):
        truth = f"for {wording.count(train.identities, 'identity')}" if train and train.identities else "at the end"
        tiles.append((f"{int(data.history['num_clusters'].iloc[-1]):,}", "clusters", truth))
    return tiles


def _scores(data: ReportData) -> dict[str, str]:
    """Attribute -> heading of the columns of the result table; mINP only where a row has it."""
    has_inp = any(row.mean_inp is not None for row in data.results)
    return {name: heading for name, heading in _SCORES.items() if name != "mean_inp" or has_inp}


def _result_groups(data: ReportData) -> list[tuple[str, str, list[ResultRow]]]:
    """(title, remark, rows) by kind: result, best of the run, baselines, published."""
    groups = []
    for kind, title in wording.KIND_TITLES.items():
        rows = [row for row in data.results if row.kind == kind]
        if rows:
            groups.append((title, wording.KIND_REMARKS[kind], rows))
    return groups


def _cmc_table(data: ReportData) -> tuple[list[int], list[tuple[str, list[str]]]]:
    """Ranks, and (name, percent at those ranks) of each curve."""
    curves = {name: np.asarray(curve, dtype=float) for name, curve in data.cmc.items()}
    longest = max((len(curve) for curve in curves.values()), default=0)
    ranks = [rank for rank in (1, 2, 5, 10, 20, 50) if rank <= longest]
    rows = [
        (name, [wording.percent(float(curve[rank - 1]) if rank <= len(curve) else None) for rank in ranks])
        for name, curve in curves.items()
    ]
    return ranks, rows


def _history_columns(data: ReportData) -> dict[str, str]:
    """Column -> heading for those columns of the history that hold any value."""
    present = [name for name in wording.HISTORY_COLUMNS if name in data.history]
    return {name: wording.HISTORY_COLUMNS[name] for name in present if data.history[name].notna().any()}


def _epochs(data: ReportData) -> list[list[str]]:
    columns = _history_columns(data)
    return [
        [wording.history_cell(column, row[column]) for column in columns]
        for row in data.history.to_dict(orient="records")
    ]


def _settings(data: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, its dotted keys and values); single settings at the top level come first, without a section."""
    nested = {key: value for key, value in data.settings.items() if isinstance(value, dict) and value}
    single = {key: value for key, value in data.settings.items() if key not in nested}
    sections = [("", single)] if single else []
    return [(title, list(wording.flattened(values))) for title, values in [*sections, *nested.items()]]


def _thumbnail(image: np.ndarray) -> dict[str, Any]:
    """Source, width and height of a small JPEG of a picture (H, W, 3) uint8; never larger than the picture."""
    picture = Image.fromarray(image)
    picture.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85, subsampling=0)
    return {"src": _uri(buffer.getvalue(), "jpeg"), "width": picture.width, "height": picture.height}


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
