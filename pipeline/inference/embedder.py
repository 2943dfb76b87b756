"""A trained network in a file, opened to turn images into embeddings with the settings that it carries.

    embedder = Embedder("data/model/model.safetensors")
    embedder(["north/1.jpg", "south/7.jpg"])             # (2, D) float32, rows of length 1
    embedder.same("north/1.jpg", "south/7.jpg").verdict  # "same", "unsure" or "different"

N: images · D: width of the embedding · H, W: pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from torch import nn

from pipeline.common.errors import UserError
from pipeline.common.files import sha256
from pipeline.common.progress import Progress
from pipeline.inference.onnx_runtime import OnnxNetwork
from pipeline.inference.pictures import AT_ONCE, Picture, as_pictures, decoded
from pipeline.inference.trained import SUFFIXES as TRAINED
from pipeline.inference.trained import load_trained
from pipeline.model.embedding import embed_shown
from pipeline.model.saved import ROLES
from pipeline.model.thresholds import Thresholds, Verdict

__all__ = ["ROLES", "SUFFIXES", "Embedder", "Judgement"]

EXPORTED = ".onnx"
SUFFIXES = (*TRAINED, EXPORTED)


class Judgement(NamedTuple):
    """Whether two images show one individual."""

    verdict: Verdict
    cosine: float  # of their embeddings, in [-1, 1]


class Embedder:
    """A model of the train stage (.safetensors), a checkpoint of a training (.pt) or an exported model (.onnx).

    Attributes:
        path: of the file.
        role: which of its networks.
        settings: that made it, nested as in params.yaml.
        digest: SHA-256 of the file.
        network: in eval mode; or the exported one in ONNX Runtime.

    Args:
        path: of the file.
        role: one of `ROLES`; None = the student, or the one network of an exported model.
        provider: where an exported model runs, see `OnnxNetwork`.

    Raises:
        UserError: unknown role or kind of file; no such file, or no model of this project; an exported model is of the
            other role; or the provider cannot be used.
    """

    def __init__(self, path: str | Path, *, role: str | None = None, provider: str = "auto") -> None:
        self.path = path = Path(path)
        if role is not None and role not in ROLES:
            raise UserError(f"the network must be one of {', '.join(ROLES)}, got {role!r}")
        if path.suffix not in SUFFIXES:
            raise UserError(f"a model must end in one of {', '.join(SUFFIXES)}, got {path}")
        self.role = role or ROLES[0]
        self.settings: dict[str, Any]
        if path.suffix == EXPORTED:
            self.network: Any = OnnxNetwork(path, provider=provider)
            metadata = self.network.metadata
            if role not in (None, metadata.role):
                raise UserError(f"{path} holds the {metadata.role} alone, not the {role}")
            self.role, self.settings = metadata.role, metadata.settings
        elif provider != "auto":
            raise UserError(f"a provider is for an exported model (.onnx), and {path} is none")
        else:
            self.network, self.settings = load_trained(path, role=self.role)
        self.digest = sha256(path)

    @classmethod
    def of(cls, network: nn.Module, settings: dict[str, Any], *, path: Path, digest: str) -> Self:
        """A network that is in memory; see the attributes."""
        embedder = cls.__new__(cls)
        embedder.path, embedder.role, embedder.settings = path, ROLES[0], settings
        embedder.network, embedder.digest = network, digest
        return embedder

    @property
    def size(self) -> tuple[int, int]:
        """H and W of the images that it was trained on."""
        return self.settings["image"]["height"], self.settings["image"]["width"]

    @property
    def num_features(self) -> int:
        """D."""
        return int(self.network.num_features)

    @property
    def thresholds(self) -> Thresholds | None:
        """From which cosine on two images show one individual; None in a model that carries none.

        Raises:
            UserError: the file's thresholds are damaged.
        """
        return Thresholds.of(self.settings, self.role, self.path)

    def __call__(self, images: Picture | Sequence[Picture] | np.ndarray, *, shown: bool = False) -> np.ndarray:
        """Embeddings (N, D), float32, rows of length 1; one row for a single image.

        Images are decoded, turned upright and resized as `prepare` does it; memory holds a few of them at a time.

        Args:
            images: paths, PIL images or arrays (h, w, 3) of uint8, of any size; or an array (N, h, w, 3).
            shown: show progress.

        Raises:
            UserError: an image cannot be read, or is no image; the message names it.
        """
        pictures = as_pictures(images)
        found = np.zeros((len(pictures), self.num_features), np.float32)
        with Progress("embedding", len(pictures), unit="image", shown=shown) as progress:
            for start in range(0, len(pictures), AT_ONCE):
                part = decoded(pictures[start : start + AT_ONCE], size=self.size, first=start)
                found[start : start + len(part)] = self.embed(part, "embedding", shown=False)
                progress.advance(len(part))
        return found

    def same(self, first: Picture, second: Picture) -> Judgement:
        """Whether two images show one individual, by the thresholds that the model carries.

        Raises:
            UserError: it carries none, or see `__call__`.
        """
        thresholds = self.thresholds
        if thresholds is None:
            raise UserError(f"{self.path} carries no thresholds: train it again, they are set at the end of a training")
        one, other = self([first, second]).astype(np.float64)
        cosine = float(one @ other)
        return Judgement(thresholds.verdict(cosine), cosine)

    def embed(self, images: np.ndarray, title: str, *, shown: bool = True) -> np.ndarray:
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
            return self.network.embed_shown(images, title, shown=shown)
        return embed_shown(self.network, images, title, shown=shown)
