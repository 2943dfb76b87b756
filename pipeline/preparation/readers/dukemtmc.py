"""DukeMTMC-reID (Ristani et al. 2016, Zheng et al. 2017): bounding_box_train, query, bounding_box_test.

0001_c2_f0046182.jpg is identity 1, camera 2, frame 46182. There is no junk; the gallery's distractors are people with
an identity of their own. The data set was withdrawn by its authors in 2019 for privacy reasons: it is read where a
person has it, and never fetched.
"""

import re
from pathlib import Path

from pipeline.datasets.catalogue import from_rows
from pipeline.preparation.readers.layout import Reading, labelled_folders

EXAMPLE = "0001_c2_f0046182.jpg"
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
COUNTS = {"train": 16_522, "query": 2_228, "gallery": 17_661}

_PATTERN = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_f\d+\.(?:jpe?g|png)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of a DukeMTMC-reID folder.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    rows = labelled_folders(
        folder, FOLDERS, _PATTERN, example=EXAMPLE, name="DukeMTMC-reID (if you have it: it was withdrawn in 2019)"
    )
    return Reading(from_rows(rows))
