"""An MLflow server with PostgreSQL and an object store, as docs/team.md starts it, and the stages that record in it."""

import base64
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from pipeline.common.errors import UserError
from pipeline.common.files import read_json
from pipeline.tracking import open_run, start_run
from tests.stages.conftest import Project
from tests.team.conftest import Checkout, block
from tests.team.services import Store, free_port, mlflow_server, postgres

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own, in this process.
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Server:
    """Where it answers, what it says of itself, and the store behind it."""

    address: str
    log: Path
    store: Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Server]:
    """Started by the command of the documentation, with its placeholders replaced; it stops with the tests."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    *exports, command = block("Starting the server")
    assert command[:4] == ["uv", "run", "mlflow", "server"]
    with ExitStack() as stack:
        database = stack.enter_context(postgres(folder / "postgres.log"))
        stands_for = {
            "https://s3.example.org": store.address,
            "postgresql+psycopg2://mlflow@127.0.0.1:5432/mlflow": database,
            "5000": str(port),
        }
        for placeholder, here in stands_for.items():
            command = [word.replace(placeholder, here) for word in command]
        given = dict(words[1].split("=") for words in exports)
        given |= {"MLFLOW_S3_ENDPOINT_URL": store.address, **store.login}
        store.make_bucket("mlflow")
        stack.enter_context(mlflow_server(command[2:], folder, port, **given))
        yield Server(f"http://127.0.0.1:{port}", folder / "mlflow.log", store)


@pytest.fixture(autouse=True)
def person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who knows no password of the store, and stands in an empty folder."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_EXP_NAME", "DVC_ROOT", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)


def client_of(server: Server) -> "MlflowClient":
    """Another person's."""
    from mlflow import MlflowClient

    return MlflowClient(server.address)


def test_stages_record_on_the_server_what_another_client_reads(
    server: Server, finished: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(
        finished.folder, project.folder, symlinks=True, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns")
    )
    shutil.rmtree(project.folder / "data/model")
    environment = {"MLFLOW_TRACKING_URI": server.address}
    for stage in ("train", "evaluate", "report", "register"):
        project.here(stage, **environment)
    assert not [path.name for path in project.folder.iterdir() if path.name.startswith(("mlflow.db", "mlruns"))]

    client = client_of(server)
    run = client.get_run(read_json(project.folder / "data/model/run.json")["run_id"])
    assert run.info.status == "FINISHED" and run.data.params["backbone"] == "resnet10_w32"
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert [point.step for point in client.get_metric_history(run.info.run_id, "epoch/loss")] == [1, 2]
    scores = read_json(project.folder / "reports/metrics.json")
    assert run.data.metrics["mAP"] == pytest.approx(scores["student"]["mAP"])
    page = Path(client.download_artifacts(run.info.run_id, "report.html", str(tmp_path)))
    assert page.read_bytes() == (project.folder / "reports/report.html").read_bytes()

    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert version.name == "dccc-market1501-resnet10_w32" and version.version == "1"
    reader = Checkout(tmp_path, {"resnet50": "resnet10_w32"}, environment)
    reader.run(*block("Working with the server")[-1])
    weights = tmp_path / "model/data/model.safetensors"
    assert weights.read_bytes() == (project.folder / "data/model/model.safetensors").read_bytes()
    assert "/artifacts/report.html</Key>" in server.store.objects("mlflow")


class Gate(http.server.BaseHTTPRequestHandler):
    """What stands in front of a server and lets those through who give name and password."""

    behind = ""
    login = "Basic " + base64.b64encode(b"anna:a-password").decode()

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != self.login:
            answer, code, kind = b"401 Authorization Required", 401, "text/html"
        else:
            passed = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            reply = requests.request(self.command, self.behind + self.path, data=body, headers=passed, timeout=60)
            answer, code, kind = reply.content, reply.status_code, reply.headers.get("Content-Type", "")
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = handle_one  # noqa: N815 - the names of http.server

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def gate(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Gate, "behind", server.address)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate) as front:
        thread = threading.Thread(target=front.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{front.server_port}"
        front.shutdown()
        thread.join()


def test_server_behind_a_login_takes_the_right_one_and_refuses_others_in_one_line(
    gate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", gate)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "anna")
    for password in ("", "wrong"):
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
        with pytest.raises(UserError, match=f"MLflow at {gate} does not answer: .*401") as refused:
            start_run(tmp_path, name="toy", settings={}, tags={})
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 300, refused.value
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a-password")
    run = start_run(tmp_path, name="toy", settings={"epochs": 3}, tags={})
    (tmp_path / "page.html").write_text("a page")
    run.log_artifact(tmp_path / "page.html")
    run.end()
    assert open_run(tmp_path, run.id, name="toy", settings={}).id == run.id
    assert not list(tmp_path.glob("mlflow.db*")) and not (tmp_path / "mlruns").exists()


def test_experiment_leaves_the_place_of_its_files_to_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    start_run(tmp_path, name="toy", settings={f"setting{number}": number for number in range(250)}, tags={}).end()
    client = client_of(server)
    experiment = client.get_experiment_by_name("mine")
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["setting249"] == "249" and len(run.data.params) == 250


def test_training_that_goes_on_continues_its_run_on_the_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    first = start_run(tmp_path, name="toy", settings={}, tags={})
    first.log_epoch({"epoch": 1, "loss": 2.0})
    first.end("KILLED")
    second = start_run(tmp_path, name="toy", settings={}, tags={}, resume=first.id)
    assert second.id == first.id and client_of(server).get_run(first.id).info.status == "RUNNING"
    second.log_epoch({"epoch": 1, "loss": 2.0})
    second.log_epoch({"epoch": 2, "loss": 1.0})
    second.end()
    assert [point.step for point in client_of(server).get_metric_history(first.id, "epoch/loss")] == [1, 2]
    gone = start_run(tmp_path, name="toy", settings={}, tags={}, resume="0123456789abcdef0123456789abcdef")
    assert gone.id != first.id
