"""A study from its file to its comparison, by DVC's real queue, in a project whose stages take a moment."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.common.errors import UserError
from tests.mlflow_runs import runs_of

ROOT = Path(__file__).parents[2]
STUDY = """
title: A toy
description: What the memory does.
seeds: [1, 2]
runs:
  baseline: {}
  + mean: {memory.update: mean}
"""
# Writes what the stages write, made of the settings; every training leaves a trace in the checkout.
TOY = """
import json, os, sys, time
from pathlib import Path
from ruamel.yaml import YAML
from pipeline.tracking import start_run

values = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
checkout = Path(os.environ["DVC_ROOT"])
if sys.argv[1] == "train":
    with (checkout / "trained.txt").open("a") as trace:
        trace.write(os.environ["DVC_EXP_NAME"] + "\\n")
    if values["memory"]["update"] == "mean" and not (checkout / "mended").exists():
        sys.exit("the loss is not finite")
    time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
    Path("data/model").mkdir(parents=True, exist_ok=True)
    Path("reports").mkdir(exist_ok=True)
    run = {"run_id": "unknown"}
    if os.environ.get("TOY_MLFLOW"):
        made = start_run(checkout, name="toy", settings={"seed": values["seed"]}, tags={})
        made.end()
        run = {"run_id": made.id}
    Path("data/model/run.json").write_text(json.dumps(run))
    Path("reports/training.csv").write_text(
        "epoch,eps,num_clusters,num_outliers,seconds,student_mAP\\n1,0.6,5,9,60,\\n2,0.5,7,8,60,0.3\\n"
    )
else:
    score = values["seed"] / 10 + (0.05 if values["memory"]["update"] == "mean" else 0)
    Path("reports/metrics.json").write_text(json.dumps({"student": {"mAP": score, "rank1": score}}))
"""
PIPELINE = """
stages:
  train:
    cmd: python toy.py train
    deps: [toy.py]
    params: [seed, memory, loss, clustering]
    outs: [data/model]
    plots: [{reports/training.csv: {cache: false}}]
  evaluate:
    cmd: python toy.py evaluate
    deps: [data/model, reports/training.csv]
    params: [evaluate, seed, memory]
    metrics: [{reports/metrics.json: {cache: false}}]
