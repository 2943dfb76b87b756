"""Rank-1 by pairs of cameras."""

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.evaluation.diagnostics.camera_pairs import COLUMNS, camera_pairs


def random_set(seed: int, num: int, *, identities: int = 6, cameras: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, identities, num)
    features = np.eye(identities, 8)[ids] + rng.normal(0, 0.7, (num, 8))
    return {"features": features.astype(np.float32), "ids": ids, "cams": rng.integers(1, cameras + 1, num)}


def pairs_of(query: dict[str, np.ndarray], gallery: dict[str, np.ndarray]) -> pd.DataFrame:
    return camera_pairs(
        query["features"],
        gallery["features"],
        query_ids=query["ids"],
        gallery_ids=gallery["ids"],
        query_cams=query["cams"],
        gallery_cams=gallery["cams"],
    )


def by_loops(query: dict[str, np.ndarray], gallery: dict[str, np.ndarray]) -> dict[tuple[int, int], tuple[int, float]]:
    found: dict[tuple[int, int], list[bool]] = {}
    for feature, pid, cam in zip(query["features"], query["ids"], query["cams"], strict=True):
        for camera in set(gallery["cams"].tolist()):
            best, best_cosine, has_match = None, -np.inf, False
            for other, other_pid, other_cam in zip(gallery["features"], gallery["ids"], gallery["cams"], strict=True):
                if other_cam != camera or (other_pid == pid and other_cam == cam):
                    continue
                has_match |= bool(other_pid == pid)
                cosine = float(feature @ other / np.linalg.norm(feature) / np.linalg.norm(other))
                if cosine > best_cosine:
                    best, best_cosine = other_pid, cosine
            if has_match:
                found.setdefault((int(cam), int(camera)), []).append(bool(best == pid))
    return {pair: (len(right), float(np.mean(right))) for pair, right in found.items()}


@pytest.mark.parametrize("seed", range(3))
def test_camera_pairs_equal_a_loop_over_queries_and_images(seed: int) -> None:
    query, gallery = random_set(seed, 40), random_set(seed + 10, 70)
    table = pairs_of(query, gallery)
    expected = by_loops(query, gallery)
    assert tuple(table) == COLUMNS
    keys = list(zip(table["query_camera"], table["gallery_camera"], strict=True))
    assert keys == sorted(expected)
    for key, (_, row) in zip(keys, table.iterrows(), strict=True):
        assert (row["queries"], row["rank1"]) == (expected[key][0], pytest.approx(expected[key][1]))


def test_camera_pairs_have_no_row_of_a_camera_beside_itself_or_without_a_valid_query() -> None:
    east, north = np.eye(2, dtype=np.float32)
    table = camera_pairs(
        np.stack([east, north]),
        np.stack([east, north, north, east]),
        query_ids=np.array([1, 2]),
        gallery_ids=np.array([1, 1, 2, 2]),
        query_cams=np.array([1, 1]),
        gallery_cams=np.array([1, 2, 3, 3]),
    )
    # Camera 2 has identity 1 alone, which looks as 2 does and is the only one there; camera 3 has identity 2, twice.
    assert table.to_numpy().tolist() == [[1, 2, 1, 1.0], [1, 3, 1, 1.0]]


def test_camera_pairs_count_distractors_as_wrong() -> None:
    east, north = np.eye(2, dtype=np.float32)
    table = camera_pairs(
        east[None],
        np.stack([east, north + 0.1]),
        query_ids=np.array([1]),
        gallery_ids=np.array([0, 1]),
        query_cams=np.array([1]),
        gallery_cams=np.array([2, 2]),
    )
    assert table.to_numpy().tolist() == [[1, 2, 1, 0.0]]


def test_camera_pairs_refuse_labels_that_do_not_fit() -> None:
    query, gallery = random_set(0, 5), random_set(1, 6)
    with pytest.raises(UserError, match="query_cams must hold one label for each of the 5 images"):
        pairs_of({**query, "cams": query["cams"][:3]}, gallery)
