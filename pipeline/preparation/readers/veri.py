"""VeRi-776 (Liu et al., ECCV 2016): image_train, image_query, image_test.

0001_c001_00016450_0.jpg is vehicle 1, camera 1, frame 16450. The query images are in the gallery folder too, under
the same names; the protocol takes them out again, as they show the query's vehicle in the query's camera. The lists
name_train.txt, name_query.txt, name_test.txt, test_track.txt, gt_index.txt and jk_index.txt say nothing that folders
and names do not, and are not read.
"""

import re
from pathlib import Path

from pipeline.datasets.catalogue import from_rows
from pipeline.preparation.readers.layout import Reading, labelled_folders

EXAMPLE = "0001_c001_00016450_0.jpg"
FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}
COUNTS = {"train": 37_778, "query": 1_678, "gallery": 11_579}

_PATTERN = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)_\d+_\d+\.(?:jpe?g|png)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of a VeRi-776 folder.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    rows = labelled_folders(folder, FOLDERS, _PATTERN, example=EXAMPLE, name="VeRi (VeRi-776)")
    return Reading(from_rows(rows))
