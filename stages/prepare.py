"""Images as they came -> one packed array and a catalogue."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pipeline.common.paths as at
import stages
from pipeline.common.progress import Progress
from pipeline.config.load import Settings
from pipeline.preparation.archives import unpack_if_missing
from pipeline.preparation.prepared_folder import BAD_IMAGES, LEAKED_IMAGES, write_prepared_folder
from pipeline.preparation.readers import ReaderOptions, dataset_folders, open_dataset
from pipeline.preparation.synthetic_dataset import ensure_synthetic

SECTIONS = ("dataset", "image", "synthetic", "own", "vehicleid", "prepare")


def prepare() -> None:
    """Decodes and resizes every image once.

    Reads params.yaml (dataset, image, synthetic, own, vehicleid, prepare) and the data set's folder below data/raw/;
    it is generated there first if the data set is `synthetic`, and unpacked if only its archive is there. Writes
    data/prepared/: images.npy, catalogue.csv, summary.json, settings.yaml; and, where there are any,
    data/bad_images.csv (unreadable) and data/leaked_images.csv (in both halves).
    """
    settings = stages.settings()
    options = ReaderOptions(
        folder=settings.own.folder,
        table=settings.own.table,
        camera=None if settings.own.camera == "none" else settings.own.camera,
        test_size=settings.vehicleid.test_size,
    )
    _place(settings, dataset_folders(settings.dataset, at.raw(), options=options))
    source = open_dataset(settings.dataset, at.raw(), options=options)
    for warning in source.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for note in source.notes:
        print(note)
    with Progress("packing images", total=len(source.catalogue), unit="image") as progress:
        summary = write_prepared_folder(
            source.catalogue,
            source.folder,
            at.PREPARED,
            height=settings.image.height,
            width=settings.image.width,
            skip_bad=settings.prepare.skip_bad,
            progress=progress.advance,
        )
    settings.write(at.PREPARED / "settings.yaml", SECTIONS)
    _tell(settings.dataset, summary)


def _place(settings: Settings, folders: list[Path]) -> None:
    """Draws or unpacks the data set where that can be done and has not been."""
    if settings.dataset == "synthetic":
        with Progress("generating images", unit="image") as progress:
            ensure_synthetic(folders[0], **settings.synthetic.model_dump(), progress=progress.reach)
        return
    with ExitStack() as stack:
        shown: list[Progress] = []  # a bar appears with the first byte: mostly there is nothing to unpack

        def reach(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(Progress("unpacking", total, unit="byte")))
            shown[0].reach(done, total)

        archive = unpack_if_missing(at.raw(), settings.dataset, folders, progress=reach)
    if archive is not None:
        print(f"unpacked {archive.name}")


def _tell(dataset: str, summary: dict[str, Any]) -> None:
    beside = at.PREPARED.parent
    if summary["skipped"]:
        print(f"warning: {summary['skipped']:,} images cannot be read and are left out: {beside / BAD_IMAGES}")
    if summary["leaked"]:
        table = beside / LEAKED_IMAGES
        print(f"warning: {summary['leaked']:,} test images are training images too, byte for byte: {table}")
    splits = ", ".join(f"{name} {s['images']:,}" for name, s in summary["splits"].items())
    print(f"{dataset}: {summary['images']:,} images ({splits}), digest {summary['digest'][:12]}")


if __name__ == "__main__":
    stages.run(prepare)
