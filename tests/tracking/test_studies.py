"""What a study leaves in MLflow: a parent, its children, and the data set of a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.common.files import write_json
from pipeline.tracking import NoRun, Run, start_run
from pipeline.tracking.children import STUDY_VARIABLE, study_tags
from pipeline.tracking.inputs import log_dataset
from pipeline.tracking.registry import registered_name
from pipeline.tracking.studies import StudyRun, metric_name, open_study
from tests.mlflow_runs import client_of, points_of, run_of, runs_of

# MLflow's own; it looks at its tables once per process.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SUMMARY = {
    "digest": "d" * 64,
    "height": 64,
    "width": 32,
    "images": 30,
    "splits": {"train": {"images": 20, "identities": 5}},
}


@pytest.fixture
def checkout(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT", STUDY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return tmp_path


def tags(checkout: Path, run: Run) -> dict[str, str]:
    return dict(client_of(checkout).get_run(run.id).data.tags)


def parent(checkout: Path, name: str = "toy", key: str = "k1") -> StudyRun:
    return open_study(checkout, name, title="A toy", description="What it is.", key=key)


def start(checkout: Path) -> Run:
    return start_run(checkout, name="toy seed 1", settings={}, tags={})


def test_open_study_is_named_and_described(checkout: Path) -> None:
    study = parent(checkout)
    info = run_of(checkout).info
    assert (info.run_id, info.run_name, info.status) == (study.id, "toy", "RUNNING")
    found = tags(checkout, study)
    assert found["study"] == "toy" and found["mlflow.note.content"] == "**A toy**\n\nWhat it is."


def test_open_study_again_goes_on_in_the_same_run(checkout: Path) -> None:
    first = parent(checkout)
    first.end()
    assert parent(checkout).id == first.id
    assert run_of(checkout).info.status == "RUNNING"
    assert len({first.id, parent(checkout, key="k2").id, parent(checkout, "other").id}) == 3


def test_training_of_a_study_is_a_child_from_its_start(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = parent(checkout)
    write_json(checkout / "toy.json", {"toy-a-1": study.tags_of_child("a", 1)})
    monkeypatch.setenv(STUDY_VARIABLE, str(checkout / "toy.json"))
    monkeypatch.setenv("DVC_EXP_NAME", "toy-a-1")
    found = tags(checkout, start(checkout))
    assert (found["mlflow.parentRunId"], found["variant"], found["seed"]) == (study.id, "a", "1")
    monkeypatch.setenv("DVC_EXP_NAME", "another")
    assert "study" not in tags(checkout, start(checkout))


def test_study_tags_names_a_file_that_is_missing(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STUDY_VARIABLE, "gone.json")
    assert study_tags(None) == {}
    with pytest.raises(UserError, match="REID_STUDY names gone.json, which is missing: start the study again"):
        study_tags("toy-a-1")


def test_adopt_makes_an_earlier_training_a_child(checkout: Path) -> None:
    study, training = parent(checkout), start(checkout)
    assert study.adopt(training.id, "a", 3)
    assert study.tags_of_child("a", 3).items() <= tags(checkout, training).items()


def test_adopt_leaves_a_child_of_another_study_where_it_is(checkout: Path) -> None:
    first, second, training = parent(checkout), parent(checkout, "other"), start(checkout)
    first.adopt(training.id, "a", 3)
    assert second.adopt(training.id, "b", 3)
    found = tags(checkout, training)
    assert (found["mlflow.parentRunId"], found["study"], found["variant"]) == (first.id, "toy", "a")
    assert (found["study.toy"], found["study.other"]) == ("a", "b")


def test_adopt_tells_that_a_run_is_unknown(checkout: Path) -> None:
    assert not parent(checkout).adopt("0" * 32, "a", 1)


def test_log_summary_takes_any_name_of_a_variant(checkout: Path) -> None:
    study = parent(checkout)
    for _ in range(2):  # a study that is started again comes to the same numbers
        study.log_summary({"+ L_ss (all)/student_mAP_mean": 0.4, "b/x": float("nan")})
    assert points_of(checkout, study.id) == {"_ L_ss _all_/student_mAP_mean": [(0, 0.4)]}
    assert metric_name("memory.tau=0.05/mAP") == "memory.tau_0.05/mAP"


def test_log_dataset_is_an_input_of_the_run(checkout: Path) -> None:
    run = start(checkout)
    for _ in range(2):  # a training that goes on tells it again
        log_dataset(run, name="n" * 600, folder=Path("/data/raw/toy"), summary=SUMMARY)
    (used,) = run.client.get_run(run.id).inputs.dataset_inputs
    dataset = used.dataset
    assert (len(dataset.name), dataset.digest) == (500, "d" * 36)
    assert json.loads(dataset.source) == {"uri": "/data/raw/toy"}
    assert json.loads(dataset.profile) == {"num_rows": 30, "splits": SUMMARY["splits"], "image": [64, 32, 3]}
    names = [each["name"] for each in json.loads(json.loads(dataset.schema)["mlflow_tensorspec"]["features"])]
    assert names == ["image", "camid"]
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "training")]


def test_log_dataset_of_no_run_records_nothing(checkout: Path) -> None:
    log_dataset(NoRun(), name="toy", folder=Path("x"), summary=SUMMARY)
    assert runs_of(checkout) == []


def test_registered_name_is_that_of_the_method() -> None:
    settings: dict[str, Any] = {"dataset": "veri", "backbone": "resnet50"}
    assert registered_name({**settings, "method": "spcl"}) == "spcl-veri-resnet50"
    assert registered_name(settings) == "dccc-veri-resnet50"  # a model of before there were methods
