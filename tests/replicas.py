"""Miniature replicas of every layout that the project reads, with their official quirks, and what a reader must find.

    replica = write_replica("veri", raw)          # draws raw/veri/VeRi/image_train/0001_c001_00016450_0.jpg, ...
    open_dataset(replica.dataset, raw, options=replica.options)          # finds replica.rows

Each training identity has `CAMERAS` x `SHOTS` = 9 images, each test identity as many, of which two are queries (where
the layout has a test split). Pictures are a few stripes whose colours follow from the identity, a little different in
each camera and shot, so that even an untrained network finds the identities.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.preparation.readers import ReaderOptions

SPLITS = ("train", "query", "gallery")
CAMERAS, SHOTS = 3, 3
STRIPES = 5

ExpectedRow = tuple[str, int | None, int | None, str]
# (identity, camera, shot, height, width) -> (H, W, 3) uint8
Picture = Callable[[int, int, int, int, int], np.ndarray]


@dataclass(frozen=True)
class Replica:
    """What was written.

    Attributes:
        dataset: the setting `dataset`.
        folder: of the data set, below the folder of raw data.
        options: what to read it with.
        rows: (path, pid, camid, split) of every image that the reader must find, in the catalogue's order.
    """

    dataset: str
    folder: Path
    options: ReaderOptions
    rows: tuple[ExpectedRow, ...]


def draw_picture(identity: int, camera: int, shot: int, height: int, width: int) -> np.ndarray:
    """Stripes in the identity's colours; the camera changes the light, the shot shifts and blurs by noise."""
    colours = np.random.default_rng([identity, 1]).integers(20, 236, size=(STRIPES, 3)).astype(float)
    generator = np.random.default_rng([identity, camera, shot, 2])
    offset = generator.uniform(-0.05, 0.05)
    stripe = np.clip(((np.arange(height) + 0.5) / height + offset) * STRIPES, 0, STRIPES - 1).astype(int)
    image = np.repeat(colours[stripe][:, None, :], width, axis=1)
    image = image * (0.9 + 0.05 * (camera % 4)) + generator.normal(scale=8, size=(height, width, 3))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def write_replica(
    name: str,
    raw: Path,
    *,
    train_identities: int = 8,
    test_identities: int = 4,
    height: int = 64,
    width: int = 32,
    picture: Picture = draw_picture,
    options: ReaderOptions | None = None,
) -> Replica:
    """Writes the replica `name` (see `REPLICAS`) below the folder of raw data `raw`.

    Args:
        name: a setting of `dataset`, or "msmt17_v2".
        raw: need not exist.
        train_identities, test_identities: how many.
        height, width: of the pictures, in pixels.
        picture: draws one.
        options: for `vehicleid` test size and seed, for `csv` the table's name; by default whatever suits the replica.
    """
    write, place, default = REPLICAS[name]
    options = options or default
    canvas = _Canvas(raw / place.format(own=options.folder), height, width, picture)
    write(canvas, train_identities, test_identities, options)
    rows = sorted(canvas.rows, key=lambda row: (SPLITS.index(row[3]), row[0]))
    return Replica(name.removesuffix("_v2"), canvas.folder, options, tuple(rows))


@dataclass
class _Canvas:
    """Writes files into a folder and remembers the rows that a reader must find."""

    folder: Path
    height: int
    width: int
    picture: Picture
    rows: list[ExpectedRow] = field(default_factory=list)

    def draw(self, path: str, identity: int, camera: int, shot: int) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(self.picture(identity, camera, shot, self.height, self.width))
        kind = {".png": "PNG", ".bmp": "BMP", ".webp": "WEBP", ".tif": "TIFF"}.get(target.suffix.lower(), "JPEG")
        image.save(target, kind, quality=90)

    def expect(self, path: str, pid: int | None, camid: int | None, split: str) -> None:
        self.rows.append((path, pid, camid, split))

    def add(self, path: str, pid: int, camid: int, shot: int, split: str) -> None:
        """An image that is what its labels say."""
        self.draw(path, pid, camid, shot)
        self.expect(path, pid, camid, split)

    def text(self, path: str, content: str = "nothing to read here\n", *, encoding: str = "utf-8") -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(content.encode(encoding))


