"""One contact sheet per individual, and one of the images that belong to none.

Every picture keeps its shape within a square.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.common.files import replacing
from pipeline.common.progress import Progress
from pipeline.datasets.images import UnreadableImageError, read_within

SIDE, GAP, HEAD = 128, 6, 20  # pixels
COLUMNS, SHOWN = 8, 40
OUTLIERS = "outliers.png"


def write_sheets(folder: Path, places: Mapping[int, Sequence[str]]) -> list[str]:
    """Writes `individual-0007.png`, ... and `outliers.png` into `folder`, which takes the place of its predecessor.

    Args:
        folder: of the sheets alone.
        places: number of an individual (-1: none) -> the files of its images; of many, `SHOWN` spread evenly are shown.

    Returns:
        The names of the files.
    """
    names = []
    with replacing(folder) as temporary, Progress("drawing contact sheets", len(places), unit="sheet") as progress:
        temporary.mkdir(parents=True)
        for number, files in sorted(places.items()):
            name = OUTLIERS if number < 0 else f"individual-{number:04}.png"
            title = "in no cluster" if number < 0 else f"individual {number}"
            _sheet(files, title).save(temporary / name)
            names.append(name)
            progress.advance()
    return names


def _sheet(files: Sequence[str], title: str) -> Image.Image:
    shown = [files[place] for place in np.unique(np.linspace(0, len(files) - 1, min(SHOWN, len(files))).astype(int))]
    columns = min(COLUMNS, max(3, len(shown)))
    rows = -(-len(shown) // columns)
    size = (columns * (SIDE + GAP) + GAP, HEAD + rows * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    some = f", {len(shown)} of them" if len(shown) < len(files) else ""
    ImageDraw.Draw(sheet).text((GAP, 4), f"{title}: {len(files)} images{some}", fill="black")
    for place, file in enumerate(shown):
        picture = thumbnail(Path(file))
        left = GAP + (place % columns) * (SIDE + GAP) + (SIDE - picture.width) // 2
        top = HEAD + GAP + (place // columns) * (SIDE + GAP) + (SIDE - picture.height) // 2
        sheet.paste(picture, (left, top))
    return sheet


def thumbnail(file: Path) -> Image.Image:
    """The picture in its shape, or an empty square where it cannot be read any more."""
    try:
        pixels = read_within(file, height=SIDE, width=SIDE)
    except (UnreadableImageError, OSError):
        return Image.new("RGB", (SIDE, SIDE), "lightgrey")
    return Image.fromarray(pixels)
