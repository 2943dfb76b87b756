"""From a folder of crops to individuals: embed, choose eps, cluster, number.

N: images · D: width of an embedding.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.clustering import cluster_table
from pipeline.clustering.eps_choice import EPS, LARGEST, clusterings, suggested
from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.progress import Progress
from pipeline.common.text import csv_cell
from pipeline.datasets.links import Links
from pipeline.discovery.numbering import Known, changes, numbered, read_known
from pipeline.discovery.sheets import write_sheets
from pipeline.preparation.links import CORRECTIONS, consistent_links, read_corrections
from pipeline.report.suggestion import write_suggestion
from pipeline.search.gallery import Gallery

_ONE_FOR_ALL = (
    "no eps finds two clusters: this network does not tell individuals apart; name another with --model or --backbone, "
    "or an eps with --eps"
)


@dataclass(frozen=True)
class How:
    """How to cluster.

    Attributes:
        eps: DBSCAN's radius; None = the one that is suggested for these images.
        k1, k2, min_samples: see `pseudo_labels`; k1 and k2 are lowered where there are too few images.
        neighbours: "exact" or "approximate".
    """

    eps: float | None
    k1: int
    k2: int
    min_samples: int
    neighbours: str


@dataclass(frozen=True)
class Discovery:
    """Who is in the folder.

    Attributes:
        eps, k1: that were used.
        table: one row per eps that was looked at, see `clusterings`.
        before, now: the individuals of last time and of today.
        gallery: the images.
        links: of them that were kept; None without.
    """

    eps: float
    k1: int
    table: pd.DataFrame
    before: Known
    now: Known
    gallery: Gallery
    links: Links | None = None

    def write(self, folder: Path) -> list[str]:
        """Writes clusters.csv, suggestion.csv and .png, individuals.json and the contact sheets; returns their names.

        What is remembered is written last: where anything fails, the next time starts from what it was.
        """
        table = pd.DataFrame(list(self.now.numbers.items()), columns=["path", "cluster"])
        folder.mkdir(parents=True, exist_ok=True)
        places: dict[int, list[str]] = {}
        for name, place in zip(self.gallery.names, self.gallery.places, strict=True):
            places.setdefault(self.now.numbers[name], []).append(place)
        sheets = write_sheets(folder / "individuals", places)
        written = write_suggestion(self.table, folder, k1=self.k1)
        with replacing(folder / "clusters.csv") as temporary:
            table.assign(path=table["path"].map(csv_cell)).to_csv(temporary, index=False, lineterminator="\n")
        self.now.write(folder)
        return ["clusters.csv", *written, f"individuals/ ({len(sheets)} contact sheets)"]

    def sentences(self) -> list[str]:
        """What was found, for the terminal."""
        numbers = list(self.now.numbers.values())
        found = len(set(numbers) - {-1})
        outliers = numbers.count(-1)
        said = [
            f"{len(numbers):,} images: {found:,} individuals, and {outliers:,} images in no cluster "
            f"(eps {self.eps:g}, k1 {self.k1})"
        ]
        if self.links is not None:
            pairs = f"{len(self.links.apart):,} pairs apart, {len(self.links.outliers):,} images in no cluster"
            said.append(f"kept of {CORRECTIONS}: {len(numbers) - self.links.num_groups:,} images joined, {pairs}")
        largest = max((numbers.count(number) for number in set(numbers) - {-1}), default=0) / len(numbers)
        if largest > LARGEST:
            said.append(
                f"warning: one individual has {largest:.0%} of the images: unless there are so few individuals, this "
                "network does not tell them apart"
            )
        return [*said, *changes(self.before, self.now)]


def find_individuals(gallery: Gallery, how: How, *, folder: Path, cameras: np.ndarray | None = None) -> Discovery:
    """Clusters a gallery; individuals that `folder` knows keep their numbers.

    What a file of corrections in the gallery's folder joins and parts is kept, whatever the network says.

    Args:
        gallery: N images.
        how: to cluster them.
        folder: of the results of last time.
        cameras: (N,), for the signals; None where they are not known.

    Raises:
        UserError: there are fewer than three images, no eps can be suggested, `folder` holds something damaged, or the
            corrections are not understood or contradict each other.
    """
    before, names = read_known(folder), gallery.names
    if len(names) < 3:
        raise UserError(f"{gallery.folder} holds {len(names)} images: there is nothing to cluster below three")
    links = consistent_links(names, read_corrections(gallery.folder, names), table=folder / "contradictions.csv")
    k1 = min(how.k1, len(names) - 1)
    grid = EPS if how.eps is None else tuple(sorted({*EPS, how.eps}))
    with Progress(f"clustering {len(grid)} times", 1) as progress:
        found = clusterings(
            embeddings_of(gallery),
            eps=grid,
            k1=[k1],
            k2=min(how.k2, k1),
            min_samples=how.min_samples,
            neighbours=how.neighbours,
            cameras=cameras,
            links=links,
            advance=progress.advance,
        )
    eps = _suggested_eps(found.table, k1) if how.eps is None else how.eps
    clusters = cluster_table(found.labels[grid.index(eps)], names)["cluster"].to_numpy()
    return Discovery(eps, k1, found.table, before, numbered(clusters, names, before), gallery, links)


def _suggested_eps(table: pd.DataFrame, k1: int) -> float:
    row = suggested(table, k1=k1)
    if row is None:  # of four individuals, each has a quarter of the images
        row = suggested(table, k1=k1, largest=1.0)
    if row is None:
        raise UserError(_ONE_FOR_ALL)
    return float(row["eps"])


def embeddings_of(gallery: Gallery) -> np.ndarray:
    """(N, D) float32 in the order of the names."""
    found: np.ndarray | None = None
    for indices, part in gallery.parts():
        if found is None:
            found = np.empty((len(gallery.names), part.shape[1]), np.float32)
        found[indices] = part
    assert found is not None
    return found
