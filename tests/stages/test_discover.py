"""Individuals in a folder of crops, by a network that is there."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from pipeline.browse.actions import Actions
from pipeline.browse.opening import opened_discovery
from pipeline.browse.session import Session
from pipeline.common.files import read_json, write_json
from pipeline.model import build
from pipeline.model.saved import save_model
from tests.inference.conftest import network_of, settings_of
from tests.stages.conftest import Project, people  # noqa: F401 - fixture

MODEL = "data/model/model.safetensors"
COLOURS = ("red", "green", "blue", "cyan", "magenta")


@pytest.fixture
def project(new_project: Callable[[], Any]) -> Project:
    """A network of random weights, which tells colours apart, and eight crops of each of five colours."""
    project: Project = new_project()
    settings = settings_of()
    (project.folder / MODEL).parent.mkdir(parents=True)
    save_model(project.folder / MODEL, network_of(settings), network_of(settings), settings=settings)
    for colour in COLOURS:
        draw(project.folder / "crops", colour)
    return project


def draw(folder: Path, colour: str, numbers: range = range(8)) -> None:
    """Crops that are wider than high."""
    for number in numbers:
        path = folder / f"cam{number % 2}/{colour}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (48, 32), colour)
        image.paste("white", (4 * number, 0, 4 * number + 4, 6))
        image.save(path)


def clusters(project: Project) -> "pd.Series[int]":
    return pd.read_csv(project.folder / "reports/discover/clusters.csv").set_index("path")["cluster"]


def run(project: Project, *words: str) -> str:
    return project.here("discover", "crops", "--k1", "7", "--k2", "2", *words)


def test_discover_finds_individuals_that_keep_their_numbers(project: Project) -> None:
    told = run(project, "--camera", "(cam.)/")
    assert re.search(r"40 images: 5 individuals, and 0 images in no cluster \(eps 0\.\d+, k1 7\)", told), told
    assert "written to reports/discover: clusters.csv, suggestion.csv, suggestion.png, individuals/ (5 contact" in told
    first = clusters(project)
    colour = first.index.str.extract(r"/(\w+)-")[0].to_numpy()
    assert first.groupby(colour).nunique().eq(1).all() and first.nunique() == 5
    sheets = project.folder / "reports/discover/individuals"
    assert sorted(path.name for path in sheets.iterdir()) == [f"individual-{n:04}.png" for n in range(5)]
    assert "nothing has changed" in run(project)
    draw(project.folder / "crops", "yellow")
    draw(project.folder / "crops", "red", range(8, 12))
    told = run(project)
    assert "new: individual 5 (8 images)" in told
    now = clusters(project)
    kept = now[first.index] == first
    assert kept.mean() > 0.8 and (now[first.index][~kept] == -1).all()  # what is in doubt now is in no cluster
    shutil.rmtree(project.folder / "crops/cam1")
    assert "individual 5: 4 images fewer" in run(project)


def test_discover_keeps_corrections_and_the_page_opens_what_it_found(project: Project) -> None:
    """What is decided on the page of a discovery, the next one keeps, whatever the network says."""
    run(project)
    folder = project.folder
    found, images = opened_discovery(
        folder / "reports/discover", last=folder / MODEL, downloads=folder, cache=folder / ".scratch/search"
    )
    page = Session(found, Actions(images / "corrections.csv", folder / "lock"))
    seen = page.overview(sort="number")
    assert seen["title"] == "crops" and seen["following"] == "stages.discover" and seen["total"] == 5
    page.merge([0, 1])
    crop = seen["clusters"][2]["images"][0]
    page.mark_outliers(2, [crop["row"]])
    assert Image.open(io.BytesIO(page.thumbnail(crop["row"]))).size == (128, 85)
    told = run(project)
    assert "kept of corrections.csv: 1 images joined, 0 pairs apart, 1 images in no cluster" in told
    assert "not being images" not in told
    now = clusters(project)
    links = pd.read_csv(project.folder / "crops/corrections.csv")
    (merge,) = links[links["kind"] == "must_link"].to_dict("records")
    assert now[merge["path_a"]] == now[merge["path_b"]] >= 0
    assert now[crop["path"]] == -1 and (now == 2).sum() == 7
    with (images / "corrections.csv").open("a") as file:
        file.write(f"cannot_link,{merge['path_a']},{merge['path_b']},\n")
    assert "1 cannot-links are between images that must-links" in project.refused("discover", "crops", "--k1", "7")
    assert (project.folder / "reports/discover/contradictions.csv").is_file()
    (images / "corrections.csv").unlink()
    draw(images, "yellow")
    assert "holds other images than reports/discover knows: run" in project.refused("browse", "reports/discover")
    assert "origin.json is missing: name a folder that" in project.refused("browse", "crops")
    origin = folder / "reports/discover/origin.json"
    kept = read_json(origin)
    write_json(origin, {**kept, "digest": "0" * 64})
    assert "was made with another network than data/model" in project.refused("browse", "reports/discover")
    write_json(origin, {**kept, "colour": "red"})
    assert "origin.json is damaged" in project.refused("browse", "reports/discover")


def test_discover_of_few_individuals_warns(project: Project) -> None:
    for colour in COLOURS[2:]:
        for path in (project.folder / "crops").rglob(f"{colour}-*"):
            path.unlink()
    told = run(project)
    assert "16 images: 2 individuals" in told and "warning: one individual has 50% of the images" in told


def test_discover_by_a_backbone_with_a_file_of_weights(project: Project) -> None:
    import torch

    torch.save(build("resnet10_w32").state_dict(), project.folder / "weights.pth")
    words = ("--backbone", "resnet10_w32", "--pretrained", "weights.pth", "--size", "32", "32", "--eps", "0.5")
    told = run(project, *words, "--output", "found", "--min-samples", "2")
    assert "(eps 0.5, k1 7)" in told and (project.folder / "found/clusters.csv").is_file()
    assert "40 images" in run(project, "--backbone", "resnet10_w32", "--pretrained", "none", "--size", "32", "16")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backbone", "resnet18", "--model", "m.safetensors"), "--model and --backbone each name a network"),
        (("--eps", "1"), "--eps must be above 0 and below 1, got 1.0"),
        (("--k1", "0"), "--k1 must be at least 1, got 0"),
        (("--neighbours", "no"), "--neighbours must be exact or approximate, got 'no'"),
        (("--output", "crops/found"), "--output crops/found lies in crops and would be found next time"),
        (("--output", "data/model"), "data/model belongs to the results of the stages"),
        (("--camera", "(x)/"), "--camera ('(x)/') finds no camera in 40 of 40 paths"),
        (("--backbone", "resnet19"), "backbone must be one of"),
        (("--backbone", "resnet10_w32"), "nobody published ImageNet weights of resnet10_w32"),
        (("--backbone", "resnet10_w32", "--pretrained", "none", "--size", "0", "8"), "--size must be a height and a"),
        (("--backbone", "resnet10_w32", "--size", "64", "4097"), "--size must be a height and a width from 8 to 4096"),
        (
            ("--backbone", "resnet18", "--role", "teacher"),
            "--role says which network of a trained model, and --backbone",
        ),
        (("--pretrained", "none"), "--pretrained and --size say more about --backbone: name one"),
        (("--size", "64", "32"), "--pretrained and --size say more about --backbone: name one"),
    ],
)
def test_discover_refuses_in_one_line(project: Project, words: tuple[str, ...], message: str) -> None:
    assert message in project.refused("discover", "crops", *words)


def test_discover_of_hardly_any_image_is_one_line(project: Project) -> None:
    few = project.folder / "few"
    few.mkdir()
    for number in range(2):
        Image.new("RGB", (8, 8)).save(few / f"{number}.png")
    assert "few holds 2 images: there is nothing to cluster below three" in project.refused("discover", "few")
