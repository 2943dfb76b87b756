"""DCCC: clusters that tighten from epoch to epoch, a memory that the farthest instance moves most, a teacher.

    eps      shrinks with the epochs (DCPS)
    memory   one row per cluster; its instances in the batch weigh by their distance (DyCL)
    loss     targets softened by the mean teacher (L_ss)

He et al., "Dynamic Clustering and Cluster Contrastive Learning for Unsupervised Person Re-ID with Feature Distribution
Alignment", ICASSP 2024 (arXiv 2303.06810).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clustering import PseudoLabels
from pipeline.config.schema import ClusterUpdate
from pipeline.contrast import ClusterMemory, contrastive_loss
from pipeline.methods.method import EpochStart, Extract, InFirst, Memory, Method, Timed


class DCCC(Method):
    title = "DCCC"
    source = "He et al., ICASSP 2024 (arXiv 2303.06810)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clustering.eps_schedule": "expo",
        "memory.update": "dynamic",
        "memory.momentum": 0.1,
        "loss.weight": 1.0,
        "loss.camera_weight": "none",
        "loss.proxies": 0.0,
        "clustering.distance": "jaccard",
    }
    allowed: ClassVar[Mapping[str, tuple[Any, ...]]] = {"memory.update": get_args(ClusterUpdate)}

    def cluster(self, features: NDArray[np.float32], *, epoch: int, timed: Timed = nullcontext) -> PseudoLabels:
        return self._pseudo_labels(features, epoch, timed)

    def begin(
        self, extract: Extract, *, epoch: int, device: torch.device, in_first: InFirst, timed: Timed
    ) -> EpochStart:
        features = extract()
        clusters = in_first(lambda: self._described(features.numpy(), epoch, timed))
        self._require_clusters(clusters.found.labels, features.numpy(), epoch, in_first)
        labels, memory = clusters.found.labels, self._memory(torch.from_numpy(clusters.centroids), device)
        proxies = self.proxies(labels, clusters.proxies, device=device)
        return EpochStart(labels, labels, memory, clusters.stats, proxies)

    def restored(
        self, labels: NDArray[np.int64], memory: Mapping[str, Any], stats: dict[str, Any], *, device: torch.device
    ) -> EpochStart:
        restored = self._memory(memory["centroids"], device)
        restored.load_state_dict(memory)
        return EpochStart(labels, labels, restored, stats)

    def loss(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor | None,
        memory: Memory,
        targets: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        loss = self.settings.loss
        return contrastive_loss(
            student,
            teacher,
            memory.centroids,
            targets,
            temperature=loss.temperature,
            smoothing=0.0 if teacher is None else loss.smoothing,
            weight=loss.weight,
            images=weights,
        )

    def _memory(self, centroids: torch.Tensor, device: torch.device) -> ClusterMemory:
        memory = self.settings.memory
        assert memory.update != "hybrid", "the settings allow no such value for this method"
        return ClusterMemory(centroids.to(device), momentum=memory.momentum, update=memory.update, tau=memory.tau)
