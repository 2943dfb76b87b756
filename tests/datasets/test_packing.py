"""Many image files into one array: any number of processes, little memory, images left out again."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.datasets import packing
from pipeline.datasets.catalogue import image_hash
from pipeline.datasets.images import read_image
from pipeline.datasets.packing import leave_out, pack_images

SIZE: dict[str, Any] = {"height": 24, "width": 16}
# The fixtures used below do not change from one example to the next.
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("workers", [1, 2])
def test_pack_images_does_not_depend_on_workers(
    tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_WORKER", 32)  # else so few images are not worth a process
    names = [f"{i:03d}.jpg" for i in range(150)]
    for name in names:
        write_image(tmp_path / name)
    (tmp_path / names[77]).write_bytes(b"")
    done: list[int] = []
    hashes, bad = pack_images(tmp_path, names, tmp_path / "images.npy", **SIZE, workers=workers, progress=done.append)
    expected = [read_image(tmp_path / name, **SIZE) for name in names if name != names[77]]
    expected.insert(77, np.zeros((24, 16, 3), np.uint8))
    assert np.array_equal(np.load(tmp_path / "images.npy"), expected)
    assert hashes == [b"" if i == 77 else image_hash(image) for i, image in enumerate(expected)]
    assert bad == [(77, "an empty file")]
    assert done == [32, 32, 32, 32, 22]


def test_pack_images_memory_does_not_grow_with_the_images(tmp_path: Path, write_image) -> None:
    path = write_image(tmp_path / "a.jpg")
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.datasets.packing import leave_out, pack_images\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "file, target = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "pack = lambda n: pack_images(file.parent, [file.name] * n, target, height=256, width=128, workers=1)\n"
        "pack(64); before = peak(); assert pack(1500)[1] == []; leave_out(target, [0, 700]); print(peak() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "images.npy")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(packing.__file__).parents[2],
    )
    assert (tmp_path / "images.npy").stat().st_size > 1498 * 256 * 128 * 3  # 147 MB
    assert int(result.stdout) < 40  # MB


@relaxed
@given(num=st.integers(1, 30), gone=st.sets(st.integers(0, 29)), block=st.sampled_from([7, 96, 1000, 2**24]))
def test_leave_out_equals_an_array_without_them(tmp_path: Path, num: int, gone: set[int], block: int) -> None:
    rows = sorted(row for row in gone if row < num)[: num - 1]
    path = tmp_path / "images.npy"
    images = np.random.default_rng(num).integers(0, 256, size=(num, 4, 8, 3), dtype=np.uint8)
    np.save(path, images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "_BLOCK", block)
        leave_out(path, rows)
    np.save(tmp_path / "expected.npy", np.delete(images, rows, axis=0))
    assert path.read_bytes() == (tmp_path / "expected.npy").read_bytes()


def test_pack_images_tells_of_a_full_disk(tmp_path: Path, write_image) -> None:
    write_image(tmp_path / "a.jpg")
    code = (
        "import resource, signal, sys; from pathlib import Path; from pipeline.datasets.packing import pack_images\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "folder = Path(sys.argv[1])\n"
        "try: pack_images(folder, ['a.jpg'], folder / 'images.npy', height=64, width=64)\n"
        "except OSError as error: print(error.errno)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(packing.__file__).parents[2],
    )
    assert int(result.stdout) in (errno.EFBIG, errno.ENOSPC)


def _die(*_: object, **__: object) -> None:
    os._exit(9)


def test_pack_images_tells_of_a_killed_process(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [(start, ["a.jpg"]) for start in range(3)]
    with pytest.raises(UserError, match="a process that decodes images was killed, one of 2: is there too little"):
        list(packing._results(_die, chunks, 2))  # type: ignore[arg-type]
