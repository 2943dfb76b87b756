"""The camera-aware Jaccard distance: neighbours within an image's camera and in other cameras are searched apart.

Among the nearest neighbours of an image most come from its own camera, whose light and background they share. Here an
image has two rankings, *intra* (its camera) and *inter* (all others), and its neighbourhood has reciprocal neighbours
of both, so that other cameras always have their share:

    R_intra(i) = { j among the k_intra nearest of i in its camera, i among those of j }, and i itself
    R_inter(i) = { j among the k_inter nearest of i in other cameras, i among those of j }
    R(i)       = R_intra(i) ∪ R_inter(i), without the expansion of the plain distance
    V[i]       = softmax over R(i) of -(2 - 2 cos), then the mean of V over the first k2_intra of the intra ranking, the
                 image itself counted, and the first k2_inter of the inter ranking

and the distance is that of `jaccard.py`. Nothing of size N x N exists here either.

Source: CA-Jaccard, CVPR 2024 (*camera-aware Jaccard distance for person re-identification*).

Shapes: N images, D width of an embedding.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.checks import checked
from pipeline.clustering.jaccard import overlap_distance
from pipeline.clustering.neighbourhoods import block_rows, joined_sets, softened
from pipeline.clustering.neighbours import nearest_neighbours
from pipeline.common.kernels import compiled, over_rows


@dataclass(frozen=True, kw_only=True)
class CameraAware:
    """What the camera-aware distance needs to know.

    Attributes:
        cameras: (N,) that took the images.
        k_intra: nearest images of the same camera that may be neighbours, the image itself not counted.
        k_inter: nearest images of other cameras that may be neighbours.
        k2_intra: first images of the intra ranking, the image itself counted, that V is averaged over.
        k2_inter: first images of the inter ranking that it is averaged over too.
    """

    cameras: NDArray[np.int64] = field(repr=False)
    k_intra: int
    k_inter: int
    k2_intra: int
    k2_inter: int


class CameraRanks(NamedTuple):
    """Both rankings, -1 where a camera, or all others together, have no more images."""

    intra: NDArray[np.int32]  # (N, 1 + k_intra), the image itself first
    inter: NDArray[np.int32]  # (N, k_inter)


def camera_neighbours(
    features: Any, how: CameraAware, *, method: str = "exact", device: str | None = None, threads: int | None = None
) -> CameraRanks:
    """Nearest images within the camera and in the others; ties follow the order of the catalogue.

    Args:
        features: (N, D) float32, L2-normalised rows, numpy or torch.
        how: cameras and numbers of neighbours.
        method, device, threads: see `nearest_neighbours`.

    Raises:
        ValueError: as `nearest_neighbours`; another number of cameras than of images, a number of neighbours below 1.
        UserError: features that are not finite.
    """
    embeddings = checked(features)
    cameras = np.ascontiguousarray(how.cameras, dtype=np.int64)
    if cameras.shape != (len(embeddings),):
        raise ValueError(f"cameras must be ({len(embeddings)},), one per image, got shape {cameras.shape}")
    if min(how.k_intra, how.k_inter, how.k2_intra) < 1 or how.k2_inter < 0:
        raise ValueError(f"k_intra, k_inter and k2_intra must be at least 1, k2_inter at least 0, got {how}")
    search = partial(nearest_neighbours, method=method, device=device, threads=threads)
    width_intra, width_inter = 1 + max(how.k_intra, how.k2_intra - 1), 1 + max(how.k_inter, how.k2_inter)
    intra = np.full((len(embeddings), width_intra), -1, np.int32)
    for camera in np.unique(cameras):
        rows = np.flatnonzero(cameras == camera)
        found = search(embeddings[rows], width_intra)
        intra[rows, : found.shape[1]] = rows[found]
    inter = np.full((len(embeddings), width_inter), -1, np.int32)
    found = search(embeddings, width_inter, groups=cameras)
    inter[:, : found.shape[1]] = found
    return CameraRanks(intra, inter[:, 1:])


def camera_jaccard_distance(
    features: Any,
    how: CameraAware,
    *,
    max_distance: float,
    neighbours: CameraRanks | None = None,
    method: str = "exact",
    threads: int | None = None,
) -> sp.csr_array:
    """The camera-aware Jaccard distances up to `max_distance` between all images.

    Args:
        features: (N, D) float32, L2-normalised rows, numpy or torch; never modified.
        how: cameras and numbers of neighbours.
        max_distance: in (0, 1); at least the eps that will be clustered with.
        neighbours: as from `camera_neighbours`, where they are known already.
        method: how to search for them otherwise.
        threads: None is one for each core. The result does not depend on it.

    Returns:
        (N, N) float32, as `jaccard_distance` gives it.

    Raises:
        ValueError: as `camera_neighbours`; max_distance outside (0, 1).
        UserError: features that are not finite.
    """
    embeddings = checked(features)
    if not 0 < max_distance < 1:
        raise ValueError(f"max_distance must be in (0, 1), got {max_distance}")
    ranks = neighbours or camera_neighbours(embeddings, how, method=method, threads=threads)
    if len(embeddings) == 0:
        return sp.csr_array((0, 0), dtype=np.float32)
    sets = camera_sets(ranks, k_intra=how.k_intra, k_inter=how.k_inter, threads=threads)
    near = nearest_of_both(ranks, k2_intra=how.k2_intra, k2_inter=how.k2_inter)
    V = softened(embeddings, *sets, near=near, threads=threads)
    return overlap_distance(V, max_distance=max_distance, threads=threads)


def nearest_of_both(ranks: CameraRanks, *, k2_intra: int, k2_inter: int) -> NDArray[np.int32]:
    """(N, k2_intra + k2_inter) images over whose rows V is averaged, -1 for none."""
    return np.concatenate([ranks.intra[:, :k2_intra], ranks.inter[:, :k2_inter]], axis=1)


def camera_sets(
    ranks: CameraRanks, *, k_intra: int, k_inter: int, threads: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The neighbourhoods R: that of image i is columns[starts[i] : starts[i + 1]], the image itself first.

    Returns:
        starts (N + 1,) and columns.
    """
    num_images = len(ranks.intra)
    sides = [np.ascontiguousarray(ranks.intra[:, : 1 + k_intra]), np.ascontiguousarray(ranks.inter[:, :k_inter])]
    return joined_sets(over_rows(partial(_mutual, *sides), num_images, rows=block_rows(num_images), threads=threads))


@compiled
def _mutual(intra, inter, start, stop):  # type: ignore[no-untyped-def]
    """The lengths and the members of the sets: those of each ranking that have the image in theirs."""
    lengths = np.zeros(stop - start, np.int64)
    columns = np.empty((stop - start) * (intra.shape[1] + inter.shape[1]), np.int32)
    used = 0
    for i in range(start, stop):
        first = used
        for rank in (intra, inter):
            for p in range(rank.shape[1]):
                j = rank[i, p]
                if j < 0:
                    break
                for q in range(rank.shape[1]):
                    if rank[j, q] == i:
                        columns[used] = j
                        used += 1
                        break
        lengths[i - start] = used - first
    return lengths, columns[:used].copy()
