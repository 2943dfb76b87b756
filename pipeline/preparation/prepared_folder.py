"""Packs a data set: every image decoded and resized once, in one memory-mapped file with the catalogue beside it.

`pipeline.datasets.packed_images` says what a prepared folder holds; it depends on the images alone. The rest lies
beside the folder: `.<folder>.fingerprint.json`, by which an unchanged source is recognised, `bad_images.csv` (path,
reason) if images could not be read, and `leaked_images.csv` (train, test) if test images are training images too.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import PIL

from pipeline.common.disk_space import require_room, told_if_full
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing, write_json
from pipeline.common.text import one_line
from pipeline.datasets.catalogue import SPLITS, combine_digest, validate, write_catalogue
from pipeline.datasets.packed_images import CATALOGUE, IMAGES, SUMMARY
from pipeline.datasets.packing import leave_out, pack_images
from pipeline.preparation.leakage import leaked_images

BAD_IMAGES, LEAKED_IMAGES = "bad_images.csv", "leaked_images.csv"
_NUM_NAMES_SHOWN = 10
_FORMAT = 2  # raise it when the same source would be packed differently


def write_prepared_folder(
    catalogue: pd.DataFrame,
    source: Path,
    target: Path,
    *,
    height: int,
    width: int,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Packs the images of `catalogue` into the folder `target`, in one step; does nothing if nothing has changed.

    `pipeline.datasets.images` says how an image is decoded. The result does not depend on the number of workers;
    memory does not grow with the number of images.

    Args:
        catalogue: N rows.
        source: the folder that the paths are relative to. It may be a symbolic link; those in it must not leave it.
        target: the folder to write.
        height: H of the packed images.
        width: W of the packed images.
        skip_bad: leave images that cannot be read out of the catalogue, instead of stopping.
        workers: processes; None = one per core, fewer for a small data set.
        progress: called with the number of images done since the last call, such as `tqdm.update`.

    Returns:
        The contents of summary.json: size, digest, images, identities and cameras of each split, how many images were
        `skipped` (listed in bad_images.csv), and how many test images are `leaked` (listed in leaked_images.csv).

    Raises:
        UserError: images cannot be read (all are listed in bad_images.csv) and `skip_bad` is False, or none of a split
            can be read; or the disk is too small.
    """
    validate(catalogue)
    source, target = Path(source).resolve(), Path(target)
    fingerprint = _fingerprint(catalogue, source, height, width)
    kept = _unchanged(fingerprint, target)
    if kept is not None and (skip_bad or not kept["skipped"]):
        if progress is not None:
            progress(len(catalogue))
        return kept

    names = list(catalogue["path"])
    require_room(target.parent, len(names) * height * width * 3, "the packed images")
    with told_if_full(target.parent, "the packed images"), replacing(target) as temporary:
        temporary.mkdir()
        images = temporary / IMAGES
        hashes, bad = pack_images(source, names, images, height=height, width=width, workers=workers, progress=progress)
        _list_bad(catalogue, bad, target.with_name(BAD_IMAGES), skip_bad=skip_bad)
        if bad:
            rows = [row for row, _ in bad]
            leave_out(images, rows)
            catalogue = catalogue.drop(index=catalogue.index[rows]).reset_index(drop=True)
            hashes = [value for value in hashes if value]
        leaked = leaked_images(catalogue, hashes, source)
        _write_table(leaked, target.with_name(LEAKED_IMAGES))
        write_catalogue(catalogue, temporary / CATALOGUE)
        summary = {
            **_summary(catalogue, height, width, combine_digest(catalogue, hashes)),
            "skipped": len(bad),
            "leaked": len(leaked),
        }
        write_json(temporary / SUMMARY, summary)
    write_json(_fingerprint_file(target), _proof(fingerprint, summary["digest"], target))
    return summary


def _list_bad(catalogue: pd.DataFrame, bad: list[tuple[int, str]], table: Path, *, skip_bad: bool) -> None:
    """Writes the table of unreadable images; raises if there are any, or with `skip_bad` if a split loses all."""
    listed = catalogue.iloc[[row for row, _ in bad]].assign(reason=[reason for _, reason in bad])
    _write_table(listed[["path", "reason"]], table)
    if bad and not skip_bad:
        pairs = list(zip(listed["path"], listed["reason"], strict=True))[:_NUM_NAMES_SHOWN]
        shown = ", ".join(f"{one_line(name)} ({reason})" for name, reason in pairs)
        more = ", ..." if len(bad) > len(pairs) else ""
        raise UserError(
            f"{len(bad)} of {len(catalogue)} images cannot be read: {shown}{more}; all are listed in {table} "
            "(prepare.skip_bad: true leaves them out)"
        )
    for split in SPLITS:
        num_bad = int((listed["split"] == split).sum())
        if num_bad and num_bad == int((catalogue["split"] == split).sum()):
            raise UserError(f"none of the {num_bad} {split} images can be read, the reasons are listed in {table}")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes `table`, or removes that of an earlier attempt where there is nothing to list."""
    if len(table) == 0:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


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
    for name in catalogue["path"]:
        path = os.path.join(source, name)  # noqa: PTH118 - strings: a data set has 100,000 of them
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                value.update(os.fsencode(os.readlink(path)) + b"\n")  # noqa: PTH115
                status = os.stat(path)  # noqa: PTH116
            value.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            value.update(b"unreadable\n")
    return value.hexdigest()


def _fingerprint_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.fingerprint.json")


def _proof(fingerprint: str, digest: str, target: Path) -> dict[str, Any]:
    """What is remembered of a packing: its source, and what it wrote."""
    tables = [target.with_name(name) for name in (BAD_IMAGES, LEAKED_IMAGES)]
    listed = {table.name: hashlib.sha256(table.read_bytes()).hexdigest() for table in tables if table.is_file()}
    return {"fingerprint": fingerprint, "digest": digest, "tables": listed}


def _unchanged(fingerprint: str, target: Path) -> dict[str, Any] | None:
    """The summary of `target` if it was packed from the same source and is still what was packed then."""
    fingerprint_file = _fingerprint_file(target)
    files = [target / name for name in (IMAGES, CATALOGUE, SUMMARY)]
    if not (fingerprint_file.is_file() and all(file.is_file() for file in files)):
        return None
    try:
        summary: dict[str, Any] = read_json(target / SUMMARY)
        same = read_json(fingerprint_file) == _proof(fingerprint, summary["digest"], target)
    except (ValueError, KeyError, TypeError):  # edited by hand, or not ours: pack again
        return None
    return summary if same else None
