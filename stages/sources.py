"""The data set and the file of weights as they lie on disk, which DVC does not track: their digests."""

from contextlib import ExitStack
from typing import Any

import stages
from pipeline.common import paths
from pipeline.common.contents import is_record_of, record_contents
from pipeline.common.progress import Progress
from pipeline.config.load import read_source_settings
from pipeline.config.schema import SourceSettings
from pipeline.preparation.archives import unpack_if_missing
from pipeline.preparation.readers import ReaderOptions, dataset_folder, dataset_folders
from pipeline.preparation.synthetic_dataset import ensure_synthetic

PUBLISHED_WEIGHTS = ("imagenet", "none")


def sources() -> None:
    """Looks what the stages `prepare` and `pretrained` will read; runs at every `dvc repro`, quickly.

    Reads params.yaml (dataset, own, synthetic, pretrained), the data set's folder below data/raw/, which is generated
    or unpacked first where that can be done, and the file of weights if `pretrained` names one. Writes
    data/dataset.json and data/weights.json: digests, by which DVC sees that something has changed. What is not on
    this machine keeps the digest that it had, so that results can be taken over without their sources.
    """
    settings = read_source_settings()
    paths.require_real_folders()
    if paths.in_workspace():
        paths.BAD_IMAGES.unlink(missing_ok=True)  # of a run that failed
    raw, options = paths.raw(), reader_options(settings)
    identity: dict[str, Any] = {"dataset": settings.dataset}
    if settings.dataset == "synthetic":
        identity |= settings.synthetic.model_dump()
    folders = dataset_folders(settings.dataset, raw, options=options)
    if settings.dataset != "synthetic" or folders[0].exists() or not is_record_of(paths.DATASET_STATE, identity):
        place(settings)
    folder = dataset_folder(settings.dataset, raw, options=options)
    if settings.dataset in ("folder", "csv"):
        identity["folder"] = settings.own.folder
    memory = paths.scratch() / "contents"
    record_contents(paths.DATASET_STATE, identity, folder, memory=memory)
    weights = None if settings.pretrained in PUBLISHED_WEIGHTS else paths.checkout() / settings.pretrained
    record_contents(paths.WEIGHTS_STATE, {"pretrained": settings.pretrained}, weights, memory=memory)


def reader_options(settings: SourceSettings) -> ReaderOptions:
    """The settings that decide how the data set is read."""
    return ReaderOptions(
        folder=settings.own.folder,
        table=settings.own.table,
        camera=None if settings.own.camera == "none" else settings.own.camera,
        test_size=settings.vehicleid.test_size,
        follow_links=settings.prepare.follow_links,
    )


def place(settings: SourceSettings) -> None:
    """Generates or unpacks the data set where that can be done and has not been."""
    folders = dataset_folders(settings.dataset, paths.raw(), options=reader_options(settings))
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

        archive = unpack_if_missing(paths.raw(), settings.dataset, folders, progress=reach)
    if archive is not None:
        print(f"unpacked {archive.name}")


if __name__ == "__main__":
    stages.run(sources)
