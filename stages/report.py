"""What a person looks at: one page and its figures."""

from functools import partial
from pathlib import Path

import pandas as pd

import pipeline.common.paths as at
import stages
from pipeline.common.files import read_json, result_of_a_stage, sha256
from pipeline.config.load import read_settings
from pipeline.datasets.packed_images import PackedImages
from pipeline.model.saved import MODEL_FILE, load_network
from pipeline.report import (
    ReportData,
    illustrate,
    illustrate_pairs,
    published_rows,
    read_map,
    sample_clusters,
    summarise_splits,
    write_report,
)
from pipeline.report.results import cmc_curves, history_of, result_rows
from pipeline.report.wording import method_name
from pipeline.tracking import open_run
from pipeline.tracking.registry import register_model, registered_name


def report() -> None:
    """Draws the run: results, learning curves, CMC, ranked lists.

    Reads params.yaml, data/prepared/, data/pretrained/, data/model/, data/evaluation/, reports/metrics.json, cmc.csv,
    clusters.csv and training.csv. Writes reports/report.html, one page that needs no network, and
    reports/figures/*.png; both go into the MLflow run, and the model becomes a version in MLflow's registry.
    """
    settings = read_settings()
    packed, summary = PackedImages(at.PREPARED), read_json(at.PREPARED / "summary.json")
    metrics, training = read_json(at.REPORTS / "metrics.json"), read_json(at.MODEL / "run.json")
    history = history_of(_table(at.REPORTS, "training"))
    student, made_by = load_network(at.MODEL / MODEL_FILE, role="student")
    splits = summarise_splits(packed.catalogue)
    queries, protocol = metrics.get("queries", {"all": 0, "valid": 0}), read_json(at.EVALUATION / "protocol.json")
    table = partial(_table, at.EVALUATION)
    start = read_json(at.PRETRAINED / "weights.json")
    data = ReportData(
        title=training["name"],
        dataset=made_by["dataset"],
        backbone=made_by["backbone"],
        method=method_name(made_by),
        settings=made_by,
        splits=splits,
        history=history,
        results=result_rows(metrics) + published_rows(made_by["dataset"], splits),
        cmc=cmc_curves(_table(at.REPORTS, "cmc")),
        ranked_lists=illustrate(
            table("ranked_lists"),
            catalogue=packed.catalogue,
            images=packed.images,
        ),
        camera_pairs=table("camera_pairs"),
        confused=illustrate_pairs(table("confused_pairs"), catalogue=packed.catalogue, images=packed.images),
        embedding=read_map(table("map"), catalogue=packed.catalogue, images=packed.images),
        clusters=sample_clusters(_table(at.REPORTS, "clusters"), images=packed.split("train").images),
        num_queries=int(queries["all"]),
        num_valid_queries=int(queries["valid"]),
        uses_cameras=protocol["uses_cameras"],
        notes=(f"Not evaluated: {protocol['not_evaluated']}.",) if protocol["not_evaluated"] else (),
        provenance={
            "Seed": str(made_by["seed"]),
            "Data": summary["digest"][:16],
            "Starting weights": start["name"] or "random",
            "Training": f"{history['seconds'].sum() / 60:.1f} minutes",
            "MLflow run": training["run_id"],
        },
    )
    write_report(data, at.REPORTS)
    run = open_run(at.checkout(), training["run_id"], name=training["name"], settings=settings.as_dict())
    results = [at.REPORTS / name for name in ("report.html", "figures", "metrics.json", "clusters.csv")]
    for path in results:
        run.log_artifact(path, path.name if path.is_dir() else None)
    model = register_model(
        run,
        at.MODEL / MODEL_FILE,
        name=registered_name(made_by),
        digest=sha256(at.MODEL / MODEL_FILE),
        num_features=student.num_features,
        example=packed.catalogue["path"].iloc[0],
        tags={"role": "student", "data.digest": summary["digest"]},
    )
    print(f"in MLflow: {model}")


def _table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(result_of_a_stage(folder / f"{name}.csv"))


if __name__ == "__main__":
    stages.run(report)
