r"""Data sets of one folder per split, whose image names tell identity and camera: one row of `SPLIT_FOLDERS` each.

- Market-1501 (Zheng et al., ICCV 2015). 0002_c1s1_000451_03.jpg is identity 2, camera 1, sequence 1. Identity -1 is
  junk (a detection that neither helps nor harms), identity 0 a distractor, which stays in the gallery. Other data in
  this layout is read by the same rules.
- DukeMTMC-reID (Ristani et al. 2016, Zheng et al. 2017). 0001_c2_f0046182.jpg is identity 1, camera 2, frame 46182.
  There is no junk; the gallery's distractors are people with identities of their own. Its authors withdrew the data
  set in 2019 for privacy reasons: it is read where a user has it, and never fetched.
- PersonX (Sun and Zheng, CVPR 2019), its harder subset. Synthetic people before six backgrounds, which count as cameras
  and keep their numbers: 3, 4, 8, 10, 11 and 12. Where the background stands in a name is certain, what follows it
  differs between copies: 0001_c10.jpg, 0001_c10_12.jpg and 0001_c10s1_000012_00.jpg are all identity 1, camera 10.
- VeRi-776 (Liu et al., ECCV 2016). 0001_c001_00016450_0.jpg is vehicle 1, camera 1, frame 16450. The query images are
  in the gallery folder too, under the same names; the protocol takes them out again, as they show the query's vehicle
  in the query's camera. The lists beside the folders (name_train.txt, gt_index.txt, ...) say nothing that folders and
  names do not, and are not read.
- ClonedPerson (Wang, Liang and Liao, CVPR 2022), drawn people in the clothes of real ones. 700000_s02_c00_f023389.jpg
  is person 700000, scene 2, camera 0 of that scene, frame 23389. Here a camera is one of its scene; its authors' loader
  compares the number behind c alone. Source: the README of github.com/Yanan-Wang-cs/ClonedPerson.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.catalogue import SPLITS, from_rows
from pipeline.preparation.readers.layout import Reading, labelled_folders
from pipeline.preparation.readers.tracklets import read_drawn, tracklets_of
from pipeline.preparation.synthetic.walks import TRACKLETS

JUNK = -1


class SplitFolders(NamedTuple):
    """A layout.

    Attributes:
        folder: of the data set, below the folder of raw data.
        parts: the folders in it of train, query and gallery.
        pattern: of a whole file name, whatever its case, with the group `pid` and those of `camera_of`. Images of pid
            -1 are junk.
        example: a file name that fits.
        title: the data set's name in messages.
    """

    folder: str
    parts: tuple[str, str, str]
    pattern: str
    example: str
    title: str


_MARKET = ("bounding_box_train", "query", "bounding_box_test")
_VERI = ("image_train", "image_query", "image_test")
_IMAGE = r"\.(?:jpe?g|png|bmp|webp|tiff?)"
_MARKET1501 = SplitFolders(
    "market1501/Market-1501-v15.09.15",
    _MARKET,
    rf"(?P<pid>-1|\d+)_c(?P<camid>\d+)(?:s\d+)?_.*{_IMAGE}",
    "0002_c1s1_000451_03.jpg",
    "Market-1501-v15.09.15",
)
SPLIT_FOLDERS = {
    "synthetic": _MARKET1501._replace(folder="synthetic"),
    "market1501": _MARKET1501,
    "dukemtmc": SplitFolders(
        "dukemtmcreid/DukeMTMC-reID",
        _MARKET,
        rf"(?P<pid>\d+)_c(?P<camid>\d+)_f\d+{_IMAGE}",
        "0001_c2_f0046182.jpg",
        "DukeMTMC-reID (if you have it: it was withdrawn in 2019)",
    ),
    "personx": SplitFolders(
        "personx/PersonX",
        _MARKET,
        rf"(?P<pid>\d+)_c(?P<camid>\d+)(?:s\d+)?(?:_.*)?{_IMAGE}",
        "0001_c10s1_000012_00.jpg",
        "PersonX (the subset with 9,840 training images)",
    ),
    "veri": SplitFolders(
        "veri/VeRi",
        _VERI,
        rf"(?P<pid>\d+)_c(?P<camid>\d+)_\d+_\d+{_IMAGE}",
        "0001_c001_00016450_0.jpg",
        "VeRi (VeRi-776)",
    ),
    "clonedperson": SplitFolders(
        "clonedperson/ClonedPerson",
        ("train", "test/query", "test/gallery"),
        rf"(?P<pid>-1|\d+)_s(?P<scene>\d+)_c(?P<camid>\d+)_f\d+{_IMAGE}",
        "700000_s02_c00_f023389.jpg",
        "ClonedPerson",
    ),
}


def read(folder: Path, layout: SplitFolders) -> Reading:
    """Reads the catalogue of a data set in this layout.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    parts = dict(zip(SPLITS, layout.parts, strict=True))
    pattern = re.compile(layout.pattern, re.IGNORECASE)
    rows, names = labelled_folders(folder, parts, pattern, example=layout.example, name=layout.title)
    return Reading(from_rows(row for row in rows if row.pid != JUNK), names=names)


def read_synthetic(folder: Path, *, tracklets: bool) -> Reading:
    """The catalogue of the drawn people, and their tracklets if these are asked for.

    Raises:
        UserError: see `read`; or there are no tracklets.
    """
    reading = read(folder, SPLIT_FOLDERS["synthetic"])
    if not tracklets:
        return reading
    table = folder / TRACKLETS
    tracks = tracklets_of(read_drawn(table, reading.catalogue), table)
    return replace(reading, links=tracks.links, tracklets=tracks.numbers, notes=tracks.notes)
