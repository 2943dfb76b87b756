"""A training of any backbone: the same bits each time, and a start for another training at every moment."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config.schema import TrainingSettings
from pipeline.model import build, load_weights_
from pipeline.model.saved import load_model, save_model
from pipeline.training.session import CHECKPOINT, train_to_end
from pipeline.training.trainer import Trainer
from tests.training.small import change

BACKBONES = ("timm/test_vit", "timm/test_efficientnet", "resnet10_w32")
SIZE = (32, 16)


def trained(backbone: str, crowd, small: TrainingSettings, folder: Path) -> Trainer:
    torch.manual_seed(0)
    student = build(backbone, bn_group=8, image_size=SIZE)
    trainer = Trainer(
        student,
        copy.deepcopy(student),
        images=crowd.images,
        cameras=None,
        settings=small,
        shown=False,
    )
    train_to_end(
        trainer,
        folder=folder,
        eval_step=10,
        checkpoint_minutes=9,
        score=dict,
        record=lambda row: None,
        say=lambda sentence: None,
        settings={},
    )
    return trainer


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    for name, tensor in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name


@pytest.mark.parametrize("backbone", BACKBONES)
def test_training_repeats_and_starts_another_one(backbone: str, crowd, small: TrainingSettings, tmp_path: Path) -> None:
    small = change(small, epochs=1, train__iters=2, augment__pad=1, clustering__eps=0.9)
    first, second = (trained(backbone, crowd, small, tmp_path / name) for name in ("first", "second"))
    assert_same(first.student, second.student)
    assert_same(first.teacher, second.teacher)

    size = {"height": SIZE[0], "width": SIZE[1]}
    settings: dict[str, Any] = {
        "backbone": backbone,
        "model": {"pooling": "avg", "features": 0, "bn_group": 8},
        "image": size,
    }
    save_model(tmp_path / "model.safetensors", first.student, first.teacher, settings=settings)
    assert_same(load_model(tmp_path / "model.safetensors")[1], first.teacher)
    for file in ("model.safetensors", f"first/{CHECKPOINT}"):
        torch.manual_seed(1)
        other = build(backbone, image_size=SIZE)
        assert not torch.equal(other.neck.weight, first.student.neck.weight)
        assert load_weights_(other, tmp_path / file).initial == ()
        assert_same(other, first.student)
