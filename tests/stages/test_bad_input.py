"""A person's mistakes: one line that says what and where, exit code 1, and nothing lost or half written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.datasets.catalogue import read_catalogue, write_catalogue


def unlinked(project: Any, people: Path) -> Path:
    """Gives the project a data set of its own, to be spoilt."""
    place = project.folder / "data/raw/market1501/Market-1501-v15.09.15"
    place.unlink()
    shutil.copytree(people, place)
    return place


def test_missing_data_folder_says_where_to_put_what(new_project: Callable[[], Any]) -> None:
    project = new_project()
    shutil.rmtree(project.folder / "data/raw")
    line = project.refused("prepare")
    assert "Market-1501-v15.09.15" in line and "bounding_box_train" in line
    assert not (project.folder / "data/prepared").exists()


def test_folder_without_images(new_project: Callable[[], Any], people: Path) -> None:
    project = new_project()
    place = unlinked(project, people)
    for image in (place / "bounding_box_train").iterdir():
        image.unlink()
    assert "bounding_box_train" in project.refused("prepare")


def test_unreadable_images_are_all_listed(new_project: Callable[[], Any], people: Path) -> None:
    project = new_project()
    train = sorted((unlinked(project, people) / "bounding_box_train").iterdir())
    train[0].write_bytes(b"")
    train[5].write_bytes(train[5].read_bytes()[:100])
    line = project.refused("prepare")
    assert train[0].name in line and train[5].name in line and "2 of " in line
    assert not (project.folder / "data/prepared").exists()


def test_links_that_lead_out_are_read_when_the_user_says_so(
    new_project: Callable[[], Any], people: Path, tmp_path: Path
) -> None:
    project = new_project()
    image, *_ = sorted((unlinked(project, people) / "bounding_box_train").iterdir())
    image.rename(tmp_path / "annexed.jpg")
    image.symlink_to(tmp_path / "annexed.jpg")
    line = project.refused("prepare")
    assert image.name in line and "prepare.follow_links: true reads the links" in line
    project.set(prepare__follow_links=True)
    assert "warning" not in project.here("prepare").replace("warning: market1501 holds", "")
    assert f"bounding_box_train/{image.name}" in set(
        read_catalogue(project.folder / "data/prepared/catalogue.csv")["path"]
    )


def test_prepare_that_fails_keeps_what_was_there(copied: Any, people: Path) -> None:
    before = (copied.folder / "data/prepared/images.npy").read_bytes()
    train = sorted((unlinked(copied, people) / "bounding_box_train").iterdir())
    train[0].write_bytes(b"no image")
    copied.refused("prepare")
    assert (copied.folder / "data/prepared/images.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("prepare", {"dataset": "market"}, ["dataset must be one of", "market1501", "got 'market'"]),
        ("prepare", {"image__heigth": 32}, ["unknown key image.heigth", "known are height, width"]),
        ("pretrained", {"backbone": "resnet20"}, ["backbone must be one of", "resnet_ibn50a", "got 'resnet20'"]),
        ("pretrained", {"pretrained": "imagenet"}, ["nobody published ImageNet weights of resnet10_w32"]),
        (
            "pretrained",
            {"pretrained": "no/such.pth"},
            ["pretrained must be imagenet, imagenet_v2, synthetic, none or a file", "such.pth"],
        ),
        ("train", {"clustering__eps": 1.5}, ["params.yaml", "clustering.eps must be less than 1, got 1.5"]),
        ("train", {"sampler__batch": 640}, ["cluster", "sampler.batch"]),
        ("train", {"clustering__eps": 0.001, "clustering__min_samples": 50}, ["no cluster"]),
        ("train", {"loss__temperature": 1e-40}, ["the loss is not finite in epoch 1, step"]),
        ("train", {"train__processes": 3}, ["train.processes must divide"]),
        (
            "train",
            {"model__freeze": ["layer9"]},
            ["model.freeze: resnet10_w32 has no part 'layer9'; its parts are conv1"],
        ),
        (
            "train",
            {"backbone": "timm/vit_small_patch14_dinov2"},
            [
                "images of 32 x 16 pixels are no whole number",
                "which are 14 x 14: set image.height=28 and image.width=14",
            ],
        ),
    ],
)
def test_impossible_setting_is_named(copied: Any, stage: str, change: dict[str, Any], words: list[str]) -> None:
    copied.set(**change)
    line = copied.refused(stage)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("stage", "missing", "words"),
    [
        ("train", "data/prepared", "data/prepared"),
        ("train", "data/pretrained", "data/pretrained/weights.json is missing: run `dvc repro pretrained` first"),
        ("evaluate", "data/model", "data/model/model.safetensors is missing: run `dvc repro train` first"),
        ("report", "reports/metrics.json", "metrics.json is missing: run `dvc repro` first"),
    ],
)
def test_missing_result_of_an_earlier_stage_is_named(copied: Any, stage: str, missing: str, words: str) -> None:
    path = copied.folder / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert words in copied.refused(stage)


def test_foreign_and_truncated_models_are_refused(copied: Any) -> None:
    path = copied.folder / "data/model/model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:1000])
    assert "model.safetensors is damaged" in copied.refused("evaluate")


def test_data_set_without_queries_is_clustered_and_named(copied: Any) -> None:
    place = copied.folder / "data/prepared/catalogue.csv"
    catalogue = read_catalogue(place)
    catalogue.loc[catalogue["split"] == "query", "split"] = "gallery"
    write_catalogue(catalogue.sort_values(["split", "path"], key=_in_order), place)
    assert "no evaluation: the data set has no query images" in copied.here("evaluate")


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        (
            "train",
            {"method": "dccc_cam"},
            "clustering.distance is camera_jaccard, but the cameras of the training images",
        ),
        (
            "evaluate",
            {"evaluate__rerank": "camera_jaccard"},
            "evaluate.rerank is camera_jaccard, but the cameras of query",
        ),
    ],
)
def test_cameras_that_are_asked_for_and_not_known(copied: Any, stage: str, change: dict[str, Any], words: str) -> None:
    place = copied.folder / "data/prepared/catalogue.csv"
    catalogue = read_catalogue(place)
    catalogue.loc[:, "camid"] = pd.NA
    write_catalogue(catalogue, place)
    copied.set(**change)
    line = copied.refused(stage)
    assert words in line and "set it to jaccard" in line


def test_weights_by_cameras_that_are_not_known_are_said_to_have_no_effect(copied: Any) -> None:
    place = copied.folder / "data/prepared/catalogue.csv"
    catalogue = read_catalogue(place)
    catalogue.loc[:, "camid"] = pd.NA
    write_catalogue(catalogue, place)
    copied.set(loss__camera_weight="batch")
    said = copied.here("train")
    assert said.count("the cameras of the training images are not known: loss.camera_weight has no effect") == 1
    assert not {"camera_entropy", "single_camera"} & set(pd.read_csv(copied.folder / "reports/training.csv"))


def _in_order(column: "pd.Series[str]") -> "pd.Series[str]":
    return column.map({"train": "0", "query": "1", "gallery": "2"}) if column.name == "split" else column


def test_mlflow_that_does_not_answer_is_named(copied: Any) -> None:
    environment = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    assert "MLflow at http://127.0.0.1:9 does not answer" in copied.refused("train", **environment)
