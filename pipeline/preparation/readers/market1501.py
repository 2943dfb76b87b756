"""Market-1501 (Zheng et al., ICCV 2015): bounding_box_train, query, bounding_box_test.

0002_c1s1_000451_03.jpg is identity 2, camera 1, sequence 1. Identity -1 is junk (a detection that neither helps nor
harms) and is left out of the gallery; identity 0 is a distractor and stays in it. Other data drawn or renamed in this
layout is read by the same rules.
"""

import re
from pathlib import Path

from pipeline.datasets.catalogue import from_rows
from pipeline.preparation.readers.layout import Reading, labelled_folders

EXAMPLE = "0002_c1s1_000451_03.jpg"
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
COUNTS = {"train": 12_936, "query": 3_368, "gallery": 15_913}
JUNK = -1

_PATTERN = re.compile(r"(?P<pid>-1|\d+)_c(?P<camid>\d+)(?:s\d+)?_.*\.(?:jpe?g|png|bmp|webp|tiff?)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of a folder in the Market-1501 layout.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    rows = labelled_folders(folder, FOLDERS, _PATTERN, example=EXAMPLE, name="Market-1501-v15.09.15")
    return Reading(from_rows(row for row in rows if row.pid != JUNK))
