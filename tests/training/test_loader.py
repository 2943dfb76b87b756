"""Batches arrive in order, the same for every way of spreading them, and what reads them ahead ends with them."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pipeline.training.plan import Plan

from pipeline.common.seeding import generator
from pipeline.datasets.augment import apply_views, draw_views
from pipeline.training.loader import feed

CPU = torch.device("cpu")
WHOLE = slice(0, 16)


@pytest.fixture
def batches() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 64, (3, 16))


def test_feed_gives_the_views_that_the_seed_and_the_step_draw(crowd: Any, plan: Plan, batches: np.ndarray) -> None:
    arrived = list(feed(crowd.images, batches, plan=plan, first_step=7, mine=WHOLE, device=CPU))
    assert len(arrived) == 3
    for step, (rows, views) in enumerate(zip(batches, arrived, strict=True), start=7):
        for number, view in enumerate(views):
            drawn = draw_views(
                16,
                height=32,
                width=16,
                pad=plan.pad,
                flip=plan.flip,
                erase=plan.erase,
                generator=generator(plan.seed, "view", step, number),
            )
            assert torch.equal(view, apply_views(torch.from_numpy(crowd.images[rows]), drawn))
        assert not torch.equal(*views)


def test_feed_of_several_processes_is_the_batch_in_pieces(crowd: Any, plan: Plan, batches: np.ndarray) -> None:
    whole = list(feed(crowd.images, batches, plan=plan, first_step=0, mine=WHOLE, device=CPU))
    pieces = [
        list(feed(crowd.images, batches, plan=plan, first_step=0, mine=slice(at, at + 4), device=CPU))
        for at in range(0, 16, 4)
    ]
    for step, views in enumerate(whole):
        for number, view in enumerate(views):
            assert torch.equal(torch.cat([piece[step][number] for piece in pieces]), view)


def test_feed_reads_a_mapped_file(crowd: Any, plan: Plan, batches: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", crowd.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    from_disk = list(feed(mapped, batches, plan=plan, first_step=0, mine=WHOLE, device=CPU))
    from_memory = list(feed(crowd.images, batches, plan=plan, first_step=0, mine=WHOLE, device=CPU))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(from_disk, from_memory, strict=True))


def test_feed_of_nothing_is_empty(crowd: Any, plan: Plan) -> None:
    nothing = np.empty((0, 16), dtype=np.int64)
    assert list(feed(crowd.images, nothing, plan=plan, first_step=0, mine=WHOLE, device=CPU)) == []


def test_feed_that_is_closed_leaves_no_thread(crowd: Any, plan: Plan, batches: np.ndarray) -> None:
    arriving = feed(crowd.images, batches, plan=plan, first_step=0, mine=WHOLE, device=CPU)
    next(arriving)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]
    arriving.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


def test_feed_passes_on_what_went_wrong(crowd: Any, plan: Plan, batches: np.ndarray) -> None:
    with pytest.raises(ValueError, match="low >= high"):
        next(
            feed(
                crowd.images,
                batches,
                plan=dataclasses.replace(plan, pad=-1),
                first_step=0,
                mine=WHOLE,
                device=CPU,
            )
        )
