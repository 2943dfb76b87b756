"""Weights by cameras against naive loops, and what they make of a loss."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import camera_entropy
from pipeline.contrast import contrastive_loss, image_weights
from pipeline.contrast.camera_weights import batch_weights
from tests.contrast.test_losses import random_batch

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=30)


def entropy(cameras, base):
    counts = Counter(cameras)
    return -sum(n / len(cameras) * math.log(n / len(cameras), base) for n in counts.values())


def columns(pairs):
    classes, cameras = np.array(pairs, dtype=np.int64).T
    return classes, cameras


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_batch_weights_equal_the_naive_loop(pairs):
    classes, cameras = columns(pairs)
    weight = {c: math.exp(entropy([k for d, k in pairs if d == c], 2)) for c, _ in pairs}
    expected = [len(weight) * weight[c] / sum(weight.values()) for c, _ in pairs]
    rule = image_weights("batch", classes, cameras)
    assert rule is not None
    found = rule(np.arange(len(pairs)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.data())
def test_cluster_weights_equal_the_naive_loop(pairs, data):
    # Class 0 stands for outliers here, and classes are numbered without gaps.
    number = {c: n for n, c in enumerate(sorted({c for c, _ in pairs if c}))}
    classes = np.array([number.get(c, -1) for c, _ in pairs])
    cameras = np.array([k for _, k in pairs])
    rule = image_weights("cluster", classes, cameras)
    assert rule is not None
    batch = data.draw(st.lists(st.sampled_from(range(len(pairs))), min_size=1, max_size=8))
    weights = []
    for i in batch:
        mine = [k for c, k in zip(classes, cameras, strict=True) if c == classes[i]]
        weights.append(0.0 if classes[i] < 0 else math.log(1 + entropy(mine, math.e)))
    total = sum(weights)
    expected = [len(batch) * w / total for w in weights] if total else [1.0] * len(batch)
    np.testing.assert_allclose(rule(np.array(batch)), expected, rtol=1e-6, atol=1e-9)


def test_camera_entropy_by_hand():
    classes, cameras = columns([(0, 1), (0, 1), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)])
    np.testing.assert_allclose(camera_entropy(classes, cameras), [0, math.log(2), math.log(4)])


def test_one_camera_weighs_all_alike():
    classes = np.array([0, 0, 1, 2])
    for rule in ("batch", "cluster"):
        weigh = image_weights(rule, classes, np.ones(4, np.int64))
        assert weigh is not None
        np.testing.assert_array_equal(weigh(np.arange(4)), 1)


def test_one_image_per_camera_is_told_from_one_camera():
    classes, cameras = np.array([0, 0, 1, 1]), np.array([1, 2, 3, 3])
    weigh = image_weights("cluster", classes, cameras)
    assert weigh is not None
    np.testing.assert_array_equal(weigh(np.arange(4)), [2, 2, 0, 0])


def test_weights_do_not_depend_on_which_camera_is_which():
    classes = np.repeat(np.arange(5), 8)
    cameras = np.random.default_rng(0).integers(0, 4, 40)
    np.testing.assert_array_equal(batch_weights(classes, cameras), batch_weights(classes, 9 - cameras))


@pytest.mark.parametrize(("rule", "cameras"), [("none", np.ones(3)), ("batch", None), ("cluster", None)])
def test_nothing_is_weighed_without_rule_or_cameras(rule, cameras):
    assert image_weights(rule, np.zeros(3, np.int64), cameras) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_weighted_loss_is_the_mean_of_the_images_own_losses(seed, smoothing, weight):
    student, teacher, centroids, labels = random_batch(seed)
    images = torch.rand(len(labels), generator=torch.Generator().manual_seed(seed))
    options = {"temperature": 0.05, "smoothing": smoothing, "weight": weight}
    expected = np.zeros(3)
    for i in range(len(labels)):
        one = slice(i, i + 1)
        alone = contrastive_loss(student[one], teacher[one], centroids, labels[one], **options)
        expected += [float(images[i]) * float(loss) / len(labels) for loss in alone]
    found = contrastive_loss(student, teacher, centroids, labels, images=images, **options)
    np.testing.assert_allclose([float(loss) for loss in found], expected, rtol=1e-9)
