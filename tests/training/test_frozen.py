"""Trainings of a part of the network."""

import copy
from typing import Any

import pytest
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.training.trainer import Trainer
from tests.training.small import change


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_leaves_frozen_parts_of_student_and_teacher(
    crowd: Any, small: TrainingSettings, optimizer: str
) -> None:
    """Through the place where the teacher becomes the student once, and through a checkpoint."""
    torch.manual_seed(1)
    student = build("resnet10_w32", freeze=["conv1", "bn1", "layer1"], bn_group=8)
    before = copy.deepcopy(student.state_dict())
    settings = change(small, optimizer__name=optimizer, epochs=2)

    def trainer() -> Trainer:
        network = copy.deepcopy(student)
        return Trainer(
            network, copy.deepcopy(network), images=crowd.images, cameras=None, settings=settings, shown=False
        )

    first = trainer()
    first.epoch()
    state = copy.deepcopy(first.state_dict())
    first.step = 99
    first.epoch()
    assert first.teacher is not None
    for name, tensor in before.items():
        if name.startswith(("backbone.conv1", "backbone.bn1", "backbone.layer1")):
            assert torch.equal(first.student.state_dict()[name], tensor), name
            assert torch.equal(first.teacher.state_dict()[name], tensor), name
        elif name.endswith("conv1.weight"):
            assert not torch.equal(first.student.state_dict()[name], tensor), name
    again = trainer()
    again.load_state_dict(state)
    again.step = 99
    again.epoch()
    found = again.student.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in first.student.state_dict().items())
