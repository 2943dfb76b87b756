"""ATRW, tigers (Li et al., ACM MM 2020): a list "entity,image" for training, and ground truth published later.

The line "199,000000.jpg" of reid_list_train.csv is entity 199. An entity is one side of a tiger: its left and its right
side differ, and count as two. The list knows no cameras.

The archives hold no identities of the test images. The challenge's scripts for evaluation do since it ended
(github.com/cvwc2019/ATRWEvalScript): gt_test_plain.json lists {"query": "multi", "entityid": 235, "frame": [31, 4,
1089], "imgid": 4096} for the image 004096.jpg, where the first two numbers of `frame` are the camera. Test images are
in the gallery; those that it calls multi, whose entity several cameras have seen, are queries too. Those that it calls
sing would be found in the query's own camera alone, by the neighbouring frames of one video; the challenge scores them
apart, and takes out of a list only what lies within 3 frames. Here the field's rule holds: all that the query's own
camera shows of its entity is taken out. Without that file, the data set is for training only.
"""

import json
import re
from pathlib import Path
from typing import Any

from pipeline.common.errors import UserError
from pipeline.common.text import one_line, some
from pipeline.datasets.catalogue import Row, from_rows
from pipeline.datasets.image_tree import is_ignored
from pipeline.datasets.names import Names
from pipeline.preparation.readers.layout import CAMERAS_OF_A_SCENE, Reading, listed

EXAMPLE = "199,000000.jpg"
TRAIN_LIST, TRUTH = "reid_list_train.csv", "gt_test_plain.json"
TRUTH_SOURCE = "github.com/cvwc2019/ATRWEvalScript, annotations/"
JUNK = -1

_LINE = re.compile(r"(?P<pid>\d{1,18})\s*,\s*(?P<name>[^\s/\\,]+\.jpe?g)", re.IGNORECASE)


def read(folder: Path) -> Reading:
    """Reads the catalogue of ATRW's re-identification part, as its archives unpack.

    Args:
        folder: holds atrw_reid_train/train/ (or train/) and, at any depth, reid_list_train.csv; for an evaluation also
            atrw_reid_test/test/ (or test/) and, at any depth, gt_test_plain.json.

    Raises:
        UserError: what the training needs is missing or not understood; so is the ground truth; or a test image that
            it names is missing.
    """
    parts = f"{TRAIN_LIST} and the folder atrw_reid_train/train"
    if not folder.is_dir():
        raise UserError(f"{folder} is missing: put ATRW there, so that it holds {parts}")
    table, train = _found(folder, TRAIN_LIST), _images(folder, "train")
    if table is None or train is None:
        lost = TRAIN_LIST if table is None else "atrw_reid_train/train"
        raise UserError(f"{folder} holds no {lost}: ATRW must be there with {parts}")
    lines = listed(table, _LINE, example=EXAMPLE)
    if not lines:
        raise UserError(f"{table} names no images")
    rows = [Row(f"{train}/{line['name']}", int(line["pid"]), None, "train") for line in lines]
    truth, test = _found(folder, TRUTH), _images(folder, "test")
    if truth is None or test is None:
        lost = f"{TRUTH} (from {TRUTH_SOURCE})" if truth is None else "atrw_reid_test/test"
        return Reading(from_rows(rows), notes=(f"{folder} holds no {lost}: without it there is no evaluation",))
    cameras: dict[int, str] = {}
    rows += _test_rows(folder, truth, test, cameras)
    return Reading(from_rows(rows), names=Names(cameras=cameras))


def _found(folder: Path, name: str) -> Path | None:
    """The first file of this name below `folder`, the nearest first."""
    return min(folder.rglob(name), key=lambda path: (len(path.parts), path), default=None)


def _images(folder: Path, split: str) -> str | None:
    """The folder of a split's images, relative to the data set's."""
    return next((part for part in (f"atrw_reid_{split}/{split}", split) if (folder / part).is_dir()), None)


def _test_rows(folder: Path, truth: Path, test: str, cameras: dict[int, str]) -> list[Row]:
    """The rows of query and gallery; writes the cameras' names into `cameras`."""
    files = sorted(path.name for path in (folder / test).iterdir() if not is_ignored(path.name))
    numbered = {int(stem): name for name in files if (stem := name.partition(".")[0]).isdecimal()}
    rows, lost = [], []
    for entry in _entries(truth):
        image, pid, (video, view, _) = entry["imgid"], entry["entityid"], entry["frame"]
        if pid == JUNK:
            continue
        if image not in numbered:
            lost.append(f"{image:06d}.jpg")
            continue
        camera = CAMERAS_OF_A_SCENE * video + view
        cameras[camera] = f"{video}/{view}"
        path = f"{test}/{numbered[image]}"
        rows.append(Row(path, pid, camera, "gallery"))
        if entry["query"] == "multi":
            rows.append(Row(path, pid, camera, "query"))
    if lost:
        raise UserError(f"{folder / test} lacks {len(lost)} images that {truth.name} names: {some(lost)}")
    return rows


def _entries(path: Path) -> list[dict[str, Any]]:
    wrong = f"{path} is not the ground truth of ATRW's test images ({TRUTH_SOURCE})"
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{wrong}: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(wrong)
    for number, entry in enumerate(entries, 1):
        if not _is_entry(entry):
            raise UserError(f"{wrong}: entry {number} is {one_line(entry)[:200]}")
    return entries


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or entry.get("query") not in ("multi", "sing"):
        return False
    frame = entry.get("frame")
    if not isinstance(frame, list) or len(frame) != 3:
        return False
    least = {"imgid": 0, "entityid": JUNK}
    numbers = [*((entry.get(key), at_least) for key, at_least in least.items()), *((each, 0) for each in frame)]
    if not all(type(value) is int and value >= at_least for value, at_least in numbers):
        return False
    return bool(frame[1] < CAMERAS_OF_A_SCENE)
