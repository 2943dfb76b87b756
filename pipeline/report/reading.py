"""From the files of the stages to the data of a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.common.files import read_json, result_of_a_stage
from pipeline.datasets.names import read_names
from pipeline.datasets.packed_images import PackedImages
from pipeline.model.saved import MODEL_FILE, data_name_of, model_settings
from pipeline.report.cluster_verdict import cluster_verdict
from pipeline.report.contents import ClusterCount, ReportData, SplitSummary
from pipeline.report.illustrations import (
    illustrate_confused_pairs,
    illustrate_map,
    illustrate_ranked_lists,
    sample_clusters,
)
from pipeline.report.published import published_rows
from pipeline.report.result_table import cmc_curves, result_rows
from pipeline.report.wording import method_name

SPLITS = ("train", "query", "gallery")


def read_report(*, prepared: Path, pretrained: Path, model: Path, evaluation: Path, reports: Path) -> ReportData:
    """Reads what the stages left in their folders.

    Every table of `evaluation` is in the report's `tables`, also one that only a figure knows.

    Raises:
        UserError: A file is missing or damaged.
    """
    packed, settings = PackedImages(prepared), model_settings(model / MODEL_FILE)
    metrics, run = read_json(reports / "metrics.json"), read_json(model / "run.json")
    protocol = read_json(evaluation / "protocol.json")
    history = _read_table(reports / "training.csv")
    tables = {path.stem: _read_table(path) for path in sorted(evaluation.glob("*.csv"))}
    splits = summarise_splits(packed.catalogue)
    images: dict[str, Any] = {"catalogue": packed.catalogue, "images": packed.images}
    names = read_names(prepared)
    queries = metrics.get("queries", {"all": 0, "valid": 0})
    train, start = packed.split("train"), read_json(pretrained / "weights.json")["name"]
    return ReportData(
        title=run["name"],
        dataset=settings["dataset"],
        data_name=data_name_of(settings),
        backbone=settings["backbone"],
        method=method_name(settings),
        settings=settings,
        splits=splits,
        history=history,
        results=result_rows(metrics) + published_rows(settings["dataset"], splits),
        cmc=cmc_curves(_read_table(reports / "cmc.csv")),
        ranked_lists=illustrate_ranked_lists(tables["ranked_lists"], **images, names=names),
        tables=tables,
        confused=illustrate_confused_pairs(tables["confused_pairs"], **images, names=names),
        embedding=illustrate_map(tables["map"], **images),
        clusters=sample_clusters(_read_table(reports / "clusters.csv"), images=train.images),
        cluster_count=ClusterCount(int(metrics["clustering"]["clusters"]), int(metrics["clustering"]["outliers"])),
        num_queries=int(queries["all"]),
        num_valid_queries=int(queries["valid"]),
        uses_cameras=protocol["uses_cameras"],
        notes=_notes(protocol["not_evaluated"], queries),
        verdict=cluster_verdict(history, settings, images=len(train), random_start=start is None),
        names=names,
        made=_made(run, seconds=float(history["seconds"].sum())),
        provenance={
            "Seed": str(settings["seed"]),
            "Data": read_json(prepared / "summary.json")["digest"][:16],
            "Starting weights": start or "random",
            "MLflow run": run["run_id"],
        },
    )


def _made(run: Mapping[str, str], *, seconds: float) -> tuple[str, ...]:
    """When, how long, from which code and on what; a model of before this was recorded says only how long."""
    took = f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
    if seconds < 60:
        took = f"{seconds:.0f} seconds"
    parts = (
        run.get("finished"),
        f"trained in {took}",
        f"revision {run.get('revision', 'unknown')}",
        run.get("machine"),
    )
    return tuple(part for part in parts if part)


def _notes(not_evaluated: str | None, queries: Mapping[str, float]) -> tuple[str, ...]:
    notes: tuple[str, ...] = (f"Not evaluated: {not_evaluated}.",) if not_evaluated else ()
    if "tracklets" in queries:
        valid, number = queries["valid_tracklets"], queries["tracklets"]
        notes += (f"By tracklet, {valid:,.0f} of {number:,.0f} queries have a match.",)
    return notes


def summarise_splits(catalogue: pd.DataFrame) -> tuple[SplitSummary, ...]:
    """Counts images, identities and cameras by split.

    Args:
        catalogue: One row per image, columns `pid`, `camid` (both nullable) and `split`. Pid 0 is a distractor:
            counted as an image, not as an identity.

    Returns:
        One summary for each split that has an image, in the order train, query, gallery.
    """
    summaries = []
    for name in SPLITS:
        rows = catalogue[catalogue["split"] == name]
        if rows.empty:
            continue
        pids = rows["pid"].dropna()
        cameras = rows["camid"].dropna()
        summaries.append(
            SplitSummary(
                split=name,
                images=len(rows),
                identities=int(pids[pids > 0].nunique()) if len(pids) else None,
                cameras=int(cameras.nunique()) if len(cameras) else None,
                distractors=int((pids == 0).sum()),
            )
        )
    return tuple(summaries)


def _read_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(result_of_a_stage(path))
