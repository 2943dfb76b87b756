"""A trainer as the settings ask for it, and what to tell the user of it."""

import copy
from collections.abc import Iterator
from pathlib import Path

import torch

from pipeline.clustering.neighbours import is_exact
from pipeline.common.seeding import seed_everything
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.packed_images import TrainingImages
from pipeline.model.network import Network
from pipeline.model.saved import build_of
from pipeline.training.distributed import Processes
from pipeline.training.duration import duration, training_seconds
from pipeline.training.interruption import Interruption
from pipeline.training.trainer import Trainer

HOURS_TO_MENTION = 2.0


def new_trainer(
    settings: TrainingSettings,
    images: TrainingImages,
    *,
    weights: Path | None,
    processes: Processes,
    interruption: Interruption,
    recorded: bool = True,
) -> Trainer:
    """Student, teacher (a copy of it) and trainer at the first epoch; seeds all randomness.

    Args:
        settings: of the training.
        images: to train on, without identities.
        weights: file that the networks start from, None for random ones.
        processes: this process among those that train together.
        interruption: tells whether to stop between two steps.
        recorded: whether passes are CUDA graphs where they can be.

    Raises:
        UserError: the weights do not fit the network, or the images its patches.
    """
    seed_everything(settings.seed, deterministic=settings.train.deterministic)
    student = build_of(settings.as_dict(), weights=weights).to(processes.device)
    student.require_fitting_images()
    return Trainer(
        student,
        copy.deepcopy(student) if settings.has_teacher else None,
        images=images.images,
        cameras=images.camids,
        links=images.links,
        settings=settings,
        processes=processes,
        interruption=interruption,
        recorded=recorded,
    )


def remarks(trainer: Trainer, *, neighbours: str) -> Iterator[str]:
    """What of the starting weights is left out; where the training computes; on a CPU, how long it will take if that is
    hours; which search a GPU takes.

    Args:
        trainer: at its beginning.
        neighbours: the setting `clustering.neighbours`.
    """
    processes, precision = trainer.processes, trainer.settings.train.precision
    loaded = trainer.student.loaded if isinstance(trainer.student, Network) else None
    if loaded is not None and loaded.remark is not None:
        yield loaded.remark
    count = processes.size
    if processes.device.type == "cuda":
        several = f"{count} x " * (count > 1)
        how = " (nccl)" * (count > 1)
        yield f"training on {several}{torch.cuda.get_device_name(processes.device)}{how}, {precision}"
        if not is_exact(neighbours, "cpu"):
            yield "clustering.neighbours: on a GPU the exact search is the faster one, and is taken"
        return
    how = f"{count} processes, gloo" if count > 1 else f"{torch.get_num_threads()} threads"
    yield f"training on the CPU ({how}), {precision}"
    hours = training_seconds(trainer.student, trainer.settings, images=trainer.num_images, processes=count) / 3600
    if hours > HOURS_TO_MENTION:
        yield (
            f"on this CPU it will take about {duration(hours * 3600)}: use a GPU, or a smaller backbone such as "
            "backbone=resnet10_w32 with smaller images (image.height, image.width)"
        )
