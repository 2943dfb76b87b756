"""Thresholds from clusters, against a plain computation over all pairs."""

import numpy as np
import pytest

from pipeline.clustering import same_or_different
from pipeline.clustering.same_or_different import calibrated


def drawn(seed: int = 1, *, people: int = 12, each: int = 15):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    features = rng.standard_normal((people, 16))[labels] + 0.5 * rng.standard_normal((len(labels), 16))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    labels[::7] = -1
    return features, labels, rng.integers(0, 3, len(labels))


@pytest.mark.parametrize("with_cameras", [True, False])
def test_stated_share_of_the_pairs_of_two_clusters_is_above(with_cameras: bool) -> None:
    features, labels, cameras = drawn()
    found = calibrated(features, labels, cameras=cameras if with_cameras else None, same_rate=0.01, unsure_rate=0.1)
    assert found is not None and (found.same_rate, found.unsure_rate) == (0.01, 0.1)
    cosines = features.astype(float) @ features.T
    inside = (labels >= 0)[:, None] & (labels >= 0)
    joined, apart = inside & (labels[:, None] == labels), inside & (labels[:, None] != labels)
    for threshold, rate in ((found.same, 0.01), (found.unsure, 0.1)):
        assert (cosines[apart] >= threshold).mean() <= rate
        assert (cosines[apart] >= threshold - 1e-3).mean() > 0.9 * rate
    hard = joined & (cameras[:, None] != cameras) if with_cameras else joined & ~np.eye(len(labels), dtype=bool)
    assert found.same_recall == pytest.approx((cosines[hard] >= found.same).mean(), abs=2e-3)
    assert found.unsure <= found.same
    assert found.verdict(found.same) == "same" and found.verdict(found.unsure - 0.01) == "different"
    assert found.verdict((found.same + found.unsure) / 2) == "unsure"


def test_a_part_of_many_images_gives_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, cameras = drawn(2, people=30)
    whole = calibrated(features, labels, cameras=cameras)
    monkeypatch.setattr(same_or_different, "_CHUNK", 1000)
    assert calibrated(features, labels, cameras=cameras) == whole
    monkeypatch.setattr(same_or_different, "MOST_ROWS", 200)
    part = calibrated(features, labels, cameras=cameras)
    assert whole is not None and part is not None and part.same == pytest.approx(whole.same, abs=0.05)


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, 0, -1]])
def test_without_two_clusters_there_is_no_threshold(labels: list[int]) -> None:
    assert calibrated(np.eye(3, dtype=np.float32), np.array(labels)) is None


def test_clusters_of_one_camera_each_have_no_pair_to_be_recalled() -> None:
    found = calibrated(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 1]), cameras=np.zeros(4, np.int64))
    assert found is not None and found.same_recall == 0
