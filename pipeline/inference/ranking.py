"""The images of a gallery that are most like a query, without a label or a camera.

faiss compares every query with every image, exactly; but the last bits of its numbers depend on where an image stands.
So they only choose candidates. Each is then scored again by a sum in double precision, rounded once, and ranked by
(similarity descending, index ascending): equal images have equal similarities, and there is one ranking only.

Shapes: Q queries, M images of the gallery, D width of an embedding, K places of a list.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import UserError

SPARE = 16  # candidates beyond what is asked for, so that ties seldom need a second look
PRODUCTS = 2**24  # numbers of faiss's at a time: 64 MiB of similarities and 128 MiB of indices


class Ranking(NamedTuple):
    """The best places of every query."""

    indices: NDArray[np.int64]  # (Q, K) images of the gallery; -1 where there are fewer than K
    similarities: NDArray[np.float32]  # (Q, K) from most to least similar; -inf where there is no image


def rank_gallery(
    queries: NDArray[np.float32],
    parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
    *,
    top: int,
    left_out: Sequence[Sequence[int]],
) -> Ranking:
    """Ranks a gallery that comes in parts, in any order: the result does not depend on how it was cut.

    Args:
        queries: (Q, D), L2-normalized.
        parts: indices (n,) and L2-normalized embeddings (n, D) of some images, each image once.
        top: K.
        left_out: for each query, images of the gallery that are not for its list.

    Raises:
        UserError: embeddings of different widths.
        ValueError: `top` is below 1.
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    assert len(left_out) == len(queries)
    best = Ranking(np.full((len(queries), top), -1, np.int64), np.full((len(queries), top), -np.inf, np.float32))
    width = top + SPARE + max(map(len, left_out), default=0)
    for indices, embeddings in parts:
        if embeddings.shape[1] != queries.shape[1]:
            raise UserError(
                f"the gallery's embeddings are {embeddings.shape[1]} wide, the queries' {queries.shape[1]}: "
                "use one model for both"
            )
        at_once = max(1, PRODUCTS // min(width, len(indices)))
        for start in range(0, len(queries), at_once):
            block = slice(start, start + at_once)
            lists = Ranking(best.indices[block], best.similarities[block])  # views: `_offer` fills them
            _offer(queries[block], indices, embeddings, width, left_out[block], lists)
    return best


def _offer(
    queries: NDArray[np.float32],
    indices: NDArray[np.int64],
    embeddings: NDArray[np.float32],
    width: int,
    left_out: Sequence[Sequence[int]],
    best: Ranking,
) -> None:
    """Lets the images of a part into the lists `best`, in place, where they belong."""
    import faiss  # here, because it takes its time to load

    # More than the two numbers of a comparison can be off by: see `pipeline.clustering.neighbours`.
    slack = np.float32(2**-21 * math.sqrt(queries.shape[1]))
    width = min(width, len(indices))
    all_products, all_columns = faiss.knn(queries, embeddings, width, metric=faiss.METRIC_INNER_PRODUCT)
    top = best.indices.shape[1]
    for query, (products, columns) in enumerate(zip(all_products, all_columns, strict=True)):
        columns, products = _without(left_out[query], indices, columns, products)
        bound = best.similarities[query, -1]
        if len(products) >= top:
            bound = max(bound, products[top - 1])
        if width < len(indices) and all_products[query, -1] >= bound - slack:
            # An image that faiss left out may be as similar as the last place: look at all of them.
            everything = np.arange(len(indices))
            columns, products = _without(left_out[query], indices, everything, embeddings @ queries[query])
        columns = columns[products >= bound - slack]
        exact = (embeddings[columns].astype(np.float64) * queries[query]).sum(axis=1).astype(np.float32)
        similarities = np.concatenate((best.similarities[query], exact))
        candidates = np.concatenate((best.indices[query], indices[columns]))
        order = np.lexsort((candidates, -similarities))[:top]
        best.similarities[query], best.indices[query] = similarities[order], candidates[order]


def _without(
    left_out: Sequence[int], indices: NDArray[np.int64], columns: NDArray[np.int64], products: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns, and their products, of the images that are for the list."""
    if not left_out:
        return columns, products
    allowed = ~np.isin(indices[columns], left_out)
    return columns[allowed], products[allowed]
