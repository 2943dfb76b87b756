"""What the chosen network does with the images on this machine: how long it takes, and what it clusters by each eps."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.clustering.eps_choice import EPS, clusterings
from pipeline.common.device import choose_device
from pipeline.common.precision import Precision, precision_on
from pipeline.common.progress import Progress
from pipeline.config.load import Settings
from pipeline.datasets.links import links_of
from pipeline.inference.published import open_published
from pipeline.methods import METHODS
from pipeline.model.saved import build_of
from pipeline.preparation.readers import Source
from pipeline.training.distributed import chosen_processes
from pipeline.training.duration import embedding_seconds, training_seconds

_TIMED = 32  # images
_DECODING = 0.004  # seconds per crop


@dataclass(frozen=True)
class Times:
    """Seconds, about.

    Attributes:
        training: of all epochs.
        embedding: of all training images, decoded and embedded once.
    """

    training: float
    embedding: float


def times(settings: Settings, *, images: int) -> Times:
    """How long the network of `settings` takes on this machine for so many training images, from timing it."""
    device, image = choose_device(), settings.image
    network, timed = build_of(settings.as_dict()).to(device), min(settings.model.bn_group, _TIMED)
    precision = precision_on(device, settings.train.precision)
    processes = chosen_processes(settings.train.processes, groups=settings.num_groups)
    with Precision(precision, device).forward():
        of_training = settings.of_training(precision=precision)
        training = training_seconds(network, of_training, images=images, processes=processes, timed=timed)
    each = embedding_seconds(network, height=image.height, width=image.width, timed=timed)
    return Times(training, (each + _DECODING) * images)


def clusters_by_eps(source: Source, settings: Settings, *, downloads: Path, mirror: str | None = None) -> pd.DataFrame:
    """What each eps finds among the training images by the starting weights, see `clusterings`.

    Args:
        source: the images.
        settings: that are to train them.
        downloads: keeps published weights, and those of drawn people, which are learned first.
        mirror: base URL in place of the publisher's.

    Raises:
        UserError: the weights cannot be had, an image cannot be read, or the method needs cameras that are not told.
    """
    train = source.catalogue[source.catalogue["split"] == "train"]
    names, cameras, clustering = list(train["path"]), train["camid"], settings.clustering
    seen = None if cameras.isna().any() else cameras.to_numpy(dtype="int64")
    aware = METHODS[settings.method](settings.of_training(precision="fp32"), seen).camera_aware(0)
    size = (settings.image.height, settings.image.width)
    embedder = open_published(settings.backbone, settings.pretrained, size=size, downloads=downloads, mirror=mirror)
    embeddings = embedder([source.folder / name for name in names], shown=True)
    k1 = min(clustering.k1, len(names) - 1)
    links, _ = links_of(names, source.links)
    with Progress(f"clustering {len(EPS)} times", 1) as progress:
        return clusterings(
            embeddings,
            k1=[k1],
            k2=min(clustering.k2, k1),
            min_samples=clustering.min_samples,
            neighbours=clustering.neighbours,
            cameras=seen,
            camera_aware=aware,
            links=links if links.say_something else None,
            advance=progress.advance,
        ).table
