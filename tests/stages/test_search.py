"""Searching a folder of crops, as a user does it: no camera, no labels, no prepared data."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.datasets.images import read_image
from pipeline.inference.embedder import Embedder
from pipeline.model import build
from pipeline.model.saved import save_model
from pipeline.model.thresholds import KEY, Thresholds

MODEL = "data/model/model.safetensors"
SETTINGS: dict[str, Any] = {
    "backbone": "resnet10_w32",
    "model": {"pooling": "avg", "features": 8, "bn_group": 2},
    "image": {"height": 32, "width": 16},
}


@pytest.fixture
def project(new_project: Callable[[], Any], people: Path) -> Any:
    """A folder with a model whose weights are random, `crops/` with 40 people, and `query.jpg`, a copy of one."""
    project = new_project()
    torch.manual_seed(1)
    networks = [build("resnet10_w32", **SETTINGS["model"]) for _ in range(2)]
    save_model(project.folder / MODEL, *networks, settings=SETTINGS)
    for number, image in enumerate(sorted((people / "bounding_box_test").glob("*.jpg"))[:40]):
        target = project.folder / f"crops/{['north', 'south'][number % 2]}/{number:02}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, target)
    shutil.copy(project.folder / "crops/south/07.jpg", project.folder / "query.jpg")
    return project


def table(project: Any, folder: str = "reports/search") -> pd.DataFrame:
    return pd.read_csv(project.folder / folder / "search.csv")


def naive(project: Any, query: Path, role: str) -> list[str]:
    """Paths from most to least similar."""
    crops = project.folder / "crops"
    names = sorted(path.relative_to(crops).as_posix() for path in crops.rglob("*.jpg"))
    images = [read_image(path, height=32, width=16) for path in (query, *(crops / name for name in names))]
    features = Embedder(project.folder / MODEL, role=role).embed(np.stack(images), "").astype(np.float64)
    similarity = (features[1:] @ features[0]).astype(np.float32)
    return [names[index] for index in np.argsort(-similarity, kind="stable")]


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_search_ranks_the_crops_and_shows_them(project: Any, role: str) -> None:
    told = project.here("search", "query.jpg", "--gallery", "crops", "--top", "5", "--role", role)
    assert "crops: 40 images, 40 of them embedded now" in told
    assert "     1      1.0000  south/07.jpg" in told
    assert "written to reports/search: search.csv, search.png" in told
    found = table(project)
    assert found["query"].unique().tolist() == ["query.jpg"] and found["rank"].tolist() == [1, 2, 3, 4, 5]
    assert found["path"].tolist() == naive(project, project.folder / "query.jpg", role)[:5]
    assert found["similarity"].is_monotonic_decreasing
    with Image.open(project.folder / "reports/search/search.png") as sheet:
        assert sheet.width > 300
    assert not list((project.folder / "crops").rglob(".*"))  # nothing is written into the gallery


def test_second_search_embeds_only_what_is_new(project: Any) -> None:
    project.here("search", "query.jpg", "--gallery", "crops")
    first = table(project)
    assert "40 images, 0 of them embedded now" in project.here("search", "query.jpg", "--gallery", "crops")
    pd.testing.assert_frame_equal(table(project), first)
    shutil.copy(project.folder / "crops/south/07.jpg", project.folder / "crops/another.jpg")
    assert "41 images, 1 of them embedded now" in project.here("search", "query.jpg", "--gallery", "crops")
    assert table(project)["path"].tolist()[:2] == ["another.jpg", "south/07.jpg"]
    assert [path.name for path in (project.folder / ".scratch").iterdir()] == ["search"]


def test_search_says_what_is_the_same_and_what_is_not_there(project: Any) -> None:
    thresholds = Thresholds(same=0.99999, unsure=0.9999, same_rate=1e-3, unsure_rate=1e-2, same_recall=0.5)
    settings = SETTINGS | {KEY: {"student": thresholds.as_settings()}}
    torch.manual_seed(1)
    save_model(project.folder / MODEL, build("resnet10_w32", **SETTINGS["model"]), None, settings=settings)
    told = project.here("search", "query.jpg", "crops/north/00.jpg", "--gallery", "crops", "--top", "2")
    assert "     1      1.0000  same       south/07.jpg" in told
    verdicts = table(project).set_index("rank")["verdict"]
    assert verdicts[1].iloc[0] == "same"
    expected = [thresholds.verdict(each) for each in table(project)["similarity"]]
    assert sum(a == b for a, b in zip(expected, table(project)["verdict"], strict=True)) >= 3  # six decimals are kept
    assert ("not in the gallery" in told) == (verdicts[1].iloc[1] == "different")


def test_search_leaves_the_query_itself_out(project: Any) -> None:
    told = project.here("search", "crops/north", "crops/south/07.jpg", "--gallery", "crops", "--top", "50")
    assert "crops/south/07.jpg (left out of its own list: south/07.jpg)" in told
    assert "the gallery has fewer images than --top 50" in told
    assert "the contact sheets show the first 20 places of a list" in told
    found = table(project)
    assert found["query"].nunique() == 21 and (found.groupby("query").size() == 39).all()
    assert not (found["query"] == "crops/" + found["path"]).any()
    assert (project.folder / "reports/search/search-2.png").is_file()


def test_search_writes_where_it_is_told(project: Any) -> None:
    shutil.move(project.folder / MODEL, project.folder / "mine.safetensors")
    project.here("search", "query.jpg", "--gallery", "crops", "--model", "mine.safetensors", "--output", "found/here")
    assert len(table(project, "found/here")) == 10
    assert not (project.folder / "reports").exists()


def test_search_skips_unreadable_images_when_told(project: Any) -> None:
    (project.folder / "crops/bad.jpg").write_bytes(b"")
    line = project.refused("search", "query.jpg", "--gallery", "crops")
    assert "1 of 41 images of crops cannot be read: bad.jpg (an empty file) (--skip-bad leaves them out)" in line
    told = project.here("search", "query.jpg", "--gallery", "crops", "--skip-bad")
    assert "warning: left out: 1 of 41 images of crops cannot be read: bad.jpg (an empty file)" in told
    assert "40 images, 0 of them embedded now" in told
    listed = (project.folder / "reports/search/bad_images.csv").read_text()
    assert listed == "path,reason\ncrops/bad.jpg,an empty file\n"


def test_model_that_is_replaced_under_its_name_embeds_again(project: Any) -> None:
    project.here("search", "query.jpg", "--gallery", "crops")
    torch.manual_seed(2)
    save_model(project.folder / MODEL, build("resnet10_w32", **SETTINGS["model"]), None, settings=SETTINGS)
    assert "40 images, 40 of them embedded now" in project.here("search", "query.jpg", "--gallery", "crops")
    first = table(project)["path"]
    assert list(first) == naive(project, project.folder / "query.jpg", "student")[:10]


def test_model_that_may_not_be_read_is_one_line_with_its_place(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    readable = Path.open

    def refused(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "model.safetensors":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return readable(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    line = project.refused("search", "query.jpg", "--gallery", "crops")
    assert "data/model/model.safetensors: Permission denied" in line


def test_damaged_index_is_told(project: Any) -> None:
    project.here("search", "query.jpg", "--gallery", "crops")
    (file,) = (project.folder / ".scratch/search").rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    told = project.here("search", "query.jpg", "--gallery", "crops")
    assert "warning: the index was damaged" in told and "40 of them embedded now" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody.jpg", "--gallery", "crops"], "there is no such query: nobody.jpg"),
        (["params.yaml", "--gallery", "crops"], "params.yaml (not an image (JPEG, PNG"),
        (["query.jpg", "--gallery", "nowhere"], "the gallery nowhere is missing: name a folder"),
        (["query.jpg", "--gallery", "query.jpg"], "the gallery query.jpg is a file: name a folder"),
        (["query.jpg", "--gallery", "data/model"], "data/model holds no images: files that end in .bmp"),
        (["query.jpg", "--gallery", "crops", "--top", "0"], "--top must be at least 1, got 0"),
        (["query.jpg", "--gallery", "crops", "--model", "no.safetensors"], "no.safetensors is missing"),
        (["query.jpg", "--gallery", "crops", "--model", "a\x9b\u202eb.pt"], "a\\x9b\\u202eb.pt is missing"),
        (["query.jpg", "--gallery", "crops", "--role", "best"], "must be one of student, teacher, got 'best'"),
        (["query.jpg", "--gallery", "crops", "--output", "query.jpg"], "query.jpg is a file, name a folder"),
        (["query.jpg", "--gallery", "crops", "--output", "query.jpg/x"], "query.jpg is a file, name a folder"),
        (["query.jpg", "--gallery", "."], "--output reports/search lies in the gallery"),
    ],
)
def test_search_that_cannot_be_is_refused_in_one_line(project: Any, arguments: list[str], words: str) -> None:
    assert words in project.refused("search", *arguments)
    assert not (project.folder / "reports").exists()


def test_search_is_a_command(project: Any) -> None:
    told = project.done("search", "query.jpg", "--gallery", "crops", "--top", "3")
    assert told.count(".jpg") == 4 and "embedded now" in told
