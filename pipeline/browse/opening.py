"""A finished run or a discovery, opened for the page; embeddings are computed once, and kept."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.browse.run import Run, labels_of
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing
from pipeline.common.text import one_line
from pipeline.datasets.names import read_names
from pipeline.datasets.packed_images import SUMMARY, PackedImages
from pipeline.discovery.individuals import embeddings_of
from pipeline.discovery.numbering import read_known
from pipeline.discovery.origin import read_origin
from pipeline.discovery.sheets import thumbnail
from pipeline.inference.embedder import Embedder
from pipeline.preparation.readers.image_folder import cameras_of
from pipeline.search.gallery import open_gallery


def opened_run(*, prepared: Path, model: Path, clusters: Path, cache: Path) -> Run:
    """The training images of a run with its clusters and their embeddings; shows progress.

    Args:
        prepared: folder of the stage `prepare`.
        model: file of the stage `train`.
        clusters: table of the stage `evaluate`.
        cache: folder for embeddings.

    Raises:
        UserError: something is missing, damaged, or of another run.
    """
    packed, embedder = PackedImages(prepared), Embedder(model)
    train = packed.split("train")
    labels = labels_of(clusters, len(train))
    data = read_json(prepared / SUMMARY)["digest"]
    key = hashlib.sha256(f"{embedder.digest} {embedder.role} {data}".encode()).hexdigest()[:32]
    embeddings = _kept(cache / f"{key}.npy", train.images, embedder)
    settings = embedder.settings
    title = " ".join(str(settings[name]) for name in ("dataset", "method", "backbone") if name in settings)
    return Run(
        title=title,
        paths=train.paths,
        picture=lambda row: np.asarray(train.images[row]),
        camids=train.camids,
        labels=labels,
        embeddings=embeddings,
        embedder=embedder,
        names=read_names(prepared),
        following="dvc repro",
    )


def opened_discovery(folder: Path, *, last: Path, downloads: Path, cache: Path) -> tuple[Run, Path]:
    """What `stages.discover` found, and the folder of its images, which corrections belong into; shows progress.

    Args:
        folder: that it wrote.
        last: the model that it took where none was named.
        downloads: of published weights.
        cache: folder for embeddings, the same that it used.

    Raises:
        UserError: something is missing, damaged, or has changed since.
    """
    origin, digest = read_origin(folder)
    embedder = origin.embedder(last=last, downloads=downloads)
    where = one_line(origin.folder)
    again = f"run `python -m stages.discover {where}` again"
    if embedder.digest != digest:
        raise UserError(f"{folder} was made with another network than {embedder.path} is now: {again}")
    known = read_known(folder)
    gallery = open_gallery(Path(origin.folder), embedder, cache, skip_bad=origin.skip_bad)
    if gallery.names != tuple(known.numbers):
        raise UserError(f"{where} holds other images than {folder} knows: {again}")
    camids = None if origin.camera is None else cameras_of(gallery.names, origin.camera, setting="--camera")
    run = Run(
        title=Path(origin.folder).name,
        paths=gallery.names,
        picture=lambda row: np.asarray(thumbnail(Path(gallery.places[row]))),
        camids=camids,
        labels=np.array(list(known.numbers.values()), np.int64),
        embeddings=embeddings_of(gallery),
        embedder=embedder,
        following="stages.discover",
    )
    return run, Path(origin.folder)


def _kept(file: Path, images: np.ndarray, embedder: Embedder) -> NDArray[np.float32]:
    shape = (len(images), embedder.num_features)
    if file.is_file():
        try:
            found: NDArray[np.float32] = np.load(file, allow_pickle=False)
        except (ValueError, EOFError, OSError):  # damaged: computed again
            found = np.zeros((0, 0), np.float32)
        if found.shape == shape and found.dtype == np.float32:
            return found
    embeddings = embedder.embed(images, "embedding the training images")
    if not np.isfinite(embeddings).all():
        raise UserError(f"{embedder.path}: the model's output is broken")
    with replacing(file) as temporary, temporary.open("wb") as opened:
        np.save(opened, embeddings, allow_pickle=False)
    return embeddings
