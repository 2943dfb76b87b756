"""A map of the embedding: images that the network finds alike lie near each other on a plane.

t-SNE keeps neighbourhoods and nothing else: distances between far groups, their sizes and the axes mean nothing.

Source: van der Maaten & Hinton, Visualizing Data using t-SNE, JMLR 2008, in scikit-learn's Barnes-Hut version, begun
from the principal components (Kobak & Linderman, Nature Biotechnology 2021: it keeps more of the whole than random
points do). One thread, float64 and a fixed seed give one machine one result; another processor rounds otherwise.

N: images, D: width of an embedding.
"""

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

COMPONENTS = 50  # of the embedding, before its neighbours are looked for
PERPLEXITY = 30.0
STEPS = 500  # of the descent: as true to neighbourhoods as scikit-learn's 1,000 in half the time


def embedding_map(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """(N, 2) float64 coordinates, centred, the longer axis from -1 to 1 at most; all 0 where there is no difference.

    Args:
        features: (N, D), N >= 1; their length does not matter.
        seed: of t-SNE.
    """
    from sklearn.decomposition import PCA  # here: nearly a second
    from sklearn.manifold import TSNE

    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    points = features / np.where(lengths > 0, lengths, 1.0)
    if np.ptp(points, axis=0).max() < 1e-9:
        return np.zeros((len(points), 2))
    with threadpool_limits(1):
        reduced = PCA(min(COMPONENTS, *points.shape), svd_solver="full").fit_transform(points)
        if reduced.shape[1] < 2:
            reduced = np.pad(reduced, ((0, 0), (0, 1)))
        if len(points) < 4:  # too few for a neighbourhood
            return _fitted(reduced[:, :2])
        perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=STEPS, random_state=seed, n_jobs=1)
        flat = tsne.fit_transform(reduced)
    return _fitted(flat.astype(np.float64))


def choose_images(groups: np.ndarray, *, alone: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """Rows of at most `most` images, rising: whole groups in a drawn order, the last of them cut.

    Args:
        groups: (N,) identity or cluster of each image.
        alone: (N,) bool, distractors and outliers: each is a group of its own.
        most: At least 1.
        seed: of the order.
    """
    assert most >= 1 and groups.shape == alone.shape
    if len(groups) <= most:
        return np.arange(len(groups))
    apart = np.where(alone, groups.max() + 1 + np.arange(len(groups)), groups)
    _, number = np.unique(apart, return_inverse=True)
    place = np.random.default_rng(seed).permutation(number.max() + 1)[number]
    return np.sort(np.argsort(place, kind="stable")[:most])


def _fitted(points: np.ndarray) -> np.ndarray:
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    extent = np.abs(points).max()
    return points / extent if extent > 0 else points
