"""The batches of an epoch on their way to the device: one is read and drawn while the step before it computes.

b: images of this process in a batch · B: global batch · H, W: pixels.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.common.seeding import generator
from pipeline.common.transfer import send
from pipeline.config.schema import Augment
from pipeline.datasets.augment import ViewParameters, apply_views, draw_views


@dataclass(frozen=True)
class Batch:
    """One step's images; on the device, unless said otherwise.

    Attributes:
        views: (b, 3, H, W) float32 each, of this process's images: the student's, and the teacher's if there is one.
        targets: (B,) classes of the images of the whole batch.
        images: (B,) which images they are, on the CPU.
        classes: `targets`, on the CPU.
        weights: (B,) float32 of the images in the loss; None: all weigh the same.
    """

    views: tuple[torch.Tensor, ...]
    targets: torch.Tensor
    images: torch.Tensor
    classes: torch.Tensor
    weights: torch.Tensor | None = None


def load_batches(
    images: np.ndarray,
    batches: np.ndarray,
    *,
    targets: np.ndarray,
    augment: Augment,
    seed: int,
    first_step: int,
    share: slice,
    device: torch.device,
    num_views: int = 2,
    weigh: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Generator[Batch, None, None]:
    """The batches in their order.

    What is random follows from seed, step and view, and is drawn for the whole batch of all processes.

    Args:
        images: (N, H, W, 3) uint8, may be memory-mapped.
        batches: (steps, B) rows of the images of each step.
        targets: (N,) class of each image.
        augment: how views are drawn.
        seed: the experiment's.
        first_step: the number of the first batch, counted over all epochs.
        share: the rows of a batch that this process computes.
        device: where the views are wanted.
        num_views: of each image; the first is the same whether there are others or not.
        weigh: gives the weights (B,) in the loss of the images in rows (B,).
    """
    if not len(batches):
        return
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as reader:

        def read(number: int) -> "Future[tuple[torch.Tensor, torch.Tensor]]":
            return reader.submit(
                _read,
                images,
                batches[number],
                share,
                augment,
                seed,
                first_step + number,
                num_views,
                pinned=device.type == "cuda",
            )

        waiting = read(0)
        for number, rows in enumerate(batches):
            pixels, drawn = waiting.result()
            if number + 1 < len(batches):
                waiting = read(number + 1)
            pixels = pixels.to(device, non_blocking=True)
            classes = torch.from_numpy(targets[rows])
            # Few copies to the device: the pixels, and all whole numbers of the batch.
            numbers = send(torch.cat([classes, drawn.reshape(-1)]), device)
            yield Batch(
                tuple(
                    apply_views(pixels, ViewParameters.unpacked(view))
                    for view in numbers[len(rows) :].reshape(drawn.shape)
                ),
                numbers[: len(rows)],
                torch.from_numpy(rows),
                classes,
                None if weigh is None else send(torch.from_numpy(weigh(rows)), device),
            )


def _read(
    images: np.ndarray,
    rows: np.ndarray,
    share: slice,
    augment: Augment,
    seed: int,
    step: int,
    num_views: int,
    *,
    pinned: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (b, H, W, 3) of this process's images, and how each view of them is made, (views, b, 7)."""
    height, width = images.shape[1:3]
    drawn = [
        draw_views(
            len(rows),
            height=height,
            width=width,
            pad=augment.pad,
            flip=augment.flip,
            erase=augment.erase,
            generator=generator(seed, "view", step, view),
        )[share].packed()
        for view in range(num_views)
    ]
    chosen = rows[share]
    pixels = torch.empty((len(chosen), *images.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
    np.take(images, chosen, axis=0, out=pixels.numpy(), mode="clip")  # the other modes write into a copy first
    return pixels, torch.stack(drawn)
