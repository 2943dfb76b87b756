"""HybridMemory against hand-worked numbers and a naive loop over instances."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contrast import HybridMemory, contrastive_loss


def unit(rows: torch.Tensor) -> torch.Tensor:
    return F.normalize(rows, dim=1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), batch=st.integers(1, 20), num_classes=st.integers(1, 6))
def test_update_and_centroids_equal_naive_loop(seed: int, batch: int, num_classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    more = torch.randint(num_classes, (9,), generator=generator)
    classes = torch.cat([torch.arange(num_classes), more])[torch.randperm(num_classes + 9, generator=generator)]
    start = unit(torch.randn(len(classes), 5, generator=generator, dtype=torch.float64))
    memory = HybridMemory(start, classes, momentum=0.2)
    rows = start.clone()
    for _ in range(2):
        images = torch.randint(len(classes), (batch,), generator=generator)  # some of them twice
        features = unit(torch.randn(batch, 5, generator=generator, dtype=torch.float64))
        memory.update_(features, classes[images], images)
        for image, feature in zip(images.tolist(), features, strict=True):
            rows[image] = F.normalize(0.2 * rows[image] + 0.8 * feature, dim=0)
        means = torch.stack([rows[classes == c].mean(dim=0) for c in range(num_classes)])
        torch.testing.assert_close(memory.features, rows, rtol=0, atol=1e-12)
        torch.testing.assert_close(memory.centroids, means, rtol=0, atol=1e-12)


def test_loss_against_it_averages_the_logits_of_a_classs_instances() -> None:
    torch.manual_seed(1)
    rows, queries = unit(torch.randn(7, 4, dtype=torch.float64)), unit(torch.randn(3, 4, dtype=torch.float64))
    classes, labels = torch.tensor([0, 0, 1, 1, 1, 2, 3]), torch.tensor([1, 3, 0])  # 2 and 3: one image each
    memory = HybridMemory(rows, classes, momentum=0.2)
    total, _, _ = contrastive_loss(queries, None, memory.centroids, labels, temperature=0.05, smoothing=0.0, weight=0.0)
    losses = []
    for query, label in zip(queries, labels.tolist(), strict=True):
        logits = [float(torch.stack([query @ row / 0.05 for row in rows[classes == c]]).mean()) for c in range(4)]
        losses.append(-F.log_softmax(torch.tensor(logits, dtype=torch.float64), dim=0)[label])
    assert float(total) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-12)


def test_update_by_hand() -> None:
    memory = HybridMemory(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 1]), momentum=0.5)
    torch.testing.assert_close(memory.centroids, torch.tensor([[0.5, 0.5], [1.0, 0.0]]))  # not of unit length
    memory.update_(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), torch.tensor([0]))
    half = 2**-0.5
    torch.testing.assert_close(memory.features, torch.tensor([[half, half], [0.0, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(memory.centroids, torch.tensor([[half / 2, (1 + half) / 2], [1.0, 0.0]]))


def test_state_restores_every_bit() -> None:
    classes = torch.tensor([0, 1, 0, 2])
    memory = HybridMemory(torch.randn(4, 6), classes, momentum=0.3)
    memory.update_(unit(torch.randn(2, 6)), classes[[0, 3]], torch.tensor([0, 3]))
    again = HybridMemory(memory.features, classes, momentum=0.3)
    again.load_state_dict(memory.state_dict())
    assert torch.equal(again.features, memory.features) and torch.equal(again.centroids, memory.centroids)


def test_memory_copies_its_rows_and_stays_float32_under_autocast() -> None:
    start = unit(torch.randn(3, 8))
    kept = start.clone()
    memory = HybridMemory(start, torch.tensor([0, 1, 1]), momentum=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        memory.update_(unit(torch.randn(2, 8)).bfloat16(), torch.tensor([1, 1]), torch.tensor([1, 2]))
    assert memory.features.dtype == memory.centroids.dtype == torch.float32
    assert torch.equal(start, kept)


def test_memory_refuses() -> None:
    with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\], got 2"):
        HybridMemory(torch.eye(2), torch.tensor([0, 1]), momentum=2)
    with pytest.raises(ValueError, match=r"a class for each, got \(2, 2\) and \(3,\)"):
        HybridMemory(torch.eye(2), torch.tensor([0, 1, 1]), momentum=0.2)
    with pytest.raises(ValueError, match=r"N > 0"):
        HybridMemory(torch.empty(0, 2), torch.empty(0, dtype=torch.int64), momentum=0.2)
    with pytest.raises(ValueError, match="class 1 has no image: classes must be 0 to K - 1"):
        HybridMemory(torch.eye(2), torch.tensor([0, 2]), momentum=0.2)
