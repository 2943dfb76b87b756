"""The replicas that other tests use: pictures that can be told apart, sizes that can be chosen."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.replicas import CAMERAS, REPLICAS, SHOTS, draw_picture, write_replica


def test_draw_picture_resembles_its_identity_most() -> None:
    who = [(identity, camera, shot) for identity in range(12) for camera in range(1, 4) for shot in range(3)]
    images = np.stack([draw_picture(*each, 32, 16) for each in who]).astype(float).reshape(len(who), -1)
    distance = np.linalg.norm(images[:, None] - images[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argsort(axis=1)[:, : CAMERAS * SHOTS - 1]
    identities = np.array([identity for identity, *_ in who])
    assert (identities[nearest] == identities[:, None]).mean() > 0.95


def test_draw_picture_differs_in_every_shot_and_is_the_same_again() -> None:
    images = {draw_picture(1, camera, shot, 16, 8).tobytes() for camera in (1, 2, 3) for shot in range(3)}
    assert len(images) == 9
    np.testing.assert_array_equal(draw_picture(1, 2, 0, 16, 8), draw_picture(1, 2, 0, 16, 8))


@pytest.mark.parametrize("name", REPLICAS)
def test_write_replica_draws_as_many_and_as_large_as_asked(tmp_path: Path, name: str) -> None:
    seen = set()

    def picture(identity: int, camera: int, shot: int, height: int, width: int) -> np.ndarray:
        seen.add(identity)
        return np.zeros((height, width, 3), dtype=np.uint8)

    options: dict[str, Any] = {"train_identities": 3, "test_identities": 2, "height": 12, "width": 10}
    replica = write_replica(name, tmp_path, picture=picture, **options)
    assert sum(row[3] == "train" for row in replica.rows) == 3 * CAMERAS * SHOTS
    assert replica.folder.is_relative_to(tmp_path) and len(seen) >= 3
    for path, *_ in replica.rows:
        with Image.open(replica.folder / path) as image:
            assert image.size == (10, 12)
