"""The best candidates of each image, in whatever order threads offer them: equal similarities are told apart by image.

So the lists are the same for any number of threads, where those of `candidates.py` promise less and keep ties as they
come. A key of 64 bits holds both, similarity first: one comparison ranks two candidates.

Shapes: N images, W candidates of an image.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.common.kernels import compiled, over_rows

LANE = 64  # columns that are compared at once
LOWEST = np.int32(-(2**30) - 1)  # the rank of a similarity of -2: below all, above what is hidden

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Indices = NDArray[np.int32]


class BestLists(NamedTuple):
    """Candidates so far, in any order. A key ranks by (similarity descending, image ascending), the first the largest.

    So the W largest keys are the same, in whatever order threads offer them.
    """

    keys: Integers  # (N, 2 W)
    counts: Indices  # (N,)
    floors: Indices  # (N,) rank of the least similarity that may still enter

    @classmethod
    def empty(cls, num_images: int, width: int) -> "BestLists":
        keys = np.empty((num_images, 2 * width), np.int64)
        return cls(keys, np.zeros(num_images, np.int32), np.full(num_images, LOWEST, np.int32))


def best_of(lists: BestLists, width: int, threads: int | None) -> tuple[Floats, Indices, Indices]:
    """Similarities (N, W), from most to least similar, images (N, W) and how many there are (N,)."""
    num_images = len(lists.counts)
    values = np.full((num_images, width), -np.inf, np.float32)
    columns = np.empty((num_images, width), np.int32)
    columns[:] = np.arange(num_images, dtype=np.int32)[:, None]
    counts = np.minimum(lists.counts, width).astype(np.int32)

    def best(start: int, stop: int) -> None:
        empty = np.arange(2 * width) >= lists.counts[start:stop, None]
        keys = np.where(empty, np.iinfo(np.int64).min, lists.keys[start:stop])
        keys = np.sort(keys, axis=1)[:, ::-1][:, :width]
        filled = np.arange(width) < counts[start:stop, None]
        ranks = (keys[filled] >> 32).astype(np.int32)
        values[start:stop][filled] = (ranks ^ ((ranks >> 31) & np.int32(2**31 - 1))).view(np.float32)
        columns[start:stop][filled] = 2**32 - 1 - (keys[filled] & (2**32 - 1))

    over_rows(best, num_images, rows=4096, threads=threads)
    return values, columns, counts


@compiled
def _rank(bits):  # type: ignore[no-untyped-def]
    """Of the bits of a float32, as an int32: a number that orders as the float32 does. Its own inverse."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(2147483647))


@compiled
def _key(rank, image):  # type: ignore[no-untyped-def]
    return (np.int64(rank) << 32) | (np.int64(4294967295) - np.int64(image))


@compiled
def offer_rows(bits, rows, others, keys, counts, floors):  # type: ignore[no-untyped-def]
    """Offers the images `others`, by columns of the products, to the images `rows`."""
    for r in range(bits.shape[0]):
        i = rows[r]
        own, count, floor = keys[i], counts[i], floors[i]
        for lane in range(0, bits.shape[1], LANE):
            part = bits[r, lane : lane + LANE]
            hits = np.int32(0)
            for c in range(len(part)):
                hits += np.int32(_rank(part[c]) >= floor)
            if hits == 0:
                continue
            for c in range(len(part)):
                rank = _rank(part[c])
                if rank >= floor:
                    own[count] = _key(rank, others[lane + c])
                    count += 1
                    if count == len(own):
                        count = len(own) // 2
                        floor = _cut(own, count)
        counts[i] = count
        floors[i] = floor


@compiled
def offer_columns(bits, rows, home, probed, labels, keys, counts, floors):  # type: ignore[no-untyped-def]
    """Offers the images `rows` to those of the columns, which begin with `home`, unless these probe their cells too."""
    limits = floors[home : home + bits.shape[1]]
    for r in range(bits.shape[0]):
        cell = labels[rows[r]]
        for lane in range(0, bits.shape[1], LANE):
            part = bits[r, lane : lane + LANE]
            limit = limits[lane : lane + LANE]
            hits = np.int32(0)
            for c in range(len(part)):
                hits += np.int32(_rank(part[c]) >= limit[c])
            if hits == 0:
                continue
            for c in range(len(part)):
                rank = _rank(part[c])
                if rank >= limit[c] and not probed[lane + c, cell]:
                    i = home + lane + c
                    keys[i, counts[i]] = _key(rank, rows[r])
                    counts[i] += 1
                    if counts[i] == keys.shape[1]:
                        counts[i] = keys.shape[1] // 2
                        limit[c] = _cut(keys[i], counts[i])


@compiled
def _cut(keys, width):  # type: ignore[no-untyped-def]
    """Moves the `width` largest keys to the front (Hoare's selection); the rank of the least of them."""
    low, high = 0, len(keys) - 1
    while low < high:
        pivot = keys[(low + high) // 2]
        a, b = low, high
        while a <= b:
            while keys[a] > pivot:
                a += 1
            while keys[b] < pivot:
                b -= 1
            if a <= b:
                keys[a], keys[b] = keys[b], keys[a]
                a += 1
                b -= 1
        if width - 1 <= b:
            high = b
        elif width - 1 >= a:
            low = a
        else:
            break
    return np.int32(keys[:width].min() >> 32)
