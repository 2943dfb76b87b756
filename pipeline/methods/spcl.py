"""SpCL: one row per instance, kept from epoch to epoch and clustered; only reliable clusters are trusted.

    features  those of the memory; they are extracted once, before the first epoch
    clusters  those that hold when eps is loosened and tightened; every other image is a class by itself
    loss      hard labels; the logit of a class is the mean over its instances

Ge et al., "Self-paced Contrastive Learning with Hybrid Memory for Domain Adaptive Object Re-ID", NeurIPS 2020
(arXiv 2006.02713), without its source domain.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from pipeline.clustering import PseudoLabels, Reliability
from pipeline.clustering.outliers import outliers_alone
from pipeline.config.schema import MethodSettings, TrainingSettings
from pipeline.contrast import HybridMemory, contrastive_loss
from pipeline.methods.method import EpochStart, Extract, InFirst, Memory, Method, Timed


class SpCLSettings(MethodSettings):
    """Which clusters are trusted.

    Attributes:
        delta: by which eps is loosened and tightened.
        independent: share of the first epoch's clusters that are independent enough; the threshold then stays.
    """

    delta: float = Field(default=0.02, ge=0, lt=1)
    independent: float = Field(default=0.9, gt=0, le=1)


class SpCL(Method):
    title = "SpCL"
    source = "Ge et al., NeurIPS 2020 (arXiv 2006.02713)"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clustering.eps_schedule": "fix",
        "memory.update": "hybrid",
        "memory.momentum": 0.2,
        "loss.weight": 0.0,
        "loss.camera_weight": "none",
        "loss.proxies": 0.0,
        "clustering.distance": "jaccard",
    }
    allowed: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "clustering.eps_schedule": ("fix",),
        "memory.update": ("hybrid",),
        "loss.weight": (0,),
    }
    Settings = SpCLSettings
    draws_outliers = True

    def __init__(self, settings: TrainingSettings, cameras: NDArray[np.int64] | None = None) -> None:
        super().__init__(settings, cameras)
        own = settings.methods["spcl"]
        assert isinstance(own, SpCLSettings)
        self.own = own
        self.independence_threshold: float | None = None  # set by the first epoch
        self._rows: torch.Tensor | None = None  # (N, D) of the memory of the epoch before

    @classmethod
    def conflict(cls, settings: TrainingSettings) -> str | None:
        own, eps = settings.methods["spcl"], settings.clustering.eps
        assert isinstance(own, SpCLSettings)
        if own.delta < min(eps, 1 - eps):
            return None
        return f"methods.spcl.delta must keep clustering.eps in (0, 1) both ways, got {own.delta} at {eps}"

    def cluster(self, features: NDArray[np.float32], *, epoch: int, timed: Timed = nullcontext) -> PseudoLabels:
        reliability = Reliability(
            delta=self.own.delta,
            independent=self.own.independent,
            independence_threshold=self.independence_threshold,
        )
        return self._pseudo_labels(features, epoch, timed, reliability)

    def begin(
        self, extract: Extract, *, epoch: int, device: torch.device, in_first: InFirst, timed: Timed
    ) -> EpochStart:
        features, self._rows = self._rows, None
        if features is None:
            features = extract()
        clustered = features
        clusters = in_first(lambda: self._described(clustered.numpy(), epoch, timed))
        self.independence_threshold = clusters.found.independence_threshold
        targets = outliers_alone(clusters.found.labels)
        memory = self._memory(features, torch.from_numpy(targets), device)
        proxies = self.proxies(clusters.found.labels, clusters.proxies, device=device)
        return EpochStart(clusters.found.labels, targets, memory, clusters.stats, proxies)

    def restored(
        self, labels: NDArray[np.int64], memory: Mapping[str, Any], stats: dict[str, Any], *, device: torch.device
    ) -> EpochStart:
        restored = self._memory(memory["features"], memory["classes"], device)
        restored.load_state_dict(memory)
        return EpochStart(labels, outliers_alone(labels), restored, stats)

    def loss(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor | None,
        memory: Memory,
        targets: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        temperature = self.settings.loss.temperature
        return contrastive_loss(
            student,
            None,
            memory.centroids,
            targets,
            temperature=temperature,
            smoothing=0.0,
            weight=0.0,
            images=weights,
        )

    def end(self, memory: Memory) -> None:
        assert isinstance(memory, HybridMemory)
        self._rows = memory.features.cpu()

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self._rows, "independence_threshold": self.independence_threshold}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._rows, self.independence_threshold = state["rows"], state["independence_threshold"]

    def kept(self) -> dict[str, float]:
        return {} if self.independence_threshold is None else {"independence_threshold": self.independence_threshold}

    def load_kept(self, kept: Mapping[str, float]) -> None:
        self.independence_threshold = kept.get("independence_threshold")

    def _memory(self, features: torch.Tensor, classes: torch.Tensor, device: torch.device) -> HybridMemory:
        return HybridMemory(features.to(device), classes.to(device), momentum=self.settings.memory.momentum)
