"""One reader a layout; `open_dataset` finds a data set below the folder of raw data and reads its catalogue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import SPLITS
from pipeline.preparation.readers import (
    csv_table,
    dukemtmc,
    image_folder,
    market1501,
    msmt17,
    personx,
    vehicleid,
    vehiclex,
    veri,
)
from pipeline.preparation.readers.layout import Reading

OWN_IMAGES = ("folder", "csv")

# Below the folder of raw data; of several, the first that exists, and the first of all to tell a person about.
FOLDERS: dict[str, tuple[str, ...]] = {
    "synthetic": ("synthetic",),
    "market1501": ("market1501/Market-1501-v15.09.15",),
    "dukemtmc": ("dukemtmcreid/DukeMTMC-reID",),
    "msmt17": ("msmt17/MSMT17_V1", "msmt17/MSMT17_V2"),
    "personx": ("personx/PersonX",),
    "veri": ("veri/VeRi",),
    "vehicleid": ("vehicleid/VehicleID", "vehicleid/VehicleID_V1.0"),
    "vehiclex": ("vehiclex/VehicleX", "vehiclex/AIC20_ReID_Simulation"),
}
DATASETS = (*FOLDERS, *OWN_IMAGES)

# Images of train, query and gallery as published (junk not counted).
PUBLISHED_COUNTS: dict[str, dict[str, int]] = {
    "market1501": market1501.COUNTS,
    "dukemtmc": dukemtmc.COUNTS,
    "msmt17": msmt17.COUNTS,
    "personx": personx.COUNTS,
    "veri": veri.COUNTS,
}


@dataclass(frozen=True)
class ReaderOptions:
    """What some of the data sets leave open.

    Attributes:
        folder: one's own images: their folder below the folder of raw data.
        table: `csv`: the table's name in that folder.
        camera: `folder`: regular expression that finds the camera in a path (see `image_folder.read`), or None.
        test_size: `vehicleid`: identities of the test list, 800, 1600 or 2400.
        seed: `vehicleid`: of the draw of the gallery.
    """

    folder: str = "mine"
    table: str = "images.csv"
    camera: str | None = None
    test_size: int = 800
    seed: int = 1


_DEFAULTS = ReaderOptions()


@dataclass(frozen=True)
class Source:
    """A data set as it came.

    Attributes:
        folder: what the paths of `catalogue` are relative to.
        catalogue: one row an image.
        warnings: one line each, of what may be a mistake.
        notes: one line each, of what was decided and a person should know.
    """

    folder: Path
    catalogue: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_dataset(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> Source:
    """Reads the catalogue of the data set `name` below `raw`.

    Raises:
        UserError: there is no such data set, or its reader does not find what it expects, and says where.
    """
    folder = dataset_folder(name, raw, options=options)
    reading = _readers(options)[name](folder)
    warning = count_warning(name, reading.catalogue, test_size=options.test_size)
    warnings = ((warning,) if warning else ()) + reading.warnings
    return Source(folder, reading.catalogue, warnings, reading.notes)


def dataset_folder(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> Path:
    """Returns the folder below `raw` that the data set `name` is read from: of several, the first that is there.

    Raises:
        UserError: there is no such data set.
    """
    candidates = dataset_folders(name, raw, options=options)
    return next((folder for folder in candidates if folder.is_dir()), candidates[0])


def dataset_folders(name: str, raw: Path, *, options: ReaderOptions = _DEFAULTS) -> list[Path]:
    """Returns the folders below `raw` in which the data set `name` may lie; none need exist.

    Args:
        name: one of `DATASETS`.
        raw: the folder of raw data.
        options: name the folder of one's own images.

    Raises:
        UserError: there is no such data set.
    """
    if name not in DATASETS:
        raise UserError(f"dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    return [Path(raw) / folder for folder in FOLDERS.get(name, (options.folder,))]


def count_warning(name: str, catalogue: pd.DataFrame, *, test_size: int = _DEFAULTS.test_size) -> str | None:
    """Returns one line if the numbers of images, or else of identities, differ from the published ones, else None.

    A subset may be intended, so this stops nobody; a truncated download should not go unnoticed.
    """
    if name in PUBLISHED_COUNTS:
        what, published = "images", PUBLISHED_COUNTS[name]
        found = {split: int((catalogue["split"] == split).sum()) for split in SPLITS}
    else:
        what, published = "identities", _published_identities(name, test_size)
        found = {split: catalogue["pid"][catalogue["split"] == split].nunique() for split in published}
    if found == published:
        return None
    here, there = (", ".join(f"{count:,} {split}" for split, count in counts.items()) for counts in (found, published))
    return f"{name} holds {here} {what}; published: {there}. A subset is fine, a truncated download is not."


def _published_identities(name: str, test_size: int) -> dict[str, int]:
    """Where the numbers of images are not published, or depend on a draw."""
    if name == "vehicleid":
        return {"train": vehicleid.TRAIN_IDENTITIES, "gallery": test_size}
    return vehiclex.IDENTITIES if name == "vehiclex" else {}


def _readers(options: ReaderOptions) -> dict[str, Callable[[Path], Reading]]:
    return {
        "synthetic": market1501.read,
        "market1501": market1501.read,
        "dukemtmc": dukemtmc.read,
        "msmt17": msmt17.read,
        "personx": personx.read,
        "veri": veri.read,
        "vehicleid": partial(vehicleid.read, test_size=options.test_size, seed=options.seed),
        "vehiclex": vehiclex.read,
        "folder": partial(image_folder.read, camera=options.camera),
        "csv": partial(csv_table.read, table=options.table),
    }
