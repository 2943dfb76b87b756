"""Statistics of a comparison, by numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.report.study_columns import MEASURED
from pipeline.study import Experiment, Result, histories, runs_table, summarise
from pipeline.study.outcomes import measured

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2],
        "num_clusters": [5, 7],
        "num_outliers": [9, 8],
        "ari": [0.1, 0.2],
        "seconds": [30.0, 60.0],
        "student_mAP": [np.nan, 0.4],
    }
)


def result(variant: str, seed: int, mean_ap: float, **more: float) -> Result:
    numbers = {**dict.fromkeys(MEASURED, math.nan), "student_mAP": mean_ap, **more}
    experiment = Experiment(f"toy-{variant}-{seed}", variant, seed, {"seed": seed}, {"memory.tau": seed / 10})
    return Result(experiment, "c0ffee", {"run_id": f"run {seed}"}, numbers, HISTORY)


def test_measured_takes_scores_the_final_clusters_the_last_epoch_and_the_minutes() -> None:
    metrics = {"student": {"mAP": 0.4, "rank1": 0.6}, "student_best_of_run": {"mAP": 0.5, "epoch": 1}}
    metrics["clustering"] = {"clusters": 6, "images": 90, "outliers": 10}
    found = measured(metrics, HISTORY)
    assert tuple(found) == MEASURED
    assert (found["student_mAP"], found["student_rank1"], found["student_best_mAP"]) == (0.4, 0.6, 0.5)
    assert (found["clusters"], found["outliers"], found["ari"], found["minutes"]) == (6, 10, 0.2, 1.5)
    assert math.isnan(found["teacher_mAP"]) and math.isnan(found["purity"])


def test_measured_of_a_run_without_a_score_and_an_epoch_is_unknown() -> None:
    found = measured({}, pd.DataFrame({"epoch": []}))
    assert all(math.isnan(value) for value in found.values())


def test_runs_table_has_a_row_a_run() -> None:
    table = runs_table([result("a", 1, 0.3), result("b", 2, 0.5)], ["memory.tau"])
    assert table[["variant", "seed", "memory.tau", "student_mAP", "experiment", "mlflow_run"]].to_numpy().tolist() == [
        ["a", 1, 0.1, 0.3, "toy-a-1", "run 1"],
        ["b", 2, 0.2, 0.5, "toy-b-2", "run 2"],
    ]


def test_summarise_is_mean_and_sample_deviation() -> None:
    settings = pd.DataFrame({"x": [1, 2, 3]}, index=["a", "b", "c"])
    runs = runs_table(
        [result("a", 1, 0.2), result("a", 2, 0.3), result("a", 3, 0.7), result("b", 1, 0.5, teacher_mAP=0.4)], []
    )
    a, b, c = summarise(runs, settings, wanted=3).to_dict("records")
    assert (a["variant"], a["x"], a["seeds"], a["seeds_wanted"]) == ("a", 1, 3, 3)
    assert a["student_mAP_mean"] == pytest.approx(0.4)
    assert a["student_mAP_std"] == pytest.approx(math.sqrt((0.04 + 0.01 + 0.09) / 2))  # divided by n - 1
    assert (b["seeds"], b["student_mAP_mean"], b["teacher_mAP_mean"]) == (1, 0.5, 0.4)
    assert math.isnan(b["student_mAP_std"]) and math.isnan(a["teacher_mAP_mean"])
    assert c["seeds"] == 0 and math.isnan(c["student_mAP_mean"])


def test_histories_stand_below_each_other() -> None:
    table = histories([result("a", 1, 0.3), result("b", 2, 0.5)])
    assert list(table.columns)[:3] == ["variant", "seed", "epoch"]
    assert table[["variant", "seed", "epoch"]].to_numpy().tolist() == [
        ["a", 1, 1],
        ["a", 1, 2],
        ["b", 2, 1],
        ["b", 2, 2],
    ]


def test_outcome_says_whether_there_was_a_score() -> None:
    assert result("a", 1, 0.404).outcome() == "student mAP 40.4%"
    assert result("a", 1, math.nan).outcome() == "not evaluated"
