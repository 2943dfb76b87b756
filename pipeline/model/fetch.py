"""Fetching the published ImageNet weights of our backbones: once, verified before the file gets its name.

The hexadecimal part of a file's name is the start of its SHA-256.
"""

import re
from pathlib import Path
from typing import Literal

from pipeline.common.errors import UserError
from pipeline.config.schema import PublishedWeights
from pipeline.model.backbones import BACKBONES, url_of
from pipeline.model.download import TIMEOUT, PublishedFile, answers, check_digest, checked_mirror, download


def published_weights(backbone: str, source: PublishedWeights = "imagenet") -> PublishedFile:
    """The ImageNet weights of a backbone; `imagenet_v2` are those of torchvision's newer recipe.

    Raises:
        UserError: nobody published any.
        ValueError: unknown backbone.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    row = BACKBONES[backbone]
    weights = row.weights_v2 if source == "imagenet_v2" else row.weights
    if weights is None and source == "imagenet_v2":
        known = ", ".join(name for name, each in BACKBONES.items() if each.weights_v2)
        raise UserError(
            f"pretrained: imagenet_v2, torchvision's newer weights, are those of {known}, not of {backbone}"
        )
    if weights is None:
        raise UserError(f"nobody published ImageNet weights of {backbone}: use `pretrained: none`, or a file")
    url = url_of(weights)
    name = url.rsplit("/", 1)[1]
    match = re.fullmatch(r".+-([0-9a-f]{8,64})\.pth", name)
    assert match, f"no digest in the name of {url}"
    return PublishedFile(url=url, name=name, digest=match[1])


def where_to_have(backbone: str, folder: Path, *, base_url: str | None = None) -> Literal["here", "there"] | None:
    """Whether the ImageNet weights of a backbone lie in `folder`, or can be fetched; None where neither is so.

    Args:
        backbone: a name of `BACKBONES` with published weights.
        folder, base_url: see `fetch_weights`.
    """
    weights = published_weights(backbone)
    if (folder / weights.name).is_file():
        return "here"
    url = weights.url if base_url is None else f"{checked_mirror(base_url)}/{weights.name}"
    return "there" if answers(url) else None


def fetch_weights(
    backbone: str,
    folder: Path,
    *,
    source: PublishedWeights = "imagenet",
    base_url: str | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT,
) -> Path:
    """The file of the ImageNet weights of a backbone, downloaded unless it is there already.

    Args:
        backbone: a name of `BACKBONES`.
        folder: where the file is or shall be.
        source: see `published_weights`.
        base_url: folder of a mirror that holds the file under its own name; None = where it was published.
        progress, timeout: see `download`.

    Returns:
        `folder` / name of the file.

    Raises:
        UserError: the file cannot be had: which file to put where, with its digest. Or a file of this name is there
            with another digest.
    """
    weights = published_weights(backbone, source)
    target = Path(folder) / weights.name
    if target.exists():
        check_digest(target, weights.digest)
        return target
    url = weights.url if base_url is None else f"{checked_mirror(base_url)}/{weights.name}"
    download(weights, target, url=url, what=f"the weights of {backbone}", progress=progress, timeout=timeout)
    return target
