"""What a training leaves in MLflow, read through its client."""

import contextlib
import dataclasses
import fcntl
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.common import files
from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.evaluation.candidates import summary_of
from pipeline.evaluation.metrics import METRICS
from pipeline.tracking import EXPERIMENT, NoRun, Run, open_run, start_run, tracked
from pipeline.training.interruption import InterruptedTrainingError
from tests.mlflow_runs import client_of, points_of, run_of, runs_of

# MLflow's own; it looks at its tables once per process.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = {
    "dataset": "toy",
    "clustering": {"eps": 0.6, "deeper": {"camera_aware": True}},
    "list": [1, 2],
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without what a person or DVC has set, and where MLflow may leave folders."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path, mlflow_database: Path) -> Path:
    """A folder with a database that holds no run yet."""
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return tmp_path


def start(checkout: Path, **changes: Any) -> Run:
    return start_run(checkout, **{"name": "toy seed 1", "settings": SETTINGS, "tags": {}, **changes})


def block(checkout: Path, **changes: Any) -> contextlib.AbstractContextManager[Run | NoRun]:
    values: dict[str, Any] = {
        "name": "toy",
        "settings": SETTINGS,
        "tags": {},
        "resume": checkout / "run.json",
        "shown": True,
    }
    return tracked(checkout, **(values | changes))


def test_start_run_records_name_settings_and_tags(checkout: Path) -> None:
    run = start(checkout, tags={"data.digest": "abc"})
    found = run_of(checkout)
    assert (found.info.run_id, found.info.run_name, found.info.status) == (run.id, "toy seed 1", "RUNNING")
    assert found.data.params == {
        "dataset": "toy",
        "clustering.eps": "0.6",
        "clustering.deeper.camera_aware": "True",
        "list": "[1, 2]",
    }
    assert found.data.tags["data.digest"] == "abc"
    experiment = client_of(checkout).get_experiment(found.info.experiment_id)
    assert (experiment.name, experiment.artifact_location) == (EXPERIMENT, (checkout / "mlruns").as_uri())


def test_start_run_leaves_out_what_there_is_not(checkout: Path) -> None:
    start(checkout, settings={"own": {"camera": None, "folder": "mine"}}, tags={"weights": None})
    found = run_of(checkout)
    assert found.data.params == {"own.folder": "mine"} and "weights" not in found.data.tags
    assert "None" not in [*found.data.tags.values(), *found.data.params.values()]


def test_start_run_of_the_same_name_twice_gives_two_runs_in_one_experiment(checkout: Path) -> None:
    first, second = start(checkout), start(checkout)
    assert first.id != second.id
    assert {(run.info.experiment_id, run.info.run_name) for run in runs_of(checkout)} == {("1", "toy seed 1")}
    assert len(runs_of(checkout)) == 2


