"""Models on several data sets: how they are told apart."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.inference.across import labels_of


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
