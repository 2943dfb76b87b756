"""The loss against a naive loop, the golden runs and its definition's special cases."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contrast import ClusterMemory, contrastive_loss

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "memory.npz")
RULES = {"wgm": "dynamic", "hard": "hard", "avg": "mean", "cc": "instance"}


def random_batch(seed: int, batch: int = 6, clusters: int = 4, width: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def unit(rows: int) -> torch.Tensor:
        return F.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=1)

    return unit(batch), unit(batch), unit(clusters), torch.randint(clusters, (batch,), generator=generator)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_loss_equals_naive_loop(seed: int, smoothing: float, weight: float) -> None:
    student, teacher, centroids, labels = random_batch(seed)
    hard = soft = 0.0
    for q, p, y in zip(student, teacher, labels.tolist(), strict=True):
        mine = torch.exp(torch.stack([q @ c for c in centroids]) / 0.05)
        theirs = torch.exp(torch.stack([p @ c for c in centroids]) / 0.05)
        mine, theirs = mine / mine.sum(), theirs / theirs.sum()
        hard += -float(torch.log(mine[y])) / len(labels)
        for k in range(len(centroids)):
            target = (1 - smoothing) * (k == y) + smoothing * float(theirs[k])
            soft += -target * float(torch.log(mine[k])) / len(labels)
    found = contrastive_loss(student, teacher, centroids, labels, temperature=0.05, smoothing=smoothing, weight=weight)
    expected = ((1 - weight) * hard + weight * soft, hard, soft)
    np.testing.assert_allclose([float(x) for x in found], expected, rtol=1e-9)


@pytest.mark.parametrize("name", sorted({k.split("/")[0] for k in GOLDEN.files if "/" in k}))
def test_loss_and_gradient_match_golden(name: str) -> None:
    rule, tau, smoothing = name.split("_")
    memory = ClusterMemory(
        torch.from_numpy(GOLDEN["start"]),
        momentum=float(GOLDEN["momentum"]),
        update=RULES[rule],
        tau=float(tau.removeprefix("tau")),
    )
    for step, labels in enumerate(torch.from_numpy(GOLDEN["targets"])):
        # The golden gradient is that of the features before normalisation.
        raw = torch.from_numpy(GOLDEN["student"][step]).requires_grad_()
        teacher = F.normalize(torch.from_numpy(GOLDEN["teacher"][step]), dim=1)
        student = F.normalize(raw, dim=1)
        total, hard, soft = contrastive_loss(
            student,
            teacher,
            memory.centroids,
            labels,
            temperature=float(GOLDEN["temperature"]),
            smoothing=float(smoothing.removeprefix("smooth")),
            weight=0.7,
        )
        total.backward()
        memory.update_(student, labels)
        assert hard.item() == pytest.approx(GOLDEN[f"{name}/loss_cluster"][step], abs=1e-5)
        assert soft.item() == pytest.approx(GOLDEN[f"{name}/loss_soft"][step], abs=1e-5)
        np.testing.assert_allclose(raw.grad.numpy(), GOLDEN[f"{name}/grad"][step], atol=1e-5)


def test_loss_without_smoothing_needs_no_teacher() -> None:
    student, teacher, centroids, labels = random_batch(0)
    options: dict[str, Any] = {"temperature": 0.05, "smoothing": 0.0, "weight": 1.0}
    alone = contrastive_loss(student, None, centroids, labels, **options)
    with_teacher = contrastive_loss(student, teacher, centroids, labels, **options)
    assert alone[0] == with_teacher[0] == F.cross_entropy(student @ centroids.T / 0.05, labels)


def test_loss_gives_gradient_to_the_student_only() -> None:
    student, teacher, centroids, labels = (x.requires_grad_(x.is_floating_point()) for x in random_batch(1))
    contrastive_loss(student, teacher, centroids, labels, temperature=0.05, smoothing=0.3, weight=1.0)[0].backward()
    assert student.grad is not None and teacher.grad is None and centroids.grad is None


def test_loss_is_float32_under_autocast() -> None:
    student, teacher, centroids, labels = (x.float() if x.is_floating_point() else x for x in random_batch(2))
    options: dict[str, Any] = {"temperature": 0.05, "smoothing": 0.3, "weight": 0.5}
    plain = contrastive_loss(student, teacher, centroids, labels, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrastive_loss(student, teacher, centroids, labels, **options)
    assert [x.dtype for x in mixed] == [torch.float32] * 3
    assert [float(x) for x in mixed] == [float(x) for x in plain]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"smoothing": 1.1}, r"smoothing must be in \[0, 1\], got 1.1"),
        ({"weight": -0.1}, r"weight must be in \[0, 1\], got -0.1"),
        ({"teacher": None}, "the loss needs the teacher's embeddings"),
    ],
)
def test_loss_refuses(change: dict, message: str) -> None:
    student, teacher, centroids, labels = random_batch(3)
    options: dict[str, Any] = {"temperature": 0.05, "smoothing": 0.3, "weight": 1.0, "teacher": teacher, **change}
    with pytest.raises(ValueError, match=message):
        contrastive_loss(student, options.pop("teacher"), centroids, labels, **options)
