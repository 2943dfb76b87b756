"""The table of all experiments fits into a terminal, whatever their names and settings."""

from typing import Any

import pytest

from pipeline.study.overview import overview, rows_of

SCORES = {"mAP": 0.4037, "rank1": 0.612, "rank5": 0.8, "teacher_mAP": 0.41, "untrained_mAP": 0.11, "clusters": 97}


def entry(revision: str, name: str | None, scores: dict[str, float] | None, **settings: Any) -> dict[str, Any]:
    metrics = {"reports/summary.json": {"data": scores}} if scores else {}
    params = {"params.yaml": {"data": {"seed": 1, "clustering": {"eps": 0.6}, **settings}}}
    return {"rev": revision * 40, "name": name, "data": {"params": params, "metrics": metrics}}


def experiment(revision: str, name: str, scores: dict[str, float] | None, state: str | None = None, **settings: Any):
    executor = {"state": state} if state else None
    return {"revs": [entry(revision, name, scores, **settings)], "executor": executor, "name": name}


SHOWN = [
    {**entry("workspace", None, SCORES), "rev": "workspace", "experiments": None},
    {
        **entry("a", "main", SCORES),
        "experiments": [
            experiment("b", "ablation-baseline-2", {**SCORES, "mAP": 0.3}, seed=2, clustering={"eps": 0.5}),
            experiment("c", "ablation-dccc-all-3", None, state="queued", seed=3),
        ],
    },
    {**entry("d", None, SCORES), "experiments": None},
    {**entry("e", None, None), "experiments": None},
    {**entry("f", None, {**SCORES, "mAP": 0.2}), "experiments": None},
]


def test_overview_shows_scores_and_what_each_experiment_changed() -> None:
    assert overview(rows_of(SHOWN), width=120) == [
        "Experiment             commit     mAP  Rank-1  teacher mAP          changed settings",
        "workspace                        40.4    61.2         41.0",
        "main                   aaaaaaa   40.4    61.2         41.0",
        "  ablation-baseline-2  bbbbbbb   30.0    61.2         41.0          seed=2  clustering.eps=0.5",
        "  ablation-dccc-all-3  ccccccc      –       –            –  queued  seed=3",
        "fffffff                fffffff   20.0    61.2         41.0",
    ]


@pytest.mark.parametrize("width", [120, 80])
def test_overview_is_never_wider_than_the_terminal(width: int) -> None:
    name = "a_very_long_name_of_an_experiment_" * 3
    changes = {f"section_{number}": {"a_long_setting": "a long value"} for number in range(20)}
    many = [experiment("9", f"{name}{number}\x1b[31m", SCORES, **changes) for number in range(50)]
    history = [{**entry(f"{number % 10}", None, {"mAP": number / 300}), "experiments": many} for number in range(300)]
    lines = overview(rows_of(history), width=width)
    assert len(lines) == 1 + 300 * 51 and max(map(len, lines)) <= width
    assert not any("\x1b" in line for line in lines)


def test_overview_of_nothing_is_its_head() -> None:
    assert len(overview(rows_of([]), width=120)) == 1
