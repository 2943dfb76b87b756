"""The table of metrics, and that everything that shows scores follows it."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.evaluation import RetrievalScores, evaluate
from pipeline.evaluation.candidates import best_of_run, summary_of, table_of
from pipeline.evaluation.metrics import MAIN, METRICS, Metric, cmc_ranks, metrics

RNG = np.random.default_rng(0)


@pytest.fixture
def rank20(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """A metric more, as one line of the table would add it."""
    metric = dataclasses.replace(
        METRICS["rank10"], key="rank20", heading="Rank-20", read=lambda scores: scores.cmc[20], rank=20
    )
    monkeypatch.setitem(METRICS, "rank20", metric)
    return metric


def scores_of() -> RetrievalScores:
    """60 queries and 200 gallery images of ten identities, hardly told apart."""
    query_ids, gallery_ids = RNG.integers(0, 40, 60), RNG.integers(0, 40, 200)
    features = RNG.normal(size=(40, 16))
    query, gallery = (features[ids] + 4 * RNG.normal(size=(len(ids), 16)) for ids in (query_ids, gallery_ids))
    return evaluate(query, query_ids, None, gallery, gallery_ids, None, ranks=cmc_ranks())


def test_metrics_are_read_from_the_scores_in_the_order_of_the_table() -> None:
    scores = scores_of()
    assert metrics(scores) == {
        "mAP": scores.mean_ap,
        "rank1": scores.cmc_curve[0],
        "rank5": scores.cmc_curve[4],
        "rank10": scores.cmc_curve[9],
        "mINP": scores.mean_inp,
    }
    assert list(metrics(scores)) == list(METRICS) == ["mAP", "rank1", "rank5", "rank10", "mINP"]
    assert all(type(value) is float for value in metrics(scores).values()), "a checkpoint holds plain values only"


def test_metrics_take_a_prefix() -> None:
    scores = scores_of()
    assert metrics(scores, "teacher_") == {f"teacher_{name}": value for name, value in metrics(scores).items()}


def test_table_has_a_heading_and_a_meaning_for_each_metric() -> None:
    assert [metric.heading for metric in METRICS.values()] == ["mAP", "Rank-1", "Rank-5", "Rank-10", "mINP"]
    assert all(key == metric.key and metric.meaning.endswith(".") for key, metric in METRICS.items())
    assert MAIN is METRICS["mAP"] and MAIN.percent(0.40372) == "40.4"


def test_terminal_table_has_one_line_per_candidate() -> None:
    half = dict.fromkeys(METRICS, 0.5)
    scored = {"student": half, "untrained": {**half, "mAP": 0.0712}, "queries": {"all": 1200.0, "valid": 1100.0}}
    assert table_of(scored).splitlines() == [
        "                           mAP    Rank-1    Rank-5   Rank-10      mINP",
        "student                   50.0      50.0      50.0      50.0      50.0",
        "untrained                  7.1      50.0      50.0      50.0      50.0",
        "1,100 of 1,200 queries have a match",
    ]


def test_a_further_metric_reaches_terminal_and_files(rank20: Metric) -> None:
    scores = scores_of()
    student = metrics(scores)
    assert student["rank20"] == scores.cmc_curve[19] > scores.cmc_curve[9]
    scored: dict[str, Any] = {
        "student": student,
        "queries": {"all": 60.0, "valid": 60.0},
        "clustering": {"clusters": 1, "outliers": 0},
    }
    heading, row, _ = table_of({key: scored[key] for key in ("student", "queries")}).splitlines()
    assert heading.endswith("   Rank-20") and row.endswith(rank20.percent(student["rank20"]))
    assert summary_of(scored)["rank20"] == student["rank20"]  # type: ignore[arg-type]
    row_of_training = metrics(scores, "student_")
    assert "student_rank20" in row_of_training
    best = best_of_run(pd.DataFrame([{"epoch": 3, **row_of_training}]))
    assert best["student_best_of_run"]["rank20"] == student["rank20"]


def test_best_of_run_of_a_training_without_the_metric_says_what_to_do(rank20: Metric) -> None:
    history = pd.DataFrame([{"epoch": 3, **{f"student_{key}": 0.5 for key in METRICS if key != "rank20"}}])
    with pytest.raises(UserError, match="did not record rank20 of the student: run `dvc repro train`"):
        best_of_run(history)
