"""From one data set's model to another's, with a backbone of timm."""

import shutil
from collections.abc import Callable

import timm
import torch
from safetensors.torch import load_file, save_file

from pipeline.common.files import read_json
from tests.stages.conftest import Project

BACKBONE = "timm/test_vit"


def test_model_of_one_data_set_starts_another(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.set(backbone=BACKBONE, epochs=1)
    weights = project.folder / "mine" / "vit.safetensors"
    weights.parent.mkdir()
    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), weights)  # for images of 160 x 160
    project.set(pretrained="mine/vit.safetensors")
    project.here("prepare")
    assert f"{BACKBONE} starts from vit.safetensors" in project.here("pretrained")
    project.here("train")
    project.here("evaluate")
    first = project.folder / "data/model/model.safetensors"
    before = load_file(first)
    assert before["student.backbone.timm.pos_embed"].shape == (1, 1 + 2, 64)  # 32 x 16 pixels, patches of 16
    metrics = read_json(project.folder / "reports/metrics.json")
    assert {"student", "teacher", "pretrained", "untrained"} <= metrics.keys()

    kept = project.folder / "kept" / "market1501.safetensors"
    kept.parent.mkdir()
    shutil.copy(first, kept)
    project.set(pretrained="kept/market1501.safetensors", seed=2)
    assert f"{BACKBONE} starts from market1501.safetensors" in project.here("pretrained")
    project.here("train")
    project.here("evaluate")
    again = read_json(project.folder / "reports/metrics.json")
    assert again["pretrained"]["mAP"] == metrics["student"]["mAP"]  # where the second training starts


def test_weights_of_another_model_stop_with_one_line(new_project: Callable[[], Project]) -> None:
    project = new_project()
    project.set(backbone="timm/test_wit")
    assert "has no model 'test_wit'; is it timm/" in project.refused("pretrained")
    weights = project.folder / "mine.safetensors"
    save_file(timm.create_model("test_vit2").state_dict(), weights)
    project.set(backbone=BACKBONE, pretrained="mine.safetensors")
    project.here("prepare")
    project.here("pretrained")
    assert f"do not fit {BACKBONE}: " in project.refused("train")
