"""Prepared folders beside the stages' own: data sets packed to score models on, kept in .scratch/prepared/.

A folder is known by what decides its content: the settings of the data set, the size of the images, and the files below
data/raw/. Where one of these changes, another folder takes its place; the old one may be deleted, as all of .scratch/.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from pipeline.common import paths
from pipeline.common.contents import contents_of_all
from pipeline.common.errors import UserError
from pipeline.common.yaml_file import read_mapping
from pipeline.config.schema import DATA_SECTIONS, Image, Settings
from pipeline.datasets.packed_images import IMAGES
from pipeline.preparation.placing import place
from pipeline.preparation.prepared_folder import write_prepared_folder
from pipeline.preparation.union import folders_of, open_source, parts_of


def of_data_set(settings: Settings, dataset: str, *, height: int, width: int) -> Settings:
    """The settings with another data set, of images of another size."""
    return settings.model_copy(update={"dataset": dataset, "image": Image(height=height, width=width)})


def prepared_folder(settings: Settings) -> Path | None:
    """The prepared folder of these settings: the stages' own, or one of `pack_beside`; None if neither is there.

    Raises:
        UserError: there is no such data set.
    """
    for part in parts_of(settings):
        folders_of(part)  # an unknown name is told here
    own = paths.PREPARED / "settings.yaml"
    if (paths.PREPARED / IMAGES).is_file() and own.is_file():
        made_by = read_mapping(own, if_missing="run the prepare stage first")
        if made_by == settings.as_dict(DATA_SECTIONS):
            return paths.PREPARED
    place_of_it = _place(settings)
    return place_of_it if place_of_it is not None and (place_of_it / IMAGES).is_file() else None


def pack_beside(settings: Settings, *, progress: Callable[[int, int], object], warn: Callable[[str], object]) -> Path:
    """Packs the data set of these settings into .scratch/prepared/, generated or unpacked first where that can be done.

    Args:
        settings: see `of_data_set`.
        progress: called with how many images are packed, and how many there are.
        warn: called with each line that `prepare` would print as a warning.

    Returns:
        The folder.

    Raises:
        UserError: as `prepare`.
    """
    for part in parts_of(settings):
        place(part)
    source, target = open_source(settings), _place(settings)
    if target is None:
        raise UserError(f"{settings.data_name} holds no files")
    for line in source.warnings:
        warn(line)
    done = 0

    def reach(number: int) -> None:
        nonlocal done
        done += number
        progress(done, len(source.catalogue))

    write_prepared_folder(
        source.catalogue,
        source.folder,
        target,
        height=settings.image.height,
        width=settings.image.width,
        names=source.names,
        tracklets=source.tracklets,
        skip_bad=settings.prepare.skip_bad,
        follow_links=settings.prepare.follow_links,
        progress=reach,
    )
    return target


def _place(settings: Settings) -> Path | None:
    """Where the folder of these settings lies or will lie; None where there are no images."""
    found = contents_of_all(folders_of(settings), memory=paths.scratch() / "contents")
    if found is None:
        return None
    told = json.dumps([settings.as_dict(DATA_SECTIONS), found.digest], sort_keys=True)
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    return paths.scratch() / "prepared" / f"{settings.dataset}-{key}"
