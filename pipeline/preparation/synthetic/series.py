"""A set's people and cameras from one seed, and many pictures of them on several processes.

All randomness comes from (seed, stream, kind, person, camera, index): a picture depends neither on the number of
processes nor on what else is drawn.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from pipeline.common.parent_process import end_with_parent
from pipeline.preparation.synthetic.camera import Camera, random_camera
from pipeline.preparation.synthetic.identity import Identity, random_identity
from pipeline.preparation.synthetic.picture import Style, draw_person

# Streams: the data set's own people and cameras, and others that it never shows, whatever the seed.
OWN, OTHER = 0, 1
# Kinds of randomness.
_PERSON, _CAMERA, _PICTURE, _PLAN, _WALK = range(5)
_CHUNK = 64  # pictures that a process draws at a time, about a fifth of a second

Result = TypeVar("Result")


@dataclass(frozen=True)
class Shot:
    """One picture to draw: person, camera and index of the image, and its file if it is written."""

    person: int
    camera: int
    index: int
    path: str = ""
    spoilt: bool = False


@dataclass(frozen=True)
class Series:
    """The people and cameras that belong to a seed."""

    seed: int
    stream: int
    style: Style

    def draw(self, shot: Shot) -> Image.Image:
        """Draws one picture."""
        rng = self._rng(_PICTURE, shot.person, shot.camera, shot.index)
        identity, camera = self.identity(shot.person), self.camera(shot.camera)
        return draw_person(identity, camera, rng, self.style, spoilt=shot.spoilt)

    @lru_cache(maxsize=1024)  # noqa: B019 - bounded, and the key is frozen
    def identity(self, person: int) -> Identity:
        """The person of this number."""
        return random_identity(self._rng(_PERSON, person))

    @lru_cache(maxsize=1024)  # noqa: B019
    def camera(self, number: int) -> Camera:
        """The camera of this number."""
        return random_camera(self._rng(_CAMERA, number), strength=self.style.camera_strength)

    def plan_rng(self, person: int) -> np.random.Generator:
        """Decides which cameras see a person."""
        return self._rng(_PLAN, person)

    def walk_rng(self, person: int) -> np.random.Generator:
        """Decides when cameras see a person."""
        return self._rng(_WALK, person)

    def _rng(self, kind: int, first: int, second: int = 0, third: int = 0) -> np.random.Generator:
        # Always the same number of words: [1] and [1, 0] would give the same generator.
        return np.random.default_rng([self.seed, self.stream, kind, first, second, third])


def write_shots(series: Series, shots: list[Shot], folder: Path, *, workers: int | None) -> Iterator[int]:
    """Draws every shot to its path below `folder`; yields how many a process has just finished."""
    return _mapped(partial(_write_part, series, folder), shots, workers)


def draw_shots(series: Series, shots: list[Shot], *, workers: int | None) -> np.ndarray:
    """Draws every shot: (N, H, W, 3) uint8."""
    return np.concatenate(list(_mapped(partial(_draw_part, series), shots, workers)))


def _write_part(series: Series, folder: Path, shots: list[Shot]) -> int:
    for shot in shots:
        series.draw(shot).save(folder / shot.path, quality=series.camera(shot.camera).quality)
    return len(shots)


def _draw_part(series: Series, shots: list[Shot]) -> np.ndarray:
    return np.stack([np.asarray(series.draw(shot)) for shot in shots])


def _mapped(function: Callable[[list[Shot]], Result], shots: list[Shot], workers: int | None) -> Iterator[Result]:
    """Yields `function` of one part of the shots after the other, in order, from several processes."""
    parts = [shots[start : start + _CHUNK] for start in range(0, len(shots), _CHUNK)]
    if workers is None:
        # A process takes some tenths of a second to start: a handful of parts must be worth it.
        workers = min(_num_cores(), len(parts) // 4)
    if workers <= 1:
        yield from map(function, parts)
        return
    # Not "fork": the caller may have threads (torch, faiss) whose locks a forked child would inherit held.
    with ProcessPoolExecutor(
        min(workers, len(parts)), mp_context=get_context("spawn"), initializer=end_with_parent, initargs=(os.getpid(),)
    ) as pool:
        yield from pool.map(function, parts)


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
