"""What the readers share: folders of images whose names tell identity and camera, and lists of such images."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.catalogue import Row, Split
from pipeline.datasets.image_tree import is_ignored
from pipeline.datasets.links import Link
from pipeline.datasets.names import Names
from pipeline.datasets.tracklets import Tracklets

CAMERAS_OF_A_SCENE = 1000  # the numbers of a scene's cameras lie in a range of their own
FOLLOW_LINKS = "prepare.follow_links: true"  # what lets links lead out of the data set's folder


@dataclass(frozen=True)
class Reading:
    """What a reader found.

    Attributes:
        catalogue: one row per image.
        warnings: one line each, of what may be a mistake.
        notes: one line each, of what was decided and the user should know.
        names: of identities and cameras that are not numbers as they came.
        links: of images that tracklets join or keep apart.
        tracklets: of query and gallery images, see `datasets.tracklets`.
    """

    catalogue: pd.DataFrame
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: Names = field(default_factory=Names)
    links: tuple[Link, ...] = ()
    tracklets: Tracklets = field(default_factory=dict)


def require(folder: Path, parts: tuple[str, ...], *, name: str) -> None:
    """Checks that `folder` is there and holds every one of `parts`: files if they end in .txt or .csv, else folders.

    Raises:
        UserError: says exactly where to put what.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put {name} there, so that it holds {', '.join(parts)}")
    files = {p for p in parts if p.endswith((".txt", ".csv"))}
    missing = [p for p in parts if not ((folder / p).is_file() if p in files else (folder / p).is_dir())]
    if missing:
        raise UserError(f"{folder} holds no {', '.join(missing)}: {name} must be there with {', '.join(parts)}")


def labelled_folders(
    folder: Path, parts: Mapping[str, str], pattern: re.Pattern[str], *, example: str, name: str
) -> tuple[list[Row], Names]:
    """Reads a data set of one folder per split, whose image names tell identity and camera.

    Args:
        folder: the data set's.
        parts: split -> folder in it.
        pattern: of a whole file name, with the group `pid` and those of `camera_of`.
        example: a name that fits.
        name: of the data set, for messages.

    Returns:
        The images, and the names of their cameras where names tell the scene.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    require(folder, tuple(parts.values()), name=name)
    found = [
        (split, f"{part}/{image}", match)
        for split, part in parts.items()
        for image, match in named_images(folder / part, pattern, example=example)
    ]
    rows = [Row(path, int(match["pid"]), camera_of(match), cast(Split, split)) for split, path, match in found]
    return rows, scene_names(match for _, _, match in found)


def camera_of(name: re.Match[str]) -> int:
    """The number of the camera in a name: group `camid`, counted anew in each scene where there is a group `scene`."""
    return CAMERAS_OF_A_SCENE * int(name.groupdict().get("scene") or 0) + int(name["camid"])


def scene_names(found: Iterable[re.Match[str]]) -> Names:
    """What to call the cameras of `camera_of`; nothing where names tell no scene."""
    scenes = {camera_of(name): (name["scene"], name["camid"]) for name in found if "scene" in name.groupdict()}
    return Names(cameras={number: f"scene {int(s)}, camera {int(c)}" for number, (s, c) in sorted(scenes.items())})


def named_images(folder: Path, pattern: re.Pattern[str], *, example: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Yields (file name, match) for every visible file of `folder`, sorted by name.

    Raises:
        UserError: a name does not match, so that no file is left out in silence; or there is no image at all.
    """
    names = sorted(path.name for path in folder.iterdir() if not is_ignored(path.name))
    if not names:
        raise UserError(f"{folder} holds no images: names like {example} are expected there")
    return zip(names, matches(names, pattern, folder=folder, example=example), strict=True)


def matches(names: Sequence[str], pattern: re.Pattern[str], *, folder: Path, example: str) -> list[re.Match[str]]:
    """Matches every one of `names` in full.

    Raises:
        UserError: some do not match.
    """
    found = [pattern.fullmatch(name) for name in names]
    strange = [name for name, match in zip(names, found, strict=True) if match is None]
    if strange:
        shown = some(map(one_line, strange))
        raise UserError(f"{folder}: {len(strange)} names are not like {example}: {shown} (rename or remove them)")
    return [match for match in found if match is not None]


def listed(path: Path, pattern: re.Pattern[str], *, example: str) -> list[re.Match[str]]:
    """Matches every line of the list `path` that is not empty, in full and without the spaces around it.

    Raises:
        UserError: a line does not match, or the file is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: {error}") from error
    found = [(number, line, pattern.fullmatch(line.strip())) for number, line in enumerate(lines, 1) if line.strip()]
    strange = [f"line {number} ({one_line(line.strip())})" for number, line, match in found if match is None]
    if strange:
        raise UserError(f"{path}: {len(strange)} lines are not like {example}: {some(strange)}")
    return [match for _, _, match in found if match is not None]
