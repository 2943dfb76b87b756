"""A gallery is embedded once: what is known again, what is not, and what a search finds in it."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.common.errors import UserError
from pipeline.datasets.images import read_image
from pipeline.datasets.packing import pack_images
from pipeline.search import gallery as module
from pipeline.search import shards
from pipeline.search.gallery import Gallery, open_gallery
from pipeline.search.queries import open_queries, search_gallery

SIZE = (8, 4)


@dataclass
class Pixels:
    """Stands in for a network: an embedding is the pixels themselves. Remembers what it was asked for."""

    digest: str = "a"
    role: str = "student"
    size: tuple[int, int] = SIZE
    calls: list[int] = field(default_factory=list)

    def embed(self, images: np.ndarray, title: str) -> np.ndarray:
        self.calls.append(len(images))
        rows = images.reshape(len(images), -1).astype(np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def write(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A folder of seven images, two of them deeper, and a text."""
    folder = tmp_path / "crops"
    for seed, name in enumerate(("b.png", "a.png", "north/c.png", "north/far/d.png", "e.bmp", "f.PNG", "g.tif")):
        write(folder / name, seed)
    (folder / "notes.txt").write_text("seen in May")
    return folder


def opened(folder: Path, embedder: Any, **options: Any) -> Gallery:
    return open_gallery(folder, embedder, folder.parent / "cache", **options)


def embeddings(gallery: Gallery) -> np.ndarray:
    """(M, D) in the order of the names, put together from the parts; each image must be in one."""
    parts = list(gallery.parts())
    indices = np.concatenate([indices for indices, _ in parts])
    assert sorted(indices) == list(range(len(gallery.names)))
    return np.concatenate([part for _, part in parts])[np.argsort(indices)]


def expected(gallery: Gallery) -> np.ndarray:
    images = [read_image(gallery.folder / name, height=SIZE[0], width=SIZE[1]) for name in gallery.names]
    return Pixels().embed(np.stack(images), "")


def index_files(folder: Path) -> list[Path]:
    return sorted((folder.parent / "cache").rglob("*.npz"))


def test_gallery_holds_every_image_below_the_folder(crops: Path) -> None:
    found = opened(crops, Pixels())
    assert found.names == ("a.png", "b.png", "e.bmp", "f.PNG", "g.tif", "north/c.png", "north/far/d.png")
    assert found.others == ("notes.txt",) and "1 left out, not being images: notes.txt" in found.warnings[0]
    assert [Path(place) for place in found.places] == [crops / name for name in found.names]
    np.testing.assert_array_equal(embeddings(found), expected(found))


def test_gallery_images_are_resized_as_prepare_does_it(crops: Path, tmp_path: Path) -> None:
    seen: list[np.ndarray] = []

    class Watching(Pixels):
        def embed(self, images: np.ndarray, title: str) -> np.ndarray:
            seen.append(np.array(images))
            return super().embed(images, title)

    found = opened(crops, Watching())
    open_queries([crops / name for name in found.names], Watching())  # type: ignore[arg-type]
    pack_images(crops, found.names, tmp_path / "images.npy", height=SIZE[0], width=SIZE[1])
    for images in seen:
        np.testing.assert_array_equal(images, np.load(tmp_path / "images.npy"))


def test_known_gallery_is_not_embedded_again(crops: Path) -> None:
    first, again = Pixels(), Pixels()
    before = opened(crops, first)
    after = opened(crops, again)
    assert first.calls == [7] and before.embedded == 7
    assert again.calls == [] and after.embedded == 0
    np.testing.assert_array_equal(embeddings(after), embeddings(before))
    assert opened(crops.parent / "crops/../crops", Pixels()).embedded == 0  # by another name


