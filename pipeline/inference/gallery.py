"""Images with names, in memory, to be searched: for a program of one's own.

    gallery = Gallery(Embedder("data/model/model.safetensors"))
    gallery.add(["north/1.jpg", "south/7.jpg"])
    for hit in gallery.search("new.jpg")[0]:
        print(hit.name, hit.cosine, hit.verdict)

`python -m stages.search` searches a folder of any size, whose embeddings stay on disk.

M: images of the gallery · Q: queries · D: width of an embedding.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import safetensors
import safetensors.numpy

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.common.text import first_line
from pipeline.inference.embedder import Embedder
from pipeline.inference.pictures import Picture, as_pictures
from pipeline.inference.ranking import rank_gallery
from pipeline.model.thresholds import Verdict

_KEYS = ("names", "model", "role")


class Hit(NamedTuple):
    """One place of a list."""

    name: str
    cosine: float  # of its embedding and the query's, in [-1, 1]
    verdict: Verdict | None  # None where the model carries no thresholds


class Gallery:
    """Embeddings with names.

    Attributes:
        embedder: of its images and of the queries.
        names: M of them, in the order in which they were added.
        embeddings: (M, D) float32, rows of length 1.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.names: list[str] = []
        self.embeddings = np.zeros((0, embedder.num_features), np.float32)

    @classmethod
    def of(cls, embedder: Embedder, names: Sequence[str], embeddings: np.ndarray) -> Self:
        """A gallery of images that the embedder has embedded already; see the attributes."""
        gallery = cls(embedder)
        gallery.names, gallery.embeddings = list(names), embeddings
        return gallery

    def __len__(self) -> int:
        return len(self.names)

    def add(self, images: Picture | Sequence[Picture] | np.ndarray, names: Sequence[str] | None = None) -> None:
        """Embeds images and adds them.

        Args:
            images: see `Embedder`.
            names: of the images, one each; None = their paths.

        Raises:
            UserError: an image cannot be read; there are no names, or not as many as images. Nothing is added.
        """
        pictures = as_pictures(images)
        if names is None:
            named = [str(picture) for picture in pictures if isinstance(picture, str | Path)]
            if len(named) < len(pictures):
                raise UserError("images that are no paths need names: gallery.add(images, names)")
            names = named
        if len(names) != len(pictures):
            raise UserError(f"there are {len(pictures)} images and {len(names)} names")
        found = self.embedder(pictures)
        self.embeddings = np.concatenate([self.embeddings, found])
        self.names += [str(name) for name in names]

    def search(self, images: Picture | Sequence[Picture] | np.ndarray, *, top: int = 10) -> list[list[Hit]]:
        """The images of the gallery that are most like each query, the most similar first.

        Equal images have equal cosines and stand in the order in which they were added, whatever else there is.

        Args:
            images: Q queries, see `Embedder`.
            top: places of a list; fewer where the gallery has fewer images.

        Raises:
            UserError: an image cannot be read.
            ValueError: `top` is below 1.
        """
        queries, thresholds = self.embedder(images), self.embedder.thresholds
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        if not self.names:
            return [[] for _ in queries]
        parts = [(np.arange(len(self)), self.embeddings)]
        ranking = rank_gallery(queries, parts, top=min(top, len(self)), left_out=[()] * len(queries))
        return [
            [
                Hit(self.names[index], float(cosine), None if thresholds is None else thresholds.verdict(float(cosine)))
                for index, cosine in zip(indices, cosines, strict=True)
            ]
            for indices, cosines in zip(*ranking, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Writes names and embeddings as one .safetensors file, in one step: no code, and readable elsewhere.

        Raises:
            UserError: the name does not end in .safetensors.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise UserError(f"a gallery must end in .safetensors, got {path}")
        texts = {"names": json.dumps(self.names), "model": self.embedder.digest, "role": self.embedder.role}
        with replacing(path) as temporary:
            temporary.write_bytes(safetensors.numpy.save({"embeddings": self.embeddings}, metadata=texts))

    @classmethod
    def load(cls, path: str | Path, embedder: Embedder) -> Self:
        """Reads what `save` wrote.

        Args:
            path: of the file.
            embedder: of the model that the gallery was made with.

        Raises:
            UserError: there is no such file, it is damaged, or it was made with another model.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} is missing: there is no such gallery")
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                texts, embeddings = file.metadata() or {}, file.get_tensor("embeddings")
            names, model, role = (texts[key] for key in _KEYS)
            names = json.loads(names)
        except (OSError, KeyError, ValueError, TypeError, RecursionError, safetensors.SafetensorError) as error:
            raise UserError(f"{path} is damaged, or no gallery: {first_line(error)}") from error
        if (model, role) != (embedder.digest, embedder.role):
            raise UserError(f"{path} was made with another model than {embedder.path}: add its images again")
        whole = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not whole or embeddings.shape != (len(names), embedder.num_features) or embeddings.dtype != np.float32:
            raise UserError(f"{path} is damaged: its names and embeddings do not fit together")
        return cls.of(embedder, names, embeddings)
