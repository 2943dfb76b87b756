"""The table of metrics: what is measured of a ranking, and how each number is named and shown.

Everything that shows scores loops over `METRICS`: the terminal, reports/metrics.json and summary.json, the rows of
training.csv (`student_<key>`), MLflow, the report and the comparison of a study. A further metric is one line here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.evaluation.protocol import RetrievalScores


@dataclass(frozen=True)
class Metric:
    """One number that a ranking is judged by, a share in [0, 1] that is shown in percent.

    Attributes:
        key: its name in files, in MLflow and in code.
        heading: its name in tables for people.
        meaning: what it is, in one sentence.
        read: gives its value.
        rank: the rank of the CMC that it needs, None for none.
        digits: decimals of the percentage.
    """

    key: str
    heading: str
    meaning: str
    read: "Callable[[RetrievalScores], float]"
    rank: int | None = None
    digits: int = 1

    def percent(self, share: float) -> str:
        """`40.4` for a share of 0.4037."""
        return f"{100 * share:.{self.digits}f}"


def _rank(rank: int) -> Metric:
    meaning = (
        f"Share of the queries with a right image among the first {rank}."
        if rank > 1
        else ("Share of the queries whose first image is right.")
    )
    return Metric(f"rank{rank}", f"Rank-{rank}", meaning, lambda scores: scores.cmc[rank], rank=rank)


# Key -> metric, in the order of every table.
METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(
            "mAP",
            "mAP",
            "Mean average precision: for each query, the mean of the precision at each right image of its ranked list; "
            "then the mean over the queries.",
            lambda scores: scores.mean_ap,
        ),
        _rank(1),
        _rank(5),
        _rank(10),
        Metric(
            "mINP",
            "mINP",
            "Mean inverse negative penalty: how far down the list the hardest right image of a query stands.",
            lambda scores: scores.mean_inp,
        ),
    )
}
# The one that evaluations of a run, and runs, are compared by.
MAIN = METRICS["mAP"]


def metrics(scores: "RetrievalScores", prefix: str = "") -> dict[str, float]:
    """The scores by the keys of the table, each in [0, 1], with `prefix` before each key."""
    return {f"{prefix}{key}": metric.read(scores) for key, metric in METRICS.items()}


def cmc_ranks() -> list[int]:
    """The ranks, from 1, of the CMC that the table needs."""
    return [metric.rank for metric in METRICS.values() if metric.rank is not None]


def heading_of(name: str) -> str:
    """The heading of a number in a table: `teacher_rank1` becomes `teacher Rank-1`, a name without a metric stays."""
    who, _, key = name.rpartition("_")
    return f"{who} {METRICS[key].heading}".strip() if key in METRICS else name
