"""One's own images in a folder: every image is found once, no file is left out in silence, cameras by expression."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.common.errors import UserError
from pipeline.datasets.image_tree import IMAGE_SUFFIXES, image_tree
from pipeline.datasets.names import Names
from pipeline.preparation.readers import image_folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def read(folder: Path, camera: str | None = None) -> dict[str, int | None]:
    """path -> camera"""
    catalogue = image_folder.read(folder, camera=camera).catalogue
    assert set(catalogue["split"]) == {"train"} and catalogue["pid"].isna().all()
    camids = catalogue["camid"].astype(object).where(catalogue["camid"].notna(), None)
    return dict(zip(catalogue["path"], camids, strict=True))


def test_image_folder_finds_images_of_every_kind_at_any_depth(tmp_path: Path) -> None:
    names = ["a.jpg", "b.JPEG", "c.Png", "one/d.bmp", "one/two/e.webp", "one/two/three/f.TIF", "ü/g h.tiff", "i.j.jpg"]
    touch(tmp_path, *names)
    assert read(tmp_path) == dict.fromkeys(sorted(names))


def test_image_folder_warns_of_what_it_leaves_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.gif", "one/notes.txt", "one/jpg", "more.zip")
    touch(tmp_path, ".hidden.jpg", ".cache/x.jpg", "Thumbs.db", "one/desktop.ini", "one/.DS_Store")
    reading = image_folder.read(tmp_path, camera=None)
    assert list(reading.catalogue["path"]) == ["a.jpg"]
    (warning,) = reading.warnings
    assert "4 left out, not being images (.bmp, .jpeg," in warning
    assert warning.endswith("): b.gif, more.zip, one/jpg, one/notes.txt")
    assert reading.notes == ()


def test_image_folder_shows_a_few_of_many_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", *(f"{i:02d}\n.txt" for i in range(20)))
    (warning,) = image_folder.read(tmp_path, camera=None).warnings
    assert "20 left out" in warning and r"'09\n.txt', ..." in warning and "\n" not in warning


def test_image_folder_refuses_a_folder_without_images(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt", ".hidden.jpg")
    with pytest.raises(
        UserError, match=r"holds no images: files that end in \.bmp, .* are expected there, at any depth"
    ):
        read(tmp_path)
    with pytest.raises(UserError, match=r"nowhere is missing: put your images there, .*own\.folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\\b.jpg", r"'one/a\\\\b.jpg'|one/a\\b.jpg"), ("a\nb.jpg", r"'one/a\\nb.jpg'"), ("\udcff.jpg", r"udcff")],
)
def test_image_folder_refuses_names_that_cannot_stand_in_a_catalogue(tmp_path: Path, name: str, shown: str) -> None:
    touch(tmp_path, "a.jpg", f"one/{name}")
    with pytest.raises(
        UserError, match=rf"1 images have a backslash, .*in their path: .*({shown}).* \(rename them\)"
    ) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_image_tree_follows_links_inside_and_reads_each_folder_once(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "one/a.jpg", "two/b.jpg", ".store/deep/c.jpg")
    (root / "one" / "up").symlink_to("..", target_is_directory=True)
    (root / "two" / "self").symlink_to(".", target_is_directory=True)
    (root / "again").symlink_to("one", target_is_directory=True)
    (root / "three").symlink_to(".store", target_is_directory=True)
    (root / "four").symlink_to("three", target_is_directory=True)
    # Under its own name where there is one, else under the first of the links.
    assert image_tree(root).images == ("four/deep/c.jpg", "one/a.jpg", "two/b.jpg")


def test_image_tree_may_itself_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "disk" / "images", "one/a.jpg")
    (tmp_path / "root").symlink_to(tmp_path / "disk" / "images", target_is_directory=True)
    assert image_tree(tmp_path / "root").images == ("one/a.jpg",)


def test_image_tree_refuses_links_to_folders_outside(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "a.jpg")
    touch(tmp_path / "root", "b.jpg")
    (tmp_path / "root" / "out").symlink_to("../elsewhere", target_is_directory=True)
    with pytest.raises(UserError, match=r"root/out leads to .*elsewhere: images must be inside .*root \(copy them\)"):
        image_tree(tmp_path / "root")
    assert image_tree(tmp_path / "root", follow_links=True).images == ("b.jpg", "out/a.jpg")


def test_image_tree_leaves_links_to_files_to_whoever_reads_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    (tmp_path / "broken.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert image_tree(tmp_path).images == ("a.jpg", "b.jpg", "broken.jpg", "circle.jpg", "pipe.jpg")


NAMES = st.binary(min_size=1, max_size=8).filter(lambda name: b"/" not in name and b"\0" not in name)
SUFFIXES = st.sampled_from([b".jpg", b".PNG", b".txt", b""])


@settings(deadline=None, max_examples=60)
@given(names=st.lists(st.tuples(NAMES, NAMES, SUFFIXES), min_size=1, max_size=5))
def test_image_folder_of_any_names_loses_no_file(names: list[tuple[bytes, bytes, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        written = set()
        for folder, name, suffix in names:
            place = Path(os.fsdecode(b"in" + folder), os.fsdecode(b"x" + name + suffix))
            touch(Path(root), str(place))
            written.add(str(place))
        try:
            found = set(read(Path(root)))
        except UserError as error:
            assert "\n" not in str(error)
        else:
            tree = image_tree(Path(root))
            assert found == set(tree.images) and found | set(tree.others) == written
            assert all(Path(path).suffix.lower() in IMAGE_SUFFIXES for path in found)


def test_camera_is_the_first_group(tmp_path: Path) -> None:
    touch(tmp_path, "cam07/1.jpg", "cam7/2.jpg", "cam12/3.jpg")
    assert read(tmp_path, r"cam(\d+)/") == {"cam07/1.jpg": 7, "cam12/3.jpg": 12, "cam7/2.jpg": 7}


def test_camera_is_the_whole_match_where_there_is_no_group(tmp_path: Path) -> None:
    touch(tmp_path, "day/c3_1.jpg", "day/c5_2.jpg")
    reading = image_folder.read(tmp_path, camera=r"c\d")
    assert list(reading.catalogue["camid"]) == [1, 2]
    assert reading.notes == ("2 cameras were numbered in sorted order: 1 = c3, 2 = c5",)
    assert read(tmp_path, r"(?<=c)\d") == {"day/c3_1.jpg": 3, "day/c5_2.jpg": 5}


def test_camera_names_are_numbered_in_sorted_order_with_a_note(tmp_path: Path) -> None:
    touch(tmp_path, "west/1.jpg", "north gate/1.jpg", "10/1.jpg", "9/1.jpg")
    reading = image_folder.read(tmp_path, camera="^([^/]+)/")
    assert dict(zip(reading.catalogue["path"], reading.catalogue["camid"], strict=True)) == {
        "10/1.jpg": 1,
        "9/1.jpg": 2,
        "north gate/1.jpg": 3,
        "west/1.jpg": 4,
    }
    assert reading.notes == ("4 cameras were numbered in sorted order: 1 = 10, 2 = 9, 3 = north gate, 4 = west",)
    assert reading.names == Names(cameras={1: "10", 2: "9", 3: "north gate", 4: "west"})


def test_camera_names_of_many_digits_are_names(tmp_path: Path) -> None:
    touch(tmp_path, f"{'9' * 30}/1.jpg", "5/1.jpg")
    assert sorted(filter(None, read(tmp_path, "[0-9]+").values())) == [1, 2]


@pytest.mark.parametrize("camera", ["cam(", "[", "(?P<a>)(?P<a>)", "a{99999999999999999999}"])
def test_camera_must_be_a_regular_expression(tmp_path: Path, camera: str) -> None:
    touch(tmp_path, "a.jpg")
    with pytest.raises(UserError, match=r"own\.camera is not a regular expression: .*, got '"):
        read(tmp_path, camera)


@pytest.mark.parametrize("camera", [r"cam(\d+)", r"cam(\d+)|x", r"x?", r"cam(\d*)"])
def test_camera_must_be_found_in_every_path(tmp_path: Path, camera: str) -> None:
    touch(tmp_path, "cam1/1.jpg", "cam2/2.jpg", "x/lost.jpg")
    with pytest.raises(UserError, match=r"own\.camera \('.*'\) finds no camera in [12] of 3 paths: .*(lost|2)\.jpg"):
        read(tmp_path, camera)
