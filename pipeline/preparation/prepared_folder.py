"""Packs a data set: every image decoded and resized once, in one memory-mapped file with the catalogue beside it.

`pipeline.datasets.packed_images` says what a prepared folder holds; it depends on the images alone. Beside that it has
`bad_images.csv` (path, reason) if images could not be read and were left out, `leaked_images.csv` (train, test) if test
images are training images too, `names.json` if identities or cameras came with names, `links.csv` if pairs of training
images are known to be one individual or two, `tracklets.csv` if query and gallery images are of tracklets, and
`members.json`, the names of the data sets, if it is a union of several.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.common.contents import Folders
from pipeline.common.disk_space import require_room, told_if_full
from pipeline.common.errors import UserError
from pipeline.common.files import replacing, sha256, write_json
from pipeline.common.text import csv_cell, one_line
from pipeline.datasets.catalogue import SPLITS, combine_digest, validate, write_catalogue
from pipeline.datasets.images import LINK_OUT, resolved
from pipeline.datasets.links import LINKS, Links, write_links
from pipeline.datasets.names import Names
from pipeline.datasets.packed_images import CATALOGUE, IMAGES, MEMBERS, SUMMARY
from pipeline.datasets.packing import leave_out, pack_images
from pipeline.datasets.tracklets import Tracklets, write_tracklets
from pipeline.preparation.leakage import leaked_images
from pipeline.preparation.readers.layout import FOLLOW_LINKS

BAD_IMAGES, LEAKED_IMAGES = "bad_images.csv", "leaked_images.csv"
_NUM_NAMES_SHOWN = 10
_NO_NAMES = Names()


def write_prepared_folder(
    catalogue: pd.DataFrame,
    source: Folders,
    target: Path,
    *,
    height: int,
    width: int,
    names: Names = _NO_NAMES,
    links: Links | None = None,
    tracklets: Tracklets | None = None,
    skip_bad: bool = False,
    follow_links: bool = False,
    list_if_refused: Path | None = None,
    workers: int | None = None,
    finish: Callable[[Path], object] | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Packs the images of `catalogue` into the folder `target`, in one step.

    `pipeline.datasets.images` says how an image is decoded. The result does not depend on the number of workers;
    memory does not grow with the number of images.

    Args:
        catalogue: N rows.
        source: the folder that the paths are relative to, or one by the first part of a path. It may be a symbolic
            link; those in it must not leave it unless `follow_links` is set.
        target: the folder to write.
        height: H of the packed images.
        width: W of the packed images.
        names: of identities and cameras, kept beside the catalogue.
        links: of the training images, kept beside it too; None where there are none.
        tracklets: of query and gallery images, likewise.
        skip_bad: leave images that cannot be read out of the catalogue, instead of stopping.
        follow_links: read images that links place outside `source`, too.
        list_if_refused: where to list the unreadable images if they stop it (None: beside `target`); removed if not.
        workers: processes; None = one per core, fewer for a small data set.
        finish: called with the folder when all of the above is written, before it takes the place of `target`: writes
            more, or raises what stops that.
        progress: called with the number of images done since the last call, such as `tqdm.update`.

    Returns:
        The contents of summary.json: size, digest, images, identities and cameras of each split, how many images were
        `skipped` (listed in bad_images.csv), how many test images are `leaked` (listed in leaked_images.csv), and of
        `links`, where there are any, their digest, the units that they make of the training images, pairs apart, and
        outliers.

    Raises:
        UserError: images cannot be read and `skip_bad` is False, or none of a split can be read (all are listed in
            `list_if_refused`); or the disk is too small.
    """
    validate(catalogue)
    source, target = resolved(source), Path(target)
    files = list(catalogue["path"])
    require_room(target.parent, len(files) * height * width * 3, "the packed images")
    with told_if_full(target.parent, "the packed images"), replacing(target) as temporary:
        temporary.mkdir()
        images = temporary / IMAGES
        hashes, bad = pack_images(
            source,
            files,
            images,
            height=height,
            width=width,
            workers=workers,
            follow_links=follow_links,
            progress=progress,
        )
        listed = catalogue.iloc[[row for row, _ in bad]].assign(reason=[reason for _, reason in bad])
        _stop_if_bad(catalogue, listed, list_if_refused or target.with_name(BAD_IMAGES), skip_bad=skip_bad)
        _write_table(listed[["path", "reason"]], temporary / BAD_IMAGES)
        rows = [row for row, _ in bad]
        if bad:
            if links is not None:
                train = np.flatnonzero((catalogue["split"] == "train").to_numpy())
                links = links.of_rows(np.flatnonzero(~np.isin(train, rows)))
            leave_out(images, rows)
            catalogue = catalogue.drop(index=catalogue.index[rows]).reset_index(drop=True)
            hashes = [value for value in hashes if value]
        leaked = leaked_images(catalogue, hashes, source)
        _write_table(leaked, temporary / LEAKED_IMAGES)
        write_catalogue(catalogue, temporary / CATALOGUE)
        names.write(temporary)
        if not isinstance(source, Path):
            write_json(temporary / MEMBERS, list(source))
        if links is not None:
            write_links(temporary, list(catalogue["path"][catalogue["split"] == "train"]), links)
        write_tracklets(temporary, zip(catalogue["split"], catalogue["path"], strict=True), tracklets or {})
        summary = {
            **_summary(catalogue, height, width, combine_digest(catalogue, hashes)),
            "skipped": len(bad),
            "leaked": len(leaked),
        }
        if links is not None and (temporary / LINKS).is_file():
            counts = {"units": links.num_groups, "apart": len(links.apart), "outliers": len(links.outliers)}
            summary["links"] = {"digest": sha256(temporary / LINKS), **counts}
        write_json(temporary / SUMMARY, summary)
        if finish is not None:
            finish(temporary)
    return summary


def _stop_if_bad(catalogue: pd.DataFrame, bad: pd.DataFrame, table: Path, *, skip_bad: bool) -> None:
    """Lists unreadable images in `table` and raises, with `skip_bad` only if a split loses all of its images."""
    lost = [split for split in SPLITS if 0 < (bad["split"] == split).sum() == (catalogue["split"] == split).sum()]
    if len(bad) == 0 or (skip_bad and not lost):
        table.unlink(missing_ok=True)
        return
    _write_table(bad[["path", "reason"]], table)
    if skip_bad:
        number = (bad["split"] == lost[0]).sum()
        raise UserError(f"none of the {number} {lost[0]} images can be read, the reasons are listed in {table}")
    pairs = list(zip(bad["path"], bad["reason"], strict=True))[:_NUM_NAMES_SHOWN]
    shown = ", ".join(f"{one_line(name)} ({reason})" for name, reason in pairs)
    links = f", {FOLLOW_LINKS} reads the links" if bad["reason"].str.startswith(LINK_OUT).any() else ""
    more = ", ..." if len(bad) > len(pairs) else ""
    raise UserError(
        f"{len(bad)} of {len(catalogue)} images cannot be read: {shown}{more}; all are listed in {table} "
        f"(prepare.skip_bad: true leaves them out{links})"
    )


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes `table`, for people to look at, if there is anything in it."""
    if len(table):
        with replacing(path) as temporary:
            table.map(csv_cell).to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")


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
