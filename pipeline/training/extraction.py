"""Embeddings of any number of images, computed by all processes together.

N: images · D: width of the embedding.
"""

import numpy as np
import torch
from torch import nn

from pipeline.common.precision import Precision
from pipeline.common.progress import Progress
from pipeline.model.embedding import embed
from pipeline.training.distributed import Processes


def extract(
    network: nn.Module, images: np.ndarray, title: str, *, processes: Processes, precision: Precision, shown: bool
) -> torch.Tensor:
    """L2-normalised embeddings (N, D) on the CPU, the same in every process.

    Args:
        network: (B, 3, H, W) -> (B, D), on the device of `processes`.
        images: (N, H, W, 3) uint8, may be memory-mapped.
        title: of the progress bar.
        processes: this process among those that share the images.
        precision: of the forward passes.
        shown: show progress.
    """
    with Progress(title, len(images), unit="image", shown=shown) as progress, precision.forward():
        found = embed(
            network,
            images,
            device=processes.device,
            rank=processes.rank,
            size=processes.size,
            advance=lambda done: progress.advance(done * processes.size),
        )
    if processes.size > 1:
        found = found.to(processes.device)
        processes.sum_([found])
    return found.cpu()
