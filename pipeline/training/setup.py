"""A trainer as the settings ask for it."""

import copy
from pathlib import Path

from pipeline.common.seeding import seed_everything
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.packed_images import TrainingImages
from pipeline.model.saved import build_of
from pipeline.training.distributed import Processes
from pipeline.training.interruption import Interruption
from pipeline.training.trainer import Trainer


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
        UserError: the weights do not fit the network.
    """
    seed_everything(settings.seed, deterministic=settings.train.deterministic)
    student = build_of(settings.as_dict(), weights=weights).to(processes.device)
    return Trainer(
        student,
        copy.deepcopy(student) if settings.has_teacher else None,
        images=images.images,
        cameras=images.camids,
        settings=settings,
        processes=processes,
        interruption=interruption,
        recorded=recorded,
    )
