"""What the user is told of a training before it begins; on a GPU: tests/cuda/."""

import copy
from typing import Any

import pytest
import torch

from pipeline.config.schema import TrainingSettings
from pipeline.model import build
from pipeline.training import setup
from pipeline.training.distributed import Processes
from pipeline.training.duration import training_seconds
from pipeline.training.setup import remarks
from pipeline.training.trainer import Trainer


def make(crowd: Any, small: TrainingSettings, **other: Any) -> Trainer:
    student = build("resnet10_w32", bn_group=8)
    data = {"images": crowd.images, "cameras": crowd.cameras, **other}
    return Trainer(student, copy.deepcopy(student), settings=small, shown=False, **data)


def test_training_says_where_it_computes(crowd: Any, small: TrainingSettings) -> None:
    threads = torch.get_num_threads()
    alone = list(remarks(make(crowd, small), neighbours="approximate"))
    assert alone == [f"training on the CPU ({threads} threads), fp32"]
    several = list(remarks(make(crowd, small, processes=Processes(rank=0, size=2)), neighbours="exact"))
    assert several == ["training on the CPU (2 processes, gloo), fp32"]


def test_training_says_what_of_the_starting_weights_is_left_out(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, small)
    state = trainer.student.backbone.state_dict()  # type: ignore[union-attr, operator]
    queue = {"queue": torch.ones(2, 3), "fc.weight": torch.ones(3, 3), "fc.bias": torch.ones(3)}
    trainer.student = build("resnet10_w32", bn_group=8, weights=dict(state) | queue)
    first, _ = remarks(trainer, neighbours="exact")
    assert first == "of the file of starting weights is left out: fc (2 tensors), queue"


@pytest.mark.parametrize(("seconds", "shown"), [(7300, "2 hours"), (100_000, "28 hours"), (900_000, "10 days")])
def test_training_that_takes_hours_on_a_cpu_says_so(
    crowd: Any, small: TrainingSettings, monkeypatch: pytest.MonkeyPatch, seconds: float, shown: str
) -> None:
    monkeypatch.setattr(setup, "training_seconds", lambda *_, **__: seconds)
    _, line = remarks(make(crowd, small), neighbours="exact")
    assert line.startswith(f"on this CPU it will take about {shown}: use a GPU, or a smaller backbone")


def test_time_on_a_cpu_grows_with_the_steps_and_changes_nothing(crowd: Any, small: TrainingSettings) -> None:
    trainer = make(crowd, small)
    before = copy.deepcopy(trainer.student.state_dict())
    short = training_seconds(trainer.student, small, images=trainer.num_images)
    assert 0 < short < 3600
    assert all(torch.equal(value, before[name]) for name, value in trainer.student.state_dict().items())
    assert trainer.student.training
