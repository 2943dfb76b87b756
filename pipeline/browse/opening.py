"""A finished run, opened for the page; its embeddings are computed once, and kept."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.browse.session import Run, labels_of
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, replacing
from pipeline.datasets.names import read_names
from pipeline.datasets.packed_images import SUMMARY, PackedImages
from pipeline.inference.embedder import Embedder


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
    labels = labels_of(clusters, train)
    data = read_json(prepared / SUMMARY)["digest"]
    key = hashlib.sha256(f"{embedder.digest} {embedder.role} {data}".encode()).hexdigest()[:32]
    embeddings = _kept(cache / f"{key}.npy", train.images, embedder)
    settings = embedder.settings
    title = " ".join(str(settings[name]) for name in ("dataset", "method", "backbone") if name in settings)
    return Run(title, train, labels, embeddings, embedder, read_names(prepared))


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
