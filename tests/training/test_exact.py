"""One step is that of the method, whatever precision, compilation and scaling do to its last digits."""

import copy
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config.schema import TrainingSettings
from pipeline.contrast import ClusterMemory, contrastive_loss, teacher_decay, update_teacher_
from pipeline.model import build
from pipeline.model.batchnorm import GroupedBatchNorm2d
from pipeline.model.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.distributed import Processes
from pipeline.training.exact import Exact
from pipeline.training.trainer import Trainer
from tests.training.small import change

STEPS = 3


class Tiny(nn.Module):
    """A network that compiles in seconds."""

    def __init__(self, bn_group: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 256, 3), GroupedBatchNorm2d(256, group_size=bn_group)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.norm(self.conv(images)).relu().mean(dim=(2, 3)), dim=1)


def networks(dtype: torch.dtype, bn_group: int, *, tiny: bool = False) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    student = (Tiny(bn_group) if tiny else build("resnet10_w32", bn_group=bn_group)).to(dtype).train()
    return student, copy.deepcopy(student)


def batches(dtype: torch.dtype) -> list[tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            (
                torch.randn(16, 3, 16, 16, generator=generator, dtype=torch.float64).to(dtype),
                torch.randn(16, 3, 16, 16, generator=generator, dtype=torch.float64).to(dtype),
            ),
            torch.randint(4, (16,), generator=generator),
        )
        for _ in range(STEPS)
    ]


