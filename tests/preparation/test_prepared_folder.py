"""The prepared folder: the pixels, what is left out and what is refused."""

import errno
import io
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.datasets import packing
from pipeline.datasets.catalogue import digest, from_rows, read_catalogue
from pipeline.datasets.packed_images import PackedImages
from pipeline.preparation.prepared_folder import write_prepared_folder

SIZE: dict[str, Any] = {"height": 24, "width": 16}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "prepared"


@pytest.fixture
def catalogue(market_folder: Path) -> pd.DataFrame:
    """Seven images of `market_folder`."""
    return from_rows(
        [
            ("bounding_box_train/0002_c1s1_000451_03.jpg", 2, 1, "train"),
            ("bounding_box_train/0002_c3s1_000551_00.jpg", 2, 3, "train"),
            ("bounding_box_train/0007_c2s3_000451_03.jpg", 7, 2, "train"),
            ("query/0003_c1s1_000001_00.jpg", 3, 1, "query"),
            ("bounding_box_test/0000_c6s3_086542_01.jpg", 0, 6, "gallery"),
            ("bounding_box_test/0003_c1s1_000001_02.jpg.jpg", 3, 1, "gallery"),
            ("bounding_box_test/0003_c5s1_000002_01.jpg", 3, 5, "gallery"),
        ]
    )


