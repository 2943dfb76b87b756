"""The packed store: the pixels, what is skipped, what is refused, and what training can see."""

import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from pipeline.datasets import packing, store
from pipeline.datasets.catalogue import digest, from_rows, image_hash, read_catalogue
from pipeline.datasets.packing import pack_images, read_image
from pipeline.datasets.readers import READERS
from pipeline.datasets.store import PackedImages, TrainingImages, open_training_images, prepare_store
from pipeline.errors import UserError
from pipeline.files import read_json

SIZE = {"height": 24, "width": 16}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "prepared"


@pytest.fixture
def catalogue(market_folder: Path) -> pd.DataFrame:
    return READERS["market1501"](market_folder)


def test_prepare_store_equals_pillow(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    prepare_store(catalogue, market_folder, target, **SIZE)
    packed = PackedImages(target)
    pd.testing.assert_frame_equal(packed.catalogue, catalogue)
    assert packed.images.shape == (7, 24, 16, 3) and packed.images.dtype == np.uint8
    for image, path in zip(packed.images, catalogue["path"], strict=True):
        with Image.open(market_folder / path) as file:
            expected = file.convert("RGB").resize((16, 24), Image.Resampling.BICUBIC)
        assert np.array_equal(image, np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("colour.jpg", "RGB", {}),
        ("grey.jpg", "L", {}),
        ("print.jpg", "CMYK", {}),
        ("alpha.png", "RGBA", {}),
        ("palette.png", "P", {"transparency": b"\0\1\2"}),
        ("bits.png", "1", {}),
        ("plain.bmp", "RGB", {}),
        ("web.webp", "RGB", {}),
        ("old.tiff", "RGB", {}),
        ("with space and ü.jpg", "RGB", {}),
        ("wrong_extension.jpg", "RGB", {"format": "PNG"}),
    ],
)
def test_read_image_equals_pillow_for_every_format(tmp_path: Path, write_image, name, mode, options) -> None:  # type: ignore[no-untyped-def]
    path = write_image(tmp_path / name, mode=mode, **options)
    hashes, bad = pack_images([path], tmp_path / "images.npy", **SIZE)
    assert bad == [] and len(hashes[0]) == 32
    with Image.open(path) as file:
        rgb = file.convert("RGBA").convert("RGB") if mode == "P" else file.convert("RGB")
    expected = np.asarray(rgb.resize((16, 24), Image.Resampling.BICUBIC))
    assert np.array_equal(np.load(tmp_path / "images.npy")[0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image_turns_as_exif_says(tmp_path: Path, write_image, orientation: int) -> None:  # type: ignore[no-untyped-def]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / "turned.png", height=33, width=21, exif=exif)
    with Image.open(path) as file:
        stored = file.convert("RGB")
        assert np.array_equal(
            read_image(path, **SIZE),
            np.asarray(ImageOps.exif_transpose(file).convert("RGB").resize((16, 24), Image.Resampling.BICUBIC)),
        )
    if orientation == 6:  # by hand: the stored picture lies on its side
        upright = stored.transpose(Image.Transpose.ROTATE_270).resize((16, 24), Image.Resampling.BICUBIC)
        assert np.array_equal(read_image(path, **SIZE), np.asarray(upright))


@pytest.mark.parametrize("workers", [1, 2])
def test_pack_images_does_not_depend_on_workers(
    tmp_path: Path, write_image, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(packing, "IMAGES_A_WORKER", 32)  # else so few images are not worth a process
    paths = [write_image(tmp_path / f"{i:03d}.jpg") for i in range(150)]
    paths[77].write_bytes(b"")
    done: list[int] = []
    hashes, bad = pack_images(paths, tmp_path / "images.npy", **SIZE, workers=workers, progress=done.append)
    expected = [read_image(path, **SIZE) for path in paths if path != paths[77]]
    expected.insert(77, np.zeros((24, 16, 3), np.uint8))
    assert np.array_equal(np.load(tmp_path / "images.npy"), expected)
    assert hashes == [b"" if i == 77 else image_hash(image) for i, image in enumerate(expected)]
    assert bad == [(77, "not an image")]
    assert done == [32, 32, 32, 32, 22]


def test_prepare_store_summary_counts_each_split(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    summary = prepare_store(catalogue, market_folder, target, **SIZE)
    assert summary == read_json(target / "summary.json")
    assert {key: summary[key] for key in ("images", "height", "width")} == {"images": 7, "height": 24, "width": 16}
    assert summary["splits"] == {
        "train": {"images": 3, "identities": 2, "cameras": 3},
        "query": {"images": 1, "identities": 1, "cameras": 1},
        "gallery": {"images": 3, "identities": 2, "cameras": 3},
    }
    assert sorted(contents(target)) == ["catalogue.csv", "images.npy", "summary.json"]


def test_prepare_store_does_nothing_twice(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare_store(catalogue, market_folder, target, **SIZE)
    inode = target.stat().st_ino
    done: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(store, "pack_images", None)  # would raise if it were called
        assert prepare_store(catalogue, market_folder, target, **SIZE, progress=done.append) == first
    assert target.stat().st_ino == inode and done == [7]


@pytest.mark.parametrize("what", ["pixels", "time", "size", "catalogue", "target", "summary", "fingerprint", "images"])
def test_prepare_store_packs_again_after_a_change(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, write_image, what: str
) -> None:  # type: ignore[no-untyped-def]
    prepare_store(catalogue, market_folder, target, **SIZE)
    inode, size = target.stat().st_ino, dict(SIZE)
    first = market_folder / catalogue["path"][0]
    if what == "pixels":
        write_image(first, height=50)
    elif what == "time":
        os.utime(first, (1, 1))
    elif what == "size":
        size["height"] = 32
    elif what == "catalogue":
        catalogue.loc[0, "camid"] = 9
    elif what == "target":  # as when another data set was checked out in between
        (target / "summary.json").write_text('{"digest": "another"}', encoding="utf-8")
    elif what == "summary":
        (target / "summary.json").write_text("no JSON", encoding="utf-8")
    elif what == "fingerprint":
        target.with_name(".prepared.fingerprint.json").unlink()
    else:
        (target / "images.npy").unlink()
    summary = prepare_store(catalogue, market_folder, target, **size)
    assert target.stat().st_ino != inode
    assert summary["height"] == size["height"]
    assert summary["digest"] == digest(catalogue, PackedImages(target).images)


def spoil(market_folder: Path, catalogue: pd.DataFrame) -> list[str]:
    """Breaks four of the seven images, each in its own way; returns their paths."""
    truncated, empty, text, missing = catalogue["path"][[0, 2, 4, 6]]
    data = (market_folder / truncated).read_bytes()
    (market_folder / truncated).write_bytes(data[: len(data) // 2])
    (market_folder / empty).write_bytes(b"")
    (market_folder / text).write_text("not an image", encoding="utf-8")
    (market_folder / missing).unlink()
    return [truncated, empty, text, missing]


def test_prepare_store_lists_every_unreadable_image(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    prepare_store(catalogue, market_folder, target, **SIZE)
    before = contents(target)
    spoilt = spoil(market_folder, catalogue)
    with pytest.raises(UserError, match=r"4 of 7 images cannot be read: .*all are listed in") as caught:
        prepare_store(catalogue, market_folder, target, **SIZE)
    assert "\n" not in str(caught.value) and all(path in str(caught.value) for path in spoilt)
    table = pd.read_csv(target.with_name("bad_images.csv"))
    assert list(table["path"]) == spoilt
    assert list(table["reason"])[1:] == ["not an image", "not an image", "no such file"]
    assert "truncated" in table["reason"][0].lower()
    assert contents(target) == before  # the old store is whole
    assert sorted(p.name for p in target.parent.iterdir()) == [
        ".prepared.fingerprint.json",
        "bad_images.csv",
        "prepared",
    ]


def test_prepare_store_forgets_bad_images_when_they_are_mended(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, write_image
) -> None:  # type: ignore[no-untyped-def]
    spoilt = spoil(market_folder, catalogue)
    for _ in range(2):
        with pytest.raises(UserError, match="4 of 7"):
            prepare_store(catalogue, market_folder, target, **SIZE)
        assert [p.name for p in target.parent.iterdir()] == ["bad_images.csv"]
    for path in spoilt:
        write_image(market_folder / path)
    prepare_store(catalogue, market_folder, target, **SIZE)
    assert not target.with_name("bad_images.csv").exists()


def test_prepare_store_names_ten_images_at_most(tmp_path: Path) -> None:
    catalogue = from_rows((f"{i:03d}.jpg", None, None, "train") for i in range(70))
    with pytest.raises(UserError, match=r"70 of 70 .*009\.jpg \(no such file\), \.\.\.; all") as caught:
        prepare_store(catalogue, tmp_path, tmp_path / "out", **SIZE)
    assert "010.jpg" not in str(caught.value)
    assert len(pd.read_csv(tmp_path / "bad_images.csv")) == 70


@pytest.mark.parametrize("limit", [100, 600])  # 40 x 20 = 800 pixels: an error, and a warning
def test_prepare_store_refuses_decompression_bombs(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UserError, match=r"7 of 7 .*too many pixels to be decoded safely"):
        prepare_store(catalogue, market_folder, target, **SIZE)


def test_prepare_store_leaves_nothing_when_interrupted(
    market_folder: Path, catalogue: pd.DataFrame, target: Path
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_store(catalogue, market_folder, target, **SIZE, progress=interrupt)
    assert list(target.parent.iterdir()) == []


def test_prepare_store_says_when_the_disk_is_too_small(
    market_folder: Path, catalogue: pd.DataFrame, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 7 * 24 * 16 * 3 - 1})()
    monkeypatch.setattr("pipeline.datasets.store.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"data has 0\.0 GB free, the packed images need 0\.0 GB"):
        prepare_store(catalogue, market_folder, target, **SIZE)


def test_pack_images_memory_does_not_grow_with_the_images(tmp_path: Path, write_image) -> None:  # type: ignore[no-untyped-def]
    path = write_image(tmp_path / "a.jpg")
    code = (
        "import resource, sys; from pathlib import Path; from pipeline.datasets.packing import pack_images\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "pack = lambda n: pack_images([Path(sys.argv[1])] * n, Path(sys.argv[2]), height=256, width=128, workers=1)\n"
        "pack(64); before = peak(); assert pack(1500)[1] == []; print(peak() - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "images.npy")],
        capture_output=True, text=True, check=True, cwd=Path(store.__file__).parents[2],
    )  # fmt: skip
    assert (tmp_path / "images.npy").stat().st_size > 1500 * 256 * 128 * 3  # 147 MB
    assert int(result.stdout) < 30  # MB


def test_packed_images_splits_in_catalogue_order(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    prepare_store(catalogue, market_folder, target, **SIZE)
    packed = PackedImages(target)
    gallery = packed.split("gallery")
    assert len(gallery) == 3 and gallery.paths == tuple(catalogue["path"][4:])
    assert gallery.pids is not None and gallery.pids.tolist() == [0, 3, 3] and gallery.pids.dtype == np.int64
    assert gallery.camids is not None and gallery.camids.tolist() == [6, 1, 5]
    assert np.array_equal(gallery.images, packed.images[4:])
    assert isinstance(gallery.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        gallery.images[0] = 0


def test_packed_images_without_labels(tmp_path: Path, write_image) -> None:  # type: ignore[no-untyped-def]
    write_image(tmp_path / "raw" / "a.jpg")
    prepare_store(from_rows([("a.jpg", None, None, "train")]), tmp_path / "raw", tmp_path / "out", **SIZE)
    train, query = (PackedImages(tmp_path / "out").split(name) for name in ("train", "query"))
    assert train.pids is None and train.camids is None and len(train) == 1
    assert len(query) == 0 and query.paths == () and query.images.shape == (0, 24, 16, 3)
    assert open_training_images(tmp_path / "out").camids is None


def test_training_images_hold_no_identity(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    prepare_store(catalogue, market_folder, target, **SIZE)
    training = open_training_images(target)
    assert type(training) is TrainingImages
    assert [field.name for field in dataclasses.fields(training)] == ["images", "camids"]
    assert not issubclass(store.LabelledImages, TrainingImages)
    assert vars(training).keys() == {"images", "camids"}
    assert training.camids is not None and training.camids.tolist() == [1, 3, 2]


def test_open_training_images_needs_some(tmp_path: Path, write_image) -> None:  # type: ignore[no-untyped-def]
    write_image(tmp_path / "raw" / "a.jpg")
    prepare_store(from_rows([("a.jpg", 1, 1, "query")]), tmp_path / "raw", tmp_path / "out", **SIZE)
    with pytest.raises(UserError, match="there are no training images in it"):
        open_training_images(tmp_path / "out")


def test_packed_images_says_what_is_wrong(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    with pytest.raises(UserError, match=r"catalogue\.csv is missing: run the prepare stage first"):
        PackedImages(target)
    prepare_store(catalogue, market_folder, target, **SIZE)
    images = target / "images.npy"
    np.save(images, np.zeros((6, 24, 16, 3), np.uint8))
    with pytest.raises(UserError, match=r"images\.npy holds 6 images, catalogue\.csv 7: run the prepare stage again"):
        PackedImages(target)
    np.save(images, np.zeros((7, 24, 16, 3), np.float32))
    with pytest.raises(UserError, match=r"must be \(N, H, W, 3\) uint8"):
        PackedImages(target)
    for damaged in (b"", b"not an array", images.read_bytes()[:500]):
        images.write_bytes(damaged)
        with pytest.raises(UserError, match=r"images\.npy is damaged"):
            PackedImages(target)
    images.unlink()
    with pytest.raises(UserError, match=r"images\.npy is missing"):
        PackedImages(target)


def test_prepared_files_are_what_they_say(market_folder: Path, catalogue: pd.DataFrame, target: Path) -> None:
    prepare_store(catalogue, market_folder, target, **SIZE)
    loaded = np.load(io.BytesIO((target / "images.npy").read_bytes()))  # any NumPy can read it
    assert digest(read_catalogue(target / "catalogue.csv"), loaded) == read_json(target / "summary.json")["digest"]
