"""The clustering step as a whole: what it says where its settings do not fit the data."""

import numpy as np
import pytest

from pipeline.clustering import pseudo_labels
from pipeline.common.errors import UserError


def two_groups(size: int) -> np.ndarray:
    """Two groups of images that have most in common."""
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(2, 8), size, axis=0) + 0.02 * rng.standard_normal((2 * size, 8)) + 2 * np.eye(1, 8, 7)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_too_large_a_k1_is_blamed_and_a_smaller_one_helps() -> None:
    how = {"eps": 0.6, "min_samples": 2, "k2": 2, "neighbours": "exact"}
    with pytest.raises(UserError, match=r"one cluster alone among 6 images: with k1 30 .*: lower clustering\.k1"):
        pseudo_labels(two_groups(3), k1=30, **how)  # type: ignore[arg-type]
    assert pseudo_labels(two_groups(3), k1=3, **how).labels.tolist() == [0, 0, 0, 1, 1, 1]  # type: ignore[arg-type]
