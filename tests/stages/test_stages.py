"""The stages as a person runs them: what they write, that they repeat it, and how they refuse."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch

from pipeline.common.files import read_json
from pipeline.datasets.catalogue import read_catalogue, write_catalogue
from pipeline.model.saved import load_model
from pipeline.training.fingerprint import held
from tests.mlflow_runs import client_of, points_of, run_of, runs_of

ROOT = Path(__file__).parents[2]
AGAINST_IDENTITIES = ("ari", "ami", "purity", "pairwise_f", "pairwise_precision", "pairwise_recall")
STAGES = ("sources", "prepare", "pretrained", "train", "evaluate", "report")


def model(project: Any) -> dict[str, Any]:
    return safetensors.torch.load_file(project.folder / "data/model/model.safetensors")


def history(project: Any) -> pd.DataFrame:
    table = pd.read_csv(project.folder / "reports/training.csv")
    return table[[c for c in table.columns if not c.startswith("seconds") and c != "images_per_second"]]


def assert_same_model(first: Any, second: Any, *, but: tuple[str, ...] = ()) -> None:
    """The same weights, and the same history but for some columns."""
    one, other = model(first), model(second)
    assert one.keys() == other.keys()
    assert [key for key in one if not one[key].equal(other[key])] == []
    histories = [history(project).drop(columns=list(but)) for project in (first, second)]
    pd.testing.assert_frame_equal(*histories)


def test_train_keeps_the_best_networks_of_the_run(finished: Any) -> None:
    history = pd.read_csv(finished.folder / "reports/training.csv").set_index("epoch")
    *_, settings = load_model(finished.folder / "data/model/best.safetensors")
    for role in ("student", "teacher"):
        scores = history[f"{role}_mAP"]
        assert settings["best"][role] == {"mAP": pytest.approx(scores.max()), "epoch": scores.idxmax()}
    assert settings["image"] == {"height": 32, "width": 16}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_help_says_what_it_reads_and_writes(stage: str) -> None:
    import importlib

    import typer
    from typer.testing import CliRunner

    app = typer.Typer()
    app.command()(getattr(importlib.import_module(f"stages.{stage}"), stage))
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Reads params.yaml" in text and "Writes" in text


def test_stages_write_what_they_say(finished: Any) -> None:
    folder = finished.folder
    for place in ("data/prepared", "data/pretrained", "data/model"):
        assert (folder / place / "settings.yaml").is_file()
    assert read_json(folder / "data/prepared/summary.json")["splits"]["train"]["identities"] == 10
    assert {key.split(".")[0] for key in model(finished)} == {"student", "teacher"}
    table = pd.read_csv(folder / "reports/training.csv")
    assert table["epoch"].tolist() == [1, 2]
    assert table[["student_mAP", "teacher_mAP", "loss", "eps", "num_clusters", "purity", "ari"]].notna().all(axis=None)
    metrics = read_json(folder / "reports/metrics.json")
    assert set(metrics) == {
        "student",
        "teacher",
        "untrained",
        "colour_histogram",
        "queries",
        "verification",
        "student_best_of_run",
        "teacher_best_of_run",
        "clustering",
    }
    clusters = pd.read_csv(folder / "reports/clusters.csv")["cluster"]
    signals = {
        name: table[name].iloc[-1] for name in ("camera_entropy", "single_camera", "ari_last_epoch", "silhouette")
    }
    assert metrics["clustering"] == signals | {
        "clusters": clusters.max() + 1,
        "images": len(clusters),
        "outliers": (clusters < 0).sum(),
    }
    assert metrics["student"]["mAP"] == pytest.approx(table["student_mAP"].iloc[-1], abs=1e-9)
    assert metrics["student_best_of_run"]["mAP"] == table["student_mAP"].max()
    assert len(pd.read_csv(folder / "reports/cmc.csv")) == 50
    assert not list(folder.glob(".scratch/*/checkpoint*")), "a finished training leaves no checkpoint"


def test_all_stages_write_to_one_mlflow_run(finished: Any, copied: Any) -> None:
    copied.done("report")
    assert (copied.folder / "reports/report.html").stat().st_size > 10_000
    assert len(list((copied.folder / "reports/figures").glob("*.png"))) >= 5
    run = run_of(copied.folder)
    assert run.info.run_id == read_json(copied.folder / "data/model/run.json")["run_id"]
    assert (run.info.run_name, run.info.status) == ("market1501 dccc resnet10_w32 seed 3407", "FINISHED")
    points = points_of(copied.folder, run.info.run_id)
    curves = {name.removeprefix("epoch/"): points.pop(name) for name in list(points) if name.startswith("epoch/")}
    assert {"loss", "eps", "learning_rate", "num_clusters", "num_outliers", "student_mAP", "teacher_mAP"} <= set(curves)
    assert [step for step, _ in curves["loss"]] == [1, 2]
    final = ["Rank-1", "Rank-10", "Rank-5", "ari_last_epoch", "camera_entropy", "clusters", "mAP", "mINP", "outliers"]
    assert list(points) == [*final, "silhouette", "single_camera", "teacher mAP", "untrained mAP"], (
        "few final scores, and named as in the report"
    )
    assert points["mAP"] == [(2, pytest.approx(read_json(copied.folder / "reports/metrics.json")["student"]["mAP"]))]
    copied.done("evaluate")
    assert points_of(copied.folder, run.info.run_id) == points | {
        f"epoch/{key}": value for key, value in curves.items()
    }
    assert run.data.params["clustering.eps"] == "0.6" and "None" not in run.data.params.values()
    named = {"dataset": "market1501", "method": "dccc", "backbone": "resnet10_w32", "seed": "3407"}
    tags = run.data.tags
    assert named.items() <= tags.items()
    assert [used.dataset.name for used in run.inputs.dataset_inputs] == ["market1501"]
    assert tags["data.digest"] == read_json(copied.folder / "data/prepared/summary.json")["digest"]
    # The copied database still names the folder of the project that it was made in.
    artifacts = {path.name for path in (finished.folder / "mlruns").rglob("*")}
    assert {"report.html", "metrics.json", "map.png"} <= artifacts


def test_evaluate_starts_a_new_run_where_the_old_one_is_gone(copied: Any) -> None:
    (copied.folder / "mlflow.db").unlink()
    shutil.rmtree(copied.folder / "mlruns", ignore_errors=True)
    copied.done("evaluate")
    gone = run_of(copied.folder).data.tags["missing_run"]
    assert gone == read_json(copied.folder / "data/model/run.json")["run_id"]


def test_training_never_sees_identities(finished: Any, copied: Any) -> None:
    """Other identities for all training images change nothing but the diagnostics that name them."""
    place = copied.folder / "data/prepared/catalogue.csv"
    catalogue = read_catalogue(place)
    train = catalogue["split"] == "train"
    rng = np.random.default_rng(0)
    catalogue.loc[train, "pid"] = rng.permutation(catalogue.loc[train, "pid"].to_numpy())
    assert (catalogue["pid"] != read_catalogue(place)["pid"]).any()
    write_catalogue(catalogue, place)
    copied.done("train")
    assert_same_model(finished, copied, but=AGAINST_IDENTITIES)
    assert (history(finished)["purity"] > history(copied)["purity"]).all()


def test_two_processes_give_the_result_of_one(finished: Any, copied: Any) -> None:
    copied.set(train__processes=2)
    copied.done("train")
    assert_same_model(finished, copied)


def test_mistake_in_one_of_two_processes_is_told_once(copied: Any) -> None:
    copied.set(train__processes=2, loss__temperature=1e-40)
    result = copied.run("train")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    told = [line for line in result.stderr.splitlines() if "the loss is not finite" in line]
    assert len(told) == 1 and told[0].startswith("error: the loss is not finite in epoch 1, step ")
    assert told[0].endswith("lower optimizer.lr or raise loss.temperature")


def started(project: Any) -> "subprocess.Popen[str]":
    """A training from its beginning, in a process group of its own, once its first checkpoint is there."""
    shutil.rmtree(project.folder / "data/model")
    (project.folder / "reports/training.csv").unlink()
    for run in runs_of(project.folder):
        client_of(project.folder).delete_run(run.info.run_id)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=project.folder,
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(9000):
        if list(project.folder.glob(".scratch/*/checkpoint.pt")):
            return process
        time.sleep(0.02)
    raise AssertionError("no checkpoint in three minutes")


def assert_recorded_without_a_gap(project: Any) -> None:
    run = run_of(project.folder)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in points_of(project.folder, run.info.run_id)["epoch/loss"]] == [1, 2]


def test_training_killed_goes_on_where_it_was_and_ends_the_same(finished: Any, copied: Any) -> None:
    """By SIGKILL: the same model as without, in the same MLflow run."""
    process = started(copied)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(1)  # the training process ends with the torchrun that started it
    assert not (copied.folder / "data/model").exists()
    assert "going on in " in copied.done("train")
    assert_same_model(finished, copied)
    assert_recorded_without_a_gap(copied)


@pytest.mark.parametrize("processes", [1, 2])
def test_training_told_to_stop_says_where_it_is_and_goes_on(finished: Any, copied: Any, processes: int) -> None:
    """By SIGTERM to the command; started again, on one process whatever it was, it ends as if nothing had been."""
    copied.set(train__checkpoint_minutes=0, train__processes=processes)
    process = started(copied)
    process.terminate()
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "start the same command again to go on from there" in told and "Traceback" not in errors
    assert run_of(copied.folder).info.status == "KILLED"
    copied.set(train__processes=1)
    assert "going on in " in copied.done("train")
    assert_same_model(finished, copied)
    assert_recorded_without_a_gap(copied)


def test_other_settings_start_afresh_and_say_so(copied: Any) -> None:
    process = started(copied)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    copied.set(memory__tau=0.5)
    told = copied.done("train")
    assert "(memory.tau 0.03 -> 0.5): starting afresh" in told and "going on" not in told
    assert "drops it" in told


def test_one_training_at_a_time(copied: Any) -> None:
    process = started(copied)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (checkpoint,) = copied.folder.glob(".scratch/*/checkpoint.pt")
    with held(checkpoint.parent):
        assert "the same training is running already" in copied.refused("train")
    copied.done("train")
