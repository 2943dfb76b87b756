"""A data set of a few coloured people and settings of a few steps, so that a training takes a second."""

from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.config.schema import TrainingSettings
from tests.training.small import small_settings


@dataclass(frozen=True)
class Crowd:
    """Images (N, H, W, 3), and who is on them: for the test to know, never for the trainer."""

    images: np.ndarray
    cameras: np.ndarray
    pids: np.ndarray


@pytest.fixture(scope="session")
def crowd() -> Crowd:
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(8), 8)
    colours = rng.integers(0, 256, (8, 2, 3))
    images = np.repeat(np.repeat(colours[pids], 16, axis=1)[:, :, None], 16, axis=2)
    noise = rng.normal(0, 25, images.shape)
    return Crowd(np.clip(images + noise, 0, 255).astype(np.uint8), np.tile(np.arange(4), 16), pids)


@pytest.fixture
def small() -> TrainingSettings:
    return small_settings()
