"""Unsupervised training: cluster the embeddings, contrast against the clusters, let the teacher follow. Epoch by epoch.

`Trainer.epoch` is the whole of it. What the pseudo labels, the memory and the loss are says the method
(pipeline/methods/); what makes the result the same on any number of processes is in exact.py. The trainer receives
images and, if known, cameras: it has no way to an identity, and it knows neither the evaluation nor the tracking.
Whoever runs it looks at the networks between two epochs.

N: training images · B: global batch · K: classes · D: width of the embedding · H, W: pixels.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.clustering import cluster_signals
from pipeline.common.errors import UserError
from pipeline.common.precision import Precision
from pipeline.common.progress import Progress
from pipeline.common.seeding import derive_seed
from pipeline.config.schema import TrainingSettings
from pipeline.contrast import image_weights, teacher_decay, update_teacher_
from pipeline.datasets.links import Links
from pipeline.datasets.sampling import epoch_batches
from pipeline.methods import METHODS
from pipeline.training.distributed import Processes, in_first
from pipeline.training.epoch_state import EpochState
from pipeline.training.exact import Exact
from pipeline.training.extraction import extract
from pipeline.training.interruption import InterruptedTrainingError, Interruption
from pipeline.training.learning_rate import learning_rate_at
from pipeline.training.loader import Batch, load_batches
from pipeline.training.results import EpochResult


def _nothing(*_: object) -> None:
    """What is called where nobody wants to know."""


class Trainer:
    """Holds what learns and the place in the schedule; `run` goes on from there.

    Args:
        student: (B, 3, H, W) -> (B, D), L2-normalised; on the device of `processes`.
        teacher: a copy of the student, or None where the settings have no teacher.
        images: of shape (N, H, W, 3), uint8, may be memory-mapped.
        cameras: of shape (N,), or None where they are not known: then the sampler is the one that needs none.
        settings: of the training; its precision is not `auto`.
        processes: this process among those that train together.
        interruption: tells whether to stop between two steps.
        recorded: whether passes are CUDA graphs where they can be, which does not change the result.
        shown: show progress (in the first process).
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        *,
        images: np.ndarray,
        cameras: np.ndarray | None,
        links: Links | None = None,
        settings: TrainingSettings,
        processes: Processes | None = None,
        interruption: Interruption | None = None,
        recorded: bool = True,
        shown: bool = True,
    ) -> None:
        assert settings.has_teacher == (teacher is not None), "the settings say whether there is a teacher"
        self.student, self.teacher, self.settings = student, teacher, settings
        self.method = METHODS[settings.method](settings, cameras)
        self.method.links = links
        self.processes = processes or Processes()
        self._interruption = interruption or Interruption()
        self._images, self.cameras = images, cameras
        self._shown = shown and self.processes.first
        self._exact = Exact(
            student,
            teacher,
            optimizer=settings.optimizer,
            precision=settings.train.precision,
            compiled=settings.train.compile,
            processes=self.processes,
            recorded=recorded,
            seed=settings.seed,
        )
        self.next_epoch = 0
        self.step = 0  # the next one, counted over all epochs
        self._state: EpochState | None = None  # of the epoch that is running
        self._labels_before: np.ndarray | None = None  # (N,) clusters of the epoch that ended last

    def epoch(
        self, on_step: Callable[[], None] = _nothing, on_epoch: Callable[[EpochResult], None] = _nothing
    ) -> EpochResult:
        """One epoch, or what is left of it; the arguments are those of `run`."""
        state = self._state = self._state or self._begin()
        with self._interruption.deferred(), closing(self._steps_of(state, on_step)) as steps:
            for batch in steps:
                student = self._exact.embed(self.student, batch.views[0], step=self.step)  # (B, D), of all processes
                teacher = self._exact.embed(self.teacher, batch.views[1]) if self.teacher else None
                losses = self._losses(state, student, teacher, batch)
                self._exact.optimize(losses[0], student)
                if self.teacher:
                    decay = teacher_decay(self.step, decay=self.settings.teacher.decay)
                    update_teacher_(self.teacher, self.student, decay=decay)
                state.start.memory.update_(student.detach(), batch.classes, batch.images)
                if state.start.proxies is not None:
                    state.start.proxies.update_(student.detach(), batch.images)
                state.add(losses)
            return self._end(state, on_epoch)

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
        while self.next_epoch < self.settings.epochs:
            yield self.epoch(on_step, on_epoch)

    @property
    def why_unweighted(self) -> str | None:
        """Why the weights of images by cameras are all 1, in a sentence; None where they are not, or not asked for."""
        if self.cameras is not None or self.settings.loss.camera_weight == "none":
            return None
        return "the cameras of the training images are not known: loss.camera_weight has no effect"

    @property
    def steps_done(self) -> int:
        """Of the epoch that is running."""
        return self._state.steps_done if self._state else 0

    @property
    def num_images(self) -> int:
        """To train on."""
        return len(self._images)

    def embed(
        self, network: nn.Module, images: np.ndarray, title: str, *, precision: Precision | None = None
    ) -> torch.Tensor:
        """L2-normalised embeddings (N, D) of any images, computed by all processes together.

        By default in the precision of what is clustered (`Precision.of_extraction`).
        """
        precision = precision or self._exact.precision.of_extraction
        return extract(network, images, title, processes=self.processes, precision=precision, shown=self._shown)

    def embed_training_images(self, network: nn.Module, title: str) -> torch.Tensor:
        """`embed` of the images to train on."""
        return self.embed(network, self._images, title)

    def _begin(self) -> EpochState:
        """Pseudo labels, memory, targets and batches of the next epoch, the same in all processes."""
        sampler, epoch = self.settings.sampler, self.next_epoch
        seconds = {"extract": 0.0}

        def features() -> torch.Tensor:
            title = f"epoch {epoch + 1}/{self.settings.epochs}, embeddings"
            with _timed(seconds, "extract"):
                return self.embed_training_images(self.student, title)

        start = self.method.begin(
            features,
            epoch=epoch,
            device=self.processes.device,
            in_first=partial(in_first, self.processes),
            timed=lambda part: _timed(seconds, part),
        )
        batches = epoch_batches(
            start.labels,
            self.cameras,
            batch=sampler.batch,
            instances=sampler.instances,
            iters=self.settings.train.iters,
            camera_aware=sampler.camera_aware and self.cameras is not None,
            seed=derive_seed(self.settings.seed, "sampler"),
            epoch=epoch,
            outliers=self.method.draws_outliers,
        )
        total = torch.zeros(3 if start.proxies is None else 4, dtype=torch.float64)
        return EpochState(start, batches, {**seconds, "train": 0.0}, total=total)

    def _losses(
        self, state: EpochState, student: torch.Tensor, teacher: torch.Tensor | None, batch: Batch
    ) -> tuple[torch.Tensor, ...]:
        """The total loss, L_c and L_ss of a batch, and that of the camera proxies, where there are any."""
        start, loss = state.start, self.settings.loss
        total, *parts = self.method.loss(student, teacher, start.memory, batch.targets, batch.weights)
        if start.proxies is None:
            return total, *parts
        of_proxies = start.proxies.loss(student, batch.images, across=self.next_epoch >= loss.proxies_after)
        return total + loss.proxies * of_proxies, *parts, of_proxies

    def _steps_of(self, state: EpochState, on_step: Callable[[], None]) -> Generator[Batch, None, None]:
        """The batches that are left of an epoch. What stands behind the `yield` closes a step."""
        for network in (self.student, self.teacher):
            if network is not None:
                network.train()
        self._exact.set_learning_rate(self._learning_rate())
        arriving = load_batches(
            self._images,
            state.batches[state.steps_done :],
            targets=state.start.targets,
            augment=self.settings.augment,
            seed=self.settings.seed,
            first_step=self.step,
            share=self.processes.share(self.settings.sampler.batch),
            device=self.processes.device,
            num_views=1 if self.teacher is None else 2,
            weigh=self._weigh(state.start.targets),
        )
        title = f"epoch {self.next_epoch + 1}/{self.settings.epochs}"
        with Progress(title, len(state.batches), shown=self._shown) as progress, closing(arriving):
            progress.advance(state.steps_done)
            began = time.perf_counter()
            for batch in arriving:
                yield batch
                self._require_finite(state)
                stop = self.processes.any(self._interruption.asked)  # asked of one, all stop after the same step
                self.step += 1
                state.steps_done += 1
                state.seconds["train"] += time.perf_counter() - began
                num_classes = len(state.start.memory.centroids)
                loss = f"{state.total[0] / state.settled:.3f}" if state.settled else "-"  # of the steps before this one
                progress.advance(loss=loss, clusters=num_classes)
                if stop:
                    raise InterruptedTrainingError
                on_step()
                began = time.perf_counter()

    def _weigh(self, targets: np.ndarray) -> Callable[[np.ndarray], np.ndarray] | None:
        """Rows (B,) of images -> their weights in the loss; None where all weigh the same."""
        loss = self.settings.loss
        waits = loss.camera_weight == "cluster" and self.next_epoch < loss.camera_weight_after
        return image_weights("none" if waits else loss.camera_weight, targets, self.cameras)

    def _end(self, state: EpochState, on_epoch: Callable[[EpochResult], None]) -> EpochResult:
        self._settle(state)
        labels, memory = state.start.labels, state.start.memory
        networks = {"student": self.student, "teacher": self.teacher, "memory": memory, "proxies": state.start.proxies}
        self._exact.require_agreement(networks, when=f"after epoch {self.next_epoch + 1}")
        signals: dict[str, Any] = cluster_signals(labels, cameras=self.cameras, before=self._labels_before)
        loss, hard, soft, *proxies = (state.total / len(state.batches)).tolist()
        result = EpochResult(
            epoch=self.next_epoch,
            eps=self.method.eps(self.next_epoch),
            learning_rate=self._learning_rate(),
            num_clusters=int(labels.max(initial=-1)) + 1,
            num_outliers=int((labels < 0).sum()),
            loss=loss,
            loss_hard=hard,
            loss_soft=soft,
            loss_proxies=proxies[0] if proxies else None,
            images_per_second=state.batches.size / state.seconds["train"],
            seconds=state.seconds,
            labels=labels,
            **state.start.stats,
            **signals,
        )
        self.method.end(memory)
        self.next_epoch, self._state, self._labels_before = self.next_epoch + 1, None, labels
        on_epoch(result)
        return result

    def _settle(self, state: EpochState) -> None:
        state.settle()
        self._require_finite(state)

    def _require_finite(self, state: EpochState) -> None:
        if not math.isfinite(float(state.total[0])):
            raise UserError(
                f"the loss is not finite in epoch {self.next_epoch + 1}, step {state.settled}: "
                "lower optimizer.lr or raise loss.temperature"
            )

    def _learning_rate(self) -> float:
        optimizer = self.settings.optimizer
        return learning_rate_at(
            self.next_epoch,
            start=optimizer.lr,
            warmup_epochs=optimizer.warmup_epochs,
            schedule=optimizer.schedule,
            epochs=self.settings.epochs,
            step_epochs=optimizer.step_epochs,
            milestones=optimizer.milestones,
            warmup_start=optimizer.warmup_start,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that `run` needs to go on: all else, every random choice too, follows from settings and place."""
        state = self._state
        if state is not None:
            self._settle(state)
        return {
            "student": self.student.state_dict(),
            "teacher": None if self.teacher is None else self.teacher.state_dict(),
            "exact": self._exact.state_dict(),
            "method": self.method.state_dict(),
            "labels": None if self._labels_before is None else torch.from_numpy(self._labels_before),
            "epoch": self.next_epoch,
            "step": self.step,
            "running": None if state is None else state.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the place that `state_dict` described."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self._exact.load_state_dict(state["exact"])
        self.method.load_state_dict(state["method"])
        self._labels_before = None if state["labels"] is None else state["labels"].numpy()
        self.next_epoch, self.step, running = int(state["epoch"]), int(state["step"]), state["running"]
        device = self.processes.device
        self._state = None if running is None else EpochState.restored(running, self.method, device=device)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - began
