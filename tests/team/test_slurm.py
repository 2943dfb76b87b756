"""cluster/train.sbatch, run for real: two torchruns on this machine, and small programs in place of Slurm's."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.model.checkpoint import FINISHED
from tests.mlflow_runs import points_of, runs_of
from tests.stages.conftest import Project
from tests.team.conftest import PROGRAMS, ROOT, Checkout, copy_of_the_project


class Cluster:
    """A checkout on the shared disk of a cluster, and its `sbatch`.

    Attributes:
        folder: of the checkout.
        state: where the programs in place of Slurm's note what they were called for.
    """

    def __init__(self, folder: Path, state: Path, **environment: str) -> None:
        self.folder, self.state = folder, state
        state.mkdir()
        foreign = ("MLFLOW", "DVC", "TORCHELASTIC", "SLURM")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environment = {
            **clean,
            "SLURM_STATE": str(state),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "PATH": f"{ROOT / 'tests/team/slurm'}:{os.environ['PATH']}",
            **environment,
        }

    def sbatch(self, log: Path) -> subprocess.Popen[bytes]:
        """Starts the job; the first start and every later one append to its log."""
        with log.open("ab") as told:
            return subprocess.Popen(
                ["sbatch", "cluster/train.sbatch"], cwd=self.folder, env=self.environment, stdout=told, stderr=told
            )

    def calls(self) -> list[str]:
        """Of Slurm's programs since the last question, and `dvc repro` behind the training."""
        path = self.state / "calls"
        calls = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [call for call in calls if not call.startswith("scontrol show")]


def install(folder: Path) -> None:
    """`.venv`: the environment of the tests, and a dvc that notes the last command of the job and leaves it out."""
    programs = folder / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "dvc").write_text(
        f'#!/bin/sh\nif [ "$*" = repro ]; then echo "dvc repro" >>"$SLURM_STATE/calls"; exit 0; fi\n'
        f'exec "{PROGRAMS}/dvc" "$@"\n'
    )
    (programs / "dvc").chmod(0o755)
    (programs / "activate").write_text(f'export PATH="{programs}:{PROGRAMS}:$PATH"\n')


@pytest.fixture
def cluster(finished: Project, mlflow_database: Path, tmp_path: Path) -> Cluster:
    """A checkout in which the stages before the training have run; the tracking server is a database elsewhere."""
    folder = tmp_path / "project"
    copy_of_the_project(folder)
    shutil.copy(finished.folder / "params.yaml", folder)
    for name in ("prepared", "pretrained"):
        shutil.copytree(finished.folder / "data" / name, folder / "data" / name)
    for name in ("dataset.json", "weights.json"):
        shutil.copy(finished.folder / "data" / name, folder / "data" / name)
    Project(folder).set(epochs=6, train__iters=8, train__eval_step=6)
    install(folder)
    owner = Checkout(folder)
    for words in ("init -q", "add -A", "commit -qm project"):
        owner.run("git", *words.split())
    owner.run("dvc", "commit", "--force", "sources", "prepare", "pretrained")
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return Cluster(
        folder,
        tmp_path / "state",
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}",
        PYTHONDONTWRITEBYTECODE="",
        PYTHONPYCACHEPREFIX=str(tmp_path / "compiled"),
    )


def runs(tmp_path: Path) -> list[tuple[str, int]]:
    """Status and number of epochs of each run that the tracking server knows."""
    return [
        (run.info.status, len(points_of(tmp_path, run.info.run_id).get("epoch/loss", []))) for run in runs_of(tmp_path)
    ]


def test_preempted_job_leaves_a_checkpoint_is_queued_again_and_goes_on_to_the_end(
    cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "job.log"
    job = cluster.sbatch(log)
    end = time.monotonic() + 120
    while not list(cluster.folder.glob(".scratch/*/checkpoint.pt")):
        assert job.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)  # --signal=B:TERM
    assert job.wait(60) == 0, log.read_text()
    assert cluster.calls() == ["srun", "scancel --signal=TERM 7", "scontrol requeue 7"]
    assert "interrupted in epoch" in log.read_text() and not (cluster.folder / "data/model").exists()
    ((status, epochs),) = runs(tmp_path)
    assert status == "KILLED" and epochs <= 6  # on a busy machine all of them may have been trained by then

    log.unlink()
    assert cluster.sbatch(log).wait(120) == 0, log.read_text()
    assert cluster.calls() == ["srun", "dvc repro"]
    assert "going on in epoch" in log.read_text() and "Traceback" not in log.read_text()
    assert runs(tmp_path) == [("FINISHED", 6)]
    assert (cluster.folder / "data/model/model.safetensors").is_file()
    assert not list(cluster.folder.glob("mlflow.db*"))
    assert list(cluster.folder.glob(f".scratch/*/{FINISHED}"))  # `evaluate`, left out here, clears the checkpoints away
    lock = YAML(typ="safe").load((cluster.folder / "dvc.lock").read_text())
    assert {"prepare", "pretrained", "train"} <= lock["stages"].keys()

    # Interrupted after the training: it is not trained again.
    assert cluster.sbatch(log).wait(60) == 0, log.read_text()
    assert cluster.calls() == ["dvc repro"]


def test_job_whose_training_fails_ends_with_its_status_and_is_not_queued_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    (cluster.folder / "cluster/node.sh").write_text("echo 'error: broken' >&2; exit $((3 - SLURM_NODEID))\n")
    assert cluster.sbatch(tmp_path / "job.log").wait(120) == 3
    assert (tmp_path / "job.log").read_text().count("error: broken") == 2
    assert cluster.calls() == ["srun"]


def test_job_without_a_tracking_server_says_what_is_missing(cluster: Cluster, tmp_path: Path) -> None:
    del cluster.environment["MLFLOW_TRACKING_URI"]
    assert cluster.sbatch(tmp_path / "job.log").wait(60) == 1
    assert "MLFLOW_TRACKING_URI: has to name the tracking server" in (tmp_path / "job.log").read_text()
    assert cluster.calls() == []


@pytest.mark.parametrize("script", ["train.sbatch", "node.sh"])
def test_scripts_of_the_cluster_are_clean(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "cluster" / script], check=True)
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt-get install shellcheck)")
    subprocess.run(["shellcheck", "--severity=warning", ROOT / "cluster" / script], check=True)
