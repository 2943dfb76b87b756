"""The embeddings of a packed set of images, placed by their index in the catalogue.

N: images · D: width of the embedding · H, W: pixels.
"""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import nn

from pipeline.common.precision import Precision
from pipeline.common.progress import Progress
from pipeline.datasets.augment import normalise

# Images at a time. Part of the result's definition: kernels may sum in another order for another batch size, so every
# process computes whole chunks, whose limits do not depend on the number of processes.
CHUNK = 256


@torch.no_grad()
def embed(
    model: nn.Module,
    images: np.ndarray,
    *,
    device: torch.device,
    rank: int = 0,
    size: int = 1,
    advance: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """L2-normalized embeddings of the images that are this process's share; zeros in the rows of the others.

    The sum over all processes is the embedding of every image. The model is in eval mode during the call and in the
    mode that it had afterwards. Images are read in chunks, so a memory-mapped array stays on disk.

    Args:
        model: (B, 3, H, W) float32 -> (B, D).
        images: of shape (N, H, W, 3), uint8.
        device: where the model is.
        rank: this process, 0 .. size - 1.
        size: processes that share the work.
        advance: called with the number of images that have been done.

    Returns:
        of shape (N, D), float32, on the CPU.
    """
    was_training, precision = model.training, next(model.parameters()).dtype
    model.eval()
    try:
        embeddings: torch.Tensor | None = None
        for start in range(rank * CHUNK, len(images), size * CHUNK):
            chunk = torch.from_numpy(np.array(images[start : start + CHUNK])).to(device)
            found = model(normalise(chunk).to(precision)).float().cpu()
            if embeddings is None:
                embeddings = torch.zeros(len(images), found.shape[1])
            embeddings[start : start + CHUNK] = found
            if advance:
                advance(len(chunk))
    finally:
        model.train(was_training)
    if embeddings is None:  # fewer chunks than processes, or no image at all: this one has nothing to do
        embeddings = torch.zeros(len(images), cast(int, model.num_features))
    return embeddings


def embed_shown(network: nn.Module, images: np.ndarray, title: str) -> np.ndarray:
    """`embed` in this process alone, in float32, on a GPU if there is one, with a progress bar."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    exact = Precision("fp32", device)
    with Progress(title, len(images), unit="image") as progress, exact.forward():
        return embed(network.to(device), images, device=device, advance=progress.advance).numpy()
