"""What users want to know beyond the scores: where the network fails, and what its embedding looks like.

Identities serve these tables alone: the training never sees them.
"""

import numpy as np
import pandas as pd

from pipeline.evaluation.diagnostics import camera_pairs as cameras
from pipeline.evaluation.diagnostics import confusion
from pipeline.evaluation.diagnostics.embedding_map import choose_images, embedding_map
from pipeline.evaluation.test_set import TestSet

MAP_COLUMNS = ("split", "image", "label", "x", "y")
MAP_IMAGES = 1_500


def diagnose(test: TestSet, query_features: np.ndarray, gallery_features: np.ndarray) -> dict[str, pd.DataFrame]:
    """Tables about a test set whose Q queries and M gallery images have identities.

    Args:
        test: the queries and the gallery.
        query_features, gallery_features: (Q, D) and (M, D), of the network that is the result.

    Returns:
        `camera_pairs` (empty where the protocol uses no cameras), `confused_pairs`, and `map`: test images on a plane,
        columns `MAP_COLUMNS`: `image` counts in its split, `label` is the identity, 0 for distractors.
    """
    query, gallery = test.query, test.gallery
    assert query.pids is not None and gallery.pids is not None
    tables = no_diagnosis()
    if test.uses_cameras:
        assert query.camids is not None and gallery.camids is not None
        tables["camera_pairs"] = cameras.camera_pairs(
            query_features,
            gallery_features,
            query_ids=query.pids,
            gallery_ids=gallery.pids,
            query_cams=query.camids,
            gallery_cams=gallery.camids,
        )
    query_own, gallery_own = test.own
    tables["confused_pairs"] = confusion.confused_pairs(
        query_features,
        gallery_features,
        query_ids=query.pids,
        gallery_ids=gallery.pids,
        query_own=query_own,
        gallery_own=gallery_own,
    )
    pids = np.concatenate([query.pids, gallery.pids])
    images = np.concatenate([np.arange(len(query)), np.arange(len(gallery))])
    splits = np.repeat(["query", "gallery"], [len(query), len(gallery)])
    features = np.concatenate([query_features, gallery_features])
    return tables | {"map": _map(features, splits, images, pids, alone=pids == confusion.DISTRACTOR)}


def diagnose_clusters(features: np.ndarray, clusters: np.ndarray) -> dict[str, pd.DataFrame]:
    """As `diagnose` for N training images (N, D) in clusters (N,), -1 for none: a map, and nothing about identities."""
    splits, images = np.repeat("train", len(features)), np.arange(len(features))
    return no_diagnosis() | {"map": _map(features, splits, images, clusters, alone=clusters < 0)}


def no_diagnosis() -> dict[str, pd.DataFrame]:
    """The tables without a row."""
    columns = {"camera_pairs": cameras.COLUMNS, "confused_pairs": confusion.COLUMNS, "map": MAP_COLUMNS}
    return {name: pd.DataFrame(columns=list(names)) for name, names in columns.items()}


def _map(
    features: np.ndarray, splits: np.ndarray, images: np.ndarray, labels: np.ndarray, *, alone: np.ndarray
) -> pd.DataFrame:
    chosen = choose_images(labels, alone=alone, most=MAP_IMAGES)
    places = embedding_map(features[chosen]).round(5)
    columns = (splits[chosen], images[chosen], labels[chosen], places[:, 0], places[:, 1])
    return pd.DataFrame(dict(zip(MAP_COLUMNS, columns, strict=True)))
