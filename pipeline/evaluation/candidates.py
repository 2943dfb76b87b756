"""The result of a run beside what it has to beat: every candidate ranks the same gallery for the same queries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from pipeline.evaluation.ranked_lists import COLUMNS
from pipeline.evaluation.test_set import Embed, TestSet, figures

SCORES = ("mAP", "rank1", "rank5", "rank10", "mINP")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        metrics: candidate -> name of a score -> share in [0, 1]; and `queries`: how many there are and are valid.
        cmc: rank (from 1) and a column a candidate.
        ranked_lists: the best, median and worst queries of the first candidate, see `rank_queries`.
        features: of the first candidate, (Q, D) of the queries and (M, D) of the gallery; None where there is none.
    """

    metrics: dict[str, dict[str, float]]
    cmc: pd.DataFrame
    ranked_lists: pd.DataFrame
    features: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def empty(cls) -> Self:
        """Of a data set that cannot be evaluated: no score, and tables without a row."""
        return cls({}, pd.DataFrame({"rank": pd.Series(dtype=int)}), pd.DataFrame(columns=list(COLUMNS)), None)


def compare(test: TestSet, candidates: Mapping[str, Embed], *, rerank: Collection[str] = ()) -> Comparison:
    """Scores all candidates, the first of which is the result.

    Args:
        test: queries and gallery.
        candidates: name -> function of (images, title) that gives features.
        rerank: names of the candidates to score after k-reciprocal re-ranking too, as `<name>_reranked`.
    """
    metrics: dict[str, dict[str, float]] = {}
    curves: dict[str, np.ndarray] = {}
    lists = queries = features = None
    for name, embed in candidates.items():
        query, gallery = test.embed(embed)
        scores = test.score(query, gallery)
        metrics[name], curves[name] = figures(scores), scores.cmc_curve
        if name in rerank:
            metrics[f"{name}_reranked"] = figures(test.score(query, gallery, rerank=True))
        if lists is None:
            features = query, gallery
            lists = test.ranked_lists(query, gallery, scores)
            queries = {"all": float(scores.num_queries), "valid": float(scores.num_valid_queries)}
    assert lists is not None and queries is not None, "there is no candidate"
    ranks = range(1, len(next(iter(curves.values()))) + 1)
    return Comparison({**metrics, "queries": queries}, pd.DataFrame({"rank": ranks, **curves}), lists, features)


def table_of(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """The scores of `compare` for a person: a line a candidate, in per cent, and how many queries there were."""
    scored = {name: values for name, values in metrics.items() if name != "queries"}
    lines = [f"{'':20}" + "".join(f"{score:>8}" for score in SCORES)]
    lines += [
        f"{name:20}" + "".join(f"{100 * values[score]:8.2f}" for score in SCORES) for name, values in scored.items()
    ]
    queries = metrics["queries"]
    return "\n".join([*lines, f"{queries['valid']:,.0f} of {queries['all']:,.0f} queries have a match"])


def summary_of(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The few figures that tell runs apart, in the order in which a table shows them.

    Args:
        metrics: as reports/metrics.json holds them; `clustering` is there always, the rest where it was scored.

    Returns:
        The scores of the student (mAP, rank1, rank5, rank10, mINP), `teacher_mAP` and `untrained_mAP` where there are
        any, then `clusters` and `outliers` of the training images.
    """
    scores = {score: metrics["student"][score] for score in SCORES} if "student" in metrics else {}
    others = {f"{name}_mAP": metrics[name]["mAP"] for name in ("teacher", "untrained") if name in metrics}
    return {**scores, **others, **{name: metrics["clustering"][name] for name in ("clusters", "outliers")}}


def best_of_run(history: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The evaluation with the highest test mAP, for the student and for the teacher: what the papers report.

    Choosing it looks at the test set. It stands beside the result and is not the result.

    Args:
        history: one row an epoch, with `epoch` and the columns `student_mAP`, `student_rank1`, ..., NaN where an
            epoch was not evaluated; without these columns where none was. Those of a network that the training does not
            have (a teacher without a soft loss) are NaN throughout, and it has no best evaluation.
    """
    best: dict[str, dict[str, float]] = {}
    for role in ("student", "teacher"):
        if f"{role}_mAP" not in history or history[f"{role}_mAP"].isna().all():
            continue
        row = history.iloc[int(history[f"{role}_mAP"].argmax())]
        best[f"{role}_best_of_run"] = {score: float(row[f"{role}_{score}"]) for score in SCORES} | {
            "epoch": int(row["epoch"])
        }
    return best
