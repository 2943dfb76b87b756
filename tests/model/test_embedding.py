"""Embeddings of a set of images: in their places, by any number of processes, without a trace on the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.datasets.augment import normalise
from pipeline.model import build, embedding
from pipeline.model.embedding import embed, embed_shown

CPU = torch.device("cpu")


class Means(nn.Module):
    """(B, 3, H, W) -> the means of the three channels, and what it was called with."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.sizes: list[int] = []
        self.modes: list[bool] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        self.modes.append(self.training)
        assert images.dtype == self.factor.dtype
        return images.mean((2, 3)) * self.factor


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 4, 2, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "CHUNK", 3)


def test_embed_equals_a_loop_over_the_images(images: np.ndarray) -> None:
    found = embed(Means(), images, device=CPU)
    assert found.shape == (11, 3) and found.dtype == torch.float32 and not found.requires_grad
    for row, image in zip(found, images, strict=True):
        expected = normalise(torch.from_numpy(image)[None]).mean((2, 3))[0]
        torch.testing.assert_close(row, expected)


def test_embed_by_hand() -> None:
    """White and black, less ImageNet's mean (0.485, ...), by its deviation (0.229, ...)."""
    images = np.stack([np.full((2, 2, 3), 255, np.uint8), np.zeros((2, 2, 3), np.uint8)])
    found = embed(Means(), images, device=CPU)
    np.testing.assert_allclose(found[:, 0], [(1 - 0.485) / 0.229, -0.485 / 0.229], rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_embed_is_the_sum_of_what_its_processes_do(images: np.ndarray, size: int) -> None:
    """Bit for bit: the chunks do not depend on the number of processes."""
    whole = embed(Means(), images, device=CPU)
    parts, sizes = [], []
    for rank in range(size):
        model = Means()
        parts.append(embed(model, images, device=CPU, rank=rank, size=size))
        sizes += model.sizes
    assert torch.equal(torch.stack(parts).sum(0), whole)
    assert sorted(sizes) == [2, 3, 3, 3]
    assert sum((part != 0).any(1).int() for part in parts).tolist() == [1] * 11


def test_embed_takes_whole_chunks_in_turn(images: np.ndarray) -> None:
    second = embed(Means(), images, device=CPU, rank=1, size=2)
    assert (second != 0).any(1).nonzero()[:, 0].tolist() == [3, 4, 5, 9, 10]


def test_embed_without_images_has_the_width_of_the_model(images: np.ndarray) -> None:
    model = Means()
    assert embed(model, images[:0], device=CPU).shape == (0, 3)
    assert torch.equal(embed(model, images[:3], device=CPU, rank=1, size=2), torch.zeros(3, 3))
    assert model.sizes == []


@pytest.mark.parametrize("training", [True, False])
def test_embed_is_in_eval_mode_and_leaves_the_mode_as_it_was(images: np.ndarray, training: bool) -> None:
    model = Means().train(training)
    embed(model, images, device=CPU)
    assert model.modes == [False] * 4 and model.training == training


def test_embed_leaves_the_mode_as_it_was_after_an_error(images: np.ndarray) -> None:
    class Failing(Means):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("no memory")

    model = Failing().train()
    with pytest.raises(RuntimeError, match="no memory"):
        embed(model, images, device=CPU)
    assert model.training


def test_embed_leaves_the_statistics_of_batchnorm_as_they_were(images: np.ndarray) -> None:
    torch.manual_seed(0)
    network = build("resnet10_w32").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pixels = np.repeat(np.repeat(images, 8, axis=1), 8, axis=2)
    found = embed(network, pixels, device=CPU)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(11))


def test_embed_does_not_depend_on_what_else_is_embedded(images: np.ndarray) -> None:
    torch.testing.assert_close(embed(Means(), images, device=CPU)[6:9], embed(Means(), images[6:9], device=CPU))


def test_embed_of_a_double_network_is_float32(images: np.ndarray) -> None:
    found = embed(Means().double(), images, device=CPU)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, embed(Means(), images, device=CPU))


def test_embed_counts_the_images_that_are_done(images: np.ndarray) -> None:
    done: list[int] = []
    embed(Means(), images, device=CPU, advance=done.append)
    assert done == [3, 3, 3, 2]
    done.clear()
    embed(Means(), images, device=CPU, rank=1, size=2, advance=done.append)
    assert done == [3, 2]


def test_embed_reads_images_from_the_disk_and_does_not_write(images: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert torch.equal(embed(Means(), mapped, device=CPU), embed(Means(), images, device=CPU))


def test_embed_shown_is_embed(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = embed_shown(Means(), images, "queries")
    assert isinstance(found, np.ndarray) and found.dtype == np.float32
    np.testing.assert_array_equal(found, embed(Means(), images, device=CPU).numpy())
