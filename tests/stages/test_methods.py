"""Every method through the stages, as `dvc exp run -S method=...` runs them."""

from typing import Any

import pandas as pd
import pytest

from pipeline.common.files import read_json
from pipeline.model.saved import load_model

# A random network on drawn people finds few clusters, and SpCL's criterion leaves fewer.
CHOICES = {
    "cluster_contrast": {"memory__update": "hard"},
    "spcl": {"methods__spcl__independent": 1.0, "methods__spcl__delta": 0.05},
}


@pytest.mark.parametrize("method", CHOICES)
def test_method_without_a_teacher_through_all_stages(copied: Any, method: str) -> None:
    project = copied  # prepared, and with the results of dccc: nothing of them may be left
    project.set(method=method, **CHOICES[method])
    for stage in ("train", "evaluate", "report"):
        project.here(stage)
    _, teacher, settings = load_model(project.folder / "data/model/model.safetensors")
    assert teacher is None and settings["method"] == method and settings["loss"]["weight"] == 0
    metrics = read_json(project.folder / "reports/metrics.json")
    assert {"student", "student_best_of_run", "untrained"} <= metrics.keys()
    assert not {name for name in metrics if "teacher" in name}
    history = pd.read_csv(project.folder / "reports/training.csv")
    curves = pd.read_csv(project.folder / "reports/cmc.csv")
    # Empty, but there: DVC draws the same columns for every run.
    assert history["teacher_mAP"].isna().all() and curves["teacher"].isna().all()
    assert history["student_mAP"].notna().all() and {"distance_within", "distance_between"} <= set(history)
    assert ("num_unreliable" in history) == (method == "spcl")
    page = (project.folder / "reports/report.html").read_text(encoding="utf-8")
    assert {"cluster_contrast": "Cluster Contrast", "spcl": "SpCL"}[method] in page
    drawn = page.split('id="settings"')[0]  # which has the settings of a teacher, whoever uses them
    assert "teacher" not in drawn.lower()
    said = project.refused("evaluate", "--model", "data/model/model.safetensors", "--role", "teacher")
    assert "holds no teacher" in said


def test_camera_aware_method_through_all_stages(copied: Any) -> None:
    project = copied
    neighbours = {"clustering__k_intra": 2, "clustering__k_inter": 6}  # of people with a dozen images
    project.set(method="dccc_cam", clustering__eps=0.6, evaluate__rerank="camera_jaccard", **neighbours)
    for stage in ("train", "evaluate", "report"):
        project.here(stage)
    history = pd.read_csv(project.folder / "reports/training.csv")
    assert history[["camera_entropy", "single_camera"]].notna().all(axis=None)
    assert history["ari_last_epoch"].isna().tolist() == [True, False]
    summary = read_json(project.folder / "reports/summary.json")
    assert summary["single_camera"] == pytest.approx(history["single_camera"].iloc[-1])
    assert {"student_reranked", "teacher_reranked"} <= read_json(project.folder / "reports/metrics.json").keys()
    page = (project.folder / "reports/report.html").read_text(encoding="utf-8")
    assert "DCCC, camera-aware" in page and "of the last epoch&#39;s clusters hold one camera only" in page


def test_method_and_its_parts_have_to_fit(copied: Any) -> None:
    copied.set(method="spcl", memory__update="dynamic")
    assert "memory.update must be hybrid for method spcl, got dynamic" in copied.refused("train")
