"""Unsupervised training: cluster the embeddings, contrast against the clusters, let the teacher follow. Epoch by epoch.

He et al., "Dynamic Clustering and Cluster Contrastive Learning for Unsupervised Person Re-ID with Feature Distribution
Alignment", ICASSP 2024 (arXiv 2303.06810). The trainer receives images and, if known, cameras. It has no way to an
identity, and it knows neither the evaluation nor the tracking: who runs it looks at the networks between two epochs.

N: training images · B: global batch · K: clusters · D: width of the embedding · H, W: pixels.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.clustering import centroids as cluster_centroids
from pipeline.clustering import eps_at, pseudo_labels
from pipeline.contrast import ClusterMemory, contrastive_loss, teacher_decay, update_teacher_
from pipeline.datasets.augment import apply_views, draw_views
from pipeline.datasets.sampling import epoch_batches
from pipeline.errors import UserError
from pipeline.model import commit_statistics_
from pipeline.progress import Progress
from pipeline.retrieval.embedding import embed
from pipeline.training.distributed import Processes
from pipeline.training.randomness import derive_seed, generator
from pipeline.training.schedule import learning_rate_at


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
    neighbour_recall: float | None
    images_per_second: float
    seconds: dict[str, float]
    labels: np.ndarray = field(repr=False)


class Trainer:
    """Holds the two networks, the optimiser and the place in the schedule; `run` goes on from there.

    Args:
        student: (B, 3, H, W) -> (B, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student.
        images: of shape (N, H, W, 3), uint8, may be memory-mapped.
        cameras: of shape (N,), or None where they are not known: then the sampler is the one that needs none.
        plan: the numbers.
        processes: this process among those that train together.
        shown: show progress (in the first process).
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        images: np.ndarray,
        cameras: np.ndarray | None,
        plan: Plan,
        processes: Processes | None = None,
        shown: bool = True,
    ) -> None:
        self.student, self.teacher, self.plan = student, teacher, plan
        self.processes = processes or Processes()
        self._images, self._cameras = images, cameras
        self._shown = shown and self.processes.first
        for parameter in teacher.parameters():
            parameter.requires_grad_(False)
        trainable = [p for p in student.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trainable, lr=plan.lr, weight_decay=plan.weight_decay)
        self.epoch = 0  # the next one
        self.step = 0  # the next one, counted over all epochs

    def run(self) -> Iterator[EpochResult]:
        """Trains the epochs that are left, and yields after each."""
        while self.epoch < self.plan.epochs:
            yield self._run_epoch()

    def embed(self, network: nn.Module, images: np.ndarray, title: str) -> torch.Tensor:
        """L2-normalised embeddings (N, D) of any images, computed by all processes together."""
        mine = self.processes
        with Progress(title, len(images), unit="image", shown=self._shown) as progress:
            found = embed(
                network, images, device=mine.device, rank=mine.rank, size=mine.size,
                advance=lambda done: progress.advance(done * mine.size),
            )  # fmt: skip
        if mine.size > 1:
            found = found.to(mine.device)
            mine.sum_([found])
        return found.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `run` needs to go on at the next epoch: all else follows from the plan and the place."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place that `state_dict` described."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step = int(state["epoch"]), int(state["step"])

    def _run_epoch(self) -> EpochResult:
        plan, epoch = self.plan, self.epoch
        seconds: dict[str, float] = {}
        learning_rate = learning_rate_at(
            epoch, start=plan.lr, warmup_epochs=plan.warmup_epochs, schedule=plan.schedule,
            epochs=plan.epochs, step_epochs=plan.step_epochs,
        )  # fmt: skip
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        eps = eps_at(epoch, schedule=plan.eps_schedule, start=plan.eps, epochs=plan.epochs)
        labels, centroids, found = self._cluster(epoch, eps, seconds)
        batches = epoch_batches(
            labels, self._cameras, batch=plan.batch, instances=plan.instances, iters=plan.iters,
            camera_aware=plan.camera_aware and self._cameras is not None,
            seed=derive_seed(plan.seed, "sampler"), epoch=epoch,
        )  # fmt: skip
        memory = ClusterMemory(
            centroids.to(self.processes.device), momentum=plan.momentum, update=plan.update, tau=plan.tau
        )
        began = time.perf_counter()
        losses = self._train(batches, torch.from_numpy(labels), memory)
        seconds["train"] = time.perf_counter() - began
        self.epoch += 1
        return EpochResult(
            epoch, eps, learning_rate, len(centroids), int((labels < 0).sum()), *losses, found,
            images_per_second=batches.size / seconds["train"], seconds=seconds, labels=labels,
        )  # fmt: skip

    def _cluster(
        self, epoch: int, eps: float, seconds: dict[str, float]
    ) -> tuple[np.ndarray, torch.Tensor, float | None]:
        """Pseudo labels (N,), the centroids (K, D) of the clusters and the recall, the same in all processes."""
        plan = self.plan
        with _timed(seconds, "extract"):
            title = f"epoch {epoch + 1}/{plan.epochs}, embeddings"
            features = self.embed(self.student, self._images, title).numpy()
        found: tuple[np.ndarray, np.ndarray, float | None] | None = None
        if self.processes.first:
            clustering = pseudo_labels(
                features, eps=eps, min_samples=plan.min_samples, k1=plan.k1, k2=plan.k2, neighbours=plan.neighbours,
                seed=derive_seed(plan.seed, "recall", epoch), timed=partial(_timed, seconds),
            )  # fmt: skip
            labels = clustering.labels
            found = (labels, cluster_centroids(features, labels), clustering.neighbour_recall)
        labels, centroids, share = self.processes.from_first(found)
        return labels, torch.from_numpy(centroids), share

    def _train(self, batches: np.ndarray, labels: torch.Tensor, memory: ClusterMemory) -> tuple[float, float, float]:
        self.student.train()
        self.teacher.train()
        total = torch.zeros(3, dtype=torch.float64)
        title = f"epoch {self.epoch + 1}/{self.plan.epochs}"
        with Progress(title, len(batches), shown=self._shown) as progress:
            for number, rows in enumerate(batches):
                losses = self._train_step(rows, labels[torch.from_numpy(rows)], memory)
                total += losses.double().cpu()
                if not math.isfinite(float(total[0])):
                    raise UserError(
                        f"the loss is not finite in epoch {self.epoch + 1}, step {number + 1}: "
                        "lower optimiser.lr or raise loss.temperature"
                    )
                self.step += 1
                progress.advance(loss=f"{total[0] / (number + 1):.3f}", clusters=len(memory.centroids))
        loss, hard, soft = (total / len(batches)).tolist()
        return loss, hard, soft

    def _train_step(self, rows: np.ndarray, labels: torch.Tensor, memory: ClusterMemory) -> torch.Tensor:
        """One step of student, teacher and memory on the images `rows` (B,); the three losses."""
        plan, processes = self.plan, self.processes
        labels = labels.to(processes.device)
        mine = processes.share(len(rows))
        student = self._forward(self.student, rows, mine, view=0)  # (B, D)
        with torch.no_grad():
            teacher = self._forward(self.teacher, rows, mine, view=1)
        losses = contrastive_loss(
            student, teacher, memory.centroids, labels,
            temperature=plan.temperature, smoothing=plan.smoothing, weight=plan.weight,
        )  # fmt: skip
        self.optimiser.zero_grad(set_to_none=True)
        losses[0].backward()
        processes.sum_([p.grad for p in self.student.parameters() if p.grad is not None])
        self.optimiser.step()
        update_teacher_(self.teacher, self.student, decay=teacher_decay(self.step, decay=plan.decay))
        memory.update_(student, labels)
        return torch.stack([loss.detach() for loss in losses])

    def _forward(self, network: nn.Module, rows: np.ndarray, mine: slice, *, view: int) -> torch.Tensor:
        """Embeddings (B, D) of the whole batch, of which this process computes the images `rows[mine]`."""
        height, width = self._images.shape[1:3]
        plan = self.plan
        views = draw_views(
            len(rows), height=height, width=width, pad=plan.pad, flip=plan.flip, erase=plan.erase,
            generator=generator(plan.seed, "view", self.step, view),
        )[mine]  # fmt: skip
        device = self.processes.device
        images = torch.from_numpy(self._images[rows[mine]]).to(device)
        precision = next(network.parameters()).dtype  # double precision tells rounding from a mistake
        embeddings = network(apply_views(images, views.to(device)).to(precision))
        commit_statistics_(network, reduce=self.processes.gather if self.processes.size > 1 else None)
        return self.processes.gather(embeddings)


class _timed:  # noqa: N801 - reads as a word
    def __init__(self, seconds: dict[str, float], part: str) -> None:
        self._seconds, self._part = seconds, part

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._part] = time.perf_counter() - self._began
