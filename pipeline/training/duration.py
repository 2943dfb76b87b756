"""How long a training will take on this machine, from what its network takes for a few images: an estimate.

Gradients take twice the time of a forward pass; the teacher takes one more pass. Clustering is left out: beside the
network it takes little time, unless the network is small and the images are many.
"""

import time

import torch
from torch import nn

from pipeline.config.schema import TrainingSettings

IMAGES_TIMED = 4


def training_seconds(
    network: nn.Module, settings: TrainingSettings, *, images: int, processes: int = 1, timed: int = IMAGES_TIMED
) -> float:
    """Seconds that the epochs of `settings` will take, about.

    Args:
        network: (B, 3, H, W) -> (B, D), on the device that will train it; is left as it is.
        settings: of the training.
        images: N, to train on.
        processes: that share the work.
        timed: images that are passed through the network, twice.
    """
    each = embedding_seconds(network, height=settings.image.height, width=settings.image.width, timed=timed)
    passes = settings.train.iters * settings.sampler.batch * (4 if settings.has_teacher else 3) + images
    return settings.epochs * passes * each / processes


@torch.no_grad()
def embedding_seconds(network: nn.Module, *, height: int, width: int, timed: int = IMAGES_TIMED) -> float:
    """Seconds that a forward pass takes for one image of `timed` together."""
    device = next(network.parameters()).device
    images, training = torch.zeros(timed, 3, height, width, device=device), network.training
    network.eval()
    try:
        network(images)  # the first one is slower
        _finish(device)
        began = time.perf_counter()
        network(images)
        _finish(device)
        return (time.perf_counter() - began) / timed
    finally:
        network.train(training)


def duration(seconds: float) -> str:
    """A time in words, such as "3 minutes", in the unit that a person would name it in."""
    for unit, length, most in (("second", 1, 100), ("minute", 60, 6000), ("hour", 3600, 48 * 3600)):
        if seconds < most:
            number = max(1, round(seconds / length))
            return f"{number} {unit}{'s' * (number > 1)}"
    return f"{seconds / 86400:.0f} days"


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
