"""Putting the weights that a training starts from in a folder: published, learned from drawn people, own, or none."""

import shutil
from pathlib import Path
from typing import Any, cast, get_args

from pipeline.common.errors import UserError
from pipeline.common.files import replacing, sha256, write_json
from pipeline.config.schema import DRAWN_WEIGHTS, NO_WEIGHTS, PRETRAINED_WORDS, PublishedWeights
from pipeline.model.backbones import BACKBONES
from pipeline.model.drawn_weights import drawn_weights
from pipeline.model.fetch import fetch_weights
from pipeline.model.starting_weights import DESCRIPTION
from pipeline.model.timm_backbones import PREFIX, is_timm, timm_config
from pipeline.model.timm_hub import fetch_timm_weights
from pipeline.model.weights import read_weights

SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".safetensors")


def place_starting_weights(
    source: str,
    *,
    backbone: str,
    size: tuple[int, int],
    folder: Path,
    downloads: Path,
    checkout: Path,
    mirror: str | None = None,
) -> str:
    """Fills `folder` with the weights and weights.json, which names their origin and SHA-256.

    Args:
        source: "imagenet", "imagenet_v2", "synthetic" (see `drawn_weights.py`), "none", or the path of a file, absolute
            or relative to `checkout`.
        backbone: a name of `BACKBONES`, or `timm/<name>`.
        size: height and width of the images that "synthetic" learns from.
        folder: is replaced.
        downloads: keeps what is published and what was learned; what lies there is not fetched or learned again.
        checkout: see `source`.
        mirror: base URL in place of the publisher's; for a backbone of timm, that of a mirror of its hub.

    Returns:
        A sentence for the user.

    Raises:
        UserError: unknown backbone, a file that is missing or cannot be read, or weights that cannot be fetched.
    """
    file = weights_file(source, backbone=backbone, size=size, downloads=downloads, checkout=checkout, mirror=mirror)
    description: dict[str, Any] = {"source": source, "backbone": backbone, "file": None, "name": None, "sha256": None}
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        if file is not None:
            name = f"weights{file.suffix}"
            shutil.copyfile(file, temporary / name)
            description |= {"file": name, "name": file.name, "sha256": sha256(temporary / name)}
        write_json(temporary / DESCRIPTION, description)
    return f"{backbone} starts from random weights" if file is None else f"{backbone} starts from {file.name}"


def weights_file(
    source: str,
    *,
    backbone: str,
    size: tuple[int, int],
    downloads: Path,
    checkout: Path,
    mirror: str | None = None,
) -> Path | None:
    """The file of weights that `source` stands for, fetched or learned where it has to be; None for random ones.

    The arguments and errors are those of `place_starting_weights`.
    """
    if is_timm(backbone):
        timm_config(backbone)  # stops where there is none
    elif backbone not in BACKBONES:
        known = f"{', '.join(BACKBONES)} or {PREFIX}<name>"
        raise UserError(f"backbone must be one of {known}, got {backbone!r} (params.yaml)")
    if source == NO_WEIGHTS:
        return None
    if source == DRAWN_WEIGHTS:
        return drawn_weights(backbone, downloads, size=size)
    if is_timm(backbone) and source in get_args(PublishedWeights):
        if source != "imagenet":
            raise UserError(
                f"pretrained: {source} is of torchvision's networks; of {backbone} name a tag as the backbone"
            )
        return fetch_timm_weights(backbone, downloads, base_url=mirror)
    if source in get_args(PublishedWeights):
        return fetch_weights(backbone, downloads, source=cast(PublishedWeights, source), base_url=mirror)
    file = checkout / source
    if not file.is_file():
        raise UserError(
            f"pretrained must be {', '.join(PRETRAINED_WORDS)} or a file with weights, got {source!r}: "
            f"no file at {file}"
        )
    if file.suffix not in SUFFIXES:
        raise UserError(f"pretrained: {file} must end in one of {', '.join(SUFFIXES)}")
    read_weights(file)
    return file
