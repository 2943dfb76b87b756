"""The test half of a data set: which protocol fits it, what it scores, and when there is nothing to score."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clustering import CameraAware
from pipeline.common.errors import UserError
from pipeline.evaluation import evaluate
from pipeline.evaluation.candidates import compare
from pipeline.evaluation.protocol import evaluate_distances
from pipeline.evaluation.reranking import reranked_distances
from pipeline.evaluation.test_set import TestSet, why_not_scored


@dataclass(frozen=True)
class Part:
    """Images whose two first colours are their features."""

    images: np.ndarray
    pids: np.ndarray | None
    camids: np.ndarray | None
    paths: tuple[str, ...]
    tracklets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


def part(features: Any, pids: Any, camids: Any, name: str) -> Part:
    images = np.zeros((len(features), 1, 1, 3), dtype=np.uint8)
    images[:, 0, 0, :2] = features
    paths = tuple(f"{name}/{number}.jpg" for number in range(len(features)))
    return Part(images, np.array(pids), np.array(camids), paths)


# Query 1 has a gallery image of its own camera; the third of the gallery is a distractor; query 3 has no match.
QUERY = part([[1, 0], [0, 1], [1, 1]], [1, 2, 3], [1, 1, 1], "query")
GALLERY = part([[1, 0], [4, 1], [3, 2], [2, 3], [0, 5]], [1, 1, 0, 2, 1], [1, 2, 2, 2, 2], "gallery")
NOBODY = part(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0, int), "nobody")


def packed(query: Part = QUERY, gallery: Part = GALLERY) -> Any:
    parts = {"query": query, "gallery": gallery}
    return SimpleNamespace(split=lambda name: parts[name], members=())


def unit(images: np.ndarray, title: str = "") -> np.ndarray:
    """(N, 2) features of unit length."""
    features = images[:, 0, 0, :2].astype(np.float32)
    return cast(np.ndarray, features / np.linalg.norm(features, axis=1, keepdims=True))


def scores_of(test: TestSet) -> Any:
    return test.score(*test.embed(unit))


def test_cameras_take_out_the_querys_own() -> None:
    # Query 1 ranks 4:1 (right), 3:2, 2:3, 0:5 (right): AP (1 + 2/4) / 2. Query 2 ranks 0:5, 2:3 (right): AP 1/2.
    test = TestSet(packed())
    scores = scores_of(test)
    assert test.uses_cameras
    assert scores.mean_ap == pytest.approx((0.75 + 0.5) / 2)
    assert scores.cmc == {1: 0.5, 5: 1.0, 10: 1.0}
    assert (scores.num_queries, scores.num_valid_queries) == (3, 2)


@pytest.mark.parametrize(
    ("query_cams", "gallery_cams"),
    [(None, None), (None, GALLERY.camids), (QUERY.camids, None), (np.full(3, 7), np.full(5, 7))],
    ids=["neither", "no query's", "no gallery's", "one for all"],
)
def test_without_cameras_that_help_nothing_is_taken_out(
    query_cams: np.ndarray | None, gallery_cams: np.ndarray | None
) -> None:
    # Query 1 ranks 1:0 (right), 4:1 (right), 3:2, 2:3, 0:5 (right): AP (1 + 1 + 3/5) / 3.
    test = TestSet(packed(replace(QUERY, camids=query_cams), replace(GALLERY, camids=gallery_cams)))
    assert not test.uses_cameras
    assert scores_of(test).mean_ap == pytest.approx((2.6 / 3 + 0.5) / 2)


def test_without_cameras_the_querys_own_file_is_taken_out() -> None:
    """As where every image is both a query and in the gallery."""
    query = replace(QUERY, camids=None, paths=("gallery/0.jpg", *QUERY.paths[1:]))
    scores = scores_of(TestSet(packed(query, replace(GALLERY, camids=None))))
    assert scores.mean_ap == pytest.approx((0.75 + 0.5) / 2)


def test_every_image_may_be_query_and_gallery() -> None:
    both = replace(GALLERY, camids=None)
    scores = scores_of(TestSet(packed(both, both)))
    np.testing.assert_array_equal(np.isnan(scores.average_precision), [False, False, True, True, False])
    assert scores.num_valid_queries == 3  # those of the identity that has three images
    assert scores.cmc[1] == pytest.approx(2 / 3)  # 1:0 and 4:1 find each other, 0:5 finds 2:3


def test_embed_asks_for_queries_and_then_for_the_gallery() -> None:
    titles = []

    def embed(images: np.ndarray, title: str) -> torch.Tensor:
        titles.append(title)
        return torch.from_numpy(unit(images))

    query, gallery = TestSet(packed()).embed(embed)
    assert titles == ["queries", "gallery"]
    assert isinstance(query, np.ndarray) and isinstance(gallery, np.ndarray)
    np.testing.assert_array_equal(query, unit(QUERY.images))
    np.testing.assert_array_equal(gallery, unit(GALLERY.images))


def test_reranking_is_the_evaluations() -> None:
    rng = np.random.default_rng(0)
    ids, cams = rng.integers(1, 5, 40), rng.integers(1, 4, 40)
    query, gallery = (part(rng.integers(1, 200, (n, 2)), ids[:n], cams[:n], str(n)) for n in (12, 40))
    test = TestSet(packed(query, gallery))
    found = test.score(*test.embed(unit), rerank=True)
    sides = (unit(query.images), query.pids, query.camids, unit(gallery.images), gallery.pids, gallery.camids)
    assert found.mean_ap == evaluate(*sides, rerank=True).mean_ap
    assert found.mean_ap != evaluate(*sides).mean_ap


def test_camera_aware_reranking_is_the_evaluations_too() -> None:
    rng = np.random.default_rng(0)
    ids, cams = rng.integers(1, 5, 80), rng.integers(1, 4, 80)
    query, gallery = (part(rng.integers(1, 200, (n, 2)), ids[:n], cams[:n], str(n)) for n in (12, 80))
    test = TestSet(packed(query, gallery))
    features = test.embed(unit)
    found = test.score(*features, rerank="camera_jaccard")
    cameras = np.concatenate([cams[:12], cams])
    how = CameraAware(cameras=cameras, k_intra=5, k_inter=20, k2_intra=2, k2_inter=4)
    chunks = reranked_distances(*features, camera_aware=how)
    distance = np.concatenate([chunk.copy() for _, chunk in chunks])
    assert found.mean_ap == evaluate_distances(distance, ids[:12], cams[:12], ids, cams).mean_ap
    assert found.mean_ap != test.score(*features, rerank=True).mean_ap


def test_camera_aware_reranking_needs_cameras_before_anything_is_embedded() -> None:
    test = TestSet(packed(replace(QUERY, camids=None), replace(GALLERY, camids=None)))
    with pytest.raises(UserError, match="evaluate.rerank is camera_jaccard, but the cameras .* set it to jaccard"):
        compare(test, {"student": lambda *_: pytest.fail("embedded")}, rerank=("student",), by="camera_jaccard")
    with pytest.raises(UserError, match="camera-aware re-ranking needs query_cams and gallery_cams"):
        sides = unit(QUERY.images), QUERY.pids, None, unit(GALLERY.images), GALLERY.pids, None
        evaluate(*sides, rerank="camera_jaccard")


def test_ranked_lists_follow_the_same_protocol() -> None:
    test = TestSet(packed())
    features = test.embed(unit)
    table = test.ranked_lists(*features, test.score(*features))
    first = table[table["query"] == 0]
    assert first["gallery"].tolist() == [1, 2, 3, 4]
    assert first["verdict"].tolist() == ["right", "distractor", "wrong", "right"]
    assert first["average_precision"].unique() == [0.75]
    assert set(table["query"]) == {0, 1}, "the query without a match is not shown"
    assert test.ranked_lists(*features, test.score(*features)).equals(table)


def test_ranked_lists_without_cameras_leave_out_the_own_file() -> None:
    query = replace(QUERY, camids=None, paths=("gallery/0.jpg", *QUERY.paths[1:]))
    test = TestSet(packed(query, replace(GALLERY, camids=None)))
    features = test.embed(unit)
    table = test.ranked_lists(*features, test.score(*features))
    assert table[table["query"] == 0]["gallery"].tolist() == [1, 2, 3, 4]


OTHERS = replace(GALLERY, pids=np.array([7, 7, 0, 8, 9]))


@pytest.mark.parametrize(
    ("query", "gallery", "reason"),
    [
        (NOBODY, GALLERY, "the data set has no query images"),
        (QUERY, NOBODY, "the data set has no gallery images"),
        (replace(QUERY, pids=None), GALLERY, "its query images have no identities"),
        (QUERY, replace(GALLERY, pids=None), "its gallery images have no identities"),
        (QUERY, OTHERS, "no query image shows an identity that another gallery image shows"),
        # Each identity has one image, which is query and gallery at once.
        (QUERY, QUERY, "no query image shows an identity that another gallery image shows"),
    ],
)
def test_nothing_to_evaluate_is_said_in_one_line(query: Part, gallery: Part, reason: str) -> None:
    assert why_not_scored(packed(query, gallery)) == reason
    with pytest.raises(UserError, match=f"there is nothing to evaluate: {reason}") as caught:
        TestSet(packed(query, gallery))
    assert "\n" not in str(caught.value)


def test_something_to_evaluate_is_none() -> None:
    assert why_not_scored(packed()) is None


@settings(max_examples=150, deadline=None)
@given(
    sides=st.tuples(
        *[st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=4)] * 2
    )
)
def test_what_can_be_scored_is_what_the_evaluation_scores(sides: Any) -> None:
    """Against a loop over all pairs of (identity, camera, file)."""
    query, gallery = (
        replace(
            part([[1, 1]] * len(rows), [r[0] for r in rows], [r[1] for r in rows], ""),
            paths=tuple(f"{pid} {camera} {file}" for pid, camera, file in rows),
        )
        for rows in sides
    )
    pairs = [(a, b) for a in sides[0] for b in sides[1] if a[0] == b[0]]
    assert (why_not_scored(packed(query, gallery)) is None) == any(a != b for a, b in pairs)
    if any(a != b for a, b in pairs):
        test = TestSet(packed(query, gallery))
        assert test.uses_cameras == any(a[1] != b[1] for a, b in pairs)
        assert scores_of(test).num_valid_queries >= 1
