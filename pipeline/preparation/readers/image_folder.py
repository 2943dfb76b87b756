"""A folder of one's own images, without a table: all are for training, none has an identity.

The images may lie at any depth and be called anything. Cameras are known where a regular expression finds them in the
paths, as `(cam\\d+)/` does in cam2/night/0017.png.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.image_tree import IMAGE_SUFFIXES, image_tree
from pipeline.datasets.names import Names
from pipeline.preparation.links import CORRECTIONS, tracklet_links
from pipeline.preparation.readers.labels import number_labels
from pipeline.preparation.readers.layout import FOLLOW_LINKS, Reading


def read(folder: Path, *, camera: str | None, tracklet: str | None = None, follow_links: bool = False) -> Reading:
    """Reads the catalogue of a folder of images: those of `IMAGE_SUFFIXES`, in any case.

    Args:
        folder: is searched at every depth.
        camera: regular expression that is searched for in each path relative to `folder` (with / between folders);
            its first group, or all of it where it has none, is the camera. None = cameras are not known.
        tracklet: likewise, the tracklet that an image is of; an image whose path it does not fit is of none.
        follow_links: to folders outside, too.

    Raises:
        UserError: there is no image, a path cannot stand in a catalogue, a link leads out of the folder, or the
            expression is wrong or does not fit every path.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put your images there, or name their folder (params.yaml: own.folder)")
    tree = image_tree(folder, follow_links=follow_links, advice=f"copy them, or set {FOLLOW_LINKS}")
    suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
    if not tree.images:
        raise UserError(f"{folder} holds no images: files that end in {suffixes} are expected there, at any depth")
    warnings, notes = [], []
    others = [name for name in tree.others if name != CORRECTIONS]
    if others:
        shown = some(map(one_line, others))
        warnings.append(f"{folder}: {len(others)} left out, not being images ({suffixes}): {shown}")
    cameras: list[int | None] = [None] * len(tree.images)
    names: dict[int, str] = {}
    if camera is not None:
        labels = _camera_names(tree.images, camera)
        numbers, names, note = number_labels(labels, what="cameras")
        cameras = [numbers[label] for label in labels]
        notes += [note] if note else []
    tracklets: dict[str, list[str]] = {}
    if tracklet is not None:
        for path, name in zip(tree.images, _found(tree.images, tracklet, setting="own.tracklet"), strict=True):
            if name:
                tracklets.setdefault(name, []).append(path)
        notes.append(f"{len(tracklets):,} tracklets hold {sum(map(len, tracklets.values())):,} images")
    rows = ((path, None, camid, "train") for path, camid in zip(tree.images, cameras, strict=True))
    return Reading(
        from_rows(rows), tuple(warnings), tuple(notes), Names(cameras=names), tuple(tracklet_links(tracklets))
    )


def cameras_of(paths: Sequence[str], camera: str, *, setting: str) -> NDArray[np.int64]:
    """The numbers of the cameras that a regular expression finds in paths, (N,).

    Args:
        paths: N of them.
        camera: see `read`.
        setting: what to call the expression in a message.

    Raises:
        UserError: the expression is wrong or does not fit every path.
    """
    labels = _camera_names(paths, camera, setting=setting)
    numbers = number_labels(labels, what="cameras").numbers
    return np.array([numbers[label] for label in labels], np.int64)


def _camera_names(paths: Sequence[str], camera: str, *, setting: str = "own.camera") -> list[str]:
    names = _found(paths, camera, setting=setting)
    lost = [path for path, name in zip(paths, names, strict=True) if not name]
    if lost:
        raise UserError(
            f"{setting} ({camera!r}) finds no camera in {len(lost)} of {len(paths)} paths: {some(map(one_line, lost))}"
        )
    return [name for name in names if name]


def _found(paths: Sequence[str], expression: str, *, setting: str) -> list[str | None]:
    """The first group of a regular expression in each path, or all that it matches where it has no group."""
    try:
        pattern = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{setting} is not a regular expression: {error}, got {expression!r}") from error
    found = [pattern.search(path) for path in paths]
    return [match[min(pattern.groups, 1)] if match else None for match in found]
