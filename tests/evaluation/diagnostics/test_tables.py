"""The tables for people beside the scores."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.diagnostics import tables
from pipeline.evaluation.diagnostics.camera_pairs import camera_pairs
from pipeline.evaluation.diagnostics.confusion import confused_pairs
from pipeline.evaluation.diagnostics.tables import MAP_COLUMNS, diagnose, diagnose_clusters, no_diagnosis
from pipeline.evaluation.test_set import TestSet


def part(pids: np.ndarray, camids: np.ndarray | None, name: str) -> Any:
    class Part(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.pids)

    paths = tuple(f"{name}{row}" for row in range(len(pids)))
    return Part(pids=pids, camids=camids, images=None, paths=paths, tracklets=None)


def test_set(*, cameras: bool) -> tuple[TestSet, np.ndarray, np.ndarray]:
    query_pids, gallery_pids = np.repeat(np.arange(1, 6), 2), np.repeat(np.arange(0, 6), 4)
    numbers = [np.arange(len(pids)) % 3 + 1 if cameras else None for pids in (query_pids, gallery_pids)]
    parts = {"query": part(query_pids, numbers[0], "q"), "gallery": part(gallery_pids, numbers[1], "g")}
    test = TestSet(SimpleNamespace(split=parts.__getitem__, members=()))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    features = [np.eye(6)[pids] + rng.normal(0, 0.5, (len(pids), 6)) for pids in (query_pids, gallery_pids)]
    return test, features[0].astype(np.float32), features[1].astype(np.float32)


test_set.__test__ = False  # type: ignore[attr-defined]


def test_diagnose_gathers_its_tables() -> None:
    test, query, gallery = test_set(cameras=True)
    tables = diagnose(test, query, gallery)
    assert list(tables) == ["camera_pairs", "confused_pairs", "map"]
    ids = {"query_ids": test.query.pids, "gallery_ids": test.gallery.pids}
    cams = {"query_cams": test.query.camids, "gallery_cams": test.gallery.camids}
    own = {"query_own": test.query.camids, "gallery_own": test.gallery.camids}
    pd.testing.assert_frame_equal(tables["camera_pairs"], camera_pairs(query, gallery, **ids, **cams))
    pd.testing.assert_frame_equal(tables["confused_pairs"], confused_pairs(query, gallery, **ids, **own))
    places = tables["map"]
    assert tuple(places) == MAP_COLUMNS and len(places) == len(query) + len(gallery)
    for split, labelled in (("query", test.query), ("gallery", test.gallery)):
        here = places[places["split"] == split]
        assert labelled.pids is not None
        np.testing.assert_array_equal(here["label"], labelled.pids[here["image"]])
    assert places[["x", "y"]].abs().max().max() <= 1


def test_diagnose_without_cameras_has_no_pairs_of_them() -> None:
    tables = diagnose(*test_set(cameras=False))
    assert tables["camera_pairs"].empty and len(tables["confused_pairs"])


def test_diagnose_draws_whole_identities_of_a_large_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAP_IMAGES", 14)
    test, query, gallery = test_set(cameras=True)
    places = diagnose(test, query, gallery)["map"]
    assert len(places) == 14
    identities = places[places["label"] > 0].groupby("label").size()
    assert (identities == 6).sum() >= len(identities) - 1, "query and gallery images of an identity, but for the last"


def test_diagnose_clusters_is_a_map_of_clusters() -> None:
    features, clusters = np.random.default_rng(0).normal(size=(12, 5)), np.repeat([-1, 0, 1], 4)
    tables = diagnose_clusters(features.astype(np.float32), clusters)
    assert tables["map"]["label"].tolist() == clusters.tolist() and set(tables["map"]["split"]) == {"train"}
    assert tables["camera_pairs"].empty and tables["confused_pairs"].empty
    assert list(tables) == list(no_diagnosis())
