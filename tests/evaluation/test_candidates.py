"""The result of a run beside what it has to beat."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.candidates import best_of_run, compare, summary_of
from pipeline.evaluation.metrics import METRICS, metrics
from pipeline.evaluation.ranked_lists import COLUMNS
from pipeline.evaluation.test_set import TestSet

PIDS = np.repeat(np.arange(1, 9), 6)
CAMS = np.tile(np.arange(1, 4), 16)


def part(rows: slice, name: str) -> Any:
    class Part(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.images)

    images = np.zeros((len(PIDS), 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(len(PIDS))
    paths = tuple(f"{name}{number}" for number in range(len(PIDS)))
    return Part(images=images[rows], pids=PIDS[rows], camids=CAMS[rows], paths=paths[rows], tracklets=None)


@pytest.fixture
def test() -> TestSet:
    """16 queries and 48 gallery images of eight identities in three cameras; a picture's red is its row."""
    parts = {"query": part(slice(None, None, 3), "q"), "gallery": part(slice(None), "g")}
    return TestSet(SimpleNamespace(split=parts.__getitem__, members=()))  # type: ignore[arg-type]


def noisy(noise: float) -> Any:
    """Features that show the identity, more or less."""

    def embed(images: np.ndarray, title: str) -> np.ndarray:
        rows = images[:, 0, 0, 0]
        features = np.eye(9)[PIDS[rows]] + noise * np.random.default_rng(0).normal(size=(len(PIDS), 9))[rows]
        return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)

    return embed


def test_compare_scores_every_candidate_alike(test: TestSet) -> None:
    candidates = {"student": noisy(0.4), "untrained": noisy(2.0)}
    found = compare(test, candidates)
    assert list(found.metrics) == ["student", "untrained", "queries"]
    for name, embed in candidates.items():
        scores = test.score(*test.embed(embed))
        assert found.metrics[name] == metrics(scores) and list(found.metrics[name]) == list(METRICS)
        np.testing.assert_array_equal(found.cmc[name], scores.cmc_curve)
    assert found.metrics["student"]["mAP"] > found.metrics["untrained"]["mAP"]
    assert found.metrics["queries"]["all"] == found.metrics["queries"]["valid"] == 16


def test_compare_of_features_that_say_everything_is_perfect(test: TestSet) -> None:
    found = compare(test, {"student": noisy(0.0)})
    assert found.metrics["student"] == dict.fromkeys(METRICS, 1.0)
    assert (found.cmc["student"] == 1).all()


def test_compare_curves_have_a_rank_and_a_column_a_candidate(test: TestSet) -> None:
    cmc = compare(test, {"student": noisy(0.4), "teacher": noisy(0.5)}, rerank=("student",)).cmc
    assert list(cmc) == ["rank", "student", "teacher"]
    assert cmc["rank"].tolist() == list(range(1, 51))
    assert cmc["student"].is_monotonic_increasing


def test_compare_lists_are_those_of_the_first_candidate(test: TestSet) -> None:
    first, other = noisy(0.4), noisy(2.0)
    found = compare(test, {"student": first, "untrained": other}).ranked_lists
    features = test.embed(first)
    pd.testing.assert_frame_equal(found, test.ranked_lists(*features, test.score(*features)))
    assert tuple(found.columns) == COLUMNS
    assert not compare(test, {"untrained": other, "student": first}).ranked_lists.equals(found)


def test_compare_reranks_only_those_that_are_named(test: TestSet) -> None:
    candidates = {"student": noisy(1.0), "teacher": noisy(1.2), "untrained": noisy(2.0)}
    plain = compare(test, candidates)
    found = compare(test, candidates, rerank=("teacher", "student"))
    assert list(found.metrics) == ["student", "student_reranked", "teacher", "teacher_reranked", "untrained", "queries"]
    for name in ("student", "teacher"):
        scores = test.score(*test.embed(candidates[name]), rerank=True)
        assert found.metrics[f"{name}_reranked"] == metrics(scores) != found.metrics[name]
    assert {name: found.metrics[name] for name in plain.metrics} == plain.metrics
    pd.testing.assert_frame_equal(found.ranked_lists, plain.ranked_lists)