def test_start_run_takes_the_experiment_of_a_faster_process(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process creates the experiment just after this one has found none."""
    from mlflow import MlflowClient

    look_up = MlflowClient.get_experiment_by_name
    looks = []

    def too_early(client: MlflowClient, name: str) -> Any:
        looks.append(name)
        if len(looks) == 1:
            client.create_experiment(name)
            return None
        return look_up(client, name)

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", too_early)
    start(checkout)
    start(checkout)
    assert [each.name for each in client_of(checkout).search_experiments()] == [EXPERIMENT, "Default"]
    assert len(runs_of(checkout)) == 2


def test_start_run_that_the_server_refuses_is_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "x" * 501)
    with pytest.raises(UserError, match="MLflow at sqlite:.* takes no run: .*exceeds the maximum length") as caught:
        start(checkout)
    assert "\n" not in str(caught.value)


def test_start_run_waits_while_another_process_makes_the_database(checkout: Path) -> None:
    ended = threading.Event()
    thread = threading.Thread(target=lambda: (start(checkout), ended.set()))  # type: ignore[func-returns-value]
    with (checkout / "mlflow.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread.start()
        assert not ended.wait(0.3)
    thread.join(60)
    assert ended.is_set()


def test_start_run_says_what_it_is_before_dvcs_name(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "droll-tofu")
    start(checkout)
    assert run_of(checkout).info.run_name == "toy seed 1 (droll-tofu)"


def test_start_run_uses_the_experiment_of_the_environment(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    start(checkout)
    assert client_of(checkout).get_experiment(run_of(checkout).info.experiment_id).name == "mine"


def test_start_run_uses_the_server_of_the_environment(
    checkout: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkout / "other"
    other.mkdir()
    shutil.copy(mlflow_database, other / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    run = start(checkout)
    assert runs_of(checkout) == [] and run_of(other).info.run_id == run.id


def test_start_run_in_a_deleted_experiment_says_what_to_do(checkout: Path) -> None:
    start(checkout)
    client = client_of(checkout)
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    with pytest.raises(UserError, match=r"experiment dccc was deleted: restore it, .* \(MLFLOW_EXPERIMENT_NAME\)"):
        start(checkout)


def test_metrics_land_with_their_steps_and_only_if_finite(checkout: Path) -> None:
    run = start(checkout)
    run.log_metrics({"loss": 2.5, "mAP": 1, "nan": math.nan, "infinite": math.inf, "below": -math.inf}, step=1)
    run.log_metrics({"loss": -1.5, "mAP": math.nan}, step=2)
    run.log_metrics({"nan": math.nan}, step=3)
    assert points_of(checkout, run.id) == {"loss": [(1, 2.5), (2, -1.5)], "mAP": [(1, 1.0)]}


def test_artifacts_of_the_run_are_files_and_whole_folders(checkout: Path) -> None:
    (checkout / "figures").mkdir()
    (checkout / "figures" / "map.png").write_text("map")
    (checkout / "report.html").write_text("page")
    run = start(checkout)
    run.log_artifact(checkout / "report.html")
    run.log_artifact(checkout / "figures", "figures")
    place = checkout / "mlruns" / run.id / "artifacts"
    assert (place / "report.html").read_text() == "page"
    assert (place / "figures" / "map.png").read_text() == "map"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (RuntimeError("a bug"), "FAILED"),
        (UserError("a mistake"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(1), "KILLED"),
    ],
)
def test_tracked_run_ends_as_its_block_does(checkout: Path, error: BaseException | None, status: str) -> None:
    with contextlib.ExitStack() as stack:
        if error is not None:
            stack.enter_context(pytest.raises(type(error), match=f"^{error}$"))
        run = stack.enter_context(block(checkout))
        assert run_of(checkout).info.status == "RUNNING"
        assert read_json(checkout / "run.json")["run_id"] == run.id
        if error is not None:
            raise error
    info = run_of(checkout).info
    assert info.status == status and info.end_time is not None


def test_tracked_goes_on_in_the_run_that_it_knows(checkout: Path) -> None:
    with pytest.raises(KeyboardInterrupt), block(checkout) as first:
        first.log_metrics({"loss": 2.0}, step=1)
        raise KeyboardInterrupt
    with block(checkout, name="another") as second:
        assert run_of(checkout).info.status == "RUNNING"
        second.log_metrics({"loss": 1.0}, step=2)
    assert first.id == second.id
    info = run_of(checkout).info
    assert (info.run_name, info.status) == ("toy", "FINISHED")
    assert points_of(checkout, first.id) == {"loss": [(1, 2.0), (2, 1.0)]}


@pytest.mark.parametrize("gone", ["unknown", "deleted"])
def test_tracked_starts_anew_where_the_run_is_gone(checkout: Path, gone: str) -> None:
    before = "0123456789abcdef0123456789abcdef"
    if gone == "deleted":
        before = start(checkout).id
        client_of(checkout).delete_run(before)
    write_json(checkout / "run.json", {"run_id": before})
    with block(checkout) as run:
        pass
    assert run.id != before
    assert read_json(checkout / "run.json")["run_id"] == run.id
    assert run_of(checkout).info.run_name == "toy"


def test_tracked_does_not_take_a_failing_server_for_a_missing_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    with block(checkout):
        pass

    def fail(client: MlflowClient, run_id: str) -> None:
        raise MlflowException("disk full")

    monkeypatch.setattr(MlflowClient, "get_run", fail)
    with pytest.raises(UserError, match="takes no run: .*disk full"), block(checkout):
        pass
    monkeypatch.undo()
    assert len(runs_of(checkout)) == 1


def test_tracked_with_a_damaged_note_of_its_run_names_the_file(checkout: Path) -> None:
    (checkout / "run.json").write_text('{"run_')
    with pytest.raises(UserError, match=r"run\.json is damaged"), block(checkout):
        pass


@pytest.mark.parametrize("reason", [None, UserError("the loss is not finite")])
def test_tracked_run_whose_database_is_gone_is_one_line_after_the_first_reason(
    checkout: Path, reason: UserError | None
) -> None:
    with (
        pytest.raises(
            UserError, match="the loss is not finite" if reason else "MLflow at .* does not answer"
        ) as caught,
        block(checkout) as run,
    ):
        run.log_metrics({"loss": 2.0}, step=1)
        (checkout / "mlflow.db").write_bytes(b"no database any more")
        if reason:
            raise reason
        run.log_metrics({"loss": 1.0}, step=2)
    assert "\n" not in str(caught.value)


def test_no_run_records_nothing_and_imports_no_mlflow(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from pipeline.tracking import NoRun, tracked

with tracked(Path("none"), name="", settings={}, tags={}, resume=Path("run.json"), shown=False) as run:
    assert isinstance(run, NoRun) and run.id == ""
    run.log_epoch({"epoch": 1, "loss": 1.0})
assert not [name for name in sys.modules if name.split(".")[0] == "mlflow"]
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("given", "value"), [(None, "true"), ("false", "false")])
def test_telemetry_is_off_unless_a_person_has_set_it(
    monkeypatch: pytest.MonkeyPatch, given: str | None, value: str
) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
    code = "import os, pipeline.tracking; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['DO_NOT_TRACK'])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [value, value]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_server_that_does_not_answer_is_one_line(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    address = f"http://127.0.0.1:{closed_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for action in (lambda: start(checkout), lambda: open_run(checkout, "a", name="", settings={})):
        with pytest.raises(
            UserError, match=rf"MLflow at {address} does not answer: .*\(MLFLOW_TRACKING_URI\)"
        ) as caught:
            action()
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="does not answer"), block(checkout):
        pass
    assert "run_id" not in read_json(checkout / "run.json")


@pytest.mark.parametrize(("uri", "words"), [(None, "file is not a database"), ("nonsense://x", "unsupported URI")])
def test_damaged_database_and_unknown_address_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str | None, words: str
) -> None:
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "mlflow.db").write_text(
        "no database at all, but longer than the header of one would have been: 100 bytes"
    )
    with pytest.raises(UserError, match=f"MLflow at .* does not answer: .*{words}") as caught:
        start(tmp_path)
    assert "\n" not in str(caught.value)


def test_open_run_adds_to_the_run_of_the_training(checkout: Path) -> None:
    with block(checkout) as training:
        training.log_metrics({"loss": 1.0}, step=1)
    run = open_run(checkout, training.id, name="toy", settings=SETTINGS)
    run.log_metrics({"mAP": 0.5}, step=2)
    assert run.id == training.id
    assert run_of(checkout).info.status == "FINISHED"
    assert list(points_of(checkout, run.id)) == ["loss", "mAP"]


def test_open_run_makes_one_run_for_all_stages_where_that_of_the_training_is_gone(checkout: Path) -> None:
    gone = "0123456789abcdef0123456789abcdef"
    first = open_run(checkout, gone, name="toy", settings=SETTINGS)
    second = open_run(checkout, gone, name="toy", settings=SETTINGS)
    other = open_run(checkout, "f" * 32, name="toy", settings=SETTINGS)
    assert first.id == second.id != other.id
    found = [(run.data.tags["missing_run"], run.info.status) for run in runs_of(checkout)]
    assert sorted(found) == [(gone, "FINISHED"), ("f" * 32, "FINISHED")]


def test_log_epoch_draws_curves_with_the_epochs_as_steps(checkout: Path) -> None:
    run = start(checkout)
    run.log_epoch({"epoch": 1, "loss": 2.0, "student_mAP": math.nan})
    run.log_epoch({"epoch": 2, "loss": 1.0, "student_mAP": 0.5})
    again = open_run(checkout, run.id, name="toy", settings=SETTINGS)  # a training that goes on names every epoch again
    for row in ({"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}, {"epoch": 3, "loss": 0.5}):
        again.log_epoch(row)
    assert points_of(checkout, run.id) == {
        "epoch/loss": [(1, 2.0), (2, 1.0), (3, 0.5)],
        "epoch/student_mAP": [(2, 0.5)],
    }


def test_log_scores_are_named_as_in_the_report_and_not_doubled(checkout: Path) -> None:
    run = start(checkout)
    summary = {"mAP": 0.4, "rank1": 0.5, "teacher_mAP": 0.3, "clusters": 12}
    for _ in range(2):
        run.log_scores(summary, step=20)
    expected = {"mAP": [(20, 0.4)], "Rank-1": [(20, 0.5)], "teacher mAP": [(20, 0.3)], "clusters": [(20, 12.0)]}
    assert points_of(checkout, run.id) == expected
    run.log_scores({**summary, "mAP": 0.6}, step=20)
    assert points_of(checkout, run.id) == expected | {"mAP": [(20, 0.4), (20, 0.6)]}
    assert run_of(checkout).data.metrics["mAP"] == 0.6


def test_log_scores_follow_the_table_of_metrics(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank20 = dataclasses.replace(METRICS["rank10"], key="rank20", heading="Rank-20", rank=20)
    monkeypatch.setitem(METRICS, "rank20", rank20)
    half = dict.fromkeys(METRICS, 0.5)
    run = start(checkout)
    run.log_scores(summary_of({"student": half, "clustering": {"clusters": 1, "outliers": 0}}), step=1)
    assert points_of(checkout, run.id)["Rank-20"] == [(1, 0.5)]


def test_run_of_a_training_killed_while_it_was_made_is_found_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is gone between MLflow's answer and the note of the run's id."""
    write = files.write_json

    def killed(path: Path, value: dict[str, str]) -> None:
        if "run_id" in value:
            raise MemoryError  # stands for SIGKILL: nothing is done about it
        write(path, value)

    monkeypatch.setattr("pipeline.tracking.runs.write_json", killed)
    with pytest.raises(MemoryError), block(checkout):
        pass
    assert run_of(checkout).info.status == "RUNNING"
    monkeypatch.setattr("pipeline.tracking.runs.write_json", write)
    with block(checkout) as run:
        assert run.id == run_of(checkout).info.run_id
    assert run_of(checkout).info.status == "FINISHED"


@pytest.mark.parametrize("after", ["create_run", "log_batch"])
def test_run_of_a_training_stopped_while_it_is_made_is_killed_and_goes_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    from mlflow import MlflowClient

    done = getattr(MlflowClient, after)

    def stopped(*given: Any, **named: Any) -> None:
        done(*given, **named)
        raise InterruptedTrainingError  # as the handler of SIGTERM does, wherever the process is

    monkeypatch.setattr(MlflowClient, after, stopped)
    with pytest.raises(InterruptedTrainingError), block(checkout):
        pass
    made = run_of(checkout).info
    assert made.status == "KILLED" and made.end_time is not None
    monkeypatch.setattr(MlflowClient, after, done)
    with block(checkout) as run:
        assert run.id == made.run_id
    found = run_of(checkout)
    assert found.info.status == "FINISHED" and found.data.params["clustering.eps"] == "0.6"


def test_tracked_takes_an_error_after_a_signal_for_its_consequence(checkout: Path) -> None:
    """Numba's compiler, for one, turns the exception of a signal into an error of its own."""
    with pytest.raises(KeyboardInterrupt), block(checkout, interrupted=lambda: True):
        raise RuntimeError("numba: cannot compile")
    assert run_of(checkout).info.status == "KILLED"


def test_open_run_ends_a_run_that_another_stage_could_not_end(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(run: Run, status: str = "FINISHED") -> None:
        raise KeyboardInterrupt

    gone = "0" * 32
    monkeypatch.setattr(Run, "end", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_run(checkout, gone, name="toy", settings=SETTINGS)
    assert open_run(checkout, gone, name="toy", settings=SETTINGS).id == run_of(checkout).info.run_id
    assert run_of(checkout).info.status == "FINISHED"


@pytest.mark.parametrize(
    "address",
    [
        "http://anna:pa55word@127.0.0.1:{port}",
        "postgresql+psycopg2://anna:pa55word@127.0.0.1:{port}/mlflow",
        "postgresql+psycopg2://127.0.0.1:{port}/mlflow?user=anna&password=pa55word",
        "postgresql+psycopg2://anna:pa55word/@127.0.0.1:{port}/mlflow",
        "nonsense://anna:pa55word@x",
    ],
)
def test_password_of_the_address_is_never_printed(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    closed_port: int,
    address: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(port=closed_port))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    with pytest.raises(UserError, match="MLflow at .* does not answer") as caught:
        start(checkout)
    assert "\n" not in str(caught.value)
    told = "".join([str(caught.value), *capfd.readouterr()])
    assert "pa55word" not in told and "***" in told


def test_password_is_not_recorded(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pa55word")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "")
    with block(checkout):
        pass
    recorded = [path.read_bytes() for path in checkout.rglob("*") if path.is_file()]
    assert recorded and not [content for content in recorded if b"pa55word" in content]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("ffffffffffff", "it is newer: install that version of MLflow"),
        ("451aebb31d03", "it is older: copy it, then `mlflow db upgrade sqlite:.*`"),
    ],
)
def test_database_of_another_mlflow_is_one_line_of_our_own(checkout: Path, version: str, words: str) -> None:
    with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = ?", (version,))
    with pytest.raises(
        UserError, match=f"the database has the schema {version}, this MLflow needs .*; {words}"
    ) as caught:
        start(checkout)
    assert "\n" not in str(caught.value)


def test_database_that_is_read_only_is_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(checkout)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///file:{checkout / 'mlflow.db'}?mode=ro&uri=true")
    with pytest.raises(
        UserError, match=r"the database is read-only: allow writing .* \(MLFLOW_TRACKING_URI\)"
    ) as caught:
        start(checkout)
    assert "\n" not in str(caught.value)
