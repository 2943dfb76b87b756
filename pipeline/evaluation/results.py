"""The evaluation of a finished training: scores of every candidate, clusters of the training images, diagnoses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from pipeline.clustering import SIGNALS, cluster_table
from pipeline.common.files import replacing, write_json
from pipeline.common.text import csv_cell
from pipeline.config.schema import Distance
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.candidates import BY_TRACKLET, ON, Comparison, best_of_run, compare, summary_of
from pipeline.evaluation.diagnostics.tables import diagnose, diagnose_clusters
from pipeline.evaluation.metrics import MAIN
from pipeline.evaluation.test_set import Embed, TestSet, why_not_scored
from pipeline.evaluation.verification import Verification
from pipeline.methods import restored_method
from pipeline.model.embedding import embed_shown
from pipeline.model.saved import MODEL_FILE
from pipeline.model.thresholds import Thresholds


@dataclass(frozen=True, eq=False)
class Results:
    """What an evaluation found.

    Attributes:
        metrics: candidate -> key of a metric -> share in [0, 1]; `queries` and `clustering` hold counts.
        cmc: column `rank` and one column per candidate.
        clusters: path and cluster of every training image, see `cluster_table`.
        tables: name -> table: the ranked lists and the diagnoses.
        not_evaluated: why there are no scores; None where there are.
        uses_cameras: whether the protocol takes images of the query's own camera out.
        epochs: of the training.
        thresholds: of the student, None where its model carries none.
    """

    metrics: dict[str, dict[str, float]]
    cmc: pd.DataFrame
    clusters: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    not_evaluated: str | None
    uses_cameras: bool
    epochs: int
    thresholds: Thresholds | None = None

    @property
    def summary(self) -> dict[str, float]:
        """See `summary_of`."""
        return summary_of(self.metrics)

    def write(self, *, reports: Path, tables: Path) -> None:
        """Writes cmc.csv, clusters.csv, metrics.json and summary.json into `reports`, the rest into `tables`."""
        clusters = self.clusters.assign(path=self.clusters["path"].map(csv_cell))
        files = {reports / "cmc.csv": self.cmc, reports / "clusters.csv": clusters}
        files |= {tables / f"{name}.csv": table for name, table in self.tables.items()}
        for path, table in files.items():
            with replacing(path) as temporary:
                table.to_csv(temporary, index=False, lineterminator="\n")
        write_json(reports / "metrics.json", self.metrics)
        write_json(reports / "summary.json", self.summary)
        protocol = {"not_evaluated": self.not_evaluated, "uses_cameras": self.uses_cameras}
        write_json(tables / "protocol.json", protocol)

    def sentences(self) -> list[str]:
        """What came out, for the terminal."""
        found = self.metrics["clustering"]
        clustered = found["images"] - found["outliers"]
        said = [f"{clustered:,} of {found['images']:,} training images in {found['clusters']:,} clusters"]
        if self.not_evaluated is None:
            student, untrained = (self.metrics[name][MAIN.key] for name in ("student", "untrained"))
            main = f"student {MAIN.heading} {student:.1%}, untrained {untrained:.1%}"
            said = [main, *self._by_tracklet(), *self._by_member(), *said]
        else:
            said = [f"no evaluation: {self.not_evaluated}", *said]
        return [*said, *filter(None, [self._same_or_different()])]

    def _by_tracklet(self) -> list[str]:
        names = [f"{name}{BY_TRACKLET}" for name in ("student", "untrained")]
        if not self.metrics.keys() >= set(names):
            return []
        student, untrained = (self.metrics[name][MAIN.key] for name in names)
        return [f"by tracklet: student {MAIN.heading} {student:.1%}, untrained {untrained:.1%}"]

    def _by_member(self) -> list[str]:
        found = {name.partition(ON)[2]: each for name, each in self.metrics.items() if name.startswith(f"student{ON}")}
        scores = ", ".join(f"{member} {each[MAIN.key]:.1%}" for member, each in found.items())
        return [f"student {MAIN.heading} by data set: {scores}"] if scores else []

    def _same_or_different(self) -> str | None:
        if self.thresholds is None:
            return None
        text = (
            f"two images count as one individual from a cosine of {self.thresholds.same:.3f} on: expected for "
            f"{self.thresholds.same_rate:.2%} of the pairs of two"
        )
        told = self.metrics.get("verification", {})
        return text if "true_fpr" not in told else f"{text}, true for {told['true_fpr']:.2%} of those in the test set"


def evaluate_training(
    packed: PackedImages,
    trained: tuple[nn.Module, nn.Module | None, Mapping[str, Any]],
    *,
    weights: Path | None,
    history: pd.DataFrame,
    rerank: Distance | None,
) -> Results:
    """Scores the networks of a training beside the baselines, clusters its images, and looks for what went wrong.

    Args:
        packed: the images; without identities of query and gallery there are clusters alone.
        trained: student, teacher (None where the method has none) and settings, as `load_model` gives them.
        weights: that the training started from, None for random ones.
        history: of the training, one row per epoch.
        rerank: also score student and teacher after k-reciprocal re-ranking by this distance.

    Raises:
        UserError: the settings and the weights do not fit, or `history` lacks a metric.
    """
    student, teacher, settings = trained
    train = packed.split("train")
    features = embed_shown(student, train.images, "training images")
    method = restored_method(settings, train.camids, packed.links)
    labels = method.cluster(features, epoch=settings["epochs"] - 1).labels
    clusters = cluster_table(labels, train.paths)
    found, uses_cameras, told = Comparison.empty(), False, {}
    thresholds = Thresholds.of(settings, "student", Path(MODEL_FILE))
    if reason := why_not_scored(packed):
        tables = diagnose_clusters(features, clusters["cluster"].to_numpy())
    else:
        test = TestSet(packed)
        uses_cameras = test.uses_cameras
        networks = _networks(student, teacher)
        others = baselines(settings, weights=weights)
        found = compare(test, networks | others, rerank=networks if rerank else (), by=rerank or "jaccard")
        assert found.features is not None
        pairs = test.verify(*found.features)
        told = _worth(pairs, thresholds)
        tables = diagnose(test, *found.features) | {"roc": pairs.roc(), "verification": pd.DataFrame([told])}
    # Every run has the curve of a teacher, an empty one where it has no teacher: the curves of two runs compare.
    cmc = found.cmc if reason or teacher is not None else found.cmc.assign(teacher=math.nan)
    metrics = found.metrics | best_of_run(history)
    if told:
        metrics["verification"] = told
    metrics["clustering"] = _counts(clusters) | _signals(history)
    return Results(
        metrics=metrics,
        cmc=cmc,
        clusters=clusters,
        tables=tables | {"ranked_lists": found.ranked_lists},
        not_evaluated=reason,
        uses_cameras=uses_cameras,
        thresholds=thresholds,
        epochs=settings["epochs"],
    )


def _worth(pairs: Verification, thresholds: Thresholds | None) -> dict[str, float]:
    """The scores over pairs, and what the model states of its threshold beside what is true, as far as it is known."""
    numbers = pairs.metrics()
    if thresholds is not None:
        tpr, fpr = pairs.rates(thresholds.same)
        numbers |= {"threshold": thresholds.same, "stated_fpr": thresholds.same_rate, "true_fpr": fpr, "true_tpr": tpr}
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def _networks(student: nn.Module, teacher: nn.Module | None) -> dict[str, Embed]:
    """What the training made, the result first."""
    networks = {"student": student, "teacher": teacher}
    return {name: partial(embed_shown, network) for name, network in networks.items() if network is not None}


def _signals(history: pd.DataFrame) -> dict[str, float]:
    """Those of the last epoch that are known."""
    last = {name: float(history[name].iloc[-1]) for name in SIGNALS if name in history}
    return {name: value for name, value in last.items() if not math.isnan(value)}


def _counts(clusters: pd.DataFrame) -> dict[str, float]:
    numbers = clusters["cluster"].to_numpy()
    outliers = int(np.count_nonzero(numbers < 0))
    return {"clusters": int(numbers.max()) + 1, "images": len(numbers), "outliers": outliers}
