"""Which clusters a report shows, with their pictures.

N: training images, H x W: size of an image.
"""

import numpy as np
import pandas as pd

from pipeline.report.contents import ClusterSample


def sample_clusters(
    table: pd.DataFrame, *, images: np.ndarray, clusters: int = 24, length: int = 10
) -> tuple[ClusterSample, ...]:
    """Picks clusters of all sizes, and images from all over each of them; outliers come last.

    Only the images that are shown are read, so a memory map will do.

    Args:
        table: As `pipeline.clustering.cluster_table` returns it: N rows, column `cluster`, numbered by size.
        images: (N, H, W, 3) uint8, in the order of the table.
        clusters: How many to show at most, evenly spread over the sizes.
        length: Images of each at most, evenly spread over its rows.
    """
    assert len(table) == len(images), f"{len(table)} rows, {len(images)} images"
    labels = table["cluster"].to_numpy()
    num_clusters = int(labels.max(initial=-1)) + 1
    chosen = [int(label) for label in _spread(num_clusters, clusters)]
    samples = []
    for label in [*chosen, -1]:
        rows = np.flatnonzero(labels == label)
        if len(rows):
            shown = rows[_spread(len(rows), length)]
            pictures = tuple(np.array(images[row]) for row in shown)
            samples.append(ClusterSample(None if label < 0 else label, len(rows), pictures))
    return tuple(samples)


def _spread(number: int, most: int) -> np.ndarray:
    """Positions in `number` places: all, or `most` of them, evenly spread, the first and the last among them."""
    if number <= most:
        return np.arange(number)
    return np.linspace(0, number - 1, most).round().astype(np.int64)