def test_only_changed_and_new_images_are_embedded_again(crops: Path) -> None:
    opened(crops, Pixels())
    write(crops / "a.png", 50)
    write(crops / "new.png", 51)
    (crops / "b.png").unlink()
    (crops / "e.bmp").rename(crops / "moved.bmp")
    embedder = Pixels()
    found = opened(crops, embedder)
    assert found.embedded == 3 and embedder.calls == [3]
    assert found.names == ("a.png", "f.PNG", "g.tif", "moved.bmp", "new.png", "north/c.png", "north/far/d.png")
    np.testing.assert_array_equal(embeddings(found), expected(found))
    assert opened(crops, Pixels()).embedded == 0
    # What is gone is forgotten.
    kept = sorted(name for shard in shards.open_shards(index_files(crops)[0].parent)[0] for name, _ in shard.images)
    assert kept == sorted(found.names)


def test_part_of_a_shard_holds_the_images_that_are_asked_for(tmp_path: Path) -> None:
    written = np.eye(3, dtype=np.float32)
    shard = shards.write_shard(tmp_path, [("a", "1"), ("b", "1"), ("c", "1")], written)
    (part,) = shards.parts_of([shard], ["c", "a"], {"a": (shard.path, 0), "c": (shard.path, 2)})
    assert part.indices.tolist() == [1, 0]
    np.testing.assert_array_equal(part.embeddings(), written[[0, 2]])


