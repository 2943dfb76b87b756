"""The scores of the trained networks on the test half, beside those of what did not train on these images."""

from functools import partial

import pandas as pd

import pipeline.places as at
import stages
from pipeline.datasets.store import PackedImages
from pipeline.files import read_json, replacing, result_of_a_stage, write_json
from pipeline.model import build
from pipeline.model.saved import MODEL_FILE, load_model
from pipeline.model.starting import starting_weights
from pipeline.params import read_settings
from pipeline.retrieval import colour_histogram
from pipeline.retrieval.comparison import best_of_run, compare
from pipeline.retrieval.embedding import embed_shown
from pipeline.retrieval.scoring import Embed, TestSet
from pipeline.tracking import open_run
from pipeline.training.randomness import seed_everything


def evaluate() -> None:
    """Ranks the gallery for every query: mAP, CMC and mINP of the last student and the last teacher.

    Reads params.yaml (evaluate), data/prepared/, data/pretrained/, data/model/ and reports/training.csv. Writes
    reports/metrics.json (the result; beside it the best evaluation of the run, an untrained network, the starting
    weights and colour histograms), reports/cmc.csv, data/evaluation/ (ranked lists), and the scores into MLflow.
    """
    settings = read_settings()
    test = TestSet(PackedImages(at.PREPARED))
    student, teacher, made_by = load_model(at.MODEL / MODEL_FILE)
    weights, _ = starting_weights(at.PRETRAINED)
    seed_everything(made_by["seed"])
    fresh = partial(build, made_by["backbone"], **made_by["model"])
    networks = {"student": student, "teacher": teacher, "untrained": fresh()}
    if weights is not None:
        networks["pretrained"] = fresh(weights=weights)
    candidates: dict[str, Embed] = {name: partial(embed_shown, network) for name, network in networks.items()}
    candidates["colour_histogram"] = lambda images, _: colour_histogram(images)
    found = compare(test, candidates, rerank=("student", "teacher") if settings.evaluate.rerank else ())
    metrics = found.metrics | best_of_run(pd.read_csv(result_of_a_stage(at.REPORTS / "training.csv")))

    for table, path in ((found.cmc, at.REPORTS / "cmc.csv"), (found.ranked_lists, at.EVALUATION / "ranked_lists.csv")):
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False)
    write_json(at.REPORTS / "metrics.json", metrics)
    training = read_json(at.MODEL / "run.json")
    run = open_run(at.checkout(), training["run_id"], name=training["name"], settings=settings.as_dict())
    named = {f"{who}/{what}": value for who, scores in metrics.items() for what, value in scores.items()}
    run.log_metrics({**metrics["student"], **named}, step=made_by["epochs"])
    print(f"student mAP {metrics['student']['mAP']:.1%}, untrained {metrics['untrained']['mAP']:.1%}")


if __name__ == "__main__":
    stages.run(evaluate)
