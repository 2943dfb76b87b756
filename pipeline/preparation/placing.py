"""Gets the data set of the settings ready below the folder of raw data: generated, unpacked, or as it lies there."""

import os
from contextlib import ExitStack
from pathlib import Path

from pipeline.common import paths
from pipeline.common.contents import Folders, contents_of_all
from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.common.locks import locked
from pipeline.common.progress import Progress
from pipeline.config.schema import SourceSettings
from pipeline.preparation.archives import unpack_if_missing
from pipeline.preparation.readers import ReaderOptions, dataset_folders
from pipeline.preparation.synthetic_dataset import ensure_synthetic


def reader_options(settings: SourceSettings) -> ReaderOptions:
    """The settings that decide how the data set is read."""
    return ReaderOptions(
        folder=settings.own.folder,
        table=settings.own.table,
        camera=None if settings.own.camera == "none" else settings.own.camera,
        tracklet=None if settings.own.tracklet == "none" else settings.own.tracklet,
        test_size=settings.vehicleid.test_size,
        tracklets=settings.synthetic.tracklets,
        follow_links=settings.prepare.follow_links,
        members=tuple(settings.wildlife.datasets),
        species=tuple(settings.wildlife.species),
        camera_column=None if settings.wildlife.camera == "none" else settings.wildlife.camera,
    )


def place(settings: SourceSettings) -> None:
    """Generates or unpacks the data set, where that can be done and has not been; one process at a time does it."""
    with locked(paths.scratch() / "place.lock", waiting="another run is getting the data set ready: waiting for it"):
        _place(settings)


def _place(settings: SourceSettings) -> None:
    folders = dataset_folders(settings.dataset, paths.raw(), options=reader_options(settings))
    if settings.dataset == "synthetic":
        with Progress("generating images", unit="image") as progress:
            drawing = settings.synthetic.model_dump(exclude={"tracklets"})  # which are drawn, used or not
            ensure_synthetic(folders[0], **drawing, progress=progress.reach)
        return
    with ExitStack() as stack:
        shown: list[Progress] = []  # a bar appears with the first byte: mostly there is nothing to unpack

        def reach(done: int, total: int) -> None:
            if not shown:
                shown.append(stack.enter_context(Progress("unpacking", total, unit="byte")))
            shown[0].reach(done, total)

        archive = unpack_if_missing(paths.raw(), settings.dataset, folders, progress=reach)
    if archive is not None:
        print(f"unpacked {archive.name}")


def require_as_recorded(folders: Folders) -> None:
    """Under DVC: raises UserError if the images are no longer those whose digest DVC keeps beside the result."""
    if "DVC_ROOT" not in os.environ or not paths.DATASET_STATE.is_file():
        return
    found = contents_of_all(folders, memory=paths.scratch() / "contents")
    if found is None or found.digest != read_json(paths.DATASET_STATE).get("digest", found.digest):
        shown = folders if isinstance(folders, Path) else ", ".join(map(str, folders.values()))
        raise UserError(f"{shown} was changed while its images were being packed: start the run again")
