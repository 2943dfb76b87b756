"""A data set of a few coloured people and a plan of a few steps, so that a training takes a second."""

from dataclasses import dataclass

import numpy as np
import pytest
from pipeline.training.plan import Plan


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
def plan() -> Plan:
    return Plan(
        epochs=2,
        iters=3,
        seed=5,
        batch=16,
        instances=4,
        camera_aware=True,
        flip=0.5,
        pad=2,
        erase=0.5,
        eps=0.6,
        eps_schedule="expo",
        min_samples=3,
        k1=6,
        k2=3,
        neighbours="exact",
        update="dynamic",
        momentum=0.1,
        tau=0.05,
        temperature=0.05,
        smoothing=0.2,
        weight=1.0,
        lr=1e-3,
        weight_decay=5e-4,
        schedule="constant",
        step_epochs=20,
        warmup_epochs=0,
        decay=0.99,
    )
