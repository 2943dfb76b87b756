"""What a discovery was made of: folder and network, remembered beside its results so that the page can open them."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.inference.embedder import Embedder
from pipeline.inference.published import open_published

ORIGIN = "origin.json"
_PRETRAINED, _SIZE = "imagenet", (256, 128)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """As the user named it; None = not named.

    Attributes:
        folder: of the images.
        model, role: a trained or exported network.
        backbone, pretrained, size: one without a training, its weights, and H and W of its images.
        camera: regular expression that finds the camera in a path.
        skip_bad: leave images out that cannot be read.

    Raises:
        UserError: two networks are named, or something is said of the one that is not.
    """

    folder: str
    model: str | None = None
    role: str | None = None
    backbone: str | None = None
    pretrained: str | None = None
    size: tuple[int, int] | None = None
    camera: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.model is not None and self.backbone is not None:
            raise UserError("--model and --backbone each name a network: give one of them")
        if self.backbone is not None and self.role is not None:
            raise UserError("--role says which network of a trained model, and --backbone is none: leave it out")
        if self.backbone is None and (self.pretrained is not None or self.size is not None):
            raise UserError("--pretrained and --size say more about --backbone: name one")

    def embedder(self, *, last: Path, downloads: Path) -> Embedder:
        """The network.

        Args:
            last: the model where none is named.
            downloads: keeps published weights.

        Raises:
            UserError: see `Embedder` and `open_published`.
        """
        if self.backbone is None:
            return Embedder(self.model or last, role=self.role)
        size, source = self.size or _SIZE, self.pretrained or _PRETRAINED
        return open_published(self.backbone, source, size=size, downloads=downloads)

    def write(self, folder: Path, embedder: Embedder) -> None:
        """Keeps it in `folder`, with what tells the network from others."""
        model = None if self.model is None else str(Path(self.model).resolve())
        here = replace(self, folder=str(Path(self.folder).resolve()), model=model)
        write_json(folder / ORIGIN, {**asdict(here), "digest": embedder.digest})


def read_origin(folder: Path) -> tuple[Origin, str]:
    """What `Origin.write` left in `folder`: the origin, and the digest of its network.

    Raises:
        UserError: there is nothing, or it is damaged.
    """
    path = folder / ORIGIN
    if not path.is_file():
        raise UserError(f"{path} is missing: name a folder that stages.discover wrote")
    found: Any = read_json(path)
    try:
        digest = found.pop("digest")
        size = found.pop("size")
        origin = Origin(**found, size=None if size is None else (int(size[0]), int(size[1])))
        texts = (origin.folder, digest)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{path} is damaged: run stages.discover again") from error
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path} is damaged: run stages.discover again")
    return origin, digest
