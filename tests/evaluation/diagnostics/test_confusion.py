"""Identities that the network takes for each other."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.common.errors import UserError
from pipeline.evaluation.diagnostics.confusion import COLUMNS, confused_pairs


def random_set(seed: int, num: int, *, identities: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, identities, num)
    features = np.eye(identities, 9)[ids] + rng.normal(0, 0.6, (num, 9))
    return {"features": features.astype(np.float32), "ids": ids, "own": rng.integers(1, 4, num)}


def pairs_of(query: dict[str, np.ndarray], gallery: dict[str, np.ndarray], **how: int) -> pd.DataFrame:
    return confused_pairs(
        query["features"],
        gallery["features"],
        query_ids=query["ids"],
        gallery_ids=gallery["ids"],
        query_own=query["own"],
        gallery_own=gallery["own"],
        **how,
    )


def by_loops(query: dict[str, np.ndarray], gallery: dict[str, np.ndarray], places: int) -> Counter[tuple[int, int]]:
    counts: Counter[tuple[int, int]] = Counter()
    unit = {id(s): s["features"] / np.linalg.norm(s["features"], axis=1, keepdims=True) for s in (query, gallery)}
    for row, pid in enumerate(query["ids"]):
        cosines = unit[id(gallery)] @ unit[id(query)][row]
        ranked = [
            int(place)
            for place in np.argsort(-cosines, kind="stable")
            if not (gallery["ids"][place] == pid and gallery["own"][place] == query["own"][row])
        ]
        for rank, place in enumerate(ranked[:places]):
            other = gallery["ids"][place]
            further = [gallery["ids"][later] for later in ranked[rank + 1 :]]
            if other not in (0, pid) and pid != 0 and pid in further:
                counts[min(pid, other), max(pid, other)] += 1
    return counts


@pytest.mark.parametrize(("seed", "places"), [(0, 50), (1, 5), (2, 200)])
def test_confused_pairs_equal_a_loop_over_ranked_lists(seed: int, places: int) -> None:
    query, gallery = random_set(seed, 30), random_set(seed + 10, 80)
    table = pairs_of(query, gallery, pairs=100, places=places)
    expected = by_loops(query, gallery, places)
    assert tuple(table) == COLUMNS
    found = table.drop_duplicates(["identity", "other"]).set_index(["identity", "other"])["count"]
    assert found.to_dict() == dict(expected) and len(expected) > 3
    order = [(-count, pair) for pair, count in found.items()]
    assert order == sorted(order)


def test_confused_pairs_by_hand() -> None:
    """One query of 1: an image of 2, then its match, then an image of 3, which stands above no match."""
    angles = {"query": [0.0], "gallery": [0.1, 0.2, 0.3, 0.0]}
    features = {name: np.stack([np.cos(a), np.sin(a)], axis=1).astype(np.float32) for name, a in angles.items()}
    table = confused_pairs(
        features["query"],
        features["gallery"],
        query_ids=np.array([1]),
        gallery_ids=np.array([2, 1, 3, 1]),
        query_own=np.array([7]),
        gallery_own=np.array([1, 1, 1, 7]),
    )
    assert table[["identity", "other", "count", "query", "gallery"]].to_numpy().tolist() == [[1, 2, 1, 0, 0]]
    assert table["similarity"].tolist() == [pytest.approx(np.cos(0.1))]


def test_confused_pairs_show_different_images_the_most_similar_first() -> None:
    query, gallery = random_set(3, 60, identities=3), random_set(4, 60, identities=3)
    table = pairs_of(query, gallery, examples=4)
    assert len(table) == 4, "identity 0 is nobody: there is one pair"
    assert table["query"].is_unique and table["gallery"].is_unique
    assert table["similarity"].is_monotonic_decreasing
    row: Any
    for row in table.itertuples():
        assert {query["ids"][row.query], gallery["ids"][row.gallery]} == {row.identity, row.other}


def test_confused_pairs_of_a_network_that_confuses_nobody_are_none() -> None:
    perfect: dict[str, Any] = {
        "features": np.eye(4, dtype=np.float32)[[1, 2, 3]],
        "ids": np.arange(1, 4),
        "own": np.ones(3, int),
    }
    table = pairs_of(perfect, {**perfect, "own": np.full(3, 2)})
    assert tuple(table) == COLUMNS and table.empty


def test_confused_pairs_leave_out_queries_without_a_match() -> None:
    one = {"features": np.eye(2, dtype=np.float32), "ids": np.array([1, 2]), "own": np.array([1, 1])}
    assert pairs_of(one, one).empty, "everybody's only match is the query's own"


def test_confused_pairs_refuse_labels_that_do_not_fit() -> None:
    query, gallery = random_set(0, 5), random_set(1, 6)
    with pytest.raises(UserError, match="gallery_ids must hold one label for each of the 6 images"):
        pairs_of(query, {**gallery, "ids": gallery["ids"][:3]})
