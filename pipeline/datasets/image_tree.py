"""All images below a folder, at any depth, each once however folders are linked."""

from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pipeline.common.contents import is_of_a_file_manager
from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.catalogue import is_image_path

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class ImageTree:
    """The visible files below a folder: paths relative to it, posix, sorted.

    Attributes:
        images: what is named like an image. Whether it is one is found out when it is decoded.
        others: everything else.
    """

    images: tuple[str, ...]
    others: tuple[str, ...]


def image_tree(root: Path, *, follow_links: bool = False, advice: str = "copy them") -> ImageTree:
    """Lists the visible files below `root`.

    A link to a folder is followed where the folder lies inside `root`; each folder is read once, if it can be under its
    own name, so that links may form circles. `root` itself may be a link.

    Args:
        root: the folder.
        follow_links: to folders outside `root`, too.
        advice: what to do about a link to a folder outside, for the message.

    Raises:
        UserError: a link leads to a folder outside `root`, or a path cannot stand in a catalogue.
    """
    inside = root.resolve()
    images, others, read = [], [], set()
    folders: deque[Path] = deque([root])
    links: deque[Path] = deque()
    while folders or links:
        folder = folders.popleft() if folders else links.popleft()
        place = folder.resolve()
        if not follow_links and not place.is_relative_to(inside):
            raise UserError(f"{one_line(folder)} leads to {one_line(place)}: images must be inside {root} ({advice})")
        if place in read:
            continue
        read.add(place)
        for path in sorted(folder.iterdir()):
            if is_ignored(path.name):
                continue
            if path.is_dir():
                (links if path.is_symlink() else folders).append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                images.append(path.relative_to(root).as_posix())
            else:
                others.append(path.relative_to(root).as_posix())
    _reject_strange(images, root)
    return ImageTree(tuple(sorted(images)), tuple(sorted(others)))


def _reject_strange(images: list[str], root: Path) -> None:
    strange = sorted(path for path in images if not is_image_path(path))
    if strange:
        raise UserError(
            f"{root}: {len(strange)} images have a backslash, a control character or bytes that are not UTF-8 in their "
            f"path: {some(map(one_line, strange))} (rename them)"
        )


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden or was left behind by a file manager (Market-1501 ships Thumbs.db)."""
    return name.startswith(".") or is_of_a_file_manager(name)
