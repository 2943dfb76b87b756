"""A method that lives in the tests alone: what somebody writes who adds one, and nothing else.

Its clusters are the rows of a fixed grid in the first two principal directions of the embeddings; its memory is a plain
mean of all that was seen of a class; its loss pulls an embedding towards its class and pushes it from the others.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field

from pipeline.clustering import PseudoLabels
from pipeline.config.schema import MethodSettings, TrainingSettings
from pipeline.methods import METHODS
from pipeline.methods.method import EpochStart, Extract, InFirst, Memory, Method, Timed


class ToySettings(MethodSettings):
    cells: int = Field(default=3, ge=2)


class ToyMemory:
    """Sums and counts of each class."""

    def __init__(self, sums: torch.Tensor, counts: torch.Tensor) -> None:
        self.sums, self.counts = sums.clone(), counts.clone()

    @property
    def centroids(self) -> torch.Tensor:
        return F.normalize(self.sums / self.counts[:, None], dim=1)

    def update_(self, features: torch.Tensor, labels: torch.Tensor, images: torch.Tensor | None = None) -> None:
        for feature, label in zip(features, labels.tolist(), strict=True):
            self.sums[label] += feature
            self.counts[label] += 1

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums, self.counts = state["sums"].clone(), state["counts"].clone()


class Toy(Method):
    title = "Toy"
    source = "this test"
    defaults: ClassVar[Mapping[str, Any]] = {
        "clustering.eps_schedule": "fix",
        "memory.update": "mean",
        "memory.momentum": 0.0,
        "loss.weight": 0.0,
        "loss.camera_weight": "none",
        "loss.proxies": 0.0,
        "clustering.distance": "jaccard",
    }
    Settings = ToySettings

    def __init__(self, settings: TrainingSettings, cameras: NDArray[np.int64] | None = None) -> None:
        super().__init__(settings, cameras)
        self.epochs_begun = 0

    def cluster(self, features: NDArray[np.float32], *, epoch: int, timed: Timed = nullcontext) -> PseudoLabels:
        own = self.settings.methods["toy"]
        assert isinstance(own, ToySettings)
        with timed("grid"):
            centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
            first = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
            order = np.argsort(first, kind="stable")
            labels = np.empty(len(features), np.int64)
            labels[order] = np.arange(len(features)) * own.cells // len(features)
        return PseudoLabels(labels, None)

    def begin(
        self, extract: Extract, *, epoch: int, device: torch.device, in_first: InFirst, timed: Timed
    ) -> EpochStart:
        features = extract()
        labels = in_first(lambda: self.cluster(features.numpy(), epoch=epoch, timed=timed)).labels
        self.epochs_begun += 1
        sums = torch.stack([features[torch.from_numpy(labels == k)].sum(dim=0) for k in range(labels.max() + 1)])
        return EpochStart(labels, labels, ToyMemory(sums.to(device), torch.from_numpy(np.bincount(labels)).to(device)))

    def restored(
        self, labels: NDArray[np.int64], memory: Mapping[str, Any], stats: dict[str, Any], *, device: torch.device
    ) -> EpochStart:
        return EpochStart(labels, labels, ToyMemory(memory["sums"].to(device), memory["counts"].to(device)), stats)

    def loss(
        self,
        student: torch.Tensor,
        teacher: torch.Tensor | None,
        memory: Memory,
        targets: torch.Tensor,
        weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        losses = F.cross_entropy(student.float() @ memory.centroids.T / 0.1, targets, reduction="none")
        loss = losses.mean() if weights is None else (weights * losses).mean()
        return loss, loss, loss

    def state_dict(self) -> dict[str, Any]:
        return {"epochs_begun": self.epochs_begun}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.epochs_begun = state["epochs_begun"]


def register() -> None:
    """The one line of the registry, for this process."""
    METHODS["toy"] = Toy
