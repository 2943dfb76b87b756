"""VehicleID (Liu et al., CVPR 2016): image/, and in train_test_split/ lists of "image vehicle".

The line "0000001 7" is image/0000001.jpg of vehicle 7 (some copies write the .jpg). Cameras are not known. The
protocol has test lists of 800, 1600 and 2400 vehicles: one random image of each is the gallery, all others are
queries. The published figures are means over ten such draws; here it is one draw, the same for the same seed. The
further lists of the archive (3200, 6000 and 13164 vehicles) are not read.
"""

import hashlib
import re
from collections import defaultdict
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.datasets.catalogue import Row, from_rows
from pipeline.preparation.readers.layout import Reading, listed, require

EXAMPLE = "0000001 7"
IMAGES, LISTS = "image", "train_test_split"
TRAIN_LIST = f"{LISTS}/train_list.txt"
TEST_SIZES = (800, 1600, 2400)

_LINE = re.compile(r"(?P<name>[^\s/\\]+?)(?:\.jpg)?\s+(?P<pid>\d{1,18})", re.IGNORECASE)


def read(folder: Path, *, test_size: int, seed: int) -> Reading:
    """Reads the catalogue of a VehicleID folder with one of its test lists.

    Whether every listed image is there is found out when it is decoded, where all that are missing are named at once.

    Args:
        folder: holds image/ and train_test_split/.
        test_size: 800, 1600 or 2400.
        seed: of the draw of the gallery.

    Raises:
        UserError: a list or folder is missing or empty, a line is not understood, or there is no such test list.
    """
    if test_size not in TEST_SIZES:
        raise UserError(f"vehicleid.test_size must be one of {', '.join(map(str, TEST_SIZES))}, got {test_size!r}")
    test_list = f"{LISTS}/test_list_{test_size}.txt"
    require(folder, (IMAGES, TRAIN_LIST, test_list), name="VehicleID")
    train, test = (_read_list(folder / name) for name in (TRAIN_LIST, test_list))
    rows = [Row(path, pid, None, "train") for path, pid in train]
    return Reading(from_rows(rows + _draw_gallery(test, seed)))


def _read_list(path: Path) -> list[tuple[str, int]]:
    """(path, pid) of every line."""
    images = [(f"{IMAGES}/{line['name']}.jpg", int(line["pid"])) for line in listed(path, _LINE, example=EXAMPLE)]
    if not images:
        raise UserError(f"{path} names no images")
    return images


def _draw_gallery(images: list[tuple[str, int]], seed: int) -> list[Row]:
    """Makes one image of each identity the gallery: the one whose hash with the seed is smallest.

    So the draw depends neither on the order of the list nor on the other identities, nor on a library's generator.
    """
    by_identity: dict[int, list[str]] = defaultdict(list)
    for path, pid in images:
        by_identity[pid].append(path)
    rows = []
    for pid, paths in by_identity.items():
        paths.sort(key=lambda path: hashlib.sha256(f"{seed} {path}".encode()).digest())
        rows.append(Row(paths[0], pid, None, "gallery"))
        rows += [Row(path, pid, None, "query") for path in paths[1:]]
    return rows
