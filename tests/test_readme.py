"""The commands of docs/data.md's section "Your own images", run to the letter in a clone of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.common.files import read_json
from pipeline.preparation.synthetic import write_synthetic
from tests.test_docs import commands

ROOT = Path(__file__).parents[1]


def own_images() -> str:
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    return text.split("## Your own images\n")[1].split("\n## ")[0]


class Clone:
    def __init__(self, folder: Path, database: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if not name.startswith("tests/") and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        shutil.copy(database, folder / "mlflow.db")
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "the project"]):
            self.run(["git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", *words])

    def run(self, words: list[str]) -> str:
        """Runs a command of the README; `uv run` stands for this environment."""
        if words[:2] == ["uv", "run"]:
            words = [str(Path(sys.executable).parent / words[2]), *words[3:]]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_TRACKING", "TORCHELASTIC", "GIT_"))}
        env = {**clean, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": ""}
        env["REID_WEIGHTS_MIRROR"] = "http://127.0.0.1:9"  # nothing is fetched, wherever the tests run
        done = subprocess.run(words, cwd=self.folder, env=env, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Clone:
    """A clone whose data/raw/mine holds crops of 38 drawn people, seen from north and south, and a table of them."""
    clone = Clone(tmp_path_factory.mktemp("clone"), mlflow_database)
    drawn = tmp_path_factory.mktemp("drawn") / "people"
    write_synthetic(
        drawn,
        seed=5,
        train_identities=30,
        test_identities=8,
        cameras=2,
        images_per_camera=4,
        distractors=3,
        junk=0,
        height=64,
        width=32,
        workers=1,
    )
    rows = []
    for part, split in (("bounding_box_train", "train"), ("query", "query"), ("bounding_box_test", "gallery")):
        for number, image in enumerate(sorted((drawn / part).glob("*.jpg"))):
            pid, camera = re.fullmatch(r"(\d+)_c(\d).*", image.name).groups()
            name = f"{['north', 'south'][int(camera) - 1]}/{split}{number:04d}.jpg"
            target = clone.folder / "data/raw/mine" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, target)
            rows.append((name, split, "" if split == "train" else "0" if pid == "0000" else f"person {pid}", camera))
    table = pd.DataFrame(rows, columns=["path", "split", "pid", "camid"])
    table.to_csv(clone.folder / "data/raw/mine/images.csv", index=False)
    return clone


def test_readme_example_table_is_one_that_is_read(tmp_path: Path) -> None:
    from pipeline.preparation.links import correction_rows
    from pipeline.preparation.readers import ReaderOptions, open_dataset

    text, corrections = re.findall(r"```csv\n(.*?)```", own_images(), re.DOTALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "corrections.csv").write_text(corrections, encoding="utf-8")
    assert [link.kind for link, _ in correction_rows(tmp_path / "corrections.csv")] == [
        "must_link",
        "cannot_link",
        "outlier",
    ]
    (tmp_path / "mine" / "images.csv").write_text(text, encoding="utf-8")
    found = open_dataset("csv", tmp_path, options=ReaderOptions(folder="mine", table="images.csv"))
    assert found.catalogue["split"].tolist() == ["train", "train", "query", "gallery"]
    assert found.catalogue["pid"].isna().tolist() == [True, True, False, False]


def test_readme_own_images_without_labels_then_with_cameras_then_with_a_table(clone: Clone) -> None:
    fit, run, suggest, _spaces, _umlaut, cameras, _, table, _ = commands(own_images())
    num_images = len(list((clone.folder / "data/raw/mine").rglob("*.jpg")))
    written = clone.folder / "data/raw/mine/images.csv"
    content = written.read_text(encoding="utf-8")
    written.unlink()
    params = (clone.folder / "params.yaml").read_text(encoding="utf-8")

    told = clone.run([*fit, "--dry-run"])
    assert "image.height 64, image.width 32: the crops are higher than wide" in told and "training will take" in told
    assert (clone.folder / "params.yaml").read_text(encoding="utf-8") == params
    assert "clustering.eps" in clone.run(fit)
    assert run == ["uv", "run", "dvc", "exp", "run"]
    # Few short epochs from here on, to save time; settings stay in params.yaml.
    told = clone.run([*run, "-S", "epochs=2", "-S", "train.iters=4"])
    assert "no evaluation: the data set has no query images" in told and f"mine: {num_images} images" in told
    clusters = pd.read_csv(clone.folder / "reports/clusters.csv")
    assert list(clusters.columns) == ["path", "cluster"] and len(clusters) == num_images
    assert clusters["cluster"].max() >= 10
    page = (clone.folder / "reports/report.html").read_text(encoding="utf-8")
    assert "Not evaluated: the data set has no query images" in page and 'id="clusters"' in page
    assert "of the data set mine," in page
    with Image.open(clone.folder / "reports/figures/cluster_sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 20
    assert not pd.read_csv(clone.folder / "data/prepared/catalogue.csv")["camid"].notna().any()

    assert "<- suggested" in clone.run(suggest)
    assert (clone.folder / "reports/suggestion.png").is_file()

    clone.run(cameras)
    clone.run([*run, "-S", "epochs=1", "-S", "train.iters=2", "prepare"])
    catalogue = pd.read_csv(clone.folder / "data/prepared/catalogue.csv")
    assert catalogue.groupby(catalogue["path"].str.split("/").str[0])["camid"].unique().map(list).to_dict() == {
        "north": [1],
        "south": [2],
    }

    written.write_text(content, encoding="utf-8")
    clone.run(table)
    clone.run([*run, "-S", "epochs=1", "-S", "train.iters=2"])
    metrics = read_json(clone.folder / "reports/metrics.json")
    assert 0 < metrics["student"]["mAP"] <= 1
    assert metrics["queries"]["all"] == metrics["queries"]["valid"] == 16
    page = (clone.folder / "reports/report.html").read_text(encoding="utf-8")
    assert "own camera are removed before ranking" in page
    clone.run(["uv", "run", "dvc", "plots", "show"])
    assert "untrained_mAP" in clone.run(["uv", "run", "dvc", "metrics", "show"])