def memory(small: TrainingSettings, dtype: torch.dtype) -> ClusterMemory:
    centroids = torch.randn(4, 256, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return ClusterMemory(
        centroids.to(dtype), momentum=small.memory.momentum, update=small.memory.update, tau=small.memory.tau
    )


class Learner:
    """Student, teacher and memory, and the steps of an epoch as the trainer takes them."""

    def __init__(
        self, small: TrainingSettings, dtype: torch.dtype = torch.float32, bn_group: int = 8, *, tiny: bool = False
    ) -> None:
        self.small, self.rows = small, memory(small, dtype)
        self.student, self.teacher = networks(dtype, bn_group, tiny=tiny)
        self.exact = Exact(
            self.student,
            self.teacher,
            optimizer=small.optimizer,
            precision=small.train.precision,
            compiled=small.train.compile,
            processes=Processes(),
        )

    def learn(self, views: tuple[torch.Tensor, ...], labels: torch.Tensor, *, step: int) -> list[float]:
        loss = self.small.loss
        student = self.exact.embed(self.student, views[0])
        teacher = self.exact.embed(self.teacher, views[1])
        losses = contrastive_loss(
            student,
            teacher,
            self.rows.centroids,
            labels,
            temperature=loss.temperature,
            smoothing=loss.smoothing,
            weight=loss.weight,
        )
        self.exact.optimize(losses[0], student)
        update_teacher_(self.teacher, self.student, decay=teacher_decay(step, decay=self.small.teacher.decay))
        self.rows.update_(student.detach(), labels)
        return [float(each.detach()) for each in losses]


def losses_of(
    small: TrainingSettings, dtype: torch.dtype = torch.float32, bn_group: int = 8, *, tiny: bool = False
) -> tuple[Learner, list[list[float]]]:
    """A learner after some steps, and the three losses of each."""
    learner = Learner(small, dtype, bn_group, tiny=tiny)
    return learner, [learner.learn(*each, step=step) for step, each in enumerate(batches(dtype))]


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


@pytest.mark.parametrize(("bn_group", "name"), [(8, "adam"), (16, "adam"), (8, "adamw"), (8, "sgd")])
def test_step_is_that_of_the_method(small: TrainingSettings, bn_group: int, name: str) -> None:
    """Against the step as one writes it: one pass of the whole batch, `backward`, the optimizer."""
    small = change(small, optimizer__name=name)
    learner, found = losses_of(small, torch.float64, bn_group)
    student, teacher = networks(torch.float64, bn_group)
    optimizer = OPTIMIZERS[name](student.parameters(), lr=small.optimizer.lr, weight_decay=small.optimizer.weight_decay)
    rows = memory(small, torch.float64)
    for step, (views, labels) in enumerate(batches(torch.float64)):
        embeddings = student(views[0])
        losses = contrastive_loss(
            embeddings,
            teacher(views[1]).detach(),
            rows.centroids,
            labels,
            temperature=small.loss.temperature,
            smoothing=small.loss.smoothing,
            weight=small.loss.weight,
        )
        optimizer.zero_grad()
        losses[0].backward()
        optimizer.step()
        decay = teacher_decay(step, decay=small.teacher.decay)
        with torch.no_grad():
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.mul_(decay).add_((1 - decay) * new)
        rows.update_(embeddings.detach(), labels)
        np.testing.assert_allclose(found[step], [loss.item() for loss in losses], rtol=0, atol=1e-10)
    for key, value in dict(student.named_parameters()).items():
        torch.testing.assert_close(dict(learner.student.named_parameters())[key], value, rtol=0, atol=1e-9, msg=key)
    for key, value in dict(teacher.named_parameters()).items():
        torch.testing.assert_close(dict(learner.teacher.named_parameters())[key], value, rtol=0, atol=1e-9, msg=key)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_step_in_few_bits_is_nearly_that_of_many(small: TrainingSettings, precision: str, tolerance: float) -> None:
    _, exact = losses_of(small)
    learner, found = losses_of(change(small, train__precision=precision))
    assert found != exact
    np.testing.assert_allclose(found[0], exact[0], rtol=tolerance)
    for name, parameter in learner.student.named_parameters():
        assert parameter.dtype == torch.float32, name
        assert torch.isfinite(parameter).all(), name


def test_step_whose_scaled_gradients_overflow_is_left_out_and_the_scale_lowered(small: TrainingSettings) -> None:
    learner = Learner(change(small, train__precision="fp16"))
    state = learner.exact.state_dict()
    state["scaler"]["scale"] = 2.0**100
    learner.exact.load_state_dict(state)
    before = copy.deepcopy(learner.student.state_dict())
    learner.learn(*batches(torch.float32)[0], step=0)
    assert all(torch.equal(value, before[key]) for key, value in learner.student.named_parameters())
    assert learner.exact.state_dict()["scaler"]["scale"] == 2.0**99


COMPILER = os.environ.get("CXX", "g++")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed, and torch.compile needs it")
def test_compiled_step_is_nearly_the_plain_one(
    small: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    plain, exact = losses_of(small, tiny=True)
    learner, found = losses_of(change(small, train__compile=True), tiny=True)
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    assert list(learner.student.state_dict()) == list(plain.student.state_dict())
    assert list(tmp_path.rglob("*.cpp")), "nothing was compiled"


def test_network_that_cannot_be_compiled_is_one_line(small: TrainingSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no working C++ compiler")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_(network, dynamic=False, backend=broken))
    with pytest.raises(ValueError, match="train.compile: .*no working C\\+\\+ compiler.* or set it to false") as caught:
        losses_of(change(small, train__compile=True), tiny=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_training_in_few_bits_goes_on_bit_for_bit(
    crowd: Any, small: TrainingSettings, tmp_path: Path, precision: str
) -> None:
    small = change(small, train__precision=precision, train__iters=2)

    def trainer() -> Trainer:
        student, teacher = networks(torch.float32, 8)
        return Trainer(
            student,
            teacher,
            images=crowd.images,
            cameras=crowd.cameras,
            settings=small,
            shown=False,
        )

    whole, half, resumed = trainer(), trainer(), trainer()
    list(whole.run())
    next(half.run())
    save_checkpoint(tmp_path / "checkpoint.pt", half.state_dict())
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert state is not None
    resumed.load_state_dict(state)
    list(resumed.run())
    expected = whole.student.state_dict()
    assert [key for key, value in resumed.student.state_dict().items() if not torch.equal(value, expected[key])] == []
    assert resumed.state_dict()["exact"]["scaler"] == whole.state_dict()["exact"]["scaler"]
