"""The embedded data set: procedurally drawn pedestrians in the Market-1501 layout.

An identity is clothing, hair, skin, build, bag and shoes (`identity`); a camera is viewpoint, light, colour cast,
blur and scale (`camera`); every picture has a background, pose, shift, occlusion and noise of its own (`scene`,
`person`, `picture`); the seed and the processes are in `series`. When a person was where is in `walks`.

Source of the layout and of the naming: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.common.errors import UserError
from pipeline.common.files import replacing
from pipeline.preparation.synthetic.picture import Style
from pipeline.preparation.synthetic.series import OTHER, OWN, Series, Shot, draw_shots, write_shots
from pipeline.preparation.synthetic.walks import write_tracklets

__all__ = ["draw_images", "write_synthetic"]


def write_synthetic(
    folder: Path,
    *,
    seed: int,
    train_identities: int = 100,
    test_identities: int = 100,
    cameras: int = 6,
    images_per_camera: int = 3,
    distractors: int = 60,
    junk: int = 20,
    height: int = 128,
    width: int = 64,
    camera_strength: float = 1.0,
    misalignment: float = 1.0,
    occlusion: float = 0.15,
    keep: Sequence[str] = (),
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draws the data set below `folder`, which it replaces in one step when all is written.

    `bounding_box_train/`, `query/` and `bounding_box_test/` hold files named as in `0002_c1s1_000451_03.jpg`. Each
    person is seen by some of the cameras, `images_per_camera` times in train or gallery and, if in the test half,
    once more as a query. `tracklets.csv` says which images are of one tracklet, and when it was seen: see `walks`.

    Args:
        folder: becomes the data set.
        seed: the same seed draws the same bytes, whatever the number of workers.
        train_identities: people in train: pids 1 to this.
        test_identities: people in query and gallery: the pids that follow.
        cameras: 2 to 9.
        images_per_camera: of each person, in each camera that sees them.
        distractors: gallery pictures of people who match no query (pid 0000).
        junk: gallery pictures that cut a test person badly (pid -1): to be left out of the ranking.
        height: of the pictures, in pixels.
        width: likewise.
        camera_strength: factor on the differences between cameras, see `random_camera`, in [0, 5].
        misalignment: factor on shift and scale of the person in the frame.
        occlusion: probability that something stands in front of the person, in [0, 1].
        keep: names of files that stay, where they lie in `folder`.
        workers: processes; None takes one a core, 1 draws in this process.
        progress: called with (pictures drawn, pictures in all) now and then.

    Raises:
        UserError: a count, size or factor that cannot be drawn.
    """
    _check(train_identities=train_identities, test_identities=test_identities, at_least=1)
    _check(images_per_camera=images_per_camera, workers=1 if workers is None else workers, at_least=1)
    _check(distractors=distractors, junk=junk, at_least=0)
    _check(cameras=cameras, at_least=2, at_most=9)
    _check(identities=train_identities + test_identities, at_least=2, at_most=9999)
    series = _series(seed, OWN, height, width, camera_strength, misalignment, occlusion)
    shots = _plan(series, train_identities, test_identities, cameras, images_per_camera, distractors, junk)
    with replacing(folder) as temporary:
        for name in ("bounding_box_train", "query", "bounding_box_test"):
            (temporary / name).mkdir(parents=True)
        done = 0
        for count in write_shots(series, shots, temporary, workers=workers):
            done += count
            if progress is not None:
                progress(done, len(shots))
        write_tracklets(series, shots, temporary)
        for name in keep:
            if (folder / name).is_file():
                shutil.copy(folder / name, temporary / name)


