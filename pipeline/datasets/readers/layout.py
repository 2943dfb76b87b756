"""What the readers share: folders of images whose file names tell identity and camera."""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.datasets.catalogue import one_line
from pipeline.errors import UserError

# Left behind by file managers; they are in official archives too (Market-1501 ships Thumbs.db).
IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini"})
NUM_NAMES_SHOWN = 10


def require(folder: Path, parts: tuple[str, ...], *, name: str) -> None:
    """Checks that `folder` is there and holds every one of `parts`: files if they end in .txt, else folders.

    Raises:
        UserError: says exactly where to put what.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put {name} there, so that it holds {', '.join(parts)}")
    missing = [p for p in parts if not ((folder / p).is_file() if p.endswith(".txt") else (folder / p).is_dir())]
    if missing:
        raise UserError(f"{folder} holds no {', '.join(missing)}: {name} must be there with {', '.join(parts)}")


def named_images(folder: Path, pattern: re.Pattern[str], *, example: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yields (file name, match) for every visible file of `folder`, sorted by name.

    Raises:
        UserError: a name does not match, so that no file is left out in silence; or there is no image at all.
    """
    names = sorted(path.name for path in folder.iterdir() if not _is_ignored(path.name))
    if not names:
        raise UserError(f"{folder} holds no images: names like {example} are expected there")
    matches = [(name, pattern.fullmatch(name)) for name in names]
    strange = [name for name, match in matches if match is None]
    if strange:
        shown = ", ".join(map(one_line, strange[:NUM_NAMES_SHOWN])) + (
            ", ..." if len(strange) > NUM_NAMES_SHOWN else ""
        )
        raise UserError(f"{folder}: {len(strange)} names are not like {example}: {shown} (rename or remove them)")
    for name, match in matches:
        assert match is not None
        yield name, match


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in IGNORED_NAMES
