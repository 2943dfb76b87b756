"""`python -m stages.own` through its command line; the whole way to a training: tests/test_readme.py."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.model.network import build
from tests.stages.conftest import ROOT

NOWHERE = {"REID_WEIGHTS_MIRROR": "http://127.0.0.1:9"}


@pytest.fixture
def project(new_project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """With 24 wide crops in data/raw/mine, six of each of four colours; the starting weights are random."""
    made = new_project()
    rng, folder = np.random.default_rng(0), made.folder / "data/raw/mine/a"
    folder.mkdir(parents=True)
    for place in range(24):
        pixels = rng.integers(0, 60, (20, 40, 3)) + np.eye(4, 3, dtype=int)[place % 4] * 180
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{place:02}.png")
    weights = tmp_path / "weights.safetensors"

    def random_weights(backbone: str, _: Path, *, size: tuple[int, int]) -> Path:
        from safetensors.torch import save_file

        save_file(dict(build(backbone, image_size=size).backbone.state_dict()), weights)
        return weights

    monkeypatch.setattr("pipeline.model.placing_weights.drawn_weights", random_weights)
    return made


def test_own_fits_params_and_leaves_every_comment(project: Any) -> None:
    file = project.folder / "params.yaml"
    before = file.read_text(encoding="utf-8")
    told = project.here("own", "mine", "--dry-run", **NOWHERE)
    assert "24 training images of about 20 x 40 pixels" in told and "nothing is written" in told
    assert file.read_text(encoding="utf-8") == before
    told = project.here("own", "data/raw/mine", **NOWHERE)
    assert "the training will take about" in told and "written to params.yaml" in told
    after = file.read_text(encoding="utf-8")
    comments = [[line.partition("#")[2] for line in text.splitlines()] for text in (before, after)]
    assert comments[0] == comments[1]
    values = YAML(typ="safe").load(after)
    assert (values["dataset"], values["own"]["folder"]) == ("folder", "mine")
    assert (values["backbone"], values["pretrained"]) == ("resnet10_w32", "synthetic")
    assert values["image"] == {"height": 32, "width": 64}
    assert values["recipes"] == YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["recipes"]
    project.here("own", "mine", **NOWHERE)
    assert file.read_text(encoding="utf-8") == after, "the same images, the same settings"


def test_own_takes_a_table_and_forgets_the_last_folders_cameras(project: Any) -> None:
    project.set(own__folder="other", own__camera="^(x)", dataset="folder")
    project.here("own", "mine", "--dry-run", **NOWHERE)
    rows = [(f"a/{place:02}.png", "train", "", place % 2 + 1) for place in range(24)]
    table = pd.DataFrame(rows, columns=["path", "split", "pid", "camid"])
    table.to_csv(project.folder / "data/raw/mine/images.csv", index=False)
    assert "; 2 cameras; " in project.here("own", "mine", "--dry-run", **NOWHERE)
    assert "leave out --camera" in project.refused("own", "mine", "--camera", "(a)", **NOWHERE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "data/raw/nowhere is missing: put your images there"),
        (("/usr",), "link it: ln -s /usr"),
        (("mine", "--camera", "("), "own.camera is not a regular expression"),
        (("mine", "--table", "none.csv"), "none.csv is missing"),
        (("mine", "--table", "a/b.csv"), "the name of a file in own.folder"),
        (("..",), "a folder below data/raw/, such as mine"),
    ],
)
def test_own_refuses_in_one_line(project: Any, arguments: tuple[str, ...], words: str) -> None:
    assert words in project.refused("own", *arguments, **NOWHERE)
