"""What a training is asked to do, and what an epoch of it did.

N: training images · K: clusters.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The numbers of a training, named as in params.yaml."""

    epochs: int
    iters: int
    seed: int
    batch: int
    instances: int
    camera_aware: bool
    flip: float
    pad: int
    erase: float
    eps: float
    eps_schedule: str
    min_samples: int
    k1: int
    k2: int
    neighbours: str
    delta: float = 0.0
    independent: float = 1.0
    update: str
    momentum: float
    tau: float
    temperature: float
    smoothing: float
    weight: float
    lr: float
    weight_decay: float
    schedule: str
    step_epochs: int
    warmup_epochs: int
    decay: float
    precision: str = "fp32"
    compile: bool = False

    @property
    def has_teacher(self) -> bool:
        """Where the soft loss has no weight there is no teacher."""
        return self.weight > 0

    @property
    def hybrid(self) -> bool:
        """SpCL's memory: one row an instance."""
        return self.update == "hybrid"


@dataclass(frozen=True)
class EpochResult:
    """What one epoch did.

    Attributes:
        epoch: from 0.
        eps: DBSCAN's radius in this epoch.
        learning_rate: Adam's in this epoch.
        num_clusters: K.
        num_outliers: images that DBSCAN left out.
        loss, loss_hard, loss_soft: means over the steps of the total, L_c and L_ss.
        distance_within, distance_between: see `cluster_spread`; None where there is no cluster, or no other.
        num_unreliable: images that SpCL took out of clusters; they count as outliers. None for other methods.
        neighbour_recall: share of the true neighbours that `neighbours: ivf` found, on a sample; None for `exact`.
        images_per_second: of the steps, over all processes.
        seconds: of each part of the epoch: extract, neighbours, jaccard, dbscan, train, and recall where measured.
        labels: pseudo labels of shape (N,), -1 for outliers.
    """

    epoch: int
    eps: float
    learning_rate: float
    num_clusters: int
    num_outliers: int
    loss: float
    loss_hard: float
    loss_soft: float
    images_per_second: float
    seconds: dict[str, float]
    labels: np.ndarray = field(repr=False)
    distance_within: float | None = None
    distance_between: float | None = None
    num_unreliable: int | None = None
    neighbour_recall: float | None = None
