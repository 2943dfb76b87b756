"""What a search says of its model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.search.origin import origin, other_images


def embedder(dataset: str | None) -> Any:
    """Stands in for a model: the settings alone count."""
    settings = {"backbone": "resnet50"} if dataset is None else {"backbone": "resnet50", "dataset": dataset}
    return SimpleNamespace(path=Path("models/model.safetensors"), role="teacher", settings=settings)


@pytest.mark.parametrize(
    ("dataset", "images"), [("market1501", "market1501"), ("folder", "own images"), (None, "unknown images")]
)
def test_origin_names_file_network_and_data_set(dataset: str | None, images: str) -> None:
    assert origin(embedder(dataset)) == f"models/model.safetensors (teacher, resnet50, trained on {images})"


def test_gallery_elsewhere_is_other_images(tmp_path: Path) -> None:
    raw, crops, disk = tmp_path / "raw", tmp_path / "crops", tmp_path / "disk"
    for folder in (raw / "synthetic/query", raw / "market1501", crops, disk / "bounding_box_test"):
        folder.mkdir(parents=True)
    (raw / "market1501/Market-1501-v15.09.15").symlink_to(disk)

    def said(dataset: str | None, gallery: Path) -> str | None:
        return other_images(embedder(dataset), gallery, raw=raw)

    assert said("synthetic", raw / "synthetic/query") is None
    assert said("market1501", disk / "bounding_box_test") is None  # where the data set's link leads
    assert "trained on drawn people (dataset: synthetic), and " in (said("synthetic", crops) or "")
    assert "crops lies elsewhere: expect worse lists" in (said("market1501", crops) or "")
    assert "trained on msmt17, and " in (said("msmt17", crops) or "")  # a data set that is not on this machine
    assert said("folder", crops) is None and said(None, crops) is None
