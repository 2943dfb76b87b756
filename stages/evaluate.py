"""The scores of the trained networks on the test half, beside those of what did not train on these images."""

import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from torch import nn

import pipeline.common.paths as at
import stages
from pipeline.clustering import cluster_table
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing, result_of_a_stage, write_json
from pipeline.common.seeding import seed_everything
from pipeline.config.load import read_settings
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation import colour_histogram
from pipeline.evaluation.candidates import Comparison, best_of_run, compare, summary_of, table_of
from pipeline.evaluation.diagnostics.tables import diagnose, diagnose_clusters
from pipeline.evaluation.test_set import Embed, TestSet, why_not_scored
from pipeline.inference.embedder import open_embedder
from pipeline.model.embedding import embed_shown
from pipeline.model.saved import MODEL_FILE, build_of, load_model
from pipeline.model.starting_weights import starting_weights
from pipeline.tracking import open_run


def evaluate(
    model: Annotated[Path | None, typer.Option(help="Score this model alone: .safetensors, .pt or .onnx.")] = None,
    role: Annotated[str | None, typer.Option(help="With --model: student (default) or teacher.")] = None,
    output: Annotated[Path | None, typer.Option(help="With --model: write the scores into this JSON file.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="With --model of .onnx: auto (default), cpu, cuda or tensorrt.")
    ] = None,
) -> None:
    """Ranks the gallery for every query: mAP, CMC and mINP of the last student and the last teacher.

    Reads params.yaml (evaluate), data/prepared/, data/pretrained/, data/model/ and reports/training.csv. Writes
    reports/metrics.json (the result; beside it the best evaluation of the run, an untrained network, the starting
    weights and colour histograms), reports/summary.json (the few of these that tell runs apart), reports/cmc.csv,
    reports/clusters.csv (path and cluster of every training image by the last student; -1 is none), data/evaluation/
    (ranked lists, pairs of cameras, confused identities, a map of the embedding), and the scores into MLflow. Without
    identities of query and gallery it writes the clusters and their map alone, and says why.

    With --model it prints the scores of one network, by the settings that its file carries, and changes none of these
    results: the model of a run, the checkpoint of one that goes on (.scratch/*/checkpoint.pt), or an exported model.
    """
    if model is not None:
        _score_one(model, role=role, output=output, provider=provider or "auto")
    elif role or output or provider:
        raise UserError("--role, --output and --provider say more about --model: name one")
    else:
        _score_result()


def _score_one(model: Path, *, role: str | None, output: Path | None, provider: str) -> None:
    if output is not None:
        at.require_own_place(output)
    embedder = open_embedder(model, role=role, provider=provider)
    packed = PackedImages(at.PREPARED)
    rerank = (embedder.role,) if read_settings().evaluate.rerank else ()
    metrics = compare(TestSet(packed), {embedder.role: embedder.embed}, rerank=rerank).metrics
    if output is not None:
        data = read_json(at.PREPARED / "summary.json")["digest"]
        facts = {"model": str(model), "sha256": embedder.digest, "role": embedder.role, "data": data}
        write_json(output, {**facts, "metrics": metrics, "settings": embedder.settings})
    print(f"{model} ({embedder.settings['backbone']})")
    print(table_of(metrics))


def _score_result() -> None:
    settings = read_settings()
    packed = PackedImages(at.PREPARED)
    student, teacher, made_by = load_model(at.MODEL / MODEL_FILE)
    train = packed.split("train")
    features = embed_shown(student, train.images, "training images")
    clusters = cluster_table(features, train.paths, epochs=made_by["epochs"], **made_by["clustering"])
    found, uses_cameras = Comparison.empty(), False
    if reason := why_not_scored(packed):
        print(f"no evaluation: {reason}")
        tables = diagnose_clusters(features, clusters["cluster"].to_numpy())
    else:
        candidates = _candidates(student, teacher, made_by)
        rerank = [name for name in ("student", "teacher") if settings.evaluate.rerank and name in candidates]
        test = TestSet(packed)
        uses_cameras = test.uses_cameras
        found = compare(test, candidates, rerank=rerank)
        assert found.features is not None
        tables = diagnose(test, *found.features)
    metrics = found.metrics | best_of_run(pd.read_csv(result_of_a_stage(at.REPORTS / "training.csv")))
    images, outliers = len(clusters), int((clusters["cluster"] < 0).sum())
    metrics["clustering"] = {"clusters": int(clusters["cluster"].max()) + 1, "images": images, "outliers": outliers}

    # Every run has the curve of a teacher, an empty one where it has no teacher: the curves of two runs compare.
    cmc = found.cmc if reason or teacher is not None else found.cmc.assign(teacher=math.nan)
    files = {at.REPORTS / "cmc.csv": cmc, at.REPORTS / "clusters.csv": clusters}
    tables["ranked_lists"] = found.ranked_lists
    for path, table in {**files, **{at.EVALUATION / f"{name}.csv": table for name, table in tables.items()}}.items():
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False, lineterminator="\n")
    write_json(at.REPORTS / "metrics.json", metrics)
    write_json(at.REPORTS / "summary.json", summary_of(metrics))
    write_json(at.EVALUATION / "protocol.json", {"not_evaluated": reason, "uses_cameras": uses_cameras})
    _log(metrics, made_by, settings.as_dict())
    if not reason:
        print(f"student mAP {metrics['student']['mAP']:.1%}, untrained {metrics['untrained']['mAP']:.1%}")
    print(f"{images - outliers:,} of {images:,} training images in {metrics['clustering']['clusters']:,} clusters")


def _log(metrics: dict[str, dict[str, float]], made_by: dict[str, Any], settings: dict[str, Any]) -> None:
    training = read_json(at.MODEL / "run.json")
    run = open_run(at.checkout(), training["run_id"], name=training["name"], settings=settings)
    named = {f"{who}/{what}": value for who, scores in metrics.items() for what, value in scores.items()}
    run.log_metrics({**metrics.get("student", {}), **named}, step=made_by["epochs"])


def _candidates(student: nn.Module, teacher: nn.Module | None, made_by: dict[str, Any]) -> dict[str, Embed]:
    """What is scored, the result first; a training without a soft loss has no teacher."""
    weights, _ = starting_weights(at.PRETRAINED)
    seed_everything(made_by["seed"])
    fresh = partial(build_of, made_by)
    networks: dict[str, nn.Module | None] = {"student": student, "teacher": teacher, "untrained": fresh()}
    if weights is not None:
        networks["pretrained"] = fresh(weights=weights)
    candidates: dict[str, Embed] = {
        name: partial(embed_shown, network) for name, network in networks.items() if network is not None
    }
    return candidates | {"colour_histogram": lambda images, _: colour_histogram(images)}


if __name__ == "__main__":
    stages.run(evaluate)
