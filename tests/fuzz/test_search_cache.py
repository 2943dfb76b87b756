"""The kept embeddings of a search: what is damaged is dropped and told, never used and never in the way."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from pipeline.search.shards import open_shards, write_shard
from tests.fuzz.mutations import mutated, rounds

IMAGES = [(f"{row}.png", f"10 {row}") for row in range(5)]
EMBEDDINGS = np.arange(20, dtype=np.float32).reshape(5, 4)


@pytest.mark.parametrize("renamed", [False, True])
def test_damaged_shard_is_dropped(tmp_path: Path, renamed: bool) -> None:
    """`renamed`: its name is the digest of what is in it, as of a file that somebody made."""
    rng = np.random.default_rng(1)
    good = write_shard(tmp_path, IMAGES, EMBEDDINGS)
    content = good.path.read_bytes()
    for _ in rounds(f"kept embeddings, renamed {renamed}"):
        damaged = mutated(content, rng)
        path = tmp_path / f"{hashlib.sha256(damaged).hexdigest()}.npz" if renamed else good.path
        path.write_bytes(damaged)
        shards, dropped = open_shards(tmp_path)
        if not renamed:
            assert (shards, dropped) == ([], [path]) or damaged == content
        for shard in shards:
            assert shard.embeddings().shape[0] == len(shard.images)
        for left in tmp_path.iterdir():
            left.unlink()


def test_what_is_no_shard_is_left_where_it_is(tmp_path: Path) -> None:
    good = write_shard(tmp_path, IMAGES, EMBEDDINGS)
    (tmp_path / "x.npz").mkdir()
    (tmp_path / "gone.npz").symlink_to(tmp_path / "nowhere")
    assert open_shards(tmp_path) == ([good], [])
    assert (tmp_path / "x.npz").is_dir()
