"""How an epoch begins: embeddings become pseudo labels, and these the memory that the steps contrast against.

The methods differ here. DCCC and Cluster Contrast extract the embeddings anew, leave outliers out, and keep one row a
cluster. SpCL (`memory.update: hybrid`) keeps one row an image from epoch to epoch and clusters these rows, trusts only
reliable clusters, and makes every other image a class of its own.

N: training images · K: clusters · D: width of the embedding.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.clustering import Reliability, cluster_spread, pseudo_labels
from pipeline.clustering import centroids as cluster_centroids
from pipeline.clustering.outliers import outliers_alone
from pipeline.common.seeding import derive_seed
from pipeline.contrast import ClusterMemory, HybridMemory
from pipeline.training.plan import Plan

Memory = ClusterMemory | HybridMemory


@dataclass(frozen=True)
class Clusters:
    """What the clustering of an epoch found.

    Attributes:
        labels: (N,) clusters 0 .. K - 1, -1 for outliers.
        centroids: (K, D), L2-normalised.
        level: of independence that SpCL's clusters have to reach, see `reliability.py`.
        told: figures for people, named as in `EpochResult`.
    """

    labels: np.ndarray = field(repr=False)
    centroids: np.ndarray = field(repr=False)
    level: float | None
    told: dict[str, Any]


def find_clusters(
    features: np.ndarray,
    *,
    plan: Plan,
    eps: float,
    epoch: int,
    level: float | None,
    timed: Callable[[str], AbstractContextManager[object]],
) -> Clusters:
    """Clusters the embeddings (N, D) of an epoch; `level` is None in SpCL's first, `timed` as in `pseudo_labels`."""
    trust = None
    if plan.hybrid:
        trust = Reliability(delta=plan.delta, independent=plan.independent, independence_threshold=level)
    found = pseudo_labels(
        features,
        eps=eps,
        min_samples=plan.min_samples,
        k1=plan.k1,
        k2=plan.k2,
        neighbours=plan.neighbours,
        reliability=trust,
        seed=derive_seed(plan.seed, "recall", epoch),
        timed=timed,
    )
    centroids = cluster_centroids(features, found.labels)
    within, between = cluster_spread(features, found.labels, centroids, neighbours=plan.neighbours)
    told = {
        "num_unreliable": found.num_unreliable,
        "distance_within": within,
        "distance_between": between,
        "neighbour_recall": found.neighbour_recall,
    }
    return Clusters(found.labels, centroids, found.independence_threshold, told)


def new_memory(plan: Plan, clusters: Clusters, features: torch.Tensor, device: torch.device) -> Memory:
    """The memory at the start of an epoch; `features` (N, D) are those that were clustered."""
    if plan.hybrid:
        classes = torch.from_numpy(targets(plan, clusters.labels))
        return HybridMemory(features.to(device), classes.to(device), momentum=plan.momentum)
    return _cluster_memory(plan, torch.from_numpy(clusters.centroids), device)


def restored_memory(plan: Plan, state: Mapping[str, Any], device: torch.device) -> Memory:
    """The memory whose `state_dict` this is: as it was, not normalised once more."""
    memory: Memory
    if plan.hybrid:
        memory = HybridMemory(state["features"].to(device), state["classes"].to(device), momentum=plan.momentum)
    else:
        memory = _cluster_memory(plan, state["centroids"], device)
    memory.load_state_dict(state)
    return memory


def targets(plan: Plan, labels: np.ndarray) -> np.ndarray:
    """The class of each image in the loss, (N,): its cluster; of SpCL, behind the clusters, each outlier by itself."""
    return outliers_alone(labels) if plan.hybrid else labels


def _cluster_memory(plan: Plan, centroids: torch.Tensor, device: torch.device) -> ClusterMemory:
    return ClusterMemory(centroids.to(device), momentum=plan.momentum, update=plan.update, tau=plan.tau)
