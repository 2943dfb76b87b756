"""How the cosines of pairs of images are distributed: counts in narrow bins, whatever the number of pairs.

A bin is 1 / 32,768 wide. What is read off the counts is a bin's edge, so it is right to that width.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.common.kernels import compiled, over_rows

BINS = 2**16
_ROWS, _BLOCKS = 64, 16  # that one thread takes at a time, at least, and into how many a table is cut at most


def bin_edge(place: int) -> float:
    """The lowest cosine of a bin, in [-1, 1); 1 for the one after the last."""
    return place * (2 / BINS) - 1


def count_cosines(cosines: NDArray[np.float32], classes: NDArray[np.int8], counts: NDArray[np.int64]) -> None:
    """Adds a table of cosines to the counts of their classes.

    Args:
        cosines: (R, M).
        classes: (R, M), 0 to C - 1, or -1 for pairs that do not count.
        counts: (C, BINS), changed in place; bins from -1 to 1, and what rounding leads beyond 1 is in the last.
    """
    assert cosines.shape == classes.shape and counts.shape[1] == BINS
    empty = np.zeros_like(counts)

    def counted(start: int, stop: int) -> NDArray[np.int64]:
        return _counted(cosines[start:stop], classes[start:stop], empty.copy())

    for part in over_rows(counted, len(cosines), rows=max(_ROWS, -(-len(cosines) // _BLOCKS))):
        counts += part


def share_above(counts: NDArray[np.int64], cosine: float) -> float:
    """The share of the pairs whose cosine is at least `cosine`, which has to be an edge of a bin; NaN of no pairs.

    Args:
        counts: (BINS,).
        cosine: as `bin_edge` gives it.
    """
    place = round((cosine + 1) * BINS / 2)
    total = int(counts.sum())
    return float(counts[max(0, place) :].sum() / total) if total else float("nan")


def lowest_cosine(counts: NDArray[np.int64], share: float) -> float:
    """The lowest edge of a bin that at most `share` of the pairs reach; 1 where even the last bin holds more.

    Args:
        counts: (BINS,).
        share: of all pairs, in [0, 1].
    """
    from_above = np.cumsum(counts[::-1])[::-1]
    allowed = np.flatnonzero(from_above <= share * counts.sum())
    return float(bin_edge(int(allowed[0]) if len(allowed) else BINS))


@compiled
def _counted(cosines, classes, counts):  # type: ignore[no-untyped-def]
    for row in range(cosines.shape[0]):
        for column in range(cosines.shape[1]):
            which = classes[row, column]
            if which >= 0:
                place = int((cosines[row, column] + np.float32(1)) * np.float32(counts.shape[1] / 2))
                counts[which, min(max(place, 0), counts.shape[1] - 1)] += 1
    return counts
