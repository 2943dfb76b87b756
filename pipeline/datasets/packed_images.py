"""A prepared folder, opened for reading: what training may see of its images, and what evaluation needs.

It holds `images.npy` ((N, H, W, 3) uint8, rows in catalogue order), `catalogue.csv` and `summary.json`; that of a union
of data sets also `members.json`, their names.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.datasets.catalogue import SPLITS, read_catalogue
from pipeline.datasets.links import Links, read_links
from pipeline.datasets.tracklets import read_tracklets

IMAGES, CATALOGUE, SUMMARY = "images.npy", "catalogue.csv", "summary.json"
MEMBERS = "members.json"


@dataclass(frozen=True)
class TrainingImages:
    """What training may see of N images: pixels and cameras. There is no identity in it.

    Attributes:
        images: (N, H, W, 3) uint8, memory-mapped, read only.
        camids: (N,) int64, or None where cameras are not known.
        links: what is known of pairs of them; None where nothing is.
    """

    images: np.ndarray
    camids: np.ndarray | None
    links: Links | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class LabelledImages:
    """N images of a split with what evaluation needs. Not a kind of `TrainingImages`, on purpose.

    Attributes:
        images: (N, H, W, 3) uint8, memory-mapped, read only.
        pids: (N,) int64, or None where identities are not known.
        camids: (N,) int64, or None where cameras are not known.
        paths: N paths relative to the data set's folder.
        tracklets: (N,) int64, -1 for an image of none; None where no image is of one, and for training images.
    """

    images: np.ndarray
    pids: np.ndarray | None
    camids: np.ndarray | None
    paths: tuple[str, ...]
    tracklets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


class PackedImages:
    """A prepared folder, opened for reading.

    Attributes:
        images: (N, H, W, 3) uint8, memory-mapped, read only.
        catalogue: N rows.
        links: of the training images, None where nothing is known of pairs of them.
        members: of a union, the names of its data sets, with which paths begin; else none.

    Raises:
        UserError: a file is missing, or the files do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        folder = Path(folder)
        self.catalogue = read_catalogue(folder / CATALOGUE)
        self.images = _open_images(folder / IMAGES)
        if len(self.images) != len(self.catalogue):
            raise UserError(
                f"{folder}: {IMAGES} holds {len(self.images)} images, {CATALOGUE} {len(self.catalogue)}: "
                "run the prepare stage again"
            )
        self._rows = np.arange(len(self.catalogue))  # in `images`, of those in `catalogue`
        self.members: tuple[str, ...] = _read_members(folder / MEMBERS)
        self._tracklets = read_tracklets(folder)
        self.links = read_links(folder, self.split("train").paths)

    def split(self, name: str) -> LabelledImages:
        """Images of "train", "query" or "gallery"; they may be none."""
        assert name in SPLITS
        chosen = (self.catalogue["split"] == name).to_numpy()
        rows, part = self._rows[chosen], self.catalogue[chosen]
        run = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
        assert run.stop - run.start == len(rows), "a split is one run of rows, and so is a member's part of it"
        return LabelledImages(
            images=self.images[run],
            camids=_whole_numbers(part["camid"]),
            pids=_whole_numbers(part["pid"]),
            paths=tuple(part["path"]),
            tracklets=self._tracklets_of(name, part["path"]),
        )

    def of_member(self, member: str) -> Self:
        """One data set of a union alone: its rows of the catalogue, without links."""
        assert member in self.members
        part = copy.copy(self)
        chosen = self.catalogue["path"].str.startswith(f"{member}/").to_numpy()
        part.catalogue, part._rows = self.catalogue[chosen], self._rows[chosen]
        part.members, part.links = (), None
        return part

    def _tracklets_of(self, split: str, paths: Iterable[str]) -> np.ndarray | None:
        found = np.array([self._tracklets.get((split, path), -1) for path in paths], np.int64)
        return found if (found >= 0).any() else None


def open_training_images(folder: Path) -> TrainingImages:
    """Opens the training images of a prepared folder, without their identities.

    Raises:
        UserError: see `PackedImages`; or there are no training images.
    """
    packed = PackedImages(folder)
    labelled = packed.split("train")
    if len(labelled) == 0:
        raise UserError(f"{folder}: there are no training images in it")
    return TrainingImages(images=labelled.images, camids=labelled.camids, links=packed.links)


def _read_members(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    members = read_json(path)
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        raise UserError(f"{path} is damaged: run the prepare stage again")
    return tuple(members)


def _open_images(path: Path) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path} is missing: run the prepare stage first")
    try:
        images: np.ndarray = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}): run the prepare stage again") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise UserError(f"{path} must be (N, H, W, 3) uint8, got {images.shape} {images.dtype}")
    return images


def _whole_numbers(column: pd.Series) -> np.ndarray | None:
    return None if bool(column.isna().any()) or len(column) == 0 else column.to_numpy(dtype=np.int64)