def test_write_prepared_folder_equals_pillow(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    packed = PackedImages(target)
    pd.testing.assert_frame_equal(packed.catalogue, catalogue)
    assert packed.images.shape == (7, 24, 16, 3) and packed.images.dtype == np.uint8
    for image, path in zip(packed.images, catalogue["path"], strict=True):
        with Image.open(market_folder / path) as file:
            expected = file.convert("RGB").resize((16, 24), Image.Resampling.BICUBIC)
        assert np.array_equal(image, np.asarray(expected))


def test_summary_counts_each_split(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    summary = write_prepared_folder(catalogue, market_folder, target, **SIZE)
    assert summary == read_json(target / "summary.json")
    assert {key: summary[key] for key in ("images", "height", "width")} == {"images": 7, "height": 24, "width": 16}
    assert summary["splits"] == {
        "train": {"images": 3, "identities": 2, "cameras": 3},
        "query": {"images": 1, "identities": 1, "cameras": 1},
        "gallery": {"images": 3, "identities": 2, "cameras": 3},
    }
    assert summary["skipped"] == summary["leaked"] == 0
    assert sorted(contents(target)) == ["catalogue.csv", "images.npy", "summary.json"]


def test_write_prepared_folder_replaces_what_was_there(
    market_folder: Path, catalogue: pd.DataFrame, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "leaked_images.csv").write_text("train,test\n", encoding="utf-8")  # of another data set
    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    assert sorted(contents(target)) == ["catalogue.csv", "images.npy", "summary.json"]
    assert [path.name for path in target.parent.iterdir()] == ["prepared"]


def test_write_prepared_folder_keeps_the_old_folder_if_its_end_fails(
    market_folder: Path, catalogue: pd.DataFrame, target: Path
) -> None:
    def finish(folder: Path) -> None:
        assert (folder / "images.npy").is_file()
        raise UserError("the images were changed")

    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    before = contents(target)
    with pytest.raises(UserError, match="the images were changed"):
        write_prepared_folder(catalogue[:1], market_folder, target, **SIZE, finish=finish)
    assert contents(target) == before and [path.name for path in target.parent.iterdir()] == ["prepared"]


def spoil(market_folder: Path, catalogue: pd.DataFrame) -> list[str]:
    """Breaks four of the seven images, each in its own way; returns their paths."""
    truncated, empty, text, missing = catalogue["path"][[0, 2, 4, 6]]
    data = (market_folder / truncated).read_bytes()
    (market_folder / truncated).write_bytes(data[: len(data) // 2])
    (market_folder / empty).write_bytes(b"")
    (market_folder / text).write_text("not an image", encoding="utf-8")
    (market_folder / missing).unlink()
    return [truncated, empty, text, missing]


def test_unreadable_images_are_all_listed(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    before = contents(target)
    spoilt = spoil(market_folder, catalogue)
    with pytest.raises(UserError, match=r"4 of 7 images cannot be read: .*all are listed in") as caught:
        write_prepared_folder(catalogue, market_folder, target, **SIZE)
    assert "\n" not in str(caught.value) and all(path in str(caught.value) for path in spoilt)
    table = pd.read_csv(target.with_name("bad_images.csv"))
    assert list(table["path"]) == spoilt
    not_one = "not an image (JPEG, PNG, BMP, WebP or TIFF)"
    assert list(table["reason"])[1:] == ["an empty file", not_one, "no such file"]
    assert "truncated" in table["reason"][0].lower()
    assert contents(target) == before  # the old folder is whole
    assert sorted(p.name for p in target.parent.iterdir()) == ["bad_images.csv", "prepared"]


def test_write_prepared_folder_forgets_bad_images_when_they_are_mended(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, write_image
) -> None:
    spoilt = spoil(market_folder, catalogue)
    for _ in range(2):
        with pytest.raises(UserError, match="4 of 7"):
            write_prepared_folder(catalogue, market_folder, target, **SIZE)
        assert [p.name for p in target.parent.iterdir()] == ["bad_images.csv"]
    for path in spoilt:
        write_image(market_folder / path)
    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    assert not target.with_name("bad_images.csv").exists()


def test_write_prepared_folder_names_ten_images_at_most(tmp_path: Path) -> None:
    catalogue = from_rows((f"{i:03d}.jpg", None, None, "train") for i in range(70))
    with pytest.raises(UserError, match=r"70 of 70 .*009\.jpg \(no such file\), \.\.\.; all") as caught:
        write_prepared_folder(catalogue, tmp_path, tmp_path / "out", **SIZE)
    assert "010.jpg" not in str(caught.value)
    assert len(pd.read_csv(tmp_path / "bad_images.csv")) == 70


def test_write_prepared_folder_leaves_nothing_when_interrupted(
    market_folder: Path, catalogue: pd.DataFrame, target: Path
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_prepared_folder(catalogue, market_folder, target, **SIZE, progress=interrupt)
    assert list(target.parent.iterdir()) == []


def pack(catalogue: pd.DataFrame, source: Path, target: Path) -> None:
    write_prepared_folder(catalogue, source, target, **SIZE, workers=2, finish=note)


def note(folder: Path) -> None:
    (folder / "settings.yaml").write_text("dataset: drawn\n", encoding="utf-8")


@pytest.mark.parametrize("before", [False, True], ids=["nothing there", "another one there"])
def test_packing_killed_at_any_moment_leaves_no_half_folder(before: bool, tmp_path: Path) -> None:
    """By SIGKILL: there is the folder of before, or the whole new one; the next packing removes what was left."""
    source, target = tmp_path / "images", tmp_path / "data" / "prepared"
    source.mkdir()
    rng, moments = np.random.default_rng(0), random.Random(before)
    names = [f"{number:03}.jpg" for number in range(300)]
    for name in names[:50]:
        Image.fromarray(rng.integers(0, 256, (96, 48, 3), dtype=np.uint8)).save(source / name)
    for name in names[50:]:
        (source / name).symlink_to(names[int(name[:3]) % 50])
    catalogue = from_rows([(name, number // 6, number % 3, "train") for number, name in enumerate(names)])
    pack(catalogue, source, tmp_path / "whole")
    whole, old = contents(tmp_path / "whole"), {}
    if before:
        pack(catalogue[:60], source, target)
        old = contents(target)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pipeline.preparation.prepared_folder"])

    def start(target: Path) -> Any:
        process = context.Process(target=pack, args=(catalogue, source, target))
        process.start()
        return process

    for _ in range(2):  # the first one waits for the server
        began = time.monotonic()
        start(tmp_path / "timed").join()
    seconds, killed = time.monotonic() - began, 0
    for _ in range(12):
        process = start(target)
        process.join(moments.uniform(0, seconds))
        killed += process.is_alive()
        process.kill()
        process.join()
        assert (contents(target) if target.is_dir() else {}) in (old, whole)
    assert killed >= 3
    pack(catalogue, source, target)
    assert contents(target) == whole
    assert [path.name for path in target.parent.iterdir()] == ["prepared"]


def test_write_prepared_folder_says_when_the_disk_is_too_small(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 7 * 24 * 16 * 3 - 1})()
    monkeypatch.setattr("pipeline.common.disk_space.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"data has 0\.0 GB free, the packed images need 0\.0 GB"):
        write_prepared_folder(catalogue, market_folder, target, **SIZE)


def test_write_prepared_folder_says_when_the_disk_fills_up(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.raises(UserError, match=r"data: the disk is full, the packed images do not fit \(No space left"):
        write_prepared_folder(catalogue, market_folder, target, **SIZE, progress=lambda _: fail(errno.ENOSPC))
    with pytest.raises(OSError, match="Input/output"):  # is no matter of room
        write_prepared_folder(catalogue, market_folder, target, **SIZE, progress=lambda _: fail(errno.EIO))
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_write_prepared_folder_without_bad_images_equals_a_source_without_them(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "IMAGES_PER_WORKER", 4)
    monkeypatch.setattr(packing, "_CHUNK", 2)
    spoilt = spoil(market_folder, catalogue)
    whole = from_rows(row for row in catalogue.itertuples(index=False, name=None) if row[0] not in spoilt)
    expected = write_prepared_folder(whole, market_folder, target.with_name("expected"), **SIZE)
    summary = write_prepared_folder(catalogue, market_folder, target, **SIZE, skip_bad=True, workers=workers)
    assert summary == read_json(target / "summary.json") == {**expected, "skipped": 4}
    for name in ("images.npy", "catalogue.csv"):
        assert (target / name).read_bytes() == (target.with_name("expected") / name).read_bytes()
    assert list(pd.read_csv(target / "bad_images.csv")["path"]) == spoilt
    assert not target.with_name("bad_images.csv").exists()


@pytest.mark.parametrize(("split", "num"), [("train", 3), ("query", 1), ("gallery", 3)])
def test_write_prepared_folder_needs_something_of_every_split(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, split: str, num: int
) -> None:
    for path in catalogue["path"][catalogue["split"] == split]:
        (market_folder / path).write_bytes(b"")
    with pytest.raises(UserError, match=rf"none of the {num} {split} images can be read, .*bad_images\.csv"):
        write_prepared_folder(catalogue, market_folder, target, **SIZE, skip_bad=True)
    assert [path.name for path in target.parent.iterdir()] == ["bad_images.csv"]


def test_write_prepared_folder_follows_links_inside_the_source_alone(
    tmp_path: Path, market_folder: Path, catalogue: pd.DataFrame, target: Path, write_image
) -> None:
    linked = tmp_path / "linked"  # the data set's folder itself may be one
    linked.symlink_to(market_folder, target_is_directory=True)
    first, second = (market_folder / path for path in catalogue["path"][:2])
    first.unlink()
    first.symlink_to(Path("..") / second.relative_to(market_folder))
    write_prepared_folder(catalogue, linked, target, **SIZE)
    images = PackedImages(target).images
    assert np.array_equal(images[0], images[1])

    outside = write_image(tmp_path / "private" / "photo.jpg")
    second.unlink()
    second.symlink_to(outside)
    with pytest.raises(
        UserError, match=r"2 of 7 .*a symbolic link leads out of the data set's folder, to .*photo\.jpg"
    ):
        write_prepared_folder(catalogue, linked, target, **SIZE)
    write_prepared_folder(catalogue, linked, target, **SIZE, follow_links=True)
    with Image.open(outside) as file:
        expected = file.convert("RGB").resize((16, 24), Image.Resampling.BICUBIC)
    assert np.array_equal(PackedImages(target).images[1], np.asarray(expected))


def test_prepared_files_are_what_they_say(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    write_prepared_folder(catalogue, market_folder, target, **SIZE)
    loaded = np.load(io.BytesIO((target / "images.npy").read_bytes()))  # any NumPy can read it
    assert digest(read_catalogue(target / "catalogue.csv"), loaded) == read_json(target / "summary.json")["digest"]
