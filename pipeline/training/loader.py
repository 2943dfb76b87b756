"""The batches of an epoch on their way to the device: one is read and drawn while the step before it computes.

b: images of this process in a batch · H, W: pixels.
"""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from pipeline.common.seeding import generator
from pipeline.datasets.augment import ViewParameters, apply_views, draw_views
from pipeline.training.plan import Plan


def feed(
    images: np.ndarray,
    batches: np.ndarray,
    *,
    plan: Plan,
    first_step: int,
    mine: slice,
    device: torch.device,
    num_views: int = 2,
) -> Generator[tuple[torch.Tensor, ...], None, None]:
    """The views of each batch, each (b, 3, H, W) float32 on `device`.

    What is random follows from seed, step and view, and is drawn for the whole batch of all processes.

    Args:
        images: (N, H, W, 3) uint8, may be memory-mapped.
        batches: (steps, B) rows of the images of each step.
        plan: says how views are drawn.
        first_step: the number of the first batch, counted over all epochs.
        mine: the rows of a batch that this process computes.
        device: where the views are wanted.
        num_views: of each image; the first is the same whether there are others or not.
    """
    if not len(batches):
        return
    with ThreadPoolExecutor(1, thread_name_prefix="feed") as reader:

        def read(number: int) -> "Future[tuple[torch.Tensor, list[ViewParameters]]]":
            pinned = device.type == "cuda"
            return reader.submit(
                _read, images, batches[number], mine, plan, first_step + number, num_views, pinned=pinned
            )

        waiting = read(0)
        for number in range(len(batches)):
            pixels, drawn = waiting.result()
            if number + 1 < len(batches):
                waiting = read(number + 1)
            pixels = pixels.to(device, non_blocking=True)
            yield tuple(apply_views(pixels, views.to(device)) for views in drawn)


def _read(
    images: np.ndarray, rows: np.ndarray, mine: slice, plan: Plan, step: int, num_views: int, *, pinned: bool
) -> tuple[torch.Tensor, list[ViewParameters]]:
    """Pixels (b, H, W, 3) of this process's images, and how each view of them is made."""
    height, width = images.shape[1:3]
    drawn = [
        draw_views(
            len(rows),
            height=height,
            width=width,
            pad=plan.pad,
            flip=plan.flip,
            erase=plan.erase,
            generator=generator(plan.seed, "view", step, view),
        )[mine]
        for view in range(num_views)
    ]
    chosen = rows[mine]
    pixels = torch.empty((len(chosen), *images.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
    np.take(images, chosen, axis=0, out=pixels.numpy(), mode="clip")  # the other modes write into a copy first
    return pixels, drawn