"""


@dataclass
class Project:
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_", "REID_"))}
        return {**clean, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", **more}

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "stages.study", *words],
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def study(self, *words: str, code: int = 0, **more: str) -> str:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, out + err
        assert "Traceback" not in err, err
        return out + err

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def experiments(self) -> list[str]:
        return sorted(
            name.split("/")[-1] for name in self.git("for-each-ref", "--format=%(refname)", "refs/exps").split()
        )

    def trained(self) -> list[str]:
        trace = self.folder / "trained.txt"
        names = trace.read_text().split() if trace.exists() else []
        trace.unlink(missing_ok=True)
        return sorted(names)

    def processes(self) -> list[str]:
        """What still runs with this project as its place."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (place / "cwd").resolve().is_relative_to(self.folder):
                    found.append((place / "cmdline").read_text().replace("\0", " "))
        return found

    def tags(self) -> dict[str, dict[str, str]]:
        return {run.info.run_id: dict(run.data.tags) for run in runs_of(self.folder)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Project:
    folder = tmp_path_factory.mktemp("study")
    (folder / ".dvc").mkdir()
    for name in ("params.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "toy.py").write_text(TOY.replace("\\\\n", "\\n"))
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "toy.yaml").write_text(STUDY)
    project = Project(folder)
    project.git("init", "-q")
    project.git("add", "-A")
    project.git("commit", "-qm", "a toy")
    shutil.copy(mlflow_database, folder / "mlflow.db")
    return project


def test_study_trains_compares_and_tells_what_failed(project: Project) -> None:
    before = (project.folder / "params.yaml").read_bytes()
    told = project.study("toy.yaml", "--seeds", "1", code=1, TOY_MLFLOW="1")
    assert "A toy: 2 experiments, 0 of them exist already" in told
    assert "[1/2] baseline, seed 1: student mAP 10.0% (" in told
    log = project.folder / told.split("[2/2] + mean, seed 1: FAILED, see ")[1].split(" (")[0]
    assert "the loss is not finite" in log.read_text()
    assert "error: 1 of 2 experiments failed: start the same command again" in told
    assert project.trained() == ["toy-baseline-1", "toy-mean-1"]
    assert (project.folder / "params.yaml").read_bytes() == before
    assert project.git("diff", "HEAD", "--stat") == ""
    assert project.processes() == []
    table = pd.read_csv(project.folder / "reports/comparison.csv")
    assert table[["variant", "seeds", "seeds_wanted"]].to_numpy().tolist() == [["baseline", 1, 1], ["'+ mean", 0, 1]]
    assert table["student_mAP_mean"][0] == pytest.approx(0.1)
    assert "n = 0 of 1" in (project.folder / "reports/comparison.html").read_text()
    tags = project.tags()
    (parent,) = (run for run, each in tags.items() if "study.key" in each)
    (child,) = (each for each in tags.values() if each.get("mlflow.parentRunId") == parent)
    assert {key: child[key] for key in ("study", "variant", "seed", "study.toy")} == {
        "study": "toy",
        "variant": "baseline",
        "seed": "1",
        "study.toy": "baseline",
    }
    assert child["mlflow.runName"] == "toy (toy-baseline-1)"
    assert "What the memory does." in tags[parent]["mlflow.note.content"]


def test_study_started_again_does_what_is_missing_two_at_a_time(project: Project) -> None:
    (project.folder / "mended").touch()
    told = project.study("toy.yaml", "--jobs", "2", "--output", "reports/other")
    assert "A toy: 4 experiments, 1 of them exist already" in told
    assert "[4/4]" in told and "MLflow does not know the run of toy-mean-1" in told
    assert project.trained() == ["toy-baseline-2", "toy-mean-1", "toy-mean-2"]
    table = pd.read_csv(project.folder / "reports/other.csv").set_index("variant")
    assert table.loc["'+ mean", "memory.update"] == "mean" and set(table["seeds"]) == {2}
    assert table.loc["'+ mean", "student_mAP_mean"] == pytest.approx(0.2)
    assert table.loc["'+ mean", "student_mAP_std"] == pytest.approx(0.1 / 2**0.5)
    runs = pd.read_csv(project.folder / "reports/other_runs.csv")
    assert len(runs) == 4 and runs["experiment"].is_unique
    assert {path.name for path in (project.folder / "reports/other").iterdir()} == {
        "scores.png",
        "map_by_epoch.png",
        "clusters_by_epoch.png",
    }
    assert project.processes() == []


def test_study_interrupted_leaves_nothing_behind_and_keeps_older_experiments(project: Project) -> None:
    params = project.folder / "params.yaml"
    params.write_text(params.read_text().replace("k2: 6 ", "k2: 5 "))
    process = project.start("toy.yaml", "--only", "baseline", TOY_SECONDS="600")
    end = time.monotonic() + 300
    while not (project.folder / "trained.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1, out + err
    assert "used as in the working copy, not as committed: params.yaml" in out
    assert "stopping: the trainings that run write a checkpoint" in out
    assert "error: stopped before the end: start the same command again" in err
    assert project.trained() == ["toy-baseline-1"]
    assert project.processes() == []
    assert "k2: 5 " in params.read_text() and project.git("diff", "HEAD", "--name-only").split() == ["params.yaml"]
    names = project.experiments()
    (old,) = (name for name in names if name.startswith("toy-baseline-1-"))
    assert f"toy-baseline-1 was made with other settings or code: it is called {old} now" in out
    assert not {"toy-baseline-1", "toy-baseline-2"} & set(names)


def test_study_that_is_killed_leaves_no_process_and_goes_on(project: Project) -> None:
    (project.folder / "trained.txt").unlink(missing_ok=True)
    process = project.start("toy.yaml", "--only", "baseline", "--seeds", "1", TOY_SECONDS="600")
    end = time.monotonic() + 300
    while not (project.folder / "trained.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert project.trained() == ["toy-baseline-1"]
    process.kill()
    process.communicate(timeout=60)
    while project.processes() and time.monotonic() < end:
        time.sleep(0.5)
    assert project.processes() == []
    told = project.study("toy.yaml", "--only", "baseline", "--seeds", "1")
    assert "1 experiments, 0 of them exist already" in told and "[1/1] baseline, seed 1: student mAP" in told
    assert project.trained() == ["toy-baseline-1"] and project.processes() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jobs", "0"), "--jobs must be at least 1, got 0"),
        (("--output", "reports/a.html"), "--output must have no suffix, got reports/a.html"),
        (("--output", "data/model/x"), "data/model/x belongs to the results of the stages"),
        (("--only", "x"), "--only: toy.yaml has no run 'x'; it has baseline, \\+ mean"),
    ],
)
def test_study_refuses_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    from stages.study import study

    monkeypatch.chdir(project.folder)
    values: dict[str, Any] = {words[0][2:]: words[1]}
    given = {"jobs": int(values.get("jobs", 1)), "only": [values["only"]] if "only" in values else None}
    with pytest.raises(UserError, match=message):
        study(Path("toy.yaml"), output=Path(values.get("output", "reports/comparison")), seeds=None, **given)
