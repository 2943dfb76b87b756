"""DukeMTMC-reID (Ristani et al. 2016, Zheng et al. 2017): bounding_box_train, query, bounding_box_test.

0001_c2_f0046182.jpg is identity 1, camera 2, frame 46182. There is no junk; the gallery's distractors are people with
an identity of their own. The data set was withdrawn by its authors in 2019 for privacy reasons: it is read where a
person has it, and never fetched.
"""

import re
from pathlib import Path

import pandas as pd

from pipeline.datasets.catalogue import from_rows
from pipeline.datasets.readers.layout import named_images, require

EXAMPLE = "0001_c2_f0046182.jpg"
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
COUNTS = {"train": 16_522, "query": 2_228, "gallery": 17_661}

_PATTERN = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_f\d+\.(?:jpe?g|png)", re.IGNORECASE)


def read(folder: Path) -> pd.DataFrame:
    """Reads the catalogue of a DukeMTMC-reID folder.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    require(folder, tuple(FOLDERS.values()), name="DukeMTMC-reID (if you have it: it was withdrawn in 2019)")
    rows = []
    for split, part in FOLDERS.items():
        for name, match in named_images(folder / part, _PATTERN, example=EXAMPLE):
            rows.append((f"{part}/{name}", int(match["pid"]), int(match["camid"]), split))
    return from_rows(rows)
