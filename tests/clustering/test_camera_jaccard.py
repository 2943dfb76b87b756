"""The camera-aware Jaccard distance against loops over sets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import dbscan, nearest_neighbours, recall
from pipeline.clustering.camera_jaccard import CameraAware, camera_jaccard_distance, camera_neighbours
from pipeline.clustering.candidates import on_device
from tests.clustering.test_jaccard import assert_well_formed, clustered, filled

HOW = CameraAware(cameras=np.empty(0, np.int64), k_intra=5, k_inter=20, k2_intra=2, k2_inter=4)


def rankings(features, cameras):
    """Both rankings of every image, whole: the image first, then by similarity, ties by index."""
    similarity = (features.astype(np.float64) @ features.astype(np.float64).T).astype(np.float32)
    intra, inter = [], []
    for i in range(len(features)):
        order = sorted((j for j in range(len(features)) if j != i), key=lambda j: (-similarity[i, j], j))
        intra.append([i] + [j for j in order if cameras[j] == cameras[i]])
        inter.append([j for j in order if cameras[j] != cameras[i]])
    return intra, inter


def naive(features, how):
    """The definition, dense and by loops over sets, in double precision."""
    num_images = len(features)
    intra, inter = rankings(features, how.cameras)
    V = np.zeros((num_images, num_images))
    for i in range(num_images):
        near = {j for j in intra[i][: how.k_intra + 1] if i in intra[j][: how.k_intra + 1]}
        far = {j for j in inter[i][: how.k_inter] if i in inter[j][: how.k_inter]}
        for j in near | far:
            V[i, j] = np.exp(-(2 - 2 * float(features[i].astype(float) @ features[j].astype(float))))
        V[i] /= V[i].sum()
    V = np.stack([V[intra[i][: how.k2_intra] + inter[i][: how.k2_inter]].mean(axis=0) for i in range(num_images)])
    shared = np.stack([np.minimum(V[i], V).sum(axis=1) for i in range(num_images)])
    return np.maximum(0, 1 - shared / (2 - shared))


@settings(max_examples=60, deadline=None)
@given(
    num_images=st.integers(1, 60),
    num_cameras=st.integers(1, 6),
    k_intra=st.integers(1, 8),
    k_inter=st.integers(1, 20),
    k2_intra=st.integers(1, 4),
    k2_inter=st.integers(0, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_camera_jaccard_distance_equals_loops_over_sets(
    num_images, num_cameras, k_intra, k_inter, k2_intra, k2_inter, seed
):
    features = clustered(num_images, width=4, seed=seed)
    cameras = np.random.default_rng(seed).integers(0, num_cameras, num_images)
    how = CameraAware(cameras=cameras, k_intra=k_intra, k_inter=k_inter, k2_intra=k2_intra, k2_inter=k2_inter)
    distance = camera_jaccard_distance(features, how, max_distance=0.999999)
    assert_well_formed(distance, 0.999999)
    expected = naive(features, how)
    far = expected > 0.9999  # at the limit, rounding decides whether a pair is stored
    np.testing.assert_allclose(np.where(far, 1, filled(distance)), np.where(far, 1, expected), rtol=0, atol=1e-5)
    near, whole = camera_jaccard_distance(features, how, max_distance=0.6), filled(distance)
    np.testing.assert_array_equal(filled(near), np.where(whole <= np.float32(0.6), whole, 1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_neighbours_in_other_groups_equal_a_sort(num_images, num_groups, k, seed):
    features = clustered(num_images, width=4, seed=seed)
    groups = np.random.default_rng(seed).integers(0, num_groups, num_images)
    found = nearest_neighbours(features, k, groups=groups)
    _, inter = rankings(features, groups)
    for i, row in enumerate(found.tolist()):
        expected = [i, *inter[i]][: found.shape[1]]
        assert row == expected + [-1] * (found.shape[1] - len(expected))
    assert recall(features, found, groups=groups) == 1


def test_ties_follow_the_catalogue():
    # All images are equal: the nearest are the first ones that may be neighbours.
    features = np.tile(np.float32([1, 0]), (40, 1))
    how = replace(HOW, cameras=np.arange(40) % 2, k_intra=2, k_inter=3)
    ranks = camera_neighbours(features, how)
    assert ranks.intra[7].tolist() == [7, 1, 3] and ranks.inter[7].tolist()[:3] == [0, 2, 4]
    np.testing.assert_allclose(
        filled(camera_jaccard_distance(features, how, max_distance=0.9999)), naive(features, how), atol=1e-5
    )


def test_one_camera_has_no_neighbours_in_others():
    features = clustered(60)
    ranks = camera_neighbours(features, replace(HOW, cameras=np.zeros(60, np.int64)))
    assert (ranks.inter == -1).all()
    np.testing.assert_array_equal(ranks.intra, nearest_neighbours(features, 6))


def test_one_image_per_camera_has_no_neighbours_in_its_own():
    features = clustered(30)
    ranks = camera_neighbours(features, replace(HOW, cameras=np.arange(30)))
    assert (ranks.intra[:, 1:] == -1).all() and (ranks.intra[:, 0] == np.arange(30)).all()
    np.testing.assert_array_equal(ranks.inter, nearest_neighbours(features, 21)[:, 1:])


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_camera_jaccard_distance_does_not_depend_on_threads(threads):
    features = clustered(1500)
    how = replace(HOW, cameras=np.random.default_rng(0).integers(0, 6, 1500))
    ours = camera_jaccard_distance(features, how, max_distance=0.7, threads=threads)
    reference = camera_jaccard_distance(features, how, max_distance=0.7)
    np.testing.assert_array_equal(ours.indptr, reference.indptr)
    np.testing.assert_array_equal(ours.indices, reference.indices)
    np.testing.assert_array_equal(ours.data, reference.data)


def test_search_by_products_on_a_device_finds_the_same():
    import torch

    features, groups = clustered(300), np.random.default_rng(0).integers(0, 3, 300)
    found = on_device(torch.from_numpy(features), 40, groups=groups, chunk=300 * 7)
    allowed = (groups[:, None] != groups) | np.eye(300, dtype=bool)
    np.testing.assert_array_equal(found.counts, np.minimum(40, allowed.sum(axis=1)))
    for i in range(300):
        assert allowed[i, found.columns[i, : found.counts[i]]].all() and i in found.columns[i]


def test_approximate_search_finds_other_cameras_too():
    features = clustered(3000, width=16)
    how = replace(HOW, cameras=np.random.default_rng(0).integers(0, 4, 3000))
    ranks = camera_neighbours(features, how, method="approximate")
    assert (how.cameras[ranks.inter] != how.cameras[:, None]).all() and (ranks.inter >= 0).all()
    whole = np.concatenate([np.arange(3000)[:, None], ranks.inter], axis=1)
    assert recall(features, whole, groups=how.cameras) > 0.5


def test_camera_bias_parts_clusters_of_the_plain_distance_alone():
    # People in a plane, and a camera's bias across it that is larger than what tells neighbouring people apart.
    rng = np.random.default_rng(0)
    people, cameras = np.repeat(np.arange(20), 24), np.tile(np.repeat(np.arange(4), 6), 20)
    identity, bias = rng.standard_normal((20, 16)), rng.standard_normal((4, 16))
    features = identity[people] + 1.1 * bias[cameras] + 0.3 * rng.standard_normal((480, 16))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    from pipeline.clustering import jaccard_distance

    def cameras_seen(labels):
        return np.mean([len(set(cameras[labels == c].tolist())) for c in range(labels.max() + 1)])

    plain = dbscan(jaccard_distance(features, k1=20, k2=6, max_distance=0.6), eps=0.5, min_samples=4)
    aware = dbscan(
        camera_jaccard_distance(features, replace(HOW, cameras=cameras), max_distance=0.6), eps=0.5, min_samples=4
    )
    assert cameras_seen(aware) > cameras_seen(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": np.zeros(19, np.int64)}, r"cameras must be \(20,\), one per image, got shape \(19,\)"),
        ({"k_intra": 0}, "k_intra, k_inter and k2_intra must be at least 1"),
        ({"k2_inter": -1}, "k2_inter at least 0"),
    ],
)
def test_camera_jaccard_distance_refuses(change, message):
    how = replace(HOW, cameras=np.zeros(20, np.int64))
    with pytest.raises(ValueError, match=message):
        camera_jaccard_distance(clustered(20), replace(how, **change), max_distance=0.6)


def test_camera_jaccard_distance_of_no_images():
    distance = camera_jaccard_distance(np.empty((0, 4), np.float32), HOW, max_distance=0.9)
    assert distance.shape == (0, 0)
