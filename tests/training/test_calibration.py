"""The thresholds of a finished training, where they cannot be had."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pipeline.common.errors import UserError
from pipeline.training.calibration import thresholds_of
from pipeline.training.interruption import InterruptedTrainingError


def trainer(error: BaseException, *, in_clustering: bool) -> Any:
    """A trainer whose embedding or clustering ends so."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return SimpleNamespace(
        student="student",
        teacher=None,
        embed_training_images=(lambda *_: torch.eye(2)) if in_clustering else fail,
        method=SimpleNamespace(cluster=fail),
        processes=SimpleNamespace(first=True),
        settings=SimpleNamespace(epochs=6),
        cameras=None,
    )


@pytest.mark.parametrize("in_clustering", [True, False])
def test_interruption_after_the_last_epoch_says_how_to_go_on(in_clustering: bool) -> None:
    said: list[str] = []
    with pytest.raises(InterruptedTrainingError):
        thresholds_of(trainer(InterruptedTrainingError(), in_clustering=in_clustering), say=said.append)
    assert said == ["interrupted in epoch 6 of 6, which is finished: start the same command again to go on from there"]


def test_clusters_that_cannot_be_found_cost_no_training() -> None:
    said: list[str] = []
    assert thresholds_of(trainer(UserError("no clusters"), in_clustering=True), say=said.append) == {}
    assert said == ["the model carries no thresholds: no clusters"]
