"""Which query and gallery images are of one tracklet: evaluation scores tracklets beside images.

Of training images a prepared folder says no more than which are one individual (`links`).
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.files import replacing

TRACKLETS = "tracklets.csv"  # in a prepared folder, where there are any
COLUMNS = ("split", "path", "tracklet")
Image = tuple[str, str]  # split and path
Tracklets = Mapping[Image, int]  # the tracklet's number, from 0; an image that is of none is missing


def write_tracklets(folder: Path, images: Iterable[Image], tracklets: Tracklets) -> None:
    """Writes the tracklets of images into a prepared folder, if any of them is of one."""
    rows = [(*image, tracklets[image]) for image in images if image in tracklets]
    if rows:
        with replacing(folder / TRACKLETS) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def read_tracklets(folder: Path) -> dict[Image, int]:
    """The tracklets in a prepared folder; none where there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / TRACKLETS
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        found = {(split, name): int(number) for split, name, number in rows}
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged: run the prepare stage again") from error
    if tuple(header) != COLUMNS or min(found.values(), default=0) < 0:
        raise UserError(f"{path} is damaged: run the prepare stage again")
    return found
