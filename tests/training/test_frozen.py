"""Trainings of a part of the network: frozen parts, and paths that are dropped."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm  # noqa: F401 - here, before processes are forked from one that has this module
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.training.distributed import Processes
from pipeline.training.exact import Exact
from pipeline.training.trainer import Trainer
from tests.training.gloo import in_processes
from tests.training.small import change

STEM = ("backbone.conv1", "backbone.bn1", "backbone.layer1")
VIT: dict[str, Any] = {"freeze": ["patch_embed", "pos_embed"], "drop_path": 0.4, "pooling": "token"}


def vit_trainer(
    images: np.ndarray, cameras: np.ndarray, small: TrainingSettings, processes: Processes | None = None
) -> Trainer:
    """Of a ViT whose paths are dropped, with a frozen part."""
    torch.manual_seed(1)
    student = build("timm/test_vit", bn_group=4, image_size=(32, 16), **VIT)
    teacher = copy.deepcopy(student)
    return Trainer(student, teacher, images=images, cameras=cameras, settings=small, processes=processes, shown=False)


def trained(
    processes: Processes, images: np.ndarray, cameras: np.ndarray, small: TrainingSettings
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Student and teacher after an epoch, and its losses."""
    trainer = vit_trainer(images, cameras, small, processes)
    result = trainer.epoch()
    losses = [result.loss, result.loss_hard, result.loss_soft]
    assert trainer.teacher is not None
    networks = {"student": trainer.student, "teacher": trainer.teacher}
    return {f"{role}.{key}": x for role, network in networks.items() for key, x in network.state_dict().items()}, losses


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_leaves_frozen_parts_of_student_and_teacher(
    crowd: Any, small: TrainingSettings, optimizer: str
) -> None:
    """Where the teacher becomes the student once, too, and from a checkpoint on."""
    torch.manual_seed(1)
    student = build("resnet10_w32", freeze=["conv1", "bn1", "layer1"], bn_group=8)
    before = copy.deepcopy(student.state_dict())
    settings = change(small, optimizer__name=optimizer)

    def trainer() -> Trainer:
        one = copy.deepcopy(student)
        return Trainer(one, copy.deepcopy(one), images=crowd.images, cameras=None, settings=settings, shown=False)

    whole = trainer()
    whole.epoch()
    state = copy.deepcopy(whole.state_dict())
    whole.step = 99
    whole.epoch()
    assert whole.teacher is not None
    student_after, teacher_after = whole.student.state_dict(), whole.teacher.state_dict()
    for name, tensor in before.items():
        frozen = name.startswith(STEM)
        assert torch.equal(student_after[name], tensor) == (frozen or name == "neck.bias"), name
        assert torch.equal(teacher_after[name], tensor) or not frozen, name
    again = trainer()
    again.load_state_dict(state)
    again.step = 99
    again.epoch()
    assert_same(again.student.state_dict(), student_after)


def test_dropped_paths_are_the_same_in_one_process_and_in_two(
    crowd: Any, small: TrainingSettings, tmp_path: Path
) -> None:
    alone, losses = trained(Processes(), crowd.images, crowd.cameras, small)
    for found, found_losses in in_processes(trained, 2, tmp_path, crowd.images, crowd.cameras, small):
        assert_same(found, alone)
        assert found_losses == losses


def test_dropped_paths_are_the_same_after_an_interruption(crowd: Any, small: TrainingSettings) -> None:
    """Between two steps of an epoch; torch's generator has gone on meanwhile."""
    states: list[dict[str, Any]] = []
    whole = vit_trainer(crowd.images, crowd.cameras, small)
    whole.epoch(on_step=lambda: states.append(copy.deepcopy(whole.state_dict())))
    whole.epoch()
    again = vit_trainer(crowd.images, crowd.cameras, small)
    torch.rand(7)
    again.load_state_dict(states[1])
    again.epoch()
    again.epoch()
    assert_same(again.student.state_dict(), whole.student.state_dict())
    assert whole.teacher is not None and again.teacher is not None
    assert_same(again.teacher.state_dict(), whole.teacher.state_dict())


def exact(small: TrainingSettings, seed: int = 0, drop_path: float = 0.4) -> tuple[Exact, torch.nn.Module]:
    torch.manual_seed(1)
    student = build("timm/test_vit", bn_group=4, image_size=(32, 16), drop_path=drop_path).train()
    how: dict[str, Any] = {"optimizer": small.optimizer, "precision": "fp32", "compiled": False}
    return Exact(student, None, processes=Processes(), seed=seed, **how), student


def test_paths_are_dropped_anew_in_every_step_and_by_the_seed(small: TrainingSettings) -> None:
    images = torch.randn(8, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    embeddings = []
    for seed, step in ((0, 0), (0, 0), (0, 1), (1, 0)):
        one, student = exact(small, seed)
        embeddings.append(one.embed(student, images, step=step).detach())
    assert torch.equal(embeddings[0], embeddings[1])
    assert not torch.equal(embeddings[0], embeddings[2]) and not torch.equal(embeddings[0], embeddings[3])
    one, student = exact(small)
    with pytest.raises(AssertionError, match="draws anew in every step"):
        one.embed(student, images)
