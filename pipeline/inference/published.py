"""A backbone with published weights, or any file of weights, as an embedder: before there is a training."""

import hashlib
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import sha256
from pipeline.common.seeding import seed_everything
from pipeline.config.schema import SIDES
from pipeline.inference.embedder import Embedder
from pipeline.model.placing_weights import weights_file
from pipeline.model.saved import build_of

_MODEL = {"pooling": "avg", "features": 0, "bn_group": 2}
_SEED = 1  # of random weights


def open_published(
    backbone: str, source: str, *, size: tuple[int, int], downloads: Path, mirror: str | None = None
) -> Embedder:
    """The backbone as a training would start with it.

    Args:
        backbone: a name of `BACKBONES`, or `timm/<name>`.
        source: "imagenet", "imagenet_v2", "synthetic", "none", or the path of a file.
        size: H and W of its images.
        downloads: keeps published files; one that lies there is not fetched.
        mirror: base URL in place of the publisher's.

    Raises:
        UserError: unknown backbone, weights that cannot be had or do not fit, or no such size.
    """
    height, width = size
    least, most = SIDES
    if min(size) < least or max(size) > most:
        raise UserError(f"--size must be a height and a width from {least} to {most}, got {height} {width}")
    file = weights_file(source, backbone=backbone, size=size, downloads=downloads, checkout=Path(), mirror=mirror)
    seed_everything(_SEED, deterministic=True)
    settings = {"backbone": backbone, "model": _MODEL, "image": {"height": height, "width": width}}
    network = build_of(settings, weights=file).eval()
    what = repr((backbone, size, _SEED if file is None else sha256(file)))
    return Embedder.of(network, settings, path=file or Path(backbone), digest=hashlib.sha256(what.encode()).hexdigest())