def draw_images(
    *,
    seed: int,
    identities: int,
    cameras: int,
    images_per_identity: int,
    height: int = 128,
    width: int = 64,
    camera_strength: float = 1.0,
    misalignment: float = 1.0,
    occlusion: float = 0.15,
    workers: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws *other* people, by other cameras: none that `write_synthetic` draws, with this seed or any other.

    Args:
        seed: the same seed draws the same pictures.
        identities: how many people.
        cameras: how many cameras; a person's pictures go through them in turn, from a random one on.
        images_per_identity: pictures of each person.
        height: of the pictures, in pixels.
        width: likewise.
        camera_strength: as in `write_synthetic`.
        misalignment: likewise.
        occlusion: likewise.
        workers: likewise.

    Returns:
        Images (N, H, W, 3) uint8, pids (N,) int64 from 0 on, camids (N,) int64 from 1 on; N = identities x images.

    Raises:
        UserError: a count, size or factor that cannot be drawn.
    """
    _check(identities=identities, cameras=cameras, images_per_identity=images_per_identity, at_least=1)
    _check(workers=1 if workers is None else workers, at_least=1)
    series = _series(seed, OTHER, height, width, camera_strength, misalignment, occlusion)
    shots = []
    for person in range(identities):
        first = int(series.plan_rng(person).integers(cameras))
        shots += [Shot(person, 1 + (first + index) % cameras, index) for index in range(images_per_identity)]
    images = draw_shots(series, shots, workers=workers)
    pids, camids = np.array([[shot.person, shot.camera] for shot in shots], dtype=np.int64).T.copy()
    return images, pids, camids


def _plan(
    series: Series, train: int, test: int, cameras: int, images_per_camera: int, distractors: int, junk: int
) -> list[Shot]:
    """Who is seen by which camera how often, and what the file is called."""
    shots: list[Shot] = []

    def add(folder: str, pid: int, person: int, camera: int, index: int, box: int, *, spoilt: bool = False) -> None:
        stem = "-1" if pid < 0 else f"{pid:04d}"
        # The frame number counts the pictures of the set, so that names differ where pid and camera do not.
        path = f"{folder}/{stem}_c{camera}s1_{25 * (len(shots) + 1):06d}_{box:02d}.jpg"
        shots.append(Shot(person, camera, index, path, spoilt))

    for person in range(1, train + test + 1):
        rng = series.plan_rng(person)
        count = int(rng.integers(max(2, cameras // 2), max(2, cameras - 1), endpoint=True))
        folder = "bounding_box_train" if person <= train else "bounding_box_test"
        for camera in sorted(1 + int(i) for i in rng.choice(cameras, count, replace=False)):
            for index in range(images_per_camera):
                add(folder, person, person, camera, index, index + 1)
            if person > train:
                add("query", person, person, camera, images_per_camera, 0)
    rng = series.plan_rng(0)
    for number in range(distractors):
        add("bounding_box_test", 0, train + test + 1 + number, 1 + int(rng.integers(cameras)), 0, 1)
    for number in range(junk):
        person, camera = train + 1 + int(rng.integers(test)), 1 + int(rng.integers(cameras))
        add("bounding_box_test", -1, person, camera, images_per_camera + 1 + number, 1, spoilt=True)
    return shots


def _series(
    seed: int, stream: int, height: int, width: int, camera_strength: float, misalignment: float, occlusion: float
) -> Series:
    _check(seed=seed, at_least=0)
    _check(height=height, width=width, at_least=16, at_most=1024)
    _check(camera_strength=camera_strength, at_least=0, at_most=5)
    _check(misalignment=misalignment, at_least=0, at_most=2)
    _check(occlusion=occlusion, at_least=0, at_most=1)
    return Series(seed, stream, Style(height, width, camera_strength, misalignment, occlusion))


def _check(*, at_least: float, at_most: float | None = None, **values: float) -> None:
    for name, value in values.items():
        # "not within" rather than "below or above": a NaN is neither.
        if not (at_least <= value and (at_most is None or value <= at_most)):
            allowed = f"at least {at_least}" if at_most is None else f"between {at_least} and {at_most}"
            raise UserError(f"{name} must be {allowed}, got {value} (synthetic data set)")