def _shots(first: int, identities: int, cameras: tuple[int, ...] = (1, 2, 3)) -> Iterator[tuple[int, int, int]]:
    """(identity, camera, shot)"""
    for identity in range(first, first + identities):
        for camera in cameras:
            for shot in range(SHOTS):
                yield identity, camera, shot


def _test_split(camera: int, shot: int, cameras: tuple[int, ...] = (1, 2, 3)) -> str:
    return "query" if shot == 0 and camera in cameras[:2] else "gallery"


def _market1501(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """Junk (-1) and distractors (0000) in the gallery, a doubled suffix, Thumbs.db, and folders that nobody needs."""
    for pid, camera, shot in _shots(2, train):
        canvas.add(f"bounding_box_train/{pid:04d}_c{camera}s1_{shot:06d}_01.jpg", pid, camera, shot, "train")
    folders = {"query": "query", "gallery": "bounding_box_test"}
    for pid, camera, shot in _shots(2 + train, test):
        split = _test_split(camera, shot)
        suffix = ".jpg.jpg" if (pid, camera, shot) == (2 + train, 3, 2) else ".jpg"
        name = f"{pid:04d}_c{camera}s{1 + shot}_{shot:06d}_{int(split == 'gallery'):02d}{suffix}"
        canvas.add(f"{folders[split]}/{name}", pid, camera, shot, split)
    for number in range(3):
        canvas.draw(f"bounding_box_test/-1_c{1 + number}s1_{number:06d}_05.jpg", 9_000 + number, 1, 0)  # junk
        path = f"bounding_box_test/0000_c{1 + number}s2_{number:06d}_02.jpg"
        canvas.draw(path, 8_000 + number, 1, 0)
        canvas.expect(path, 0, 1 + number, "gallery")
    canvas.draw(f"gt_bbox/{2 + train:04d}_c1s1_000000_00.jpg", 2 + train, 1, 0)
    canvas.text(f"gt_query/{2 + train:04d}_c1s1_000000_00_good.mat")
    for path in ("bounding_box_train/Thumbs.db", "bounding_box_test/Thumbs.db", "query/Thumbs.db", "readme.txt"):
        canvas.text(path)


def _dukemtmc(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """People who are in the gallery only have identities; licences lie beside the folders."""
    for pid, camera, shot in _shots(1, train):
        canvas.add(f"bounding_box_train/{pid:04d}_c{camera}_f{46182 + shot:07d}.jpg", pid, camera, shot, "train")
    folders = {"query": "query", "gallery": "bounding_box_test"}
    for pid, camera, shot in _shots(1 + train, test):
        split = _test_split(camera, shot)
        canvas.add(f"{folders[split]}/{pid:04d}_c{camera}_f{shot:07d}.jpg", pid, camera, shot, split)
    for pid in (7139, 7140):
        canvas.add(f"bounding_box_test/{pid:04d}_c8_f0175716.jpg", pid, 8, 0, "gallery")
    for name in ("LICENSE_DukeMTMC.txt", "LICENSE_DukeMTMC-reID.txt", "CITATION_DukeMTMC.txt", "README.md"):
        canvas.text(name)


def _msmt17(train_folder: str, test_folder: str) -> "_Write":
    def write(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
        """Four lists, one of them for validation; a folder an identity; both numberings start at 0."""
        lists: dict[str, list[str]] = {name: [] for name in ("train", "val", "query", "gallery")}

        def add(folder: str, who: int, camera: int, shot: int, split: str, name: str, *, drawn_as: int) -> None:
            index = (camera - 1) * SHOTS + shot
            path = f"{who:04d}/{who:04d}_{index:03d}_{camera:02d}_0303morning_{shot:04d}_{index % 3}.jpg"
            canvas.draw(f"{folder}/{path}", drawn_as, camera, shot)
            canvas.expect(f"{folder}/{path}", who, camera, split)
            lists[name].append(f"{path} {who}\n")

        for who, camera, shot in _shots(0, train):
            name = "val" if who == 1 and shot == SHOTS - 1 else "train"
            add(train_folder, who, camera, shot, "train", name, drawn_as=who)
        for who, camera, shot in _shots(0, test):
            split = _test_split(camera, shot)
            add(test_folder, who, camera, shot, split, split, drawn_as=train + who)
        for name, lines in lists.items():
            canvas.text(f"list_{name}.txt", "".join(lines))

    return write


def _personx(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """Cameras are numbered 3, 4, 8, 10, 11 and 12."""
    cameras = (3, 8, 12)
    for pid, camera, shot in _shots(1, train, cameras):
        canvas.add(f"bounding_box_train/{pid:04d}_c{camera}s1_{shot:06d}_00.jpg", pid, camera, shot, "train")
    folders = {"query": "query", "gallery": "bounding_box_test"}
    for pid, camera, shot in _shots(1 + train, test, cameras):
        split = _test_split(camera, shot, cameras)
        canvas.add(f"{folders[split]}/{pid:04d}_c{camera}s1_{shot:06d}_00.jpg", pid, camera, shot, split)


def _veri(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """The query images are gallery images too; lists name all of them."""
    names: dict[str, list[str]] = {"train": [], "query": [], "test": []}

    def add(part: str, pid: int, camera: int, shot: int, split: str) -> None:
        name = f"{pid:04d}_c{camera:03d}_{16450 + shot:08d}_0.jpg"
        canvas.add(f"image_{part}/{name}", pid, camera, shot, split)
        names[part].append(name)

    for pid, camera, shot in _shots(1, train):
        add("train", pid, camera, shot, "train")
    for pid, camera, shot in _shots(1 + train, test):
        add("test", pid, camera, shot, "gallery")
        if _test_split(camera, shot) == "query":
            add("query", pid, camera, shot, "query")
    for part, listed in names.items():
        canvas.text(f"name_{part}.txt", "".join(f"{name}\r\n" for name in listed))
    for name in ("gt_index.txt", "jk_index.txt", "test_track.txt", "train_label.xml", "ReadMe.txt"):
        canvas.text(name)


def _vehicleid(canvas: _Canvas, train: int, test: int, options: ReaderOptions) -> None:
    """Test lists of three sizes, each within the next; further lists and attributes; nothing tells of cameras.

    800 stands for `test` identities, 1600 for twice as many, 2400 for three times.
    """
    numbers = iter(range(1, 10**7))
    images: dict[int, list[str]] = {}
    for pid, camera, shot in _shots(1, train + 3 * test):
        name = f"{next(numbers):07d}"
        canvas.draw(f"image/{name}.jpg", pid, camera, shot)
        images.setdefault(pid, []).append(name)
    for pid in range(1, 1 + train):
        for name in images[pid]:
            canvas.expect(f"image/{name}.jpg", pid, None, "train")
    for pid in range(1 + train, 1 + train + test * options.test_size // 800):
        paths = [f"image/{name}.jpg" for name in images[pid]]
        chosen = min(paths, key=lambda path: hashlib.sha256(f"{options.seed} {path}".encode()).digest())
        for path in paths:
            canvas.expect(path, pid, None, "gallery" if path == chosen else "query")

    def lines(first: int, identities: int) -> str:
        return "".join(f"{name} {pid}\n" for pid in range(first, first + identities) for name in images[pid])

    canvas.text("train_test_split/train_list.txt", lines(1, train))
    for size, factor in {800: 1, 1600: 2, 2400: 3, 3200: 3, 6000: 3, 13164: 3}.items():
        canvas.text(f"train_test_split/test_list_{size}.txt", lines(1 + train, factor * test))
    for name in ("img2vid.txt", "color_attr.txt", "model_attr.txt"):
        canvas.text(f"attribute/{name}")


def _vehiclex(canvas: _Canvas, train: int, _: int, __: ReaderOptions) -> None:
    """For training only; images below a folder of their own, labels beside it."""
    for pid, camera, shot in _shots(1, train):
        canvas.add(f"sys_image_train/{pid:04d}_c{camera:03d}_{shot + 1}.jpg", pid, camera, shot, "train")
    canvas.text("train_label.xml")
    canvas.text("ReadMe.txt")


def _randperson(canvas: _Canvas, train: int, _: int, __: ReaderOptions) -> None:
    """For training only; cameras are counted anew in each scene; one name as the first publication wrote them."""
    for pid, camera, shot in _shots(0, train):
        scene, view = divmod(camera, 2)
        parts = f"s{scene:02d}_c{view:02d}" if pid else f"c{view:02d}_s{scene:02d}"
        path = f"{pid:06d}_{parts}_f{264 + shot:06d}.jpg"
        canvas.add(path, pid, 1000 * scene + view, shot, "train")
    canvas.text("camera0_1_point.txt")


def _clonedperson(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """A person is seen by cameras of several scenes, which have the same numbers."""
    for pid, camera, shot in _shots(700_000, train + test):
        is_train = pid < 700_000 + train
        split = "train" if is_train else _test_split(camera, shot)
        folder = "train" if is_train else f"test/{split}"
        path = f"{folder}/{pid:06d}_s{camera * 2:02d}_c00_f{23389 + shot:06d}.jpg"
        canvas.add(path, pid, 2000 * camera, shot, split)


def _atrw(canvas: _Canvas, train: int, test: int, _: ReaderOptions) -> None:
    """Archives unpacked beside each other; entities of one camera alone, junk, and a list that nobody needs."""
    lines = []
    for number, (pid, camera, shot) in enumerate(_shots(0, train)):
        path = f"atrw_reid_train/train/{number:06d}.jpg"
        canvas.draw(path, pid, camera, shot)
        canvas.expect(path, pid, None, "train")
        lines.append(f"{pid},{number:06d}.jpg\n")
    entries: list[dict[str, object]] = []
    seen_alone = [(train + test, 3, shot) for shot in range(SHOTS)]
    for number, (pid, camera, shot) in enumerate([*_shots(train, test), *seen_alone]):
        path, query = f"atrw_reid_test/test/{number:06d}.jpg", "multi" if pid < train + test else "sing"
        canvas.draw(path, pid, camera, shot)
        for split in ("query", "gallery") if query == "multi" else ("gallery",):
            canvas.expect(path, pid, 31_000 + camera, split)
        entries.append({"query": query, "entityid": pid, "frame": [31, camera, shot], "imgid": number})
    canvas.draw("atrw_reid_test/test/009999.jpg", 9_000, 1, 0)
    entries.append({"query": "multi", "entityid": -1, "frame": [31, 1, 7], "imgid": 9999})
    canvas.text("atrw_anno_reid_train/reid_list_train.csv", "".join(lines))
    canvas.text("atrw_anno_reid_test/reid_list_test.csv", "000000.jpg\n")
    canvas.text("ATRWEvalScript-main/annotations/gt_test_plain.json", json.dumps(entries))


def _wildlife(canvas: _Canvas, train: int, test: int, options: ReaderOptions) -> None:
    """The table names images of a member set that is not read, too; test images are queries and gallery."""
    columns = ("identity", "path", "date", "orientation", "species", "split", "dataset", "cluster_id")
    lines = [columns]
    (name,) = options.members
    for number, camera, shot in _shots(1, train + test):
        split, path = "train" if number <= train else "test", f"images/{name}/{number:03d}/{camera}_{shot}.jpg"
        canvas.draw(path, number, camera, shot)
        for part in ("train",) if split == "train" else ("query", "gallery"):
            canvas.expect(path, number, camera, part)
        day = f"2019-07-0{camera}"
        lines.append((f"{name}_t{number:03d}", path, day, "left", "sea turtle", split, name, ""))
    lines.append(("Other_7", "images/Other/1.jpg", "", "", "cow", "train", "Other", ""))
    canvas.text("metadata.csv", "".join(",".join(line) + "\n" for line in lines))


def _folder(canvas: _Canvas, train: int, _: int, __: ReaderOptions) -> None:
    """Images of any name and kind at any depth, links in circles, and files that are no images."""
    places = {1: "north gate", 2: "süd/día 1", 3: "west"}
    numbers = {1: 1, 2: 2, 3: 3}  # "north gate", "süd", "west", in sorted order
    suffixes = (".jpg", ".PNG", ".jpeg", ".bmp", ".WebP", ".tif")
    for position, (who, camera, shot) in enumerate(_shots(1, train)):
        path = f"{places[camera]}/{who * 37 % 101} ({shot}){suffixes[position % len(suffixes)]}"
        canvas.draw(path, who, camera, shot)
        canvas.expect(path, None, numbers[camera], "train")
    for path in ("west/Thumbs.db", "west/desktop.ini", ".DS_Store", "west/._1.jpg", ".cache/1.jpg"):
        canvas.text(path)
    canvas.text("west/notes.txt")
    (canvas.folder / "west" / "again").symlink_to("..", target_is_directory=True)


def _csv(canvas: _Canvas, train: int, test: int, options: ReaderOptions) -> None:
    """Names for identities and cameras, junk and distractors, quotes, a column too many, and what Excel adds."""
    columns = ("camid", "path", "split", "pid", "remark")
    lines: list[tuple[str, ...]] = [columns]
    cameras = {1: "front", 2: "gate, back", 3: "yard"}

    def add(path: str, pid: str, camera: int, split: str, *, drawn_as: int, shot: int, number: int | None) -> None:
        canvas.draw(path, drawn_as, camera, shot)
        lines.append((cameras[camera], path, split, pid, 'a "remark"'))
        if number is not None:
            canvas.expect(path, number, camera, split)

    # In sorted order: t01, t02, ..., u01, u02, ...
    for who, camera, shot in _shots(1, train):
        path = f"training, all/{who}-{camera}-{shot}.jpg"
        add(path, f"t{who:02d}", camera, "train", drawn_as=who, shot=shot, number=who)
    for who, camera, shot in _shots(1, test):
        split, number = _test_split(camera, shot), train + who
        add(f"test/{who}-{camera}-{shot}.jpg", f"u{who:02d}", camera, split, drawn_as=number, shot=shot, number=number)
    add("test/nobody.jpg", "0", 1, "gallery", drawn_as=8_000, shot=0, number=0)
    add("test/half a person.jpg", "-1", 1, "gallery", drawn_as=9_000, shot=0, number=None)
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(lines)
    canvas.text(options.table, text.getvalue(), encoding="utf-8-sig")


_Write = Callable[[_Canvas, int, int, ReaderOptions], None]

# name -> how to write it, where below the folder of raw data, what to read it with
REPLICAS: dict[str, tuple[_Write, str, ReaderOptions]] = {
    "market1501": (_market1501, "market1501/Market-1501-v15.09.15", ReaderOptions()),
    "dukemtmc": (_dukemtmc, "dukemtmcreid/DukeMTMC-reID", ReaderOptions()),
    "msmt17": (_msmt17("train", "test"), "msmt17/MSMT17_V1", ReaderOptions()),
    "msmt17_v2": (_msmt17("mask_train_v2", "mask_test_v2"), "msmt17/MSMT17_V2", ReaderOptions()),
    "personx": (_personx, "personx/PersonX", ReaderOptions()),
    "veri": (_veri, "veri/VeRi", ReaderOptions()),
    "vehicleid": (_vehicleid, "vehicleid/VehicleID", ReaderOptions()),
    "vehiclex": (_vehiclex, "vehiclex/VehicleX", ReaderOptions()),
    "randperson": (_randperson, "randperson/randperson_subset", ReaderOptions()),
    "clonedperson": (_clonedperson, "clonedperson/ClonedPerson", ReaderOptions()),
    "atrw": (_atrw, "atrw/ATRW", ReaderOptions()),
    "wildlife": (_wildlife, "wildlife/WildlifeReID-10k", ReaderOptions(members=("Turtles",), camera_column="date")),
    "folder": (_folder, "{own}", ReaderOptions(camera="^[^/]+")),
    "csv": (_csv, "{own}", ReaderOptions()),
}
