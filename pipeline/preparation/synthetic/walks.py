"""When the drawn people were where: one tracklet for each person and camera, as a tracker would give it.

A person walks through the cameras that see them in a random order and is in one place at a time. So no tracklet is of
two people, and two tracklets of one camera that overlap are of two. Pictures do not depend on it.
Source: our own. Times are in seconds.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.preparation.synthetic.series import Series, Shot

TRACKLETS = "tracklets.csv"
_DAY = 3600.0  # in which people come
_STAYS, _BETWEEN = (4.0, 12.0), (20.0, 120.0)  # shortest and longest: within a camera's view, and from one to the next


def write_tracklets(series: Series, shots: Sequence[Shot], folder: Path) -> None:
    """Writes `tracklets.csv`: path, tracklet, start and end of each image, but for pictures that cut a person badly.

    Tracklets are numbered by the time at which they begin, which says nothing of who it is.
    """
    places: dict[tuple[int, int], list[str]] = {}  # person, camera -> images
    for shot in shots:
        if not shot.spoilt:
            places.setdefault((shot.person, shot.camera), []).append(shot.path)
    spans = _spans(series, list(places))
    with (folder / TRACKLETS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "tracklet", "start", "end"))
        for number, place in enumerate(sorted(spans, key=lambda place: (*spans[place], place)), 1):
            start, end = (f"{moment:.2f}" for moment in spans[place])
            writer.writerows((path, number, start, end) for path in places[place])


def _spans(series: Series, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], tuple[float, float]]:
    """(person, camera) -> from when to when the person was there."""
    seen: dict[int, list[int]] = {}
    for person, camera in places:
        seen.setdefault(person, []).append(camera)
    spans = {}
    for person, cameras in seen.items():
        rng = series.walk_rng(person)
        now = float(rng.uniform(0, _DAY))
        for camera in rng.permutation(sorted(cameras)).tolist():
            end = now + float(rng.uniform(*_STAYS))
            spans[person, camera] = now, end
            now = end + float(rng.uniform(*_BETWEEN))
    return spans
