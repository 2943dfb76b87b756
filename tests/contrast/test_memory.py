"""ClusterMemory against hand-worked numbers, a naive loop and the golden runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contrast import UPDATES, ClusterMemory

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "memory.npz")


def unit(rows: torch.Tensor) -> torch.Tensor:
    return F.normalize(rows, dim=1)


def naive_update(
    centroids: torch.Tensor,
    features: torch.Tensor,
    labels: torch.Tensor,
    momentum: float,
    rule: str,
    tau: float,
) -> torch.Tensor:
    """One instance or one cluster after another, as the paper writes it."""
    rows = centroids.clone()
    if rule == "instance":
        for feature, label in zip(features, labels.tolist(), strict=True):
            rows[label] = F.normalize(momentum * rows[label] + (1 - momentum) * feature, dim=0)
        return rows
    for label in sorted(set(labels.tolist())):
        members = features[labels == label]
        similarity = torch.tensor([float(q @ centroids[label]) for q in members], dtype=centroids.dtype)
        if rule == "mean":
            towards = members.mean(dim=0)
        elif rule == "hard":
            towards = members[int(similarity.argmin())]
        else:
            weights = torch.exp(-(similarity - similarity.min()) / tau)
            towards = (weights[:, None] * members).sum(dim=0) / weights.sum()
        rows[label] = F.normalize(momentum * centroids[label] + (1 - momentum) * towards, dim=0)
    return rows


@pytest.mark.parametrize("rule", UPDATES)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), batch=st.integers(1, 20), clusters=st.integers(1, 6))
def test_update_equals_naive_loop(rule: str, seed: int, batch: int, clusters: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = unit(torch.randn(clusters, 5, generator=generator, dtype=torch.float64))
    features = unit(torch.randn(batch, 5, generator=generator, dtype=torch.float64))
    labels = torch.randint(clusters, (batch,), generator=generator)
    memory = ClusterMemory(start, momentum=0.2, update=rule, tau=0.07)
    memory.update_(features, labels)
    expected = naive_update(start, features, labels, 0.2, rule, 0.07)
    torch.testing.assert_close(memory.centroids, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("wgm_tau0.03", "dynamic"),
        ("wgm_tau0.09", "dynamic"),
        ("wgm_tau0.6", "dynamic"),
        ("hard_tau0.09", "hard"),
        ("avg_tau0.09", "mean"),
        ("cc_tau0.09", "instance"),
    ],
)
@pytest.mark.parametrize("smoothing", [0.1, 0.3])
def test_update_matches_golden(name: str, rule: str, smoothing: float) -> None:
    tau = float(name.split("tau")[1])
    memory = ClusterMemory(torch.from_numpy(GOLDEN["start"]), momentum=float(GOLDEN["momentum"]), update=rule, tau=tau)
    expected = GOLDEN[f"{name}_smooth{smoothing}/memory"]
    for step, (features, labels) in enumerate(zip(GOLDEN["student"], GOLDEN["targets"], strict=True)):
        memory.update_(unit(torch.from_numpy(features)), torch.from_numpy(labels))
        np.testing.assert_allclose(memory.centroids.numpy(), expected[step], atol=1e-5)


def test_dynamic_update_by_hand() -> None:
    memory = ClusterMemory(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), momentum=0.5, update="dynamic", tau=1.0)
    memory.update_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    far = np.e / (1 + np.e)  # weights softmax(-1, 0): the instance at a right angle weighs e times as much
    expected = np.array([0.5 + 0.5 * (1 - far), 0.5 * far])
    np.testing.assert_allclose(memory.centroids[0].numpy(), expected / np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_array_equal(memory.centroids[1].numpy(), [0, 1])  # not in the batch: not moved


def test_dynamic_limits_are_hard_and_mean() -> None:
    start, features = unit(torch.randn(3, 8)), unit(torch.randn(12, 8))
    labels = torch.arange(12) % 3
    ends = {}
    for rule, tau in [("dynamic", 1e-4), ("hard", 1.0), ("dynamic", 1e6), ("mean", 1.0)]:
        memory = ClusterMemory(start, momentum=0.1, update=rule, tau=tau)
        memory.update_(features, labels)
        ends[rule, tau] = memory.centroids
    torch.testing.assert_close(ends["dynamic", 1e-4], ends["hard", 1.0], rtol=0, atol=1e-5)
    torch.testing.assert_close(ends["dynamic", 1e6], ends["mean", 1.0], rtol=0, atol=1e-5)


def test_update_leaves_inputs_alone_and_stays_float32_under_autocast() -> None:
    start, features, labels = torch.randn(3, 8), unit(torch.randn(6, 8)), torch.tensor([0, 0, 1, 1, 2, 2])
    kept = start.clone(), features.clone()
    memory = ClusterMemory(start, momentum=0.1, update="dynamic", tau=0.05)
    plain = ClusterMemory(start, momentum=0.1, update="dynamic", tau=0.05)
    plain.update_(features, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        memory.update_(features, labels)
    assert memory.centroids.dtype == torch.float32
    torch.testing.assert_close(memory.centroids, plain.centroids, rtol=0, atol=0)
    torch.testing.assert_close(start, kept[0], rtol=0, atol=0)
    torch.testing.assert_close(features, kept[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1.5}, r"momentum must be in \[0, 1\], got 1.5"),
        ({"update": "median"}, "update must be one of dynamic, hard, mean, instance, got 'median'"),
        ({"tau": 0.0}, "tau must be above 0, got 0.0"),
    ],
)
def test_memory_refuses(change: dict, message: str) -> None:
    good = {"momentum": 0.1, "update": "dynamic", "tau": 0.05}
    with pytest.raises(ValueError, match=message):
        ClusterMemory(torch.eye(2), **{**good, **change})


def test_memory_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match=r"shape \(K, D\) with K > 0"):
        ClusterMemory(torch.empty(0, 4), momentum=0.1, update="mean")
