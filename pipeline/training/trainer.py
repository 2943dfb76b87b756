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

from pipeline.clustering import eps_at
from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.common.progress import Progress
from pipeline.common.seeding import derive_seed
from pipeline.contrast import HybridMemory
from pipeline.datasets.sampling import epoch_batches
from pipeline.model.embedding import embed
from pipeline.training.beginning import Memory, find_clusters, new_memory, restored_memory, targets
from pipeline.training.distributed import Processes
from pipeline.training.exact import Learner
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.learning_rate import learning_rate_at
from pipeline.training.loader import feed
from pipeline.training.plan import EpochResult, Plan


def _nothing(*_: object) -> None:
    """What is called where nobody wants to know."""


@dataclass
class _RunningEpoch:
    """What an epoch keeps from step to step, beside networks and optimiser."""

    labels: np.ndarray  # (N,)
    batches: np.ndarray  # (iters, B) rows of the images of each step
    memory: Memory
    told: dict[str, Any]  # by the clustering
    seconds: dict[str, float]
    steps_done: int = 0
    total: torch.Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))  # of the losses


_ARRAYS = ("labels", "batches")


class Trainer:
    """Holds what learns and the place in the schedule; `run` goes on from there.

    Args:
        student: (B, 3, H, W) -> (B, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student, or None where the plan has no teacher.
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
        teacher: nn.Module | None,
        *,
        images: np.ndarray,
        cameras: np.ndarray | None,
        plan: Plan,
        processes: Processes | None = None,
        interruption: Interruption | None = None,
        shown: bool = True,
    ) -> None:
        assert plan.has_teacher == (teacher is not None), "the plan says whether there is a teacher"
        self.student, self.teacher, self.plan = student, teacher, plan
        self.processes = processes or Processes()
        self._interruption = interruption or Interruption()
        self._images, self._cameras = images, cameras
        self._shown = shown and self.processes.first
        self._learner = Learner(student, teacher, plan=plan, processes=self.processes)
        self.epoch = 0  # the next one
        self.step = 0  # the next one, counted over all epochs
        self._running: _RunningEpoch | None = None
        # What SpCL keeps from epoch to epoch: the rows (N, D) of its memory, and the independence that it asks for.
        self._instances: torch.Tensor | None = None
        self._level: float | None = None

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
                network,
                images,
                device=mine.device,
                rank=mine.rank,
                size=mine.size,
                advance=lambda done: progress.advance(done * mine.size),
            )
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
            "instances": self._instances,
            "level": self._level,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the place that `state_dict` described."""
        self._learner.load_state_dict(state["learner"])
        self.epoch, self.step = int(state["epoch"]), int(state["step"])
        self._instances, self._level = state["instances"], state["level"]
        self._running = None
        if state["running"] is not None:
            running = copy.deepcopy(state["running"])
            memory = restored_memory(self.plan, running["memory"], self.processes.device)
            arrays = {name: running[name].numpy() for name in _ARRAYS}
            self._running = _RunningEpoch(**{**running, **arrays, "memory": memory})

    def _run_epoch(self, on_step: Callable[[], None], on_epoch: Callable[[EpochResult], None]) -> EpochResult:
        plan, epoch = self.plan, self.epoch
        learning_rate = learning_rate_at(
            epoch,
            start=plan.lr,
            warmup_epochs=plan.warmup_epochs,
            schedule=plan.schedule,
            epochs=plan.epochs,
            step_epochs=plan.step_epochs,
        )
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
                epoch,
                eps,
                learning_rate,
                int(running.labels.max(initial=-1)) + 1,
                int((running.labels < 0).sum()),
                loss,
                hard,
                soft,
                seconds=running.seconds,
                labels=running.labels,
                images_per_second=running.batches.size / running.seconds["train"],
                **running.told,
            )
            if isinstance(running.memory, HybridMemory):
                self._instances = running.memory.features.cpu()
            self.epoch, self._running = epoch + 1, None
            on_epoch(result)
        return result

    def _begin(self, epoch: int, eps: float) -> _RunningEpoch:
        """Pseudo labels, batches and the memory of the classes, the same in all processes."""
        plan = self.plan
        seconds = {"extract": 0.0}
        features, self._instances = self._instances, None
        if features is None:
            with _timed(seconds, "extract"):
                title = f"epoch {epoch + 1}/{plan.epochs}, embeddings"
                features = self.embed(self.student, self._images, title, precision=self._learner.precision)
        found = None
        if self.processes.first:
            found = find_clusters(
                features.numpy(), plan=plan, eps=eps, epoch=epoch, level=self._level, timed=partial(_timed, seconds)
            )
        clusters = self.processes.from_first(found)
        self._level = clusters.level
        batches = epoch_batches(
            clusters.labels,
            self._cameras,
            batch=plan.batch,
            instances=plan.instances,
            iters=plan.iters,
            camera_aware=plan.camera_aware and self._cameras is not None,
            seed=derive_seed(plan.seed, "sampler"),
            epoch=epoch,
            outliers=plan.hybrid,
        )
        memory = new_memory(plan, clusters, features, self.processes.device)
        return _RunningEpoch(clusters.labels, batches, memory, clusters.told, {**seconds, "train": 0.0})

    def _require_agreement(self, memory: Memory) -> None:
        """Stops where the processes have drifted apart, which no rounding explains: they all compute the same."""
        if self.processes.size > 1:
            networks = {"student": self.student, "teacher": self.teacher, "memory": memory}
            there = {role: network for role, network in networks.items() if network is not None}
            state = {f"{role}.{key}": x for role, network in there.items() for key, x in network.state_dict().items()}
            self.processes.require_same(state, f"the state after epoch {self.epoch + 1}")

    def _train(self, running: _RunningEpoch, on_step: Callable[[], None]) -> None:
        for network in (self.student, self.teacher):
            if network is not None:
                network.train()
        plan, processes = self.plan, self.processes
        left, classes = running.batches[running.steps_done :], torch.from_numpy(targets(plan, running.labels))
        arriving = feed(
            self._images,
            left,
            plan=plan,
            first_step=self.step,
            mine=processes.share(plan.batch),
            device=processes.device,
            num_views=1 + plan.has_teacher,
        )
        title = f"epoch {self.epoch + 1}/{plan.epochs}"
        with Progress(title, len(running.batches), shown=self._shown) as progress, closing(arriving):
            progress.advance(running.steps_done)
            began = time.perf_counter()
            for rows, views in zip(left, arriving, strict=True):
                images = torch.from_numpy(rows)
                losses = self._learner.learn_(
                    views,
                    classes[images].to(processes.device),
                    running.memory,
                    images=images.to(processes.device),
                    step=self.step,
                )
                running.total += losses.double().cpu()
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
