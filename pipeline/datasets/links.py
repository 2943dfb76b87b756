"""What is known of pairs of training images before training: one individual, or two.

A must-link joins two images, and so all that are joined with them; a cannot-link keeps two apart; an outlier is an
image of nobody in particular, which is in no cluster. They come from tracklets and from corrections by hand
(`pipeline.preparation.links`), never from identities.

N: training images.
"""

import csv
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.common.files import replacing

LINKS = "links.csv"  # in a prepared folder, where there are any
Kind = Literal["must_link", "cannot_link", "outlier"]
KINDS: tuple[str, ...] = get_args(Kind)
PAIRS = ("must_link", "cannot_link")
COLUMNS = ("kind", "path_a", "path_b")


class Link(NamedTuple):
    """Two images by their paths; or an outlier, whose second path is empty."""

    kind: Kind
    path_a: str
    path_b: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Of the images that it is about."""
        return (self.path_a,) if self.kind == "outlier" else (self.path_a, self.path_b)


@dataclass(frozen=True)
class Links:
    """The links of N images.

    Attributes:
        groups: (N,) the group of each image, from 0 in the order of their first images; one that nothing is joined with
            is alone in its group.
        apart: (P, 2) groups that are two individuals, each pair once, the smaller number first.
        outliers: (R,) images that are in no cluster, in rising order; each is alone in its group.
    """

    groups: NDArray[np.int64]
    apart: NDArray[np.int64]
    outliers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def num_groups(self) -> int:
        """How many individuals there are at most."""
        return int(self.groups.max(initial=-1)) + 1

    @property
    def say_something(self) -> bool:
        """Whether there is any link at all."""
        return self.num_groups < len(self.groups) or len(self.apart) > 0 or len(self.outliers) > 0

    def of_rows(self, rows: NDArray[np.int64]) -> "Links":
        """The links of some of the images, (n,) rows in rising order: what the others joined stays joined."""
        groups, kept = pd.factorize(self.groups[rows])
        apart = pd.Index(kept).get_indexer(pd.Index(self.apart.ravel())).reshape(-1, 2)
        outliers = np.flatnonzero(np.isin(rows, self.outliers))
        return Links(groups.astype(np.int64), _each_once(apart[(apart >= 0).all(axis=1)]), outliers)


def links_of(paths: Sequence[str], links: Iterable[Link]) -> tuple[Links, list[Link]]:
    """The links of images, and those that contradict the must-links.

    Args:
        paths: of the N images.
        links: those that name another image are left out.

    Returns:
        links: without the contradictions.
        contradictions: cannot-links between two images that must-links join, in their order; then outliers that are
            joined with another image, which stands as the second path.
    """
    import scipy.sparse as sp  # here: `sources` runs every time, and seldom has links

    row = {path: number for number, path in enumerate(paths)}
    known = [link for link in links if all(path in row for path in link.paths)]
    pairs = {kind: [(row[a], row[b]) for each, a, b in known if each == kind] for kind in PAIRS}
    joined = np.array(pairs["must_link"], np.int64).reshape(-1, 2)
    graph = sp.coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(len(paths), len(paths)))
    groups = pd.factorize(sp.csgraph.connected_components(graph, directed=False)[1])[0].astype(np.int64)
    apart = groups[np.array(pairs["cannot_link"], np.int64).reshape(-1, 2)]
    wrong = apart[:, 0] == apart[:, 1]
    cannot = [link for link in known if link.kind == "cannot_link"]
    contradictions = [link for link, is_wrong in zip(cannot, wrong, strict=True) if is_wrong]
    outliers = np.unique(np.array([row[link.path_a] for link in known if link.kind == "outlier"], np.int64))
    alone = np.bincount(groups, minlength=1)[groups[outliers]] == 1
    for outlier in outliers[~alone].tolist():
        other = next(each for each in np.flatnonzero(groups == groups[outlier]).tolist() if each != outlier)
        contradictions.append(Link("outlier", paths[outlier], paths[other]))
    return Links(groups, _each_once(apart[~wrong]), outliers[alone]), contradictions


def _each_once(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each pair of numbers once, the smaller one first; (P, 2), sorted."""
    return np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int64)


def write_links(folder: Path, paths: Sequence[str], links: Links) -> None:
    """Writes the links of images into a prepared folder, if there are any: must-links in chains, then the others.

    Args:
        folder: of the prepared data set.
        paths: of the N images.
        links: of these.
    """
    members: dict[int, list[str]] = {}
    for path, group in zip(paths, links.groups.tolist(), strict=True):
        members.setdefault(group, []).append(path)
    rows = [("must_link", a, b) for paths_ in members.values() for a, b in itertools.pairwise(paths_)]
    rows += [("cannot_link", members[a][0], members[b][0]) for a, b in links.apart.tolist()]
    rows += [("outlier", paths[row], "") for row in links.outliers.tolist()]
    if rows:
        with replacing(folder / LINKS) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def read_links(folder: Path, paths: Sequence[str]) -> Links | None:
    """The links in a prepared folder; None if there are none.

    Args:
        folder: of the prepared data set.
        paths: of its N training images.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / LINKS
    if not path.is_file():
        return None
    damaged = UserError(f"{path} is damaged: run the prepare stage again")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except (ValueError, csv.Error) as error:
        raise damaged from error
    if tuple(header) != COLUMNS or any(len(row) != len(COLUMNS) or row[0] not in KINDS for row in rows):
        raise damaged
    listed = [Link(*row) for row in rows]  # type: ignore[arg-type]
    links, contradictions = links_of(paths, listed)
    if contradictions or not {path for link in listed for path in link.paths} <= set(paths):
        raise damaged
    return links
