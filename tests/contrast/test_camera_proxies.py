"""Camera proxies against naive loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contrast import CameraProxies, proxy_rows
from pipeline.contrast.camera_proxies import MOMENTUM, NEGATIVES, TEMPERATURE

# (cluster, camera) of each image; -1 for an outlier, which `drawn` may give to all but the first.
IMAGES = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 3)), min_size=2, max_size=20)


def drawn(images, seed=0):
    """Clusters numbered without gaps, cameras, and embeddings in double precision."""
    number = {c: n for n, c in enumerate(sorted({c for c, _ in images if c >= 0}))}
    labels = np.array([number.get(c, -1) for c, _ in images])
    cameras = np.array([k for _, k in images])
    features = np.random.default_rng(seed).standard_normal((len(images), 6))
    return labels, cameras, features / np.linalg.norm(features, axis=1, keepdims=True)


def rows_of(labels, cameras, features):
    """Cluster and camera -> its row."""
    rows = {}
    for pair in sorted({(c, k) for c, k in zip(labels, cameras, strict=True) if c >= 0}):
        members = [f for c, k, f in zip(labels, cameras, features, strict=True) if (c, k) == pair]
        rows[pair] = np.mean(members, axis=0) / np.linalg.norm(np.mean(members, axis=0))
    return rows


def naive_loss(student, batch, labels, cameras, rows, *, across):
    total = 0.0
    for q, image in zip(student, batch, strict=True):
        mine = labels[image], cameras[image]
        if mine[0] < 0:
            continue
        e = {pair: math.exp(q @ row / TEMPERATURE) for pair, row in rows.items()}
        total -= math.log(e[mine] / sum(value for (_, k), value in e.items() if k == mine[1]))
        attracts = [pair for pair in rows if pair[0] == mine[0] and pair[1] != mine[1]]
        others = sorted((value for (c, _), value in e.items() if c != mine[0]), reverse=True)[:NEGATIVES]
        if across and attracts:
            against = sum(e[pair] for pair in attracts) + sum(others)
            total -= sum(math.log(e[pair] / against) for pair in attracts) / len(attracts)
    return total / len(batch)


@settings(max_examples=60, deadline=None)
@given(IMAGES, st.booleans(), st.integers(0, 5))
def test_loss_is_that_of_the_naive_loop(images, across, seed):
    labels, cameras, features = drawn([(0, images[0][1]), *images[1:]])
    rows = rows_of(labels, cameras, features)
    proxies = CameraProxies(torch.tensor(np.array(list(rows.values()))), labels, cameras)
    rng = np.random.default_rng(seed)
    batch = rng.integers(0, len(labels), 7)
    student = features[batch] + 0.3 * rng.standard_normal((7, 6))
    student /= np.linalg.norm(student, axis=1, keepdims=True)
    found = proxies.loss(torch.tensor(student), torch.from_numpy(batch), across=across)
    assert float(found) == pytest.approx(naive_loss(student, batch, labels, cameras, rows, across=across), abs=1e-9)


def test_more_rows_than_the_negatives_that_count():
    images = [(c, 1 + k) for c in range(40) for k in range(2)]
    labels, cameras, features = drawn(images)
    features += 4  # similar to each other, so that each row has its share of the sum
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    rows = rows_of(labels, cameras, features)
    proxies = CameraProxies(torch.tensor(np.array(list(rows.values()))), labels, cameras)
    batch = np.arange(0, 80, 9)
    found = proxies.loss(torch.tensor(features[batch]), torch.from_numpy(batch), across=True)
    assert float(found) == pytest.approx(naive_loss(features[batch], batch, labels, cameras, rows, across=True))


def test_rows_are_means_of_a_cluster_in_a_camera():
    labels, cameras, features = drawn([(0, 2), (0, 1), (-1, 1), (1, 2), (0, 1), (1, 2)])
    expected = np.array(list(rows_of(labels, cameras, features).values()))
    np.testing.assert_allclose(proxy_rows(features.astype(np.float32), labels, cameras), expected, atol=1e-6)


def test_rows_follow_the_means_of_the_batch():
    labels, cameras, features = drawn([(0, 1), (0, 1), (0, 2), (1, 1), (-1, 1)])
    rows = rows_of(labels, cameras, features)
    proxies = CameraProxies(torch.tensor(np.array(list(rows.values()))), labels, cameras)
    batch = [0, 1, 1, 3, 4]
    student = drawn([(0, 1)] * 5, seed=3)[2]
    proxies.update_(torch.tensor(student), torch.tensor(batch))
    for pair, chosen in (((0, 1), student[:3]), ((1, 1), student[3:4])):
        moved = MOMENTUM * rows[pair] + (1 - MOMENTUM) * chosen.mean(axis=0)
        rows[pair] = moved / np.linalg.norm(moved)
    np.testing.assert_allclose(proxies.rows.numpy(), np.array(list(rows.values())), atol=1e-12)
    before = proxies.rows.clone()
    proxies.update_(torch.tensor(student[:1]), torch.tensor([4]))  # an outlier has no row
    assert proxies.rows.equal(before)


def test_gradient_flows_into_the_student_alone():
    labels, cameras, features = drawn([(c, k) for c in range(3) for k in (1, 2)])
    proxies = CameraProxies(torch.from_numpy(proxy_rows(features.astype(np.float32), labels, cameras)), labels, cameras)
    student = torch.tensor(features, requires_grad=True)
    proxies.loss(student, torch.arange(6), across=True).backward()
    assert student.grad is not None and bool(student.grad.norm(dim=1).gt(0).all())
    assert not any(row.requires_grad for row in proxies.buffers())


def test_other_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="2 pairs of a cluster and a camera need as many rows, got 3"):
        CameraProxies(torch.zeros(3, 4), np.array([0, 0, -1]), np.array([1, 2, 3]))
