"""A trained network in a file, opened to turn images into embeddings with the settings that it carries.

N: images · D: width of the embedding · H, W: pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.files import sha256
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.inference.trained import SUFFIXES as TRAINED
from pipeline.inference.trained import load_trained
from pipeline.model.embedding import embed_shown
from pipeline.model.saved import ROLES

__all__ = ["ROLES", "SUFFIXES", "Embedder", "open_embedder"]

EXPORTED = ".onnx"
SUFFIXES = (*TRAINED, EXPORTED)


@dataclass(frozen=True)
class Embedder:
    """What `open_embedder` returns.

    Attributes:
        path: of the file.
        role: which of its networks.
        settings: that made it, nested as in params.yaml.
        digest: SHA-256 of the file.
        network: in eval mode, on the CPU; or the exported one in ONNX Runtime.
    """

    path: Path
    role: str
    settings: dict[str, Any]
    digest: str
    network: nn.Module | OnnxNetwork

    @property
    def size(self) -> tuple[int, int]:
        """H and W of the images that it was trained on."""
        return self.settings["image"]["height"], self.settings["image"]["width"]

    @property
    def num_features(self) -> int:
        """D."""
        width = self.network.num_features
        assert isinstance(width, int)
        return width

    def embed(self, images: np.ndarray, title: str) -> np.ndarray:
        """L2-normalized embeddings (N, D), float32, of images (N, H, W, 3), uint8, of `size`; shows progress.

        Raises:
            UserError: images of another size.
        """
        if images.shape[1:3] != self.size:
            (height, width), (own_height, own_width) = images.shape[1:3], self.size
            raise UserError(
                f"{self.path} was trained on images of {own_height} x {own_width} (height x width), and these are of "
                f"{height} x {width}: set image.height={own_height} and image.width={own_width}, and run "
                "`dvc repro prepare`"
            )
        if isinstance(self.network, OnnxNetwork):
            return self.network.embed_shown(images, title)
        return embed_shown(self.network, images, title)


def open_embedder(path: Path, *, role: str | None = None, provider: str = "auto") -> Embedder:
    """Opens a model of the train stage (.safetensors), a checkpoint of a training (.pt) or an exported model (.onnx).

    Args:
        path: of the file.
        role: one of `ROLES`; None = the student, or the one network of an exported model.
        provider: where an exported model runs, see `OnnxNetwork`.

    Raises:
        UserError: unknown role or kind of file; no such file, or no model of this project; an exported model is of the
            other role; or the provider cannot be used.
    """
    if role is not None and role not in ROLES:
        raise UserError(f"the network must be one of {', '.join(ROLES)}, got {role!r}")
    if path.suffix not in SUFFIXES:
        raise UserError(f"a model must end in one of {', '.join(SUFFIXES)}, got {path}")
    if path.suffix == EXPORTED:
        exported = OnnxNetwork(path, provider=provider)
        if role not in (None, exported.metadata.role):
            raise UserError(f"{path} holds the {exported.metadata.role} alone, not the {role}")
        return Embedder(path, exported.metadata.role, exported.metadata.settings, sha256(path), exported)
    if provider != "auto":
        raise UserError(f"a provider is for an exported model (.onnx), and {path} is none")
    role = role or ROLES[0]
    network, settings = load_trained(path, role=role)
    return Embedder(path, role, settings, sha256(path), network)
