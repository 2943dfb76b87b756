"""MSMT17 (Wei et al., CVPR 2018), V1 and V2: four lists of "path identity", images in one folder per identity.

0000_000_01_0303morning_0008_0.jpg is identity 0, image 0, camera 1. The 32,621 training images of the literature are
list_train.txt and list_val.txt together; query and gallery lie in the test folder. V2 has the same lists and names,
with faces masked, in folders of other names. Both identity numberings start at 0: identity 5 of the training images
and identity 5 of query and gallery are two people.
"""

import re
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import from_rows
from pipeline.preparation.readers.layout import Reading, listed, require

EXAMPLE = "0000/0000_000_01_0303morning_0008_0.jpg 0"
LISTS = {
    "list_train.txt": "train",
    "list_val.txt": "train",
    "list_query.txt": "query",
    "list_gallery.txt": "gallery",
}
V1_FOLDERS = ("train", "test")
V2_FOLDERS = ("mask_train_v2", "mask_test_v2")

_LINE = re.compile(r"(?P<path>(?:\S.*/)?\d+_\d+_(?P<camid>\d{1,18})_[^/]*\.jpe?g)\s+(?P<pid>\d{1,18})", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of MSMT17_V1 or MSMT17_V2 from its lists.

    Whether every listed image is there is found out when it is decoded, where all that are missing are named at once.

    Raises:
        UserError: a list or folder is missing or empty, or a line is not understood.
    """
    is_v2 = (folder / V2_FOLDERS[0]).is_dir()
    train, test = V2_FOLDERS if is_v2 else V1_FOLDERS
    require(folder, (*LISTS, train, test), name="MSMT17_V2" if is_v2 else "MSMT17_V1 (or MSMT17_V2)")
    rows = []
    for list_name, split in LISTS.items():
        part = train if split == "train" else test
        for line in listed(folder / list_name, _LINE, example=EXAMPLE):
            rows.append((f"{part}/{line['path']}", int(line["pid"]), int(line["camid"]), split))
    if not rows:
        raise UserError(f"{folder}: {', '.join(LISTS)} name no images")
    return Reading(from_rows(rows))
