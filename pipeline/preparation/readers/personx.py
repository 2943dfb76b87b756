"""PersonX (Sun and Zheng, CVPR 2019), its harder subset: bounding_box_train, query, bounding_box_test.

Drawn people before six backgrounds, which count as cameras and keep their numbers: 3, 4, 8, 10, 11 and 12. Where the
background stands in a name is certain, what follows it differs between copies: 0001_c10.jpg, 0001_c10_12.jpg and
0001_c10s1_000012_00.jpg are all identity 1, camera 10. There is neither junk nor a distractor.
"""

import re
from pathlib import Path

from pipeline.datasets.catalogue import from_rows
from pipeline.preparation.readers.layout import Reading, labelled_folders

EXAMPLE = "0001_c10s1_000012_00.jpg"
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
COUNTS = {"train": 9_840, "query": 5_136, "gallery": 30_816}

_PATTERN = re.compile(r"(?P<pid>\d+)_c(?P<camid>\d+)(?:s\d+)?(?:_.*)?\.(?:jpe?g|png)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of a PersonX folder.

    Raises:
        UserError: a folder is missing or empty, or a name does not match.
    """
    rows = labelled_folders(
        folder, FOLDERS, _PATTERN, example=EXAMPLE, name="PersonX (the subset with 9,840 training images)"
    )
    return Reading(from_rows(rows))
