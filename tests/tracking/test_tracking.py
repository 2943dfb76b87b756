"""What a training leaves in MLflow, read back from the database itself."""

import contextlib
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

from pipeline.common.errors import UserError
from pipeline.common.files import read_json, write_json
from pipeline.tracking import EXPERIMENT, NoRun, Run, open_run, start_run, tracked

# MLflow's own; it looks at its tables once a process.
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


def rows(checkout: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as database:
        return database.execute(query).fetchall()


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
    assert rows(checkout, "select run_uuid, name, status from runs") == [(run.id, "toy seed 1", "RUNNING")]
    assert dict(rows(checkout, "select key, value from params")) == {
        "dataset": "toy",
        "clustering.eps": "0.6",
        "clustering.deeper.camera_aware": "True",
        "list": "[1, 2]",
    }
    assert ("data.digest", "abc") in rows(checkout, "select key, value from tags")
    experiments = rows(checkout, "select name, artifact_location from experiments where name <> 'Default'")
    assert experiments == [(EXPERIMENT, (checkout / "mlruns").as_uri())]


def test_start_run_of_the_same_name_twice_gives_two_runs_in_one_experiment(checkout: Path) -> None:
    first, second = start(checkout), start(checkout)
    assert first.id != second.id
    assert rows(checkout, "select name, count(*) from runs group by experiment_id, name") == [("toy seed 1", 2)]


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
    assert rows(checkout, "select count(*) from experiments where name = 'dccc'") == [(1,)]
    assert rows(checkout, "select count(*) from runs") == [(2,)]


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


def test_start_run_names_dvcs_experiment_first(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "droll-tofu")
    start(checkout)
    assert rows(checkout, "select name from runs") == [("droll-tofu (toy seed 1)",)]


def test_start_run_uses_the_experiment_of_the_environment(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    start(checkout)
    query = "select experiments.name from runs join experiments using (experiment_id)"
    assert rows(checkout, query) == [("mine",)]


def test_start_run_uses_the_server_of_the_environment(
    checkout: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkout / "other"
    other.mkdir()
    shutil.copy(mlflow_database, other / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other / 'mlflow.db'}")
    run = start(checkout)
    assert rows(checkout, "select count(*) from runs") == [(0,)]
    assert rows(other, "select run_uuid from runs") == [(run.id,)]


def test_start_run_in_a_deleted_experiment_says_what_to_do(checkout: Path) -> None:
    from mlflow import MlflowClient

    start(checkout)
    client = MlflowClient(f"sqlite:///{checkout / 'mlflow.db'}")
    client.delete_experiment(client.get_experiment_by_name(EXPERIMENT).experiment_id)
    with pytest.raises(UserError, match=r"experiment dccc was deleted: restore it, .* \(MLFLOW_EXPERIMENT_NAME\)"):
        start(checkout)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_start_run_tags_the_commit_and_whether_it_was_changed(checkout: Path) -> None:
    git(checkout, "init", "--quiet")
    (checkout / "params.yaml").write_text("a: 1")
    git(checkout, "add", "params.yaml")
    git(checkout, "commit", "--quiet", "-m", "first")
    start(checkout)
    (checkout / "params.yaml").write_text("a: 2")
    start(checkout)
    commit = git(checkout, "rev-parse", "HEAD")
    assert set(rows(checkout, "select value from tags where key = 'mlflow.source.git.commit'")) == {(commit,)}
    # Files that git does not know, such as the database itself, change nothing.
    assert sorted(rows(checkout, "select value from tags where key = 'git.dirty'")) == [("false",), ("true",)]


@pytest.mark.parametrize("installed", [True, False])
def test_start_run_outside_of_git_has_no_such_tags(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setenv("PATH", str(checkout))
    start(checkout)
    assert rows(checkout, "select value from tags where key like '%git%'") == []


def test_metrics_land_with_their_steps_and_only_if_finite(checkout: Path) -> None:
    run = start(checkout)
    run.log_metrics({"loss": 2.5, "mAP": 1, "nan": math.nan, "infinite": math.inf, "below": -math.inf}, step=1)
    run.log_metrics({"loss": -1.5, "mAP": math.nan}, step=2)
    run.log_metrics({"nan": math.nan}, step=3)
    found = rows(checkout, "select key, step, value from metrics order by key, step")
    assert found == [("loss", 1, 2.5), ("loss", 2, -1.5), ("mAP", 1, 1.0)]


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
        assert rows(checkout, "select status from runs") == [("RUNNING",)]
        assert read_json(checkout / "run.json") == {"run_id": run.id}
        if error is not None:
            raise error
    ((found, end),) = rows(checkout, "select status, end_time from runs")
    assert found == status and end is not None


def test_tracked_goes_on_in_the_run_that_it_knows(checkout: Path) -> None:
    with pytest.raises(KeyboardInterrupt), block(checkout) as first:
        first.log_metrics({"loss": 2.0}, step=1)
        raise KeyboardInterrupt
    with block(checkout, name="another") as second:
        assert rows(checkout, "select status from runs") == [("RUNNING",)]
        second.log_metrics({"loss": 1.0}, step=2)
    assert first.id == second.id
    assert rows(checkout, "select name, status from runs") == [("toy", "FINISHED")]
    assert rows(checkout, "select step, value from metrics order by step") == [(1, 2.0), (2, 1.0)]


@pytest.mark.parametrize("gone", ["unknown", "deleted"])
def test_tracked_starts_anew_where_the_run_is_gone(checkout: Path, gone: str) -> None:
    from mlflow import MlflowClient

    before = "0123456789abcdef0123456789abcdef"
    if gone == "deleted":
        before = start(checkout).id
        MlflowClient(f"sqlite:///{checkout / 'mlflow.db'}").delete_run(before)
    write_json(checkout / "run.json", {"run_id": before})
    with block(checkout) as run:
        pass
    assert run.id != before
    assert read_json(checkout / "run.json") == {"run_id": run.id}
    assert rows(checkout, "select name from runs where lifecycle_stage = 'active'") == [("toy",)]


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
    assert rows(checkout, "select count(*) from runs") == [(1,)]


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
        with contextlib.closing(sqlite3.connect(checkout / "mlflow.db")) as database:
            for table in ("latest_metrics", "metrics", "runs"):
                database.execute(f"drop table {table}")
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
    assert not (checkout / "run.json").exists()


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
    assert rows(checkout, "select status from runs") == [("FINISHED",)]
    assert rows(checkout, "select key from metrics order by key") == [("loss",), ("mAP",)]


def test_open_run_makes_one_run_for_all_stages_where_that_of_the_training_is_gone(checkout: Path) -> None:
    gone = "0123456789abcdef0123456789abcdef"
    first = open_run(checkout, gone, name="toy", settings=SETTINGS)
    second = open_run(checkout, gone, name="toy", settings=SETTINGS)
    other = open_run(checkout, "f" * 32, name="toy", settings=SETTINGS)
    assert first.id == second.id != other.id
    found = rows(checkout, "select value, status from tags join runs using (run_uuid) where key = 'missing_run'")
    assert sorted(found) == [(gone, "FINISHED"), ("f" * 32, "FINISHED")]
