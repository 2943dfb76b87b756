"""Candidates for the nearest neighbours of a great many images, approximately: an inverted file.

Source: Jégou, Douze & Schmid, *Product quantization for nearest neighbor search*, TPAMI 2011, its coarse level.

Shapes: N images, D width of an embedding.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.clustering.candidates import Candidates, hide, no_candidates, take_rows
from pipeline.common.kernels import one_thread_products, over_rows

PROBERS = 4096  # images that look into the lists together


def by_inverted_lists(
    embeddings: NDArray[np.float32],
    width: int,
    *,
    num_lists: int,
    num_probes: int,
    groups: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> Candidates:
    """About the `width` most similar images: an image is compared with the images of the `num_probes` nearest lists.

    The lists are the cells of faiss's k-means. All images of a block that look into a list are multiplied with it at
    once, where faiss's own index goes through it for one image after another, at the pace of the memory.

    Args:
        embeddings: (N, D).
        width: how many, at most N.
        num_lists: cells that k-means cuts the embeddings into, at most N.
        num_probes: lists that an image looks into, at most `num_lists`.
        groups: (N,), as in `by_tiles`.
        threads: None is one for each core.
    """
    import faiss  # here, because it is slow to load and needed nowhere else

    num_images = len(embeddings)
    settings = {"niter": 8, "max_points_per_centroid": 64, "min_points_per_centroid": 1, "spherical": True, "seed": 0}
    kmeans = faiss.Kmeans(embeddings.shape[1], num_lists, **settings)
    kmeans.train(embeddings)
    centres: NDArray[np.float32] = np.asarray(kmeans.centroids)
    found = no_candidates(num_images, 2 * width)
    with one_thread_products():
        nearest = over_rows(partial(_nearest_centre, embeddings, centres), num_images, rows=PROBERS, threads=threads)
        lists = np.concatenate(nearest)
        members = np.argsort(lists, kind="stable")
        heads = np.concatenate(([0], np.cumsum(np.bincount(lists, minlength=num_lists))))
        search = partial(_search_lists, embeddings, centres, members, heads, num_probes, groups, found, width)
        over_rows(search, num_images, rows=PROBERS, threads=threads)
    # Nothing is promised about an image that is left out.
    return found._replace(floors=np.full(num_images, -np.inf, np.float32))


def _nearest_centre(
    embeddings: NDArray[np.float32], centres: NDArray[np.float32], start: int, stop: int
) -> NDArray[np.int64]:
    return (embeddings[start:stop] @ centres.T).argmax(axis=1)


def _search_lists(
    embeddings: NDArray[np.float32],
    centres: NDArray[np.float32],
    members: NDArray[np.int64],
    heads: NDArray[np.int64],
    num_probes: int,
    groups: NDArray[np.int64] | None,
    found: Candidates,
    width: int,
    start: int,
    stop: int,
) -> None:
    """Candidates of the images from `start` to `stop`; list n is `members[heads[n]:heads[n + 1]]`."""
    block = embeddings[start:stop]
    affinities = block @ centres.T
    place = len(centres) - num_probes
    probes = np.argpartition(affinities, place, axis=1)[:, place:].astype(
        np.uint16 if len(centres) < 2**16 else np.int64
    )
    by_list = np.argsort(probes, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(probes.ravel(), minlength=len(centres)))
    for n in np.flatnonzero(np.diff(heads)):
        rows = by_list[ends[n - 1] if n else 0 : ends[n]] // num_probes
        if len(rows):
            listed = members[heads[n] : heads[n + 1]]
            products = block[rows] @ embeddings[listed].T
            if groups is not None:
                hide(products, start + rows, listed, groups)
            take_rows(products, start + rows, listed, *found, width)
