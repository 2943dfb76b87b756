"""From the stages' tables to the rows and columns of a report."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.metrics import METRICS
from pipeline.report.contents import ResultRow
from pipeline.report.result_table import cmc_curves, result_rows

SCORES = {key: 0.1 * (1 + place) for place, key in enumerate(METRICS)}


def test_result_rows_by_hand() -> None:
    assert result_rows({"student": SCORES}) == (ResultRow("Student", "result", SCORES),)


def test_result_rows_of_a_union_tell_the_data_sets_of_the_trained_networks() -> None:
    names = ("student@veri", "teacher@veri", "untrained@veri", "student@mean")
    assert result_rows(dict.fromkeys(names, SCORES)) == (
        ResultRow("Student, on veri", "members", SCORES),
        ResultRow("Teacher, on veri", "members", SCORES),
        ResultRow("Student, mean over the data sets", "members", SCORES),
    )


def test_result_rows_stand_in_the_order_of_the_table_whatever_that_of_the_file() -> None:
    names = [
        "colour_histogram",
        "pretrained",
        "untrained",
        "teacher_best_of_run",
        "student_best_of_run",
        "teacher_reranked",
        "student_reranked",
        "teacher",
        "student",
    ]
    rows = result_rows(dict.fromkeys(names, SCORES))
    assert [(row.name, row.kind) for row in rows] == [
        ("Student", "result"),
        ("Teacher", "result"),
        ("Student, re-ranked", "result"),
        ("Teacher, re-ranked", "result"),
        ("Student", "best-of-run"),
        ("Teacher", "best-of-run"),
        ("Untrained network (random weights)", "baseline"),
        ("Starting weights", "baseline"),
        ("Colour histogram", "baseline"),
    ]


def test_result_rows_name_the_epoch_of_a_best_evaluation() -> None:
    rows = result_rows(
        {"student_best_of_run": {**SCORES, "epoch": 12}, "teacher_best_of_run": {**SCORES, "epoch": 6.0}}
    )
    assert [row.name for row in rows] == ["Student, epoch 12", "Teacher, epoch 6"]


def test_result_rows_leave_out_what_was_not_scored_and_the_count_of_queries() -> None:
    rows = result_rows({"untrained": SCORES, "queries": {"all": 10.0, "valid": 9.0}})
    assert [row.name for row in rows] == ["Untrained network (random weights)"]
    assert result_rows({}) == ()


def test_result_rows_want_every_score() -> None:
    with pytest.raises(KeyError, match="mINP"):
        result_rows({"student": {key: value for key, value in SCORES.items() if key != "mINP"}})


def test_result_rows_refuse_percent() -> None:
    with pytest.raises(AssertionError, match=r"rank1 of 'Student' must be a fraction in \[0, 1\], got 60"):
        result_rows({"student": {**SCORES, "rank1": 60.0}})


def test_cmc_curves_have_the_names_of_the_result_rows() -> None:
    table = pd.DataFrame({"rank": [1, 2], "colour_histogram": [0.1, 0.2], "student": [0.5, 0.75], "unknown": [0, 0]})
    curves = cmc_curves(table)
    assert {name: list(curve) for name, curve in curves.items()} == {
        "Student": [0.5, 0.75],
        "Colour histogram": [0.1, 0.2],
    }
    assert list(curves) == ["Student", "Colour histogram"]
    scored = result_rows({"student": SCORES, "colour_histogram": SCORES})
    assert {row.name for row in scored} == set(curves)


def test_cmc_curves_of_nothing() -> None:
    assert cmc_curves(pd.DataFrame({"rank": pd.Series(dtype=int)})) == {}


def test_cmc_curves_leave_out_a_network_that_the_training_does_not_have() -> None:
    table = pd.DataFrame({"rank": [1, 2], "student": [0.5, 0.6], "teacher": [np.nan, np.nan]})
    assert list(cmc_curves(table)) == ["Student"]
