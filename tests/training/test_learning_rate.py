"""The learning rate over the epochs."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.training.learning_rate import learning_rate_at

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "schedules.npz")


def test_learning_rate_matches_golden() -> None:
    options: dict[str, Any] = {"start": 3.5e-4, "warmup_epochs": 10, "schedule": "constant", "epochs": 70}
    found = [learning_rate_at(epoch, **options) for epoch in range(70)]
    np.testing.assert_allclose(found, GOLDEN["learning_rate"], rtol=0, atol=1e-7)


def test_learning_rate_without_warmup_starts_at_once() -> None:
    assert learning_rate_at(0, start=0.1, warmup_epochs=0, schedule="constant", epochs=5) == 0.1


def test_learning_rate_steps() -> None:
    options: dict[str, Any] = {"start": 1.0, "warmup_epochs": 2, "schedule": "step", "epochs": 9, "step_epochs": 3}
    found = [learning_rate_at(epoch, **options) for epoch in range(9)]
    np.testing.assert_allclose(found, [0.1, 0.55, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_milestones_and_warm_up_are_those_of_pytorch() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3.5e-4)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=3)
    steps = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[4, 7])
    options: dict[str, Any] = {"warmup_epochs": 3, "schedule": "milestones", "milestones": [4, 7], "warmup_start": 0.01}
    for epoch in range(10):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate_at(epoch, start=3.5e-4, epochs=10, **options) == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        warmup.step()
        steps.step()


def test_learning_rate_cosine_falls_from_start_towards_zero() -> None:
    options: dict[str, Any] = {"start": 2.0, "warmup_epochs": 2, "schedule": "cosine", "epochs": 10}
    found = [learning_rate_at(epoch, **options) for epoch in range(10)]
    assert found[2] == 2.0
    assert found[6] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in itertools.pairwise(found[2:]))
    assert found[-1] > 0


def test_learning_rate_refuses_unknown_schedule() -> None:
    with pytest.raises(ValueError, match="schedule must be one of constant, step, milestones, cosine, got 'poly'"):
        learning_rate_at(0, start=1, warmup_epochs=0, schedule="poly", epochs=1)