def test_image_of_the_same_size_and_another_time_is_embedded_again(crops: Path) -> None:
    opened(crops, Pixels())
    status = (crops / "e.bmp").stat()
    write(crops / "e.bmp", 50)
    os.utime(crops / "e.bmp", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert (crops / "e.bmp").stat().st_size == status.st_size
    assert opened(crops, Pixels()).embedded == 1


def test_image_replaced_by_another_of_the_same_size_and_time_is_embedded_again(crops: Path) -> None:
    before = embeddings(opened(crops, Pixels()))
    status = (crops / "e.bmp").stat()
    write(crops.parent / "other.bmp", 50)
    os.utime(crops.parent / "other.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    (crops.parent / "other.bmp").replace(crops / "e.bmp")
    assert (crops / "e.bmp").stat()[6:9:2] == status[6:9:2]  # size and time
    found = opened(crops, Pixels())
    assert found.embedded == 1
    np.testing.assert_array_equal(embeddings(found), expected(found))
    assert not np.array_equal(embeddings(found), before)


@pytest.mark.parametrize("other", [Pixels(digest="b"), Pixels(role="teacher")])
def test_another_model_or_role_has_an_index_of_its_own(crops: Path, other: Pixels) -> None:
    opened(crops, Pixels())
    assert opened(crops, other).embedded == 7
    assert len(index_files(crops)) == 2
    assert opened(crops, Pixels()).embedded == 0


def test_half_the_disk_keeps_lists_and_an_index_of_its_own(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embeddings(opened(crops, Pixels()))
    half = opened(crops, Pixels(), store="fp16")
    assert half.embedded == 7 and opened(crops, Pixels(), store="fp16").embedded == 0
    found = embeddings(half)
    assert found.dtype == np.float32 and np.abs(found @ whole.T - whole @ whole.T).max() < 1e-4
    monkeypatch.setattr(shards, "_LOOSE", 0)
    before = index_files(crops)
    np.testing.assert_array_equal(embeddings(opened(crops, Pixels(), store="fp16")), found)  # put together or not
    assert len(before) == 2


def test_another_folder_has_an_index_of_its_own(crops: Path) -> None:
    opened(crops, Pixels())
    shutil.copytree(crops, crops.parent / "copy")
    assert opened(crops.parent / "copy", Pixels()).embedded == 7


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_damaged_index_is_told_and_made_again(crops: Path, damage: str) -> None:
    before = embeddings(opened(crops, Pixels()))
    (file,) = index_files(crops)
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(
        {"flip": bytes(content), "cut": file.read_bytes()[:-20], "empty": b"", "foreign": b"no index"}[damage]
    )
    found = opened(crops, Pixels())
    assert found.damaged == (file,) and found.embedded == 7
    assert "the index was damaged (1 files in " in found.warnings[0]
    np.testing.assert_array_equal(embeddings(found), before)
    assert opened(crops, Pixels()).damaged == ()


def test_index_is_never_executed(crops: Path) -> None:
    """A whole file that holds a pickle is refused, not loaded."""
    opened(crops, Pixels())
    (file,) = index_files(crops)
    folder, ran = file.parent, crops.parent / "ran"

    class Harm:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    bad = folder / "bad.npz"
    np.savez(bad, embeddings=np.array([Harm()], object), images=np.zeros(2, np.uint8))
    bad.rename(folder / f"{hashlib.sha256(bad.read_bytes()).hexdigest()}.npz")
    assert len(opened(crops, Pixels()).damaged) == 1
    assert not ran.exists()


def test_index_that_goes_while_it_is_used_is_named(crops: Path) -> None:
    found = opened(crops, Pixels())
    (file,) = index_files(crops)
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(UserError, match="was damaged since it was opened: search again"):
        list(found.parts())
    file.unlink()
    with pytest.raises(UserError, match="is gone, another search may have tidied up: search again"):
        list(found.parts())


def test_large_gallery_is_embedded_in_pieces(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embeddings(opened(crops, Pixels()))
    monkeypatch.setattr(module, "SHARD", 2)
    monkeypatch.setattr(module, "PACKED", 4)
    embedder = Pixels(digest="b")
    found = opened(crops, embedder)
    assert embedder.calls == [2, 2, 2, 1]
    np.testing.assert_array_equal(embeddings(found), whole)
    assert len(list(found.parts())) == 4


def test_interrupted_search_goes_on_where_it_was(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD", 2)

    class Stopped(Pixels):
        def embed(self, images: np.ndarray, title: str) -> np.ndarray:
            if len(self.calls) == 2:
                raise KeyboardInterrupt
            return super().embed(images, title)

    with pytest.raises(KeyboardInterrupt):
        opened(crops, Stopped())
    left = [path.name for path in (crops.parent / "cache").rglob("*") if path.is_file() and path.suffix != ".npz"]
    assert left == []
    assert opened(crops, Pixels()).embedded == 3


def test_many_small_shards_are_put_together(crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 5)
    for seed in range(12):
        write(crops / f"more{seed}.png", 100 + seed)
        found = opened(crops, Pixels())
        assert found.embedded == (8 if seed == 0 else 1)
        np.testing.assert_array_equal(embeddings(found), expected(found))
    assert len(index_files(crops)) < 12
    assert len(found.names) == 19


def test_unreadable_images_are_all_named(crops: Path) -> None:
    (crops / "a.png").write_bytes(b"")
    (crops / "g.tif").write_text("not a picture")
    message = r"2 of 7 images of .*crops cannot be read: a.png \(an empty file\), g.tif \(not an image .*skip-bad"
    with pytest.raises(UserError, match=message):
        opened(crops, Pixels())
    embedder = Pixels()
    found = opened(crops, embedder, skip_bad=True)
    assert embedder.calls == []  # the others were kept, although the first search stopped
    assert [name for name, _ in found.bad] == ["a.png", "g.tif"] and len(found.names) == 5
    assert any("2 of 7 images" in line for line in found.warnings)
    np.testing.assert_array_equal(embeddings(found), expected(found))
    write(crops / "a.png", 1)
    assert opened(crops, Pixels(), skip_bad=True).embedded == 1


def test_gallery_without_a_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops/a.jpg").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"there is no image left to search: 1 of 1 images of .*crops cannot be read: a.jpg \(an empty"
    ):
        opened(tmp_path / "crops", Pixels(), skip_bad=True)


def test_missing_empty_and_wrong_galleries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the gallery .*crops is missing: name a folder"):
        opened(tmp_path / "crops", Pixels())
    (tmp_path / "crops").mkdir()
    with pytest.raises(UserError, match="crops holds no images: files that end in .bmp, .jpeg, .*at any depth"):
        opened(tmp_path / "crops", Pixels())
    file = write(tmp_path / "a.png", 1)
    with pytest.raises(UserError, match="a.png is a file: name a folder"):
        opened(file, Pixels())


def test_broken_model_is_named(crops: Path) -> None:
    class Broken(Pixels):
        def embed(self, images: np.ndarray, title: str) -> np.ndarray:
            return np.full((len(images), 3), np.nan, np.float32)

    with pytest.raises(UserError, match="the embeddings of the gallery: row 0 is not finite .*broken"):
        opened(crops, Broken())
    assert index_files(crops) == []


def test_links_inside_are_followed_and_links_outside_are_not_read(crops: Path) -> None:
    outside = write(crops.parent / "outside.png", 9)
    (crops / "inside.png").symlink_to("a.png")
    (crops / "lost.png").symlink_to("nowhere.png")
    (crops / "out.png").symlink_to(outside)
    found = opened(crops, Pixels(), skip_bad=True)
    assert "inside.png" in found.names
    reasons = dict(found.bad)
    assert "leads out" in reasons["out.png"] and "leads nowhere" in reasons["lost.png"]
    # A link that is turned to another image shows another image.
    (crops / "inside.png").unlink()
    (crops / "inside.png").symlink_to("b.png")
    found = opened(crops, Pixels(), skip_bad=True)
    assert found.embedded == 1
    np.testing.assert_array_equal(embeddings(found), expected(found))


def test_search_puts_an_identical_image_first(crops: Path) -> None:
    copy = crops.parent / "query.png"
    shutil.copy(crops / "north/c.png", copy)
    queries = open_queries([copy], Pixels())  # type: ignore[arg-type]
    (found,) = search_gallery(queries, opened(crops, Pixels()), top=3)
    assert found.query == str(copy) and found.own == () and len(found.hits) == 3
    assert found.hits[0].path == "north/c.png" and found.hits[0].similarity == pytest.approx(1, abs=1e-6)


def test_search_is_a_naive_ranking_without_the_query_itself(crops: Path) -> None:
    (crops / "same.png").symlink_to("a.png")
    shutil.copy(crops / "a.png", crops / "twin.png")  # another file with the same picture may be found
    gallery = opened(crops, Pixels())
    queries = open_queries([crops], Pixels())  # type: ignore[arg-type]
    table = dict(zip(gallery.names, expected(gallery), strict=True))
    lists = search_gallery(queries, gallery, top=100)
    assert [Path(found.query).relative_to(crops).as_posix() for found in lists] == [
        name for name in gallery.names if name != "same.png"
    ]  # the file that two names lead to is asked for once
    for found in lists:
        own = Path(found.query).relative_to(crops).as_posix()
        left_out = {"a.png", "same.png"} if own == "a.png" else {own}
        assert set(found.own) == left_out
        scores = {
            name: np.float32(table[name].astype(np.float64) @ table[own].astype(np.float64))
            for name in sorted(table.keys() - left_out)
        }
        ranked = sorted(scores, key=lambda name: (-scores[name], name))
        assert [hit.path for hit in found.hits] == ranked
        assert [hit.similarity for hit in found.hits] == [scores[name] for name in ranked]


def test_queries_are_asked_for_in_the_order_they_are_named(crops: Path) -> None:
    asked = open_queries([crops / "g.tif", crops / "north", crops / "g.tif"], Pixels())  # type: ignore[arg-type]
    assert [Path(name).name for name in asked.names] == ["g.tif", "c.png", "d.png"]
    assert len(asked.embeddings) == 3 and asked.warnings == ()


def test_unreadable_queries_are_named(crops: Path) -> None:
    (crops / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"1 of 7 queries cannot be read: .*a.png \(an empty file\) \(--skip-bad"):
        open_queries([crops], Pixels())  # type: ignore[arg-type]
    asked = open_queries([crops], Pixels(), skip_bad=True)  # type: ignore[arg-type]
    assert len(asked.names) == 6 and "1 of 7 queries" in asked.warnings[0]
    with pytest.raises(UserError, match=r"1 of 1 queries cannot be read: .*a.png \(an empty file\)$"):
        open_queries([crops / "a.png"], Pixels(), skip_bad=True)  # type: ignore[arg-type]


def test_missing_queries_are_named(crops: Path) -> None:
    with pytest.raises(UserError, match="there is no such query: .*nobody.png"):
        open_queries([crops / "nobody.png"], Pixels())  # type: ignore[arg-type]
    (crops / "empty").mkdir()
    with pytest.raises(UserError, match="there is no image to search for in .*empty"):
        open_queries([crops / "empty"], Pixels())  # type: ignore[arg-type]
