"""What a folder of crops is like, as far as its names, its table and the heads of its files tell."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.images import UnreadableImageError, image_size, locate
from pipeline.preparation.readers import Source
from pipeline.preparation.readers.layout import FOLLOW_LINKS

MEASURED = 5000  # files, spread evenly over the training images
_FEWEST, _MOST_FOLDERS = 20, 64  # images to train on; sub-folders that may be cameras


@dataclass(frozen=True)
class Crops:
    """The images of a data set.

    Attributes:
        images: for training.
        height, width: medians of the training images, in pixels, upright.
        aspects: height by width: of every tenth, the middle one and nine of ten images the largest.
        cameras: how many are told; 0 where none are.
        scored: whether there are query and gallery images with identities.
        unreadable: names of those that were looked at and cannot be read.
        folders: names of the sub-folders on top, where they may be cameras; none where cameras are told.
    """

    images: int
    height: int
    width: int
    aspects: tuple[float, float, float]
    cameras: int
    scored: bool
    unreadable: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def look(source: Source, *, follow_links: bool = False) -> Crops:
    """What the images of a data set are like; no pixel is decoded.

    Raises:
        UserError: there are too few training images, or none that was looked at can be read.
    """
    catalogue, folder = source.catalogue, source.folder
    assert isinstance(folder, Path), "own images lie in one folder"
    train = catalogue[catalogue["split"] == "train"]
    if len(train) < _FEWEST:
        raise UserError(
            f"{folder} holds {len(train)} images to train on, and {_FEWEST} are the fewest that make sense",
            f"look who is in it without a training: python -m stages.discover {one_line(folder)}",
        )
    rows = np.unique(np.linspace(0, len(train) - 1, min(MEASURED, len(train))).astype(int))
    sizes, unreadable = [], []
    root, known = folder.resolve(), dict[str, str]()
    for name in train["path"].iloc[rows]:
        try:
            sizes.append(image_size(locate(root, name, known, follow_links=follow_links)))
        except UnreadableImageError as reason:
            unreadable.append(f"{one_line(name)} ({reason})")
    if not sizes:
        raise UserError(f"{folder}: no image can be read ({FOLLOW_LINKS} reads links): {some(unreadable)}")
    pixels = np.array(sizes, float)
    height, width = (int(each) for each in np.median(pixels, axis=0))
    low, middle, high = np.quantile(pixels[:, 0] / pixels[:, 1], (0.1, 0.5, 0.9)).tolist()
    cameras = train["camid"].dropna()
    return Crops(
        images=len(train),
        height=height,
        width=width,
        aspects=(low, middle, high),
        cameras=int(cameras.nunique()),
        scored=bool(catalogue["pid"][catalogue["split"] == "query"].notna().any()),
        unreadable=tuple(unreadable),
        folders=() if len(cameras) else _folders(train["path"]),
    )


def crops_text(name: str, crops: Crops) -> list[str]:
    """Lines about the images of the data set `name`."""
    low, _, high = crops.aspects
    mixed = f"; their shapes differ, from {low:.2g} to {high:.2g} times as high as wide" if high > 1.5 * low else ""
    cameras = f"{crops.cameras} cameras" if crops.cameras else "no cameras"
    test = "with test images of known identity" if crops.scored else "no scores, as no identity is known"
    lines = [
        f"{name}: {crops.images:,} training images of about {crops.height} x {crops.width} pixels (height x width)"
        f"{mixed}; {cameras}; {test}"
    ]
    if crops.unreadable:
        lines.append(
            f"warning: {len(crops.unreadable)} of the files looked at cannot be read, and stop the training unless "
            f"prepare.skip_bad=true leaves them out: {some(crops.unreadable, shown=3)}"
        )
    if crops.folders:
        lines.append(
            f"if the folders {some(map(one_line, crops.folders), shown=4)} are cameras, say so: --camera '^([^/]+)/'"
        )
    return lines


def _folders(paths: pd.Series) -> tuple[str, ...]:
    """The folders on top, where every image lies in one and there are a few images in each."""
    found = Counter(path.split("/")[0] if "/" in path else "" for path in paths)
    few = 2 <= len(found) <= _MOST_FOLDERS and len(paths) >= _FEWEST * len(found) // 2
    return tuple(sorted(found)) if few and "" not in found else ()
