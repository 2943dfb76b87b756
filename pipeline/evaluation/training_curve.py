"""What is measured of a training while it runs, for people: scores on the test images, agreement of the clusters.

The training never sees these numbers, and nothing is chosen by them but the file of the best networks, which stands
beside the result and is not the result.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.clustering.quality import cluster_quality
from pipeline.datasets.packed_images import PackedImages
from pipeline.evaluation.metrics import MAIN, metrics
from pipeline.evaluation.test_set import TestSet, why_not_scored
from pipeline.model.saved import ROLES, save_best


def epoch_line(row: Mapping[str, float], *, epochs: int) -> str:
    """What an epoch did in one line, for a log file.

    Args:
        row: of `training.csv`.
        epochs: in all.
    """
    scores = [
        f", {role} {MAIN.heading} {MAIN.percent(row[key])}" for role in ROLES if (key := f"{role}_{MAIN.key}") in row
    ]
    return (
        f"epoch {row['epoch']:.0f} of {epochs}: {row['num_clusters']:,.0f} clusters, "
        f"{row['num_outliers']:,.0f} images in none, loss {row['loss']:.3f}, {row['seconds']:.0f} s{''.join(scores)}"
    )


class TrainingCurve:
    """Scores both networks between two epochs.

    Args:
        packed: the prepared data set.
        embed: (network, images, title) -> embeddings, computed by all processes together.
        best: file that keeps each network as it was when it scored highest.
        settings: of the training, for that file.

    Attributes:
        why_empty: why there is no score, in a sentence; None where there will be some.
    """

    def __init__(
        self,
        packed: PackedImages,
        embed: Callable[..., torch.Tensor],
        *,
        best: Path,
        settings: Mapping[str, Any],
    ) -> None:
        reason = why_not_scored(packed)
        self.why_empty = reason and f"no evaluation: {reason}"
        self._test = None if reason else TestSet(packed)
        self._pids = packed.split("train").pids
        self._embed, self._best, self._settings = embed, best, settings

    def score(self, student: nn.Module, teacher: nn.Module | None, epoch: int, *, first: bool) -> dict[str, float]:
        """Scores named `student_mAP`, ..., in the first process; called in every one of them.

        Args:
            student: as it is now.
            teacher: as it is now, if there is one.
            epoch: how many are finished.
            first: whether this is the first process, which keeps the best networks.
        """
        scores: dict[str, float] = {}
        if self._test is None:
            return scores
        for role, network in zip(ROLES, (student, teacher), strict=True):
            if network is None:
                continue
            features = self._test.embed(partial(self._embed, network))
            if first:
                scores |= metrics(self._test.score(*features), f"{role}_")
        if first:
            mean_aps = {role: scores[key] for role in ROLES if (key := f"{role}_mAP") in scores}
            save_best(self._best, student, teacher, mean_aps=mean_aps, epoch=epoch, settings=self._settings)
        return scores

    def describe(self, result: Any) -> dict[str, float]:
        """How well the clusters of an epoch agree with the true identities, where they are known.

        Args:
            result: `EpochResult` of the epoch.
        """
        return {} if self._pids is None else cluster_quality(result.labels, self._pids)
