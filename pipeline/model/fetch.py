"""Fetching published ImageNet weights: once, resumed when interrupted, verified before the file gets its name.

Which files: torchvision's IMAGENET1K_V1 (V2 gives near-identical images low cosine similarities and spoils the
clustering: pytorch/vision#8382) and the IBN-Net release. The hexadecimal part of a file's name is the start of its
SHA-256.
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torchvision

from pipeline.common.errors import UserError
from pipeline.model.backbones import BACKBONES
from pipeline.model.download import TIMEOUT, PublishedWeights, download, stop_if_no_url, stop_if_other

IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0"
IBN_FILES = {
    "resnet_ibn50a": "resnet50_ibn_a-d9d0bb7b.pth",
    "resnet_ibn101a": "resnet101_ibn_a-59ea0ac6.pth",
}


def published_weights(backbone: str) -> PublishedWeights:
    """The ImageNet weights of a backbone.

    Raises:
        UserError: for an unknown backbone, or one of ours that nobody published weights for.
    """
    if backbone not in BACKBONES:
        raise UserError(f"backbone must be one of {', '.join(BACKBONES)}, got {backbone!r}")
    if backbone in IBN_FILES:
        url = f"{IBN_NET}/{IBN_FILES[backbone]}"
    elif backbone in torchvision.models.list_models():
        url = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"].url
    else:
        raise UserError(f"nobody published ImageNet weights of {backbone}: use `pretrained: none`, or a file")
    name = url.rsplit("/", 1)[1]
    match = re.fullmatch(r".+-([0-9a-f]{8,64})\.pth", name)
    assert match, f"no digest in the name of {url}"
    return PublishedWeights(url=url, name=name, digest=match[1])


def fetch_weights(
    backbone: str,
    folder: Path,
    *,
    base_url: str | None = None,
    progress: bool = True,
    timeout: float = TIMEOUT,
    wait: Callable[[float], None] = time.sleep,
) -> Path:
    """The file of the ImageNet weights of a backbone, downloaded unless it is there already.

    What an interrupted download got stays beside the file under the name `.part`, and the next one goes on from
    there. The file gets its own name only when its digest is right.

    Args:
        backbone: a name of `BACKBONES`.
        folder: where the file is or shall be.
        base_url: folder of a mirror that holds the file under its own name; None = where it was published.
        progress: show a bar on stderr.
        timeout: seconds without an answer, or without a byte, after which an attempt has failed.
        wait: called with the seconds to wait before the next attempt.

    Returns:
        `folder` / name of the file.

    Raises:
        UserError: if the file cannot be had: which file to put where, with its digest. Or if a file of this name is
            there with another digest.
    """
    weights = published_weights(backbone)
    target = Path(folder) / weights.name
    if target.exists():
        stop_if_other(target, weights.digest)
        return target
    url = weights.url if base_url is None else f"{stop_if_no_url(base_url)}/{weights.name}"
    download(backbone, replace(weights, url=url), target, at=weights.url, progress=progress, timeout=timeout, wait=wait)
    return target
