"""The evaluation of a finished training, as the files that it leaves."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.evaluation.metrics import METRICS
from pipeline.evaluation.results import Results
from pipeline.model.thresholds import Thresholds

SCORES = dict.fromkeys(METRICS, 0.5)


def results(**changes: Any) -> Results:
    values: dict[str, Any] = {
        "metrics": {
            "student": SCORES,
            "untrained": SCORES | {"mAP": 0.071},
            "queries": {"all": 4.0, "valid": 4.0},
            "clustering": {"clusters": 12, "images": 1500, "outliers": 300},
        },
        "cmc": pd.DataFrame({"rank": [1, 2], "student": [0.5, 0.75]}),
        "clusters": pd.DataFrame({"path": ["a.jpg"], "cluster": [0]}),
        "tables": {"map": pd.DataFrame({"x": [0.5]}), "ranked_lists": pd.DataFrame({"rank": [1]})},
        "not_evaluated": None,
        "uses_cameras": True,
        "epochs": 20,
    }
    return Results(**values | changes)


def test_results_are_written_whole(tmp_path: Path) -> None:
    found = results()
    found.write(reports=tmp_path / "reports", tables=tmp_path / "evaluation")
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "evaluation/map.csv",
        "evaluation/protocol.json",
        "evaluation/ranked_lists.csv",
        "reports/clusters.csv",
        "reports/cmc.csv",
        "reports/metrics.json",
        "reports/summary.json",
    ]
    assert json.loads((tmp_path / "reports/metrics.json").read_text()) == found.metrics
    assert json.loads((tmp_path / "reports/summary.json").read_text()) == found.summary
    assert json.loads((tmp_path / "evaluation/protocol.json").read_text()) == {
        "not_evaluated": None,
        "uses_cameras": True,
    }
    assert (tmp_path / "reports/cmc.csv").read_text() == "rank,student\n1,0.5\n2,0.75\n"


def test_results_are_told_in_two_sentences() -> None:
    clusters = "1,200 of 1,500 training images in 12 clusters"
    assert results().sentences() == ["student mAP 50.0%, untrained 7.1%", clusters]
    thresholds = Thresholds(same=0.5, unsure=0.4, same_rate=1e-3, unsure_rate=1e-2, same_recall=0.3)
    line = "two images count as one individual from a cosine of 0.500 on: expected for 0.10% of the pairs of two"
    assert results(thresholds=thresholds).sentences()[-1] == line
    metrics = results().metrics | {"verification": {"true_fpr": 0.002}}
    told = results(thresholds=thresholds, metrics=metrics).sentences()
    assert told[-1] == f"{line}, true for 0.20% of those in the test set" and len(told) == 3
    reason = "the data set has no query images"
    assert results(not_evaluated=reason).sentences() == [f"no evaluation: {reason}", clusters]


@pytest.mark.parametrize("name", ["metrics.json", "summary.json"])
def test_results_hold_every_metric_of_the_table(name: str, tmp_path: Path) -> None:
    results().write(reports=tmp_path, tables=tmp_path)
    found = json.loads((tmp_path / name).read_text())
    assert METRICS.keys() <= found.get("student", found).keys()
