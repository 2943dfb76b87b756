"""One reader per layout; `open_dataset` finds a data set below the folder of raw data and reads its catalogue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.common.contents import Folders
from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.config.schema import OWN_IMAGES
from pipeline.datasets.catalogue import SPLITS
from pipeline.datasets.links import Link
from pipeline.datasets.names import Names
from pipeline.datasets.published_counts import PUBLISHED_IDENTITIES, PUBLISHED_IMAGES
from pipeline.datasets.tracklets import Tracklets
from pipeline.preparation.archives import archive_suffix, other_archives
from pipeline.preparation.links import read_corrections
from pipeline.preparation.nesting import unnested
from pipeline.preparation.readers import (
    atrw,
    csv_table,
    image_folder,
    msmt17,
    split_folders,
    training_only,
    vehicleid,
    wildlife,
)
from pipeline.preparation.readers.layout import Reading
from pipeline.preparation.readers.split_folders import SPLIT_FOLDERS
from pipeline.preparation.readers.training_only import TRAINING_ONLY

# Below the folder of raw data; of several, the first that exists, and the first of all to name in a message.
FOLDERS: dict[str, tuple[str, ...]] = {
    **{name: (layout.folder,) for name, layout in SPLIT_FOLDERS.items()},
    "msmt17": ("msmt17/MSMT17_V1", "msmt17/MSMT17_V2"),
    "vehicleid": ("vehicleid/VehicleID", "vehicleid/VehicleID_V1.0"),
    **{name: layout.folders for name, layout in TRAINING_ONLY.items()},
    "atrw": ("atrw/ATRW",),
    "wildlife": ("wildlife/WildlifeReID-10k",),
}
DATASETS = (*FOLDERS, *OWN_IMAGES)


@dataclass(frozen=True)
class ReaderOptions:
    """What some of the data sets leave open.

    Attributes:
        folder: one's own images: their folder below the folder of raw data.
        table: `csv`: the table's name in that folder.
        camera: `folder`: regular expression that finds the camera in a path (see `image_folder.read`), or None.
        tracklet: `folder`: regular expression that finds the tracklet in a path, or None.
        test_size: `vehicleid`: identities of the test list, 800, 1600 or 2400.
        seed: `vehicleid`: of the draw of the gallery.
        tracklets: `synthetic`: use those that were drawn.
        follow_links: `folder`: to folders outside the data set's, too.
        members: `wildlife`: member sets to read; none = all.
        species: `wildlife`: species to read; none = all.
        camera_column: `wildlife`: what serves as the camera, or None.
    """

    folder: str = "mine"
    table: str = "images.csv"
    camera: str | None = None
    tracklet: str | None = None
    test_size: int = 800
    seed: int = 1
    tracklets: bool = False
    follow_links: bool = False
    members: tuple[str, ...] = ()
    species: tuple[str, ...] = ()
    camera_column: str | None = None


_DEFAULTS = ReaderOptions()


@dataclass(frozen=True)
class Source:
    """A data set as it came.

    Attributes:
        folder: what the paths of `catalogue` are relative to; of a union, one by the first part of a path.
        catalogue: one row per image.
        warnings: one line each, of what may be a mistake.
        notes: one line each, of what was decided and the user should know.
        names: of identities and cameras that are not numbers as they came.
        links: of images, from tracklets and from corrections.csv in the folder.
        tracklets: of query and gallery images, see `datasets.tracklets`.
    """

    folder: Folders
    catalogue: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)
    links: tuple[Link, ...] = ()
    tracklets: Tracklets = field(default_factory=dict)


def open_dataset(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> Source:
    """Reads the catalogue of the data set `name` below `raw`.

    Raises:
        UserError: there is no such data set, or its reader does not find what it expects, and says where.
    """
    folder = dataset_folder(name, raw, options=options)
    if name not in OWN_IMAGES and not folder.is_dir():
        _require_no_other_archive(name, folder, raw, options)
    reading = _readers(options)[name](folder)
    warning = count_warning(name, reading.catalogue, test_size=options.test_size)
    warnings = ((warning,) if warning else ()) + reading.warnings
    links = (*reading.links, *read_corrections(folder, reading.catalogue["path"]))
    trained = set(reading.catalogue["path"][reading.catalogue["split"] == "train"])
    if idle := sum(not trained.issuperset(link.paths) for link in links):
        warnings += (f"{idle:,} links are of images that are not for training: they have no effect",)
    return Source(folder, reading.catalogue, warnings, reading.notes, reading.names, links, reading.tracklets)


def dataset_folder(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> Path:
    """Returns the folder below `raw` that the data set `name` is read from: of several, the first that is there.

    Of a published data set, it may lie in a folder of the same name, as programs that unpack like to leave it.

    Raises:
        UserError: there is no such data set.
    """
    candidates = dataset_folders(name, raw, options=options)
    folder = next((folder for folder in candidates if folder.is_dir()), candidates[0])
    return folder if name in OWN_IMAGES else unnested(folder)


def dataset_folders(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> list[Path]:
    """Returns the folders below `raw` in which the data set `name` may lie; none need exist.

    Args:
        name: one of `DATASETS`.
        raw: the folder of raw data.
        options: name the folder of one's own images.

    Raises:
        UserError: there is no such data set, or the folder of one's own images lies elsewhere.
    """
    if name not in DATASETS:
        raise UserError(f"dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    if name in OWN_IMAGES and not Path(raw, options.folder).absolute().is_relative_to(Path(raw).absolute()):
        raise UserError(f"own.folder must lie below {raw}, got {options.folder}: move it there, or link it")
    return [Path(raw) / folder for folder in FOLDERS.get(name, (options.folder,))]


def count_warning(name: str, catalogue: pd.DataFrame, *, test_size: int = _DEFAULTS.test_size) -> str | None:
    """Returns one line if the numbers of images, or else of identities, differ from the published ones, else None.

    A subset may be intended, so this is a warning; a truncated download should not go unnoticed.
    """
    published: Mapping[str, int]
    if name in PUBLISHED_IMAGES:
        what, published = "images", PUBLISHED_IMAGES[name]
        found = {split: int((catalogue["split"] == split).sum()) for split in SPLITS}
    else:
        what, published = "identities", _published_identities(name, test_size)
        found = {split: catalogue["pid"][catalogue["split"] == split].nunique() for split in published}
    if found == published:
        return None
    here, there = (", ".join(f"{count:,} {split}" for split, count in counts.items()) for counts in (found, published))
    return f"{name} holds {here} {what}; published: {there}. A subset is fine, a truncated download is not."


def _require_no_other_archive(name: str, folder: Path, raw: Path, options: ReaderOptions) -> None:
    """Raises UserError if there are archives of names that say nothing: one of them may be the data set."""
    others = other_archives(Path(raw), name, dataset_folders(name, raw, options=options))
    if others:
        raise UserError(
            f"{folder} is missing, and no archive is called like it: if one of {some(map(one_line, others))} holds "
            f"{folder.name}, call it {folder.name}{archive_suffix(others[0])}"
        )


def _published_identities(name: str, test_size: int) -> dict[str, int]:
    published = dict(PUBLISHED_IDENTITIES.get(name, {}))
    if name == "vehicleid":
        published["gallery"] = test_size
    return published


def _readers(options: ReaderOptions) -> dict[str, Callable[[Path], Reading]]:
    return {
        **{name: partial(split_folders.read, layout=layout) for name, layout in SPLIT_FOLDERS.items()},
        "synthetic": partial(split_folders.read_synthetic, tracklets=options.tracklets),
        "msmt17": msmt17.read,
        "vehicleid": partial(vehicleid.read, test_size=options.test_size, seed=options.seed),
        **{name: partial(training_only.read, layout=layout) for name, layout in TRAINING_ONLY.items()},
        "atrw": atrw.read,
        "wildlife": partial(
            wildlife.read,
            datasets=options.members,
            species=options.species,
            camera=options.camera_column,
        ),
        "folder": partial(
            image_folder.read,
            camera=options.camera,
            tracklet=options.tracklet,
            follow_links=options.follow_links,
        ),
        "csv": partial(csv_table.read, table=options.table),
    }
