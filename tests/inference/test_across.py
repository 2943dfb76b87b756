"""Models on several data sets: how they are told apart."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.inference import across
from pipeline.inference.across import labels_of, score_across
from pipeline.model.saved import DATA_NAME


def model(dataset: str, file: str, role: str = "student") -> Any:
    return SimpleNamespace(settings={"dataset": dataset}, path=Path(file), role=role)


def test_labels_are_all_different_and_as_short_as_they_can_be() -> None:
    models = [
        model("msmt17", "a.onnx"),
        model("veri", "a.onnx"),
        model("veri", "b.pt", "teacher"),
        model("veri", "b.pt"),
    ]
    expected = ["msmt17", "veri a student", "veri b teacher", "veri b student"]
    assert labels_of(models) == expected
    assert labels_of([*models, model("veri", "other/a.onnx")]) == [*expected, "veri a student 2"]


def test_model_of_own_images_is_called_by_their_folder_and_one_that_records_none_too() -> None:
    own, none = model("folder", "a.onnx"), model("folder", "b.onnx")
    own.settings[DATA_NAME] = "mine"
    none.settings = {}
    assert labels_of([own, none]) == ["mine", "unknown images"]


def test_model_is_scored_on_images_of_its_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packed images stand for themselves here: what is scored is (model, folder)."""
    scored: list[tuple[str, str]] = []

    def compare(test: str, embed: dict[str, Any]) -> Any:
        (network,) = embed.values()
        scored.append((network, test))
        return SimpleNamespace(metrics={"queries": {"all": 1, "valid": 1}, "student": {}})

    monkeypatch.setattr(across, "PackedImages", lambda folder: folder.name)
    monkeypatch.setattr(across, "TestSet", lambda packed: packed)
    monkeypatch.setattr(across, "why_not_scored", lambda packed: None)
    monkeypatch.setattr(across, "compare", compare)
    models = [model("veri", "a.onnx"), model("msmt17", "b.onnx")]
    for each, size in zip(models, ((256, 256), (256, 128)), strict=True):
        each.size, each.embed = size, each.path.stem
        each.settings["backbone"] = "resnet50"
    table = score_across(models, {("veri", (256, 256)): Path("square"), ("veri", (256, 128)): Path("high")})
    assert sorted(scored) == [("a", "square"), ("b", "high")]
    assert table["model"].tolist() == ["veri", "msmt17"]
