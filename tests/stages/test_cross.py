"""Models on several data sets, through the command line."""

from typing import Any

import pandas as pd
import pytest

from pipeline.common.files import read_json
from tests.mlflow_runs import runs_of
from tests.replicas import write_replica
from tests.stages.conftest import Project

MODEL = "data/model/model.safetensors"


def test_cross_scores_models_on_data_sets_and_packs_what_is_missing(copied: Any) -> None:
    raw = copied.folder / "data/raw"
    write_replica("personx", raw, test_identities=3, height=32, width=16)
    copied.here("export")
    models = (MODEL, "reports/model.onnx")
    runs = len(runs_of(copied.folder))
    refused = copied.refused("cross", *models, "--on", "market1501,personx")
    command = f"python -m stages.cross {MODEL} reports/model.onnx --on market1501,personx --prepare"
    assert f"personx is not prepared at 32 x 16 (height x width): run `{command}`" in refused
    assert len(runs_of(copied.folder)) == runs
    results = {path: path.read_bytes() for path in (copied.folder / "reports").glob("*.json")}
    told = copied.here("cross", *command.split()[3:])
    table = pd.read_csv(copied.folder / "reports/cross/cross.csv")
    labels = ["market1501 model student", "market1501 model student 2"]
    expected = [(label, name) for label in labels for name in ("market1501", "personx")]
    assert list(zip(table["model"], table["dataset"], strict=True)) == expected
    assert set(table["trained_on"]) == {"market1501"}
    student = read_json(copied.folder / "reports/metrics.json")["student"]
    here = table[table["dataset"] == "market1501"]
    assert here["mAP"].iloc[0] == pytest.approx(student["mAP"]) == pytest.approx(here["mAP"].iloc[1], abs=1e-4)
    there = table[table["dataset"] == "personx"].iloc[0]
    assert there["queries"] == there["valid_queries"] == 6 and 0 < there["mAP"] <= 1
    assert (copied.folder / "reports/cross/cross.png").read_bytes().startswith(b"\x89PNG")
    assert results == {path: path.read_bytes() for path in (copied.folder / "reports").glob("*.json")}
    run = runs_of(copied.folder)[-1]
    assert run.info.run_name == "cross: 2 models on market1501, personx" and run.info.status == "FINISHED"
    assert run.data.tags["kind"] == "cross" and run.info.run_name in told
    assert run.data.metrics[f"{there['model']} on personx mAP"] == there["mAP"]
    # What is packed stays, until the images change.
    assert "personx" in copied.here("cross", MODEL, "--on", "personx")
    next((raw / "personx/PersonX/query").iterdir()).unlink()
    assert "personx is not prepared at 32 x 16" in copied.refused("cross", MODEL, "--on", "personx")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((MODEL, "--on", " , "), "--on must name data sets, with commas between them"),
        ((MODEL, "--on", "market"), "dataset must be one of synthetic, market1501"),
        ((MODEL, "--on", "veri,market1501", "--prepare"), "VeRi is missing: put VeRi (VeRi-776) there"),
        (("nowhere.onnx", "--on", "market1501"), "nowhere.onnx"),
        ((MODEL, "--on", "market1501", "--output", "data/model"), "belongs to the results of the stages"),
        ((MODEL, "--on", "market1501", "--output", "params.yaml"), "is a file, name a folder"),
    ],
)
def test_cross_refuses_in_one_line(finished: Project, arguments: tuple[str, ...], words: str) -> None:
    assert words in finished.refused("cross", *arguments)


def test_cross_refuses_a_data_set_without_test_images_before_it_scores(copied: Any) -> None:
    write_replica("vehiclex", copied.folder / "data/raw", height=32, width=16)
    refused = copied.refused("cross", MODEL, "--on", "market1501,vehiclex", "--prepare")
    assert "vehiclex cannot be scored: the data set has no query images; leave it out of --on" in refused
