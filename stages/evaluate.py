"""The scores of the trained networks on the test half, beside those of what did not train on these images."""

from pathlib import Path
from typing import Annotated

import typer

import stages
from pipeline.common import paths
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, result_of_a_stage, write_json


def evaluate(
    model: Annotated[Path | None, typer.Option(help="Score this model alone: .safetensors, .pt or .onnx.")] = None,
    role: Annotated[str | None, typer.Option(help="With --model: student (default) or teacher.")] = None,
    output: Annotated[Path | None, typer.Option(help="With --model: write the scores into this JSON file.")] = None,
    provider: Annotated[str | None, typer.Option(help="Of an .onnx: auto (default), cpu, cuda or tensorrt.")] = None,
) -> None:
    """Ranks the gallery for every query: mAP, CMC and mINP of the last student and the last teacher.

    Reads params.yaml (evaluate), data/prepared/, data/pretrained/, data/model/ and reports/training.csv. Writes
    reports/metrics.json (the result and what it has to beat), summary.json, cmc.csv, clusters.csv (-1 is none), data/
    evaluation/ (ranked lists, pairs of cameras, confused identities, a map of the embedding), and the summary into
    MLflow. Without identities of query and gallery it writes the clusters and their map alone, and says why.

    With --model it prints the scores of one network, by the settings that its file carries, and changes none of these
    results: the model of a run, the checkpoint of one that goes on (.scratch/*/checkpoint.pt), or an exported model.
    """
    if model is not None:
        _score_one(model, role=role, output=output, provider=provider or "auto")
    elif role or output or provider:
        raise UserError("--role, --output and --provider say more about --model: name one")
    else:
        _score_training()


def _score_one(model: Path, *, role: str | None, output: Path | None, provider: str) -> None:
    from pipeline.datasets.packed_images import PackedImages
    from pipeline.evaluation.candidates import compare, table_of
    from pipeline.evaluation.test_set import TestSet
    from pipeline.inference.embedder import Embedder

    if output is not None:
        paths.require_own_place(output)
    embedder = Embedder(model, role=role, provider=provider)
    test, by, only = TestSet(PackedImages(paths.PREPARED)), stages.settings().evaluate.reranking, embedder.role
    scored = compare(test, {only: embedder.embed}, rerank=(only,) if by else (), by=by or "jaccard").metrics
    if output is not None:
        data = read_json(paths.PREPARED / "summary.json")["digest"]
        facts = {"model": str(model), "sha256": embedder.digest, "role": embedder.role, "data": data}
        write_json(output, {**facts, "metrics": scored, "settings": embedder.settings})
    print(f"{model} ({embedder.settings['backbone']})\n{table_of(scored)}")


def _score_training() -> None:
    import pandas as pd

    from pipeline.datasets.packed_images import PackedImages
    from pipeline.evaluation.results import evaluate_training
    from pipeline.model.checkpoint import delete_recorded
    from pipeline.model.saved import load_model
    from pipeline.model.starting_weights import starting_weights
    from pipeline.tracking import open_run

    settings, packed = stages.settings(), PackedImages(paths.PREPARED)
    trained, training = load_model(paths.TRAINED), read_json(paths.MODEL / "run.json")
    delete_recorded(paths.scratch(), training)
    paths.discard_results("evaluate")
    history = pd.read_csv(result_of_a_stage(paths.REPORTS / "training.csv"))
    weights = starting_weights(paths.PRETRAINED)[0]
    results = evaluate_training(packed, trained, weights=weights, history=history, rerank=settings.evaluate.reranking)
    results.write(reports=paths.REPORTS, tables=paths.EVALUATION)
    run = open_run(paths.checkout(), training["run_id"], name=training["name"], settings=settings.as_dict())
    run.log_scores(results.summary, step=results.epochs)
    print(*results.sentences(), sep="\n")


if __name__ == "__main__":
    stages.run(evaluate, watched=("evaluate",))
