"""Packed images: every image decoded and resized once, in one memory-mapped file with the catalogue beside it.

A prepared folder holds `images.npy` ((N, H, W, 3) uint8, rows in catalogue order), `catalogue.csv` and `summary.json`.
Beside the folder, not in it, so that what it holds depends on the images alone: `.<folder>.fingerprint.json`, by which
an unchanged source is recognised, and `bad_images.csv` if images could not be read.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL

from pipeline.datasets.catalogue import SPLITS, combine_digest, read_catalogue, validate, write_catalogue
from pipeline.datasets.packing import pack_images
from pipeline.errors import UserError
from pipeline.files import read_json, replacing, write_json

IMAGES, CATALOGUE, SUMMARY, BAD_IMAGES = "images.npy", "catalogue.csv", "summary.json", "bad_images.csv"
_NUM_NAMES_SHOWN = 10
_FORMAT = 1  # raise it when the same source would be packed differently


@dataclass(frozen=True)
class TrainingImages:
    """What training may see of N images: pixels and cameras. There is no identity in it.

    Attributes:
        images: (N, H, W, 3) uint8, memory-mapped, read only.
        camids: (N,) int64, or None where cameras are not known.
    """

    images: np.ndarray
    camids: np.ndarray | None

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
    """

    images: np.ndarray
    pids: np.ndarray | None
    camids: np.ndarray | None
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)


class PackedImages:
    """A prepared folder, opened for reading.

    Attributes:
        images: (N, H, W, 3) uint8, memory-mapped, read only.
        catalogue: N rows.

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

    def split(self, name: str) -> LabelledImages:
        """Images of "train", "query" or "gallery"; they may be none."""
        assert name in SPLITS
        rows = np.flatnonzero((self.catalogue["split"] == name).to_numpy())
        run = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 0)
        part = self.catalogue.iloc[run]
        return LabelledImages(
            images=self.images[run],
            camids=_whole_numbers(part["camid"]),
            pids=_whole_numbers(part["pid"]),
            paths=tuple(part["path"]),
        )


def open_training_images(folder: Path) -> TrainingImages:
    """Opens the training images of a prepared folder, without their identities.

    Raises:
        UserError: see `PackedImages`; or there are no training images.
    """
    labelled = PackedImages(folder).split("train")
    if len(labelled) == 0:
        raise UserError(f"{folder}: there are no training images in it")
    return TrainingImages(images=labelled.images, camids=labelled.camids)


def prepare_store(
    catalogue: pd.DataFrame,
    source: Path,
    target: Path,
    *,
    height: int,
    width: int,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Packs the images of `catalogue` into the folder `target`, in one step; does nothing if nothing has changed.

    An image is turned as its EXIF data says, converted to RGB and resized by Pillow's bicubic filter. The result does
    not depend on the number of workers; memory does not grow with the number of images.

    Args:
        catalogue: N rows.
        source: the folder that the paths are relative to.
        target: the folder to write.
        height: H of the packed images.
        width: W of the packed images.
        workers: processes; None = one a core, fewer for a small data set.
        progress: called with the number of images done since the last call, such as `tqdm.update`.

    Returns:
        The contents of summary.json: size, digest, and images, identities and cameras of each split.

    Raises:
        UserError: images cannot be read (all are listed in bad_images.csv beside `target`), or the disk is too small.
    """
    validate(catalogue)
    source, target = Path(source), Path(target)
    fingerprint_file = target.with_name(f".{target.name}.fingerprint.json")
    fingerprint = _fingerprint(catalogue, source, height, width)
    kept = _unchanged(fingerprint_file, fingerprint, target)
    if kept is not None:
        if progress is not None:
            progress(len(catalogue))
        return kept

    paths = [source / path for path in catalogue["path"]]
    _require_space(target.parent, len(paths) * height * width * 3)
    with replacing(target) as temporary:
        temporary.mkdir()
        hashes, bad = pack_images(
            paths, temporary / IMAGES, height=height, width=width, workers=workers, progress=progress
        )
        _report_bad(catalogue, bad, target.with_name(BAD_IMAGES))
        write_catalogue(catalogue, temporary / CATALOGUE)
        summary = _summary(catalogue, height, width, combine_digest(catalogue, hashes))
        write_json(temporary / SUMMARY, summary)
    write_json(fingerprint_file, {"fingerprint": fingerprint, "digest": summary["digest"]})
    return summary


def _report_bad(catalogue: pd.DataFrame, bad: list[tuple[int, str]], table: Path) -> None:
    """Writes the table of unreadable images and raises, or removes the table of an earlier attempt."""
    if not bad:
        table.unlink(missing_ok=True)
        return
    names = [catalogue["path"].iloc[row] for row, _ in bad]
    reasons = [reason for _, reason in bad]
    with replacing(table) as temporary:
        pd.DataFrame({"path": names, "reason": reasons}).to_csv(temporary, index=False, lineterminator="\n")
    pairs = list(zip(names, reasons, strict=True))[:_NUM_NAMES_SHOWN]
    shown = ", ".join(f"{name} ({reason})" for name, reason in pairs) + (", ..." if len(bad) > len(pairs) else "")
    raise UserError(f"{len(bad)} of {len(catalogue)} images cannot be read: {shown}; all are listed in {table}")


def _summary(catalogue: pd.DataFrame, height: int, width: int, version: str) -> dict[str, Any]:
    parts = {name: catalogue[catalogue["split"] == name] for name in SPLITS}
    splits = {
        name: {
            "images": len(part),
            "identities": int(part["pid"].nunique()),
            "cameras": int(part["camid"].nunique()),
        }
        for name, part in parts.items()
    }
    return {"images": len(catalogue), "height": height, "width": width, "digest": version, "splits": splits}


def _fingerprint(catalogue: pd.DataFrame, source: Path, height: int, width: int) -> str:
    """SHA-256 over the settings and over path, size and time of change of every file."""
    settings = (_FORMAT, height, width, PIL.__version__, combine_digest(catalogue, None))
    value = hashlib.sha256(repr(settings).encode())
    for path in catalogue["path"]:
        try:
            stat = os.stat(source / path)  # noqa: PTH116 - a data set has 100,000 of them
            value.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
        except OSError:
            value.update(b"unreadable\n")
    return value.hexdigest()


def _unchanged(fingerprint_file: Path, fingerprint: str, target: Path) -> dict[str, Any] | None:
    """The summary of `target` if it was packed from the same source and is still what was packed then."""
    files = [target / name for name in (IMAGES, CATALOGUE, SUMMARY)]
    if not (fingerprint_file.is_file() and all(file.is_file() for file in files)):
        return None
    try:
        summary: dict[str, Any] = read_json(target / SUMMARY)
        same = read_json(fingerprint_file) == {"fingerprint": fingerprint, "digest": summary["digest"]}
    except (ValueError, KeyError, TypeError):  # edited by hand, or not ours: pack again
        return None
    return summary if same else None


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(f"{folder} has {free / 1e9:.1f} GB free, the packed images need {needed / 1e9:.1f} GB")


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
