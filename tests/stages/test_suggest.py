"""`python -m stages.suggest` through its command line."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.clustering import pseudo_labels
from pipeline.clustering.eps_choice import EPS
from pipeline.datasets.links import Links, read_links, write_links
from pipeline.datasets.packed_images import PackedImages
from pipeline.inference.embedder import Embedder
from tests.stages.conftest import Project


def test_suggest_shows_the_clusters_of_every_eps_and_writes_them(finished: Project, tmp_path: Any) -> None:
    told = finished.here("suggest", "--k1", "10", "--k1", "6", "--output", str(tmp_path / "out"))
    table = pd.read_csv(tmp_path / "out/suggestion.csv")
    assert len(table) == 2 * len(EPS) and list(table.columns[:5]) == ["k1", "eps", "clusters", "outliers", "largest"]
    assert (tmp_path / "out/suggestion.png").read_bytes().startswith(b"\x89PNG")
    assert "single-camera clusters" in told and ("begin with clustering.eps=" in told or "no eps finds" in told)


def test_suggest_takes_a_trained_network_and_the_settings_distance(copied: Any) -> None:
    copied.set(method="dccc_cam")
    told = copied.here("suggest", "--model", "data/model/model.safetensors")
    assert " k1 " not in told and "written to reports: suggestion.csv, suggestion.png" in told
    table = pd.read_csv(copied.folder / "reports/suggestion.csv")
    assert set(table["k1"]) == {0}
    # As in the first epoch, which has its own numbers of neighbours.
    copied.set(clustering__k2_first=1)
    copied.here("suggest", "--model", "data/model/model.safetensors", "--output", "other")
    assert not table.equals(pd.read_csv(copied.folder / "other/suggestion.csv"))


def test_suggestion_is_that_of_the_first_epochs_clusters(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The starting weights are those that the training starts from, random ones too."""
    first = pd.read_csv(copied.folder / "reports/training.csv").iloc[0]
    monkeypatch.setattr("pipeline.clustering.eps_choice.EPS", (first["eps"],))
    torch.manual_seed(999)  # of nothing that this command draws
    copied.here("suggest")
    (row,) = pd.read_csv(copied.folder / "reports/suggestion.csv").to_dict("records")
    assert row["clusters"] == first["num_clusters"]
    for signal in ("camera_entropy", "single_camera"):
        assert row[signal] == pytest.approx(first[signal], abs=1e-12)


def test_suggest_keeps_the_links_as_the_training_does(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all images of a person joined, and some out of every cluster, the clusters are those of pseudo_labels."""
    monkeypatch.setattr("pipeline.clustering.eps_choice.EPS", (0.5,))
    packed = PackedImages(copied.folder / "data/prepared").split("train")
    assert packed.pids is not None
    groups = packed.pids.copy()
    groups[5] = groups.max() + 1
    groups = pd.factorize(groups)[0].astype(np.int64)
    write_links(copied.folder / "data/prepared", packed.paths, Links(groups, np.array([[0, 1]]), np.array([5])))
    model = "data/model/model.safetensors"
    copied.here("suggest", "--model", model, "--k1", "6")
    (row,) = pd.read_csv(copied.folder / "reports/suggestion.csv").to_dict("records")
    embeddings = Embedder(copied.folder / model).embed(packed.images, "", shown=False)
    links = read_links(copied.folder / "data/prepared", packed.paths)
    how = {"eps": 0.5, "min_samples": 2, "k1": 6, "k2": 3, "neighbours": "exact"}
    labels = pseudo_labels(embeddings, **how, links=links).labels  # type: ignore[arg-type]
    assert row["clusters"] == labels.max() + 1 and row["outliers"] == pytest.approx((labels < 0).mean())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--k1", "0"), "--k1 must be at least 1, got 0"),
        (("--k1", "5000"), "k1 must be below the number of images"),
        (("--model", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--output", "params.yaml"), "--output params.yaml is a file, name a folder"),
        (("--output", "data/model"), "belongs to the results of the stages"),
    ],
)
def test_suggest_refuses_in_one_line(finished: Project, arguments: tuple[str, ...], words: str) -> None:
    assert words in finished.refused("suggest", *arguments)


def test_suggest_without_prepared_images_says_what_to_run(new_project: Any) -> None:
    assert "run the prepare stage first" in new_project().refused("suggest")


def test_suggest_is_a_command(finished: Project) -> None:
    done = finished.run("suggest", "--help")
    assert done.returncode == 0 and "--k1" in done.stdout