def test_compare_embeds_each_candidate_once(test: TestSet) -> None:
    asked = []

    def embed(images: np.ndarray, title: str) -> np.ndarray:
        asked.append(title)
        return np.asarray(noisy(0.4)(images, title))

    compare(test, {"student": embed}, rerank=("student",))
    assert asked == ["queries", "gallery"]


def test_compare_wants_a_candidate(test: TestSet) -> None:
    with pytest.raises(AssertionError, match="there is no candidate"):
        compare(test, {})


def history(student: list[float], teacher: list[float]) -> pd.DataFrame:
    """Epochs from 1; the other scores follow from the mAP, so that they tell their row."""
    table = pd.DataFrame({"epoch": range(1, len(student) + 1), "loss": 1.0})
    for role, values in (("student", student), ("teacher", teacher)):
        for number, score in enumerate(METRICS):
            table[f"{role}_{score}"] = np.array(values) / (number + 1)
    return table


def test_best_of_run_by_hand() -> None:
    nan = float("nan")
    best = best_of_run(history([nan, 0.4, nan, 0.8, 0.6], [nan, 0.3, nan, 0.2, 0.6]))
    assert best["student_best_of_run"] == {
        "mAP": 0.8,
        "rank1": 0.4,
        "rank5": pytest.approx(0.8 / 3),
        "rank10": 0.2,
        "mINP": 0.16,
        "epoch": 4,
    }
    assert best["teacher_best_of_run"]["epoch"] == 5 and best["teacher_best_of_run"]["mAP"] == 0.6
    assert type(best["teacher_best_of_run"]["epoch"]) is int, "it is written as JSON"


def test_best_of_run_is_the_earliest_of_equal_ones() -> None:
    assert best_of_run(history([0.5, 0.5, 0.1], [0.1, 0.2, 0.2]))["student_best_of_run"]["epoch"] == 1
    assert best_of_run(history([0.5, 0.5, 0.1], [0.1, 0.2, 0.2]))["teacher_best_of_run"]["epoch"] == 2


def test_best_of_run_is_chosen_by_map_alone() -> None:
    table = history([0.5, 0.6], [0.5, 0.6])
    table.loc[0, "student_rank1"] = 1.0
    assert best_of_run(table)["student_best_of_run"]["epoch"] == 2


def test_best_of_run_does_not_depend_on_the_index_of_the_table() -> None:
    table = history([0.1, 0.9, 0.5], [0.1, 0.2, 0.3])
    assert best_of_run(table.set_axis([7, 8, 9])) == best_of_run(table)


def test_best_of_run_without_any_evaluation_is_empty() -> None:
    assert best_of_run(pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]})) == {}


def test_compare_keeps_the_features_of_the_result(test: TestSet) -> None:
    found = compare(test, {"student": noisy(0.4), "untrained": noisy(2.0)})
    assert found.features is not None
    for kept, expected in zip(found.features, test.embed(noisy(0.4)), strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_best_of_run_is_none_of_a_network_that_the_training_does_not_have() -> None:
    scores = {f"{role}_{score}": [0.2, 0.3] for role in ("student", "teacher") for score in METRICS}
    history = pd.DataFrame({"epoch": [1, 2], **scores}).assign(teacher_mAP=np.nan)
    assert list(best_of_run(history)) == ["student_best_of_run"]


def test_summary_is_short_and_in_order() -> None:
    scored = dict.fromkeys(("student", "teacher", "untrained", "colour_histogram"), dict.fromkeys(METRICS, 0.5))
    clustering = {"clustering": {"clusters": 7, "images": 90, "outliers": 3}}
    summary = summary_of({**scored, "queries": {"all": 4.0, "valid": 4.0}, **clustering})
    assert list(summary) == [*METRICS, "teacher_mAP", "untrained_mAP", "clusters", "outliers"]
    scored.pop("teacher")
    assert "teacher_mAP" not in summary_of({**scored, **clustering})
    assert summary_of(clustering) == {"clusters": 7, "outliers": 3}
