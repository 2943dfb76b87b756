r"""Data sets for training only, whose image names tell identity and camera: one row of `TRAINING_ONLY` each.

- VehicleX (Yao et al., ECCV 2020), synthetic vehicles. 0001_c001_1.jpg is vehicle 1, camera 1. The images are
  published for several real data sets and challenges, in folders of different names (sys_image_train beside label
  files, for one).
- RandPerson (Wang, Liao and Shao, ACM MM 2020), drawn people in 11 scenes. 000000_s00_c01_f001632.jpg is person 0,
  scene 0, camera 1 of that scene, frame 1632; the first publication writes the camera before the scene
  (000000_c01_s00_f001632.jpg). Source: the README of github.com/VideoObjectSearch/RandPerson.

Every image below the data set's folder is read, whatever lies between; files that are no images are not.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.image_tree import image_tree
from pipeline.preparation.readers.layout import Reading, camera_of, matches, scene_names


class TrainingOnly(NamedTuple):
    """A layout.

    Attributes:
        folders: of the data set, below the folder of raw data; of several, the first that exists.
        pattern: of a whole file name, whatever its case, with the groups of `camera_of` and `pid`.
        example: a file name that fits.
        title: the data set's name in messages.
    """

    folders: tuple[str, ...]
    pattern: str
    example: str
    title: str


TRAINING_ONLY = {
    "vehiclex": TrainingOnly(
        ("vehiclex/VehicleX", "vehiclex/AIC20_ReID_Simulation"),
        r"(?P<pid>\d+)_c(?P<camid>\d+)(?:_.*)?\.(?:jpe?g|png)",
        "0001_c001_1.jpg",
        "VehicleX",
    ),
    "randperson": TrainingOnly(
        ("randperson/randperson_subset", "randperson/RandPerson"),
        r"(?P<pid>\d+)_(?=[sc\d_]*s(?P<scene>\d+)_)(?=[sc\d_]*c(?P<camid>\d+)_)[sc]\d+_[sc]\d+_f\d+\.(?:jpe?g|png)",
        "000000_s00_c01_f001632.jpg",
        "RandPerson (the subset of 132,145 images)",
    ),
}


def read(folder: Path, layout: TrainingOnly) -> Reading:
    """Reads the catalogue of a data set in this layout.

    Raises:
        UserError: the folder is missing, holds no image, a name does not match, or one name occurs in two folders
            (as when the images of several styles are there).
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put {layout.title} there, so that it holds images like {layout.example}")
    paths = image_tree(folder).images
    if not paths:
        raise UserError(f"{folder} holds no images: names like {layout.example} are expected there")
    names = [path.rpartition("/")[2] for path in paths]
    places = defaultdict(list)
    for path, name in zip(paths, names, strict=True):
        places[name].append(path)
    twice = [found for found in places.values() if len(found) > 1]
    if twice:
        one, other = map(one_line, twice[0][:2])
        raise UserError(f"{folder}: {len(twice)} images are there twice, like {one} and {other}: keep one folder")
    found = matches(names, re.compile(layout.pattern, re.IGNORECASE), folder=folder, example=layout.example)
    rows = [(path, int(name["pid"]), camera_of(name), "train") for path, name in zip(paths, found, strict=True)]
    return Reading(from_rows(rows), names=scene_names(found))
