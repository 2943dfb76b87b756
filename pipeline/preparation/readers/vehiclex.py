"""VehicleX (Yao et al., ECCV 2020): synthetic vehicles, for training only.

0001_c001_1.jpg is vehicle 1, camera 1. The images are published for several real data sets and challenges, in folders
of different names (sys_image_train beside label files, for one), so every image below the data set's folder is read,
whatever lies between; files that are no images are not.
"""

import re
from collections import defaultdict
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.image_tree import image_tree
from pipeline.preparation.readers.layout import Reading, matches

EXAMPLE = "0001_c001_1.jpg"

_PATTERN = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)(?:_.*)?\.(?:jpe?g|png)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of a VehicleX folder.

    Raises:
        UserError: the folder is missing, holds no image, a name does not match, or one name occurs in two folders
            (as when the images of several styles are there).
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put VehicleX there, so that it holds images like {EXAMPLE}")
    paths = image_tree(folder).images
    if not paths:
        raise UserError(f"{folder} holds no images: names like {EXAMPLE} are expected there")
    names = [path.rpartition("/")[2] for path in paths]
    places = defaultdict(list)
    for path, name in zip(paths, names, strict=True):
        places[name].append(path)
    twice = [found for found in places.values() if len(found) > 1]
    if twice:
        one, other = map(one_line, twice[0][:2])
        raise UserError(f"{folder}: {len(twice)} images are there twice, like {one} and {other}: keep one folder")
    found = matches(names, _PATTERN, folder=folder, example=EXAMPLE)
    pairs = zip(paths, found, strict=True)
    rows = [(path, int(match["pid"]), int(match["camid"]), "train") for path, match in pairs]
    return Reading(from_rows(rows))
