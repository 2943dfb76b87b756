"""Clustering that keeps links: what is known to be one is clustered as one, what is known to be two is parted.

Images that must-links join become one unit, whose embedding is the mean of theirs and which weighs as many images in
DBSCAN's density. As there are fewer units than images, the numbers of neighbours shrink alike. A cluster that holds
units which cannot be one is split along its weakest links: its pairs are joined again from the nearest on, without
those that would join what has to be apart. Images that are outliers for good are no unit: they are nobody's neighbour.

N: images · M: units · D: width of the embedding.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from pipeline.clustering.camera_jaccard import CameraAware
from pipeline.clustering.dbscan import OUTLIER
from pipeline.clustering.outliers import without_gaps
from pipeline.common.group_means import group_means
from pipeline.datasets.links import Links


@dataclass(frozen=True)
class Units:
    """The units of N images.

    Attributes:
        of: (N,) the unit of each image, -1 for one that is in no cluster.
        sizes: (M,) images of each.
        apart: (P, 2) units that cannot be one.
    """

    of: NDArray[np.int64]
    sizes: NDArray[np.int64]
    apart: NDArray[np.int64]

    @classmethod
    def from_links(cls, links: Links) -> "Units":
        """The units that must-links make."""
        if len(links.outliers) == 0:
            return cls(links.groups, np.bincount(links.groups), links.apart)
        rows = np.delete(np.arange(len(links.groups)), links.outliers)
        rest = links.of_rows(rows)
        of = np.full(len(links.groups), OUTLIER)
        of[rows] = rest.groups
        return cls(of, np.bincount(rest.groups), rest.apart)

    @property
    def num_images(self) -> int:
        """How many images are of a unit."""
        return int(self.sizes.sum())

    def of_images(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) the labels of the images, from those of the units (M,)."""
        return np.where(self.of >= 0, np.append(labels, OUTLIER)[self.of], OUTLIER)

    def means(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M, D) float32, L2-normalised means of the embeddings (N, D); of an image alone, its own to the bit."""
        if self.num_images == len(self.of):
            return group_means(embeddings, self.of)
        inside = self.of >= 0
        return group_means(embeddings[inside], self.of[inside])

    def scaled(self, neighbours: int) -> int:
        """As many neighbours among units as so many among images, rounded up."""
        return max(min(neighbours, 2), -(-neighbours * len(self.sizes) // max(self.num_images, 1)))

    def seen_by(self, how: CameraAware) -> CameraAware:
        """The camera-aware clustering of the units: each counts for the camera that took most of its images."""
        inside = self.of >= 0
        names, camera = np.unique(how.cameras[inside], return_inverse=True)
        pairs, counts = np.unique(np.stack([self.of[inside], camera]), axis=1, return_counts=True)
        order = np.lexsort((pairs[1], -counts, pairs[0]))
        _, first = np.unique(pairs[0][order], return_index=True)
        return replace(
            how,
            cameras=names[pairs[1][order][first]],
            **{name: self.scaled(getattr(how, name)) for name in ("k_intra", "k_inter", "k2_intra", "k2_inter")},
        )

    def parted(
        self, labels: NDArray[np.int64], distance: sp.csr_array, *, eps: float, min_samples: int
    ) -> tuple[NDArray[np.int64], int]:
        """Clusters without units that cannot be one.

        Args:
            labels: (M,) clusters of the units, -1 for outliers.
            distance: (M, M) of the units, as it was clustered.
            eps, min_samples: that it was clustered with; parts of fewer images become outliers.

        Returns:
            labels: (M,) from 0 on, without gaps.
            broken: cannot-links that the clusters had not kept.
        """
        clusters = labels[self.apart]  # (P, 2)
        together = (clusters[:, 0] == clusters[:, 1]) & (clusters[:, 0] != OUTLIER)
        broken = self.apart[together]
        if len(broken) == 0:
            return labels, 0
        parted = labels.copy()
        for label in np.unique(labels[broken[:, 0]]):
            members = np.flatnonzero(labels == label)
            parts = _joined_again(members, broken[labels[broken[:, 0]] == label], distance, eps)
            parted[members] = OUTLIER
            for part in parts:
                if self.sizes[part].sum() >= min_samples:
                    parted[part] = parted.max(initial=-1) + 1
        return without_gaps(parted), len(broken)


def _joined_again(
    members: NDArray[np.int64], apart: NDArray[np.int64], distance: sp.csr_array, eps: float
) -> list[NDArray[np.int64]]:
    """The units of a cluster, joined again from the nearest pair on, but for the pairs that have to be apart."""
    inside = distance[members][:, members].tocoo()
    near = (inside.data <= distance.dtype.type(eps)) & (inside.row < inside.col)
    row, column, length = inside.row[near], inside.col[near], inside.data[near]
    order = np.lexsort((column, row, length))
    place = {int(unit): number for number, unit in enumerate(members)}
    enemies: list[set[int]] = [set() for _ in members]
    for a, b in apart.tolist():
        enemies[place[a]].add(place[b])
        enemies[place[b]].add(place[a])
    part = list(range(len(members)))  # its root, path by path

    def root(number: int) -> int:
        while part[number] != number:
            part[number] = part[part[number]]
            number = part[number]
        return number

    for a, b in zip(row[order].tolist(), column[order].tolist(), strict=True):
        one, other = sorted((root(a), root(b)))
        if one == other or any(root(enemy) == other for enemy in enemies[one]):
            continue
        part[other] = one
        enemies[one] |= enemies[other]
    roots = np.array([root(number) for number in range(len(members))])
    return [members[roots == each] for each in np.unique(roots)]
