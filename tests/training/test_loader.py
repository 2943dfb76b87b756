"""Batches arrive in order, the same for every way of spreading them, and what reads them ahead ends with them."""

import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.common.seeding import generator
from pipeline.config.schema import TrainingSettings
from pipeline.datasets.augment import apply_views, draw_views
from pipeline.training.loader import Batch, load_batches
from tests.training.small import change

CPU = torch.device("cpu")
WHOLE = slice(0, 16)


def load(
    images: np.ndarray, batches: np.ndarray, small: TrainingSettings, **options: Any
) -> Generator[Batch, None, None]:
    """`load_batches` of one process, of images whose classes are their rows."""
    usual: dict[str, Any] = {"first_step": 0, "share": WHOLE, "device": CPU}
    return load_batches(
        images, batches, targets=np.arange(len(images)), augment=small.augment, seed=small.seed, **{**usual, **options}
    )


@pytest.fixture
def batches() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 64, (3, 16))


def test_loader_gives_the_views_that_the_seed_and_the_step_draw(
    crowd: Any, small: TrainingSettings, batches: np.ndarray
) -> None:
    arrived = list(load(crowd.images, batches, small, first_step=7))
    assert len(arrived) == 3
    for step, (rows, batch) in enumerate(zip(batches, arrived, strict=True), start=7):
        np.testing.assert_array_equal(batch.images, rows)
        np.testing.assert_array_equal(batch.targets, rows)
        for number, view in enumerate(batch.views):
            drawn = draw_views(
                16, height=32, width=16, **small.augment.model_dump(), generator=generator(5, "view", step, number)
            )
            assert torch.equal(view, apply_views(torch.from_numpy(crowd.images[rows]), drawn))
        assert not torch.equal(*batch.views)


def test_loader_of_several_processes_is_the_batch_in_pieces(
    crowd: Any, small: TrainingSettings, batches: np.ndarray
) -> None:
    whole = list(load(crowd.images, batches, small))
    pieces = [list(load(crowd.images, batches, small, share=slice(at, at + 4))) for at in range(0, 16, 4)]
    for step, batch in enumerate(whole):
        assert all(torch.equal(piece[step].targets, batch.targets) for piece in pieces)
        for number, view in enumerate(batch.views):
            assert torch.equal(torch.cat([piece[step].views[number] for piece in pieces]), view)


def test_loader_reads_a_mapped_file(crowd: Any, small: TrainingSettings, batches: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", crowd.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    from_disk, from_memory = list(load(mapped, batches, small)), list(load(crowd.images, batches, small))
    assert all(torch.equal(a.views[0], b.views[0]) for a, b in zip(from_disk, from_memory, strict=True))


def test_loader_of_nothing_is_empty(crowd: Any, small: TrainingSettings) -> None:
    assert list(load(crowd.images, np.empty((0, 16), dtype=np.int64), small)) == []


def test_loader_that_is_closed_leaves_no_thread(crowd: Any, small: TrainingSettings, batches: np.ndarray) -> None:
    arriving = load(crowd.images, batches, small)
    next(arriving)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]
    arriving.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_loader_passes_on_what_went_wrong(crowd: Any, small: TrainingSettings, batches: np.ndarray) -> None:
    with pytest.raises(ValueError, match="low >= high"):
        next(load(crowd.images, batches, change(small, augment__pad=-1)))


def test_first_view_is_the_same_whether_others_are_drawn_beside_it(
    crowd: Any, small: TrainingSettings, batches: np.ndarray
) -> None:
    one, two = (next(load(crowd.images, batches, small, first_step=3, num_views=number)) for number in (1, 2))
    assert torch.equal(one.views[0], two.views[0]) and len(two.views) == 2


def test_loader_brings_the_weights_of_the_images(crowd: Any, small: TrainingSettings, batches: np.ndarray) -> None:
    plain, weighed = (
        list(load(crowd.images, batches, small, weigh=weigh)) for weigh in (None, lambda rows: rows.astype(np.float32))
    )
    for rows, without, batch in zip(batches, plain, weighed, strict=True):
        assert without.weights is None
        assert batch.weights is not None and batch.weights.dtype == torch.float32
        np.testing.assert_array_equal(batch.weights, rows)
        assert torch.equal(batch.views[0], without.views[0])
