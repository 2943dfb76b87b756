"""Unsupervised training: cluster the embeddings, contrast against the clusters, let the teacher follow. Epoch by epoch.

He et al., "Dynamic Clustering and Cluster Contrastive Learning for Unsupervised Person Re-ID with Feature Distribution
Alignment", ICASSP 2024 (arXiv 2303.06810). The trainer receives images and, if known, cameras. It has no way to an
identity, and it knows neither the evaluation nor the tracking: who runs it looks at the networks between two epochs.

N: training images · B: global batch · K: clusters · D: width of the embedding · H, W: pixels.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.clustering import centroids as cluster_centroids
from pipeline.clustering import eps_at, pseudo_labels
from pipeline.contrast import ClusterMemory
from pipeline.datasets.sampling import epoch_batches
from pipeline.errors import UserError
from pipeline.precision import Precision
from pipeline.progress import Progress
from pipeline.retrieval.embedding import embed
from pipeline.training.distributed import Processes
from pipeline.training.feed import feed
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.learner import Learner
from pipeline.training.plan import EpochResult, Plan
from pipeline.training.randomness import derive_seed
from pipeline.training.schedule import learning_rate_at


def _nothing(*_: object) -> None:
    """What is called where nobody wants to know."""


@dataclass
class _RunningEpoch:
    """What an epoch keeps from step to step, beside networks and optimiser."""

    labels: np.ndarray  # (N,)
    batches: np.ndarray  # (iters, B) rows of the images of each step
    memory: ClusterMemory
    neighbour_recall: float | None
    seconds: dict[str, float]
    steps_done: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))  # of the losses


_ARRAYS = ("labels", "batches")


class Trainer:
    """Holds what learns and the place in the schedule; `run` goes on from there.

    Args:
        student: (B, 3, H, W) -> (B, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student.
        images: of shape (N, H, W, 3), uint8, may be memory-mapped.
        cameras: of shape (N,), or None where they are not known: then the sampler is the one that needs none.
        plan: the numbers.
        processes: this process among those that train together.
        interruption: tells whether to stop between two steps.
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
        interruption: Interruption | None = None,
        shown: bool = True,
    ) -> None:
        self.student, self.teacher, self.plan = student, teacher, plan
        self.processes = processes or Processes()
        self._interruption = interruption or Interruption()
        self._images, self._cameras = images, cameras
        self._shown = shown and self.processes.first
        self._learner = Learner(student, teacher, plan=plan, processes=self.processes)
        self.epoch = 0  # the next one
        self.step = 0  # the next one, counted over all epochs
        self._running: _RunningEpoch | None = None

    def run(
        self, on_step: Callable[[], None] = _nothing, on_epoch: Callable[[EpochResult], None] = _nothing
    ) -> Iterator[EpochResult]:
        """Trains the epochs that are left, and yields after each.

        Args:
            on_step: called after every step, when `state_dict` describes the place between two steps.
            on_epoch: called with the result of an epoch before any signal can end the training.

        Raises:
            InterruptedTrainingError: the training was asked to stop, and all processes have finished the same step.
        """
        while self.epoch < self.plan.epochs:
            yield self._run_epoch(on_step, on_epoch)

    @property
    def steps_done(self) -> int:
        """Of the epoch that is running."""
        return self._running.steps_done if self._running else 0

    def embed(
        self, network: nn.Module, images: np.ndarray, title: str, *, precision: Precision | None = None
    ) -> torch.Tensor:
        """L2-normalised embeddings (N, D) of any images, computed by all processes together; in float32 by default."""
        mine = self.processes
        precision = precision or Precision("fp32", mine.device)
        with Progress(title, len(images), unit="image", shown=self._shown) as progress, precision.forward():
            found = embed(
                network, images, device=mine.device, rank=mine.rank, size=mine.size,
                advance=lambda done: progress.advance(done * mine.size),
            )  # fmt: skip
        if mine.size > 1:
            found = found.to(mine.device)
            mine.sum_([found])
        return found.cpu()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `run` needs to go on: all else, every random choice too, follows from plan and place."""
        running = None
        if self._running is not None:
            arrays = {name: torch.from_numpy(getattr(self._running, name)) for name in _ARRAYS}
            running = {**vars(self._running), **arrays, "memory": self._running.memory.state_dict()}
        return {
            "learner": self._learner.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "running": running,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place that `state_dict` described."""
        self._learner.load_state_dict(state["learner"])
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self._running = None
        if state["running"] is not None:
            running = copy.deepcopy(state["running"])
            memory = self._memory(running["memory"]["centroids"])
            memory.load_state_dict(running["memory"])  # as it was, not normalised once more
            arrays = {name: running[name].numpy() for name in _ARRAYS}
            self._running = _RunningEpoch(**{**running, **arrays, "memory": memory})

    def _run_epoch(self, on_step: Callable[[], None], on_epoch: Callable[[EpochResult], None]) -> EpochResult:
        plan, epoch = self.plan, self.epoch
        learning_rate = learning_rate_at(
            epoch, start=plan.lr, warmup_epochs=plan.warmup_epochs, schedule=plan.schedule,
            epochs=plan.epochs, step_epochs=plan.step_epochs,
        )  # fmt: skip
        self._learner.set_learning_rate(learning_rate)
        eps = eps_at(epoch, schedule=plan.eps_schedule, start=plan.eps, epochs=plan.epochs)
        if self._running is None:
            self._running = self._begin(epoch, eps)
        running = self._running
        with self._interruption.deferred():
            self._train(running, on_step)
            self._require_agreement(running.memory)
            loss, hard, soft = (running.total / len(running.batches)).tolist()
            result = EpochResult(
                epoch, eps, learning_rate, len(running.memory.centroids), int((running.labels < 0).sum()),
                loss, hard, soft, running.neighbour_recall, seconds=running.seconds, labels=running.labels,
                images_per_second=running.batches.size / running.seconds["train"],
            )  # fmt: skip
            self.epoch, self._running = epoch + 1, None
            on_epoch(result)
        return result

    def _begin(self, epoch: int, eps: float) -> _RunningEpoch:
        """Pseudo labels, batches and the memory of the clusters, the same in all processes."""
        plan = self.plan
        seconds: dict[str, float] = {}
        with _timed(seconds, "extract"):
            title = f"epoch {epoch + 1}/{plan.epochs}, embeddings"
            precision = self._learner.precision
            features = self.embed(self.student, self._images, title, precision=precision).numpy()
        found: tuple[np.ndarray, np.ndarray, float | None] | None = None
        if self.processes.first:
            clustering = pseudo_labels(
                features, eps=eps, min_samples=plan.min_samples, k1=plan.k1, k2=plan.k2, neighbours=plan.neighbours,
                seed=derive_seed(plan.seed, "recall", epoch), timed=partial(_timed, seconds),
            )  # fmt: skip
            labels = clustering.labels
            found = (labels, cluster_centroids(features, labels), clustering.neighbour_recall)
        labels, centroids, share = self.processes.from_first(found)
        batches = epoch_batches(
            labels, self._cameras, batch=plan.batch, instances=plan.instances, iters=plan.iters,
            camera_aware=plan.camera_aware and self._cameras is not None,
            seed=derive_seed(plan.seed, "sampler"), epoch=epoch,
        )  # fmt: skip
        memory = self._memory(torch.from_numpy(centroids))
        return _RunningEpoch(labels, batches, memory, share, {**seconds, "train": 0.0})

    def _require_agreement(self, memory: ClusterMemory) -> None:
        """Stops where the processes have drifted apart, which no rounding explains: they all compute the same."""
        if self.processes.size > 1:
            networks = {"student": self.student, "teacher": self.teacher, "memory": memory}
            state = {
                f"{role}.{key}": x for role, network in networks.items() for key, x in network.state_dict().items()
            }
            self.processes.require_same(state, f"the state after epoch {self.epoch + 1}")

    def _memory(self, centroids: torch.Tensor) -> ClusterMemory:
        plan = self.plan
        return ClusterMemory(
            centroids.to(self.processes.device), momentum=plan.momentum, update=plan.update, tau=plan.tau
        )

    def _train(self, running: _RunningEpoch, on_step: Callable[[], None]) -> None:
        self.student.train()
        self.teacher.train()
        plan, processes = self.plan, self.processes
        left, labels = running.batches[running.steps_done :], torch.from_numpy(running.labels)
        arriving = feed(
            self._images, left, plan=plan, first_step=self.step, mine=processes.share(plan.batch),
            device=processes.device,
        )  # fmt: skip
        title = f"epoch {self.epoch + 1}/{plan.epochs}"
        with Progress(title, len(running.batches), shown=self._shown) as progress, closing(arriving):
            progress.advance(running.steps_done)
            began = time.perf_counter()
            for rows, views in zip(left, arriving, strict=True):
                of_batch = labels[torch.from_numpy(rows)].to(processes.device)
                running.total += self._learner.learn_(views, of_batch, running.memory, step=self.step).double().cpu()
                number = running.steps_done + 1
                if not math.isfinite(float(running.total[0])):
                    raise UserError(
                        f"the loss is not finite in epoch {self.epoch + 1}, step {number}: "
                        "lower optimiser.lr or raise loss.temperature"
                    )
                stop = processes.any(self._interruption.asked)  # asked of one, all stop after the same step
                self.step += 1
                running.steps_done = number
                running.seconds["train"] += time.perf_counter() - began
                progress.advance(loss=f"{running.total[0] / number:.3f}", clusters=len(running.memory.centroids))
                if stop:
                    raise InterruptedTrainingError
                on_step()
                began = time.perf_counter()


class _timed:  # noqa: N801 - reads as a word
    def __init__(self, seconds: dict[str, float], part: str) -> None:
        self._seconds, self._part = seconds, part

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._part] = time.perf_counter() - self._began
