"""Every link is kept by every clustering."""

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import CameraAware, pseudo_labels
from pipeline.clustering.linked import Units
from pipeline.clustering.pseudo_labels import Reliability
from pipeline.clustering.quality import cluster_quality
from pipeline.datasets.links import Links

HOW: dict[str, Any] = {"eps": 0.6, "min_samples": 4, "k1": 8, "k2": 3, "neighbours": "exact"}


def people(seed: int, *, number: int = 8, each: int = 12, noise: float = 0.6):
    """Embeddings, and who is on each image."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(number), each)
    features = rng.standard_normal((number, 12))[who] + noise * rng.standard_normal((len(who), 12))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), who


def links_of(groups: np.ndarray, apart: list[tuple[int, int]]) -> Links:
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    numbers = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    pairs = np.array([sorted((numbers[a], numbers[b])) for a, b in apart], np.int64).reshape(-1, 2)
    return Links(numbers, np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0))


def require_kept(labels: np.ndarray, links: Links) -> None:
    for group in range(links.num_groups):
        assert len(set(labels[links.groups == group].tolist())) == 1
    for a, b in links.apart:
        one, other = labels[links.groups == a][0], labels[links.groups == b][0]
        assert one < 0 or one != other
    assert (labels[links.outliers] == -1).all()
    found = np.unique(labels[labels >= 0])
    np.testing.assert_array_equal(found, np.arange(len(found)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_every_link_is_kept(seed: int, camera_aware: bool, reliable: bool) -> None:
    rng = np.random.default_rng(seed)
    features, who = people(seed % 7, noise=rng.choice([0.3, 0.8]))
    groups = np.arange(len(who))
    for _ in range(rng.integers(0, 30)):  # right and wrong ones
        a, b = rng.integers(0, len(who), 2)
        groups[groups == groups[a]] = groups[b]
    apart = [tuple(rng.integers(0, len(who), 2)) for _ in range(rng.integers(0, 40))]
    links = links_of(groups, apart)  # type: ignore[arg-type]
    alone = np.flatnonzero(np.bincount(links.groups)[links.groups] == 1)
    links = replace(links, outliers=np.sort(rng.permutation(alone)[: rng.integers(0, 6)]))
    more: dict[str, Any] = {}
    if camera_aware:
        more["camera_aware"] = CameraAware(
            cameras=rng.integers(0, 3, len(who)), k_intra=3, k_inter=6, k2_intra=2, k2_inter=2
        )
    if reliable:
        more["reliability"] = Reliability(delta=0.02, independent=0.9)
    found = pseudo_labels(features, **HOW, links=links, **more)
    require_kept(found.labels, links)
    assert found.num_links_mended is not None and 0 <= found.num_links_mended <= len(links.apart)


def test_without_links_nothing_changes() -> None:
    features, _ = people(1)
    alone = Links(np.arange(len(features)), np.zeros((0, 2), np.int64))
    plain, linked = pseudo_labels(features, **HOW), pseudo_labels(features, **HOW, links=alone)
    np.testing.assert_array_equal(plain.labels, linked.labels)
    assert plain.num_links_mended is None and linked.num_links_mended == 0


def test_tracklets_help() -> None:
    features, who = people(1, number=20, noise=1.0)
    tracklets = links_of(who * 100 + np.arange(len(who)) % 4, [])  # of three images each
    found = pseudo_labels(features, **HOW).labels, pseudo_labels(features, **HOW, links=tracklets).labels
    without, with_them = (cluster_quality(labels, who)["ari"] for labels in found)
    assert with_them > without + 0.2


def test_two_that_cannot_be_one_are_parted_along_the_weakest_links() -> None:
    import scipy.sparse as sp

    # A chain 0 - 1 - 2 - 3 - 4 - 5, weakest between 2 and 3.
    lengths = [0.1, 0.2, 0.5, 0.2, 0.1]
    dense = np.zeros((6, 6), np.float32)
    for place, length in enumerate(lengths):
        dense[place, place + 1] = dense[place + 1, place] = length
    units = Units(np.arange(6), np.ones(6, np.int64), np.array([[0, 5]]))
    labels, broken = units.parted(np.zeros(6, np.int64), sp.csr_array(dense), eps=0.6, min_samples=3)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1] and broken == 1
    assert units.parted(np.zeros(6, np.int64), sp.csr_array(dense), eps=0.6, min_samples=4)[0].tolist() == [-1] * 6


def test_units_are_means_weigh_their_images_and_have_the_camera_of_most() -> None:
    features = np.eye(4, dtype=np.float32)
    units = Units.from_links(Links(np.array([0, 1, 0, 0]), np.zeros((0, 2), np.int64)))
    means = units.means(features)
    np.testing.assert_allclose(means, [[3**-0.5, 0, 3**-0.5, 3**-0.5], [0, 1, 0, 0]], atol=1e-7)
    assert units.sizes.tolist() == [3, 1] and units.scaled(30) == 15 and units.scaled(1) == 1 and units.scaled(3) == 2
    seen = units.seen_by(CameraAware(cameras=np.array([7, 9, 5, 5]), k_intra=8, k_inter=20, k2_intra=2, k2_inter=4))
    assert seen.cameras.tolist() == [5, 9] and (seen.k_intra, seen.k_inter) == (4, 10)
    opposite = Units.from_links(Links(np.array([0, 0]), np.zeros((0, 2), np.int64)))
    assert np.isfinite(opposite.means(np.array([[1, 0], [-1, 0]], np.float32))).all()


def test_images_that_are_all_one_are_one_cluster() -> None:
    features, _ = people(1, number=2)
    links = links_of(np.zeros(len(features), np.int64), [])
    labels = pseudo_labels(features, **{**HOW, "min_samples": 1}, links=links).labels
    assert set(labels.tolist()) == {0}


def test_outliers_for_good_are_as_if_they_were_not_there() -> None:
    features, who = people(1)
    out = np.array([0, 5, 40, 95])
    rest = np.delete(np.arange(len(who)), out)
    links = Links(np.arange(len(who)), np.zeros((0, 2), np.int64), out)
    labels = pseudo_labels(features, **HOW, links=links).labels
    assert (labels[out] == -1).all()
    np.testing.assert_array_equal(labels[rest], pseudo_labels(features[rest], **HOW).labels)
    none = Links(links.groups, links.apart, np.arange(len(who)))
    assert (pseudo_labels(features, **HOW, links=none).labels == -1).all()
