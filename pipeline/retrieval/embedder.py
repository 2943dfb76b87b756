"""A trained network in a file, opened to turn images into embeddings with the settings that it carries.

N: images · D: width of the embedding · H, W: pixels.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.errors import UserError
from pipeline.model.fetch import sha256
from pipeline.model.saved import load_model
from pipeline.retrieval.embedding import embed_shown

ROLES = ("student", "teacher")


@dataclass(frozen=True)
class Embedder:
    """What `open_embedder` returns.

    Attributes:
        path: of the file.
        role: which of its networks.
        settings: that made it, nested as in params.yaml.
        digest: SHA-256 of the file.
        network: in eval mode, on the CPU.
    """

    path: Path
    role: str
    settings: dict[str, Any]
    digest: str
    network: nn.Module

    @property
    def size(self) -> tuple[int, int]:
        """H and W of the images that it was trained on."""
        return self.settings["image"]["height"], self.settings["image"]["width"]

    def embed(self, images: np.ndarray, title: str) -> np.ndarray:
        """L2-normalised embeddings (N, D), float32, of images (N, H, W, 3), uint8, of `size`; shows progress."""
        return embed_shown(self.network, images, title)


def open_embedder(path: Path, *, role: str = "student") -> Embedder:
    """Opens a model of the train stage.

    Args:
        path: of the file.
        role: one of `ROLES`.

    Raises:
        UserError: unknown role; no such file, or no model of this project.
    """
    if role not in ROLES:
        raise UserError(f"the network must be one of {', '.join(ROLES)}, got {role!r}")
    student, teacher, settings = load_model(path)
    return Embedder(path, role, settings, sha256(path), student if role == "student" else teacher)
