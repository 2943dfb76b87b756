"""The embeddings of a packed set of images, placed by their index in the catalogue.

N: images · D: width of the embedding · H, W: pixels.
"""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import numpy as np
import torch
from torch import nn

from pipeline.common.device import choose_device
from pipeline.common.precision import Precision
from pipeline.common.progress import Progress
from pipeline.common.transfer import Arriving
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
    from pipeline.model.folded import for_inference  # here: torchvision takes more than a second

    was_training, precision, layout = model.training, next(model.parameters()).dtype, layout_on(device)
    embeddings: torch.Tensor | None = None
    starts = range(rank * CHUNK, len(images), size * CHUNK)
    # A chunk is read while the one before it is computed, and fetched while the one behind it is.
    arriving: deque[tuple[int, Arriving]] = deque()
    model.eval().to(memory_format=layout)
    call = for_inference(model)
    try:
        for start, pixels in zip(starts, _read_ahead(images, starts, pinned=device.type == "cuda"), strict=True):
            chunk = normalise(pixels.to(device, non_blocking=True)).to(precision)
            arriving.append((start, Arriving(call(chunk.contiguous(memory_format=layout)).float())))
            while arriving and (len(arriving) > 1 or start == starts[-1]):
                place, found = arriving[0][0], arriving.popleft()[1].wait()
                if embeddings is None:
                    embeddings = torch.zeros(len(images), found.shape[1])
                embeddings[place : place + CHUNK] = found
                if advance:
                    advance(len(found))
    finally:
        model.train(was_training)
    if embeddings is None:  # fewer chunks than processes, or no image at all: this one has nothing to do
        embeddings = torch.zeros(len(images), cast(int, model.num_features))
    return embeddings


def layout_on(device: torch.device) -> torch.memory_format:
    """How weights and pixels lie in memory: on a GPU with channels side by side, as its fast kernels want them.

    The same wherever a network is called, since kernels for another layout add up in another order.
    """
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _read_ahead(images: np.ndarray, starts: range, *, pinned: bool) -> Generator[torch.Tensor, None, None]:
    """The chunks that begin at `starts`, (B, H, W, 3) uint8; each is read while the one before it is used."""

    def read(start: int) -> torch.Tensor:
        chunk = images[start : start + CHUNK]
        pixels = torch.empty(chunk.shape, dtype=torch.uint8, pin_memory=pinned)
        np.copyto(pixels.numpy(), chunk)
        return pixels

    if not starts:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        waiting = reader.submit(read, starts[0])
        for following in (*starts[1:], None):
            pixels = waiting.result()
            if following is not None:
                waiting = reader.submit(read, following)
            yield pixels


def embed_shown(network: nn.Module, images: np.ndarray, title: str, *, shown: bool = True) -> np.ndarray:
    """`embed` in this process alone, in float32, on a GPU if there is one, with a progress bar unless not `shown`."""
    device = choose_device()
    exact = Precision("fp32", device)
    with Progress(title, len(images), unit="image", shown=shown) as progress, exact.forward():
        return embed(network.to(device), images, device=device, advance=progress.advance).numpy()
