"""The result of a run beside what it has to beat: every candidate ranks the same gallery for the same queries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from pipeline.clustering import SIGNALS
from pipeline.common.errors import UserError
from pipeline.config.schema import Distance
from pipeline.evaluation.metrics import MAIN, METRICS, metrics
from pipeline.evaluation.ranked_lists import COLUMNS
from pipeline.evaluation.test_set import Embed, TestSet

BY_TRACKLET = "_tracklets"  # at the end of a candidate's name: its scores by tracklet
ON = "@"  # in a candidate's name, before the data set of a union that it is scored on
MEAN = "mean"  # in the place of a data set: the mean over all of them


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        metrics: candidate -> name of a score -> share in [0, 1]; and `queries`: how many there are and are valid. Where
            images are of tracklets, `<candidate>_tracklets` has the scores of these, and `queries` their numbers too.
            Of a union of data sets, `<candidate>@<data set>` has the scores of each, `<candidate>@mean` their means.
        cmc: rank (from 1) and one column per candidate.
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


def compare(
    test: TestSet,
    candidates: Mapping[str, Embed],
    *,
    rerank: Collection[str] = (),
    by: Distance = "jaccard",
) -> Comparison:
    """Scores all candidates, the first of which is the result.

    Args:
        test: queries and gallery.
        candidates: name -> function of (images, title) that gives features.
        rerank: names of the candidates to score after k-reciprocal re-ranking too, as `<name>_reranked`.
        by: how to re-rank, see `evaluate`.

    Raises:
        UserError: re-ranking needs cameras that are not known.
    """
    test.require_cameras_for(by if rerank else False)
    scored: dict[str, dict[str, float]] = {}
    curves: dict[str, np.ndarray] = {}
    lists = queries = features = None
    for name, embed in candidates.items():
        query, gallery = test.embed(embed)
        scores = test.score(query, gallery)
        scored[name], curves[name] = metrics(scores), scores.cmc_curve
        if name in rerank:
            scored[f"{name}_reranked"] = metrics(test.score(query, gallery, rerank=by))
        if (tracklets := test.score_tracklets(query, gallery)) is not None:
            scored[f"{name}{BY_TRACKLET}"] = metrics(tracklets)
        members = {member: metrics(each) for member, each in test.score_members(query, gallery).items()}
        if members:
            members[MEAN] = {key: float(np.mean([each[key] for each in members.values()])) for key in METRICS}
        scored |= {f"{name}{ON}{member}": each for member, each in members.items()}
        if lists is None:
            features = query, gallery
            lists = test.ranked_lists(query, gallery, scores)
            queries = {"all": float(scores.num_queries), "valid": float(scores.num_valid_queries)}
            if tracklets is not None:
                queries |= {"tracklets": tracklets.num_queries, "valid_tracklets": tracklets.num_valid_queries}
    assert lists is not None and queries is not None, "there is no candidate"
    ranks = range(1, len(next(iter(curves.values()))) + 1)
    return Comparison({**scored, "queries": queries}, pd.DataFrame({"rank": ranks, **curves}), lists, features)


def table_of(scored: Mapping[str, Mapping[str, float]]) -> str:
    """The `metrics` of a comparison for the terminal: one line per candidate, in percent, and the number of queries."""
    width = 3 + max(len(metric.heading) for metric in METRICS.values())
    first = max(20, *(len(name) + 2 for name in scored))
    lines = [" " * first + "".join(f"{metric.heading:>{width}}" for metric in METRICS.values())]
    for name, values in scored.items():
        if name != "queries":
            cells = (metric.percent(values[key]) for key, metric in METRICS.items())
            lines.append(f"{name:{first}}" + "".join(f"{cell:>{width}}" for cell in cells))
    queries = scored["queries"]
    lines.append(f"{queries['valid']:,.0f} of {queries['all']:,.0f} queries have a match")
    if "tracklets" in queries:
        lines.append(f"as tracklets: {queries['valid_tracklets']:,.0f} of {queries['tracklets']:,.0f}")
    return "\n".join(lines)


def summary_of(scored: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The few numbers that tell runs apart, in the order in which a table shows them.

    Args:
        scored: as reports/metrics.json holds them; `clustering` is always there, the rest where it was scored.

    Returns:
        The student's metrics, `teacher_mAP` and `untrained_mAP` where there are any, the student's by tracklet as
        `tracklets_<metric>` where there are tracklets, its mAP on each data set of a union as `<data set>_mAP` and
        their mean as `mean_mAP`, then `clusters` and `outliers` of the training images and what of `SIGNALS` is known
        of the last epoch.
    """
    scores = {key: scored["student"][key] for key in METRICS} if "student" in scored else {}
    others = {f"{name}_{MAIN.key}": scored[name][MAIN.key] for name in ("teacher", "untrained") if name in scored}
    by_tracklet = scored.get(f"student{BY_TRACKLET}", {})
    others |= {f"tracklets_{key}": by_tracklet[key] for key in METRICS if by_tracklet}
    members = {name.partition(ON)[2]: each for name, each in scored.items() if name.startswith(f"student{ON}")}
    others |= {f"{member}_{MAIN.key}": each[MAIN.key] for member, each in members.items()}
    found = scored["clustering"]
    return {**scores, **others, **{name: found[name] for name in ("clusters", "outliers", *SIGNALS) if name in found}}


def best_of_run(history: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The evaluation with the highest test mAP, for the student and for the teacher: what the papers report.

    Choosing it looks at the test set. It stands beside the result and is not the result.

    Args:
        history: one row per epoch, with `epoch` and the columns `student_mAP`, `student_rank1`, ..., NaN where an
            epoch was not evaluated; without these columns where none was. Those of a network that the training does not
            have (a teacher without a soft loss) are NaN throughout, and it has no best evaluation.
    """
    best: dict[str, dict[str, float]] = {}
    for role in ("student", "teacher"):
        column = f"{role}_{MAIN.key}"
        if column not in history or history[column].isna().all():
            continue
        row = history.iloc[int(history[column].argmax())]
        if missing := [key for key in METRICS if f"{role}_{key}" not in history]:
            raise UserError(f"the training did not record {', '.join(missing)} of the {role}: run `dvc repro train`")
        scores = {key: float(row[f"{role}_{key}"]) for key in METRICS}
        best[f"{role}_best_of_run"] = {**scores, "epoch": int(row["epoch"])}
    return best
