"""Taking the model of a run elsewhere, as a user does: exported, scored from any file, and had from MLflow."""

import json
import shutil
from typing import Any

import onnx
import pytest

from pipeline.common.files import read_json
from pipeline.inference import onnx_export
from pipeline.inference.onnx_metadata import Agreement
from pipeline.model.checkpoint import save_checkpoint


def scores(project: Any, *arguments: str) -> dict[str, Any]:
    output = project.folder / "scores.json"
    project.here("evaluate", *arguments, "--output", str(output))
    return read_json(output)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_exported_model_is_checked_and_scores_as_the_one_it_came_from(copied: Any, role: str) -> None:
    results = (copied.folder / "reports/metrics.json").read_bytes()
    told = copied.here("export", "--role", role)
    assert "largest difference from PyTorch" in told and "64 images of data/prepared" in told
    (texts,) = [{p.key: p.value for p in onnx.load(copied.folder / "reports/model.onnx").metadata_props}]
    assert texts["role"] == f'"{role}"'

    found = scores(copied, "--model", "reports/model.onnx")
    expected = read_json(copied.folder / "reports/metrics.json")
    assert found["role"] == role and found["settings"]["backbone"] == "resnet10_w32"
    assert found["data"] == read_json(copied.folder / "data/prepared/summary.json")["digest"]
    assert found["metrics"][role] == pytest.approx(expected[role], abs=1e-4)
    assert found["metrics"]["queries"] == expected["queries"]
    assert scores(copied, "--model", "data/model/model.safetensors", "--role", role)["metrics"][role] == expected[role]
    assert (copied.folder / "reports/metrics.json").read_bytes() == results


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_narrower_model_is_scored_beside_pytorch_before_it_is_written(copied: Any, precision: str) -> None:
    told = copied.here("export", "--precision", precision, "--max-loss", "50")
    assert f"student, {precision}, opset" in told and "smallest cosine" in told
    expected = read_json(copied.folder / "reports/metrics.json")["student"]["mAP"]
    (texts,) = [{p.key: p.value for p in onnx.load(copied.folder / "reports/model.onnx").metadata_props}]
    agreement = json.loads(texts["agreement"])
    assert texts["precision"] == f'"{precision}"' and agreement["pytorch_mAP"] == pytest.approx(expected, abs=1e-4)
    assert f"mAP {100 * agreement['mAP']:.2f}, and {100 * expected:.2f} in PyTorch" in told
    found = scores(copied, "--model", "reports/model.onnx")["metrics"]["student"]["mAP"]
    assert found == pytest.approx(agreement["mAP"], abs=1e-4)


def test_export_that_is_not_scored_says_why(copied: Any) -> None:
    assert "mAP was not compared: no --score" in copied.here("export", "--no-score")
    model = onnx.load(copied.folder / "reports/model.onnx")
    (told,) = [json.loads(each.value) for each in model.metadata_props if each.key == "agreement"]
    assert told["mAP"] is None and told["pytorch_mAP"] is None and told["difference"] < 1e-4


def test_loss_above_the_limit_leaves_the_file_of_before(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (copied.folder / "reports/model.onnx").write_bytes(b"the one before")
    lost = Agreement(difference=0.1, cosine=0.9, mean_ap=0.4, pytorch_mean_ap=0.5)
    monkeypatch.setattr(onnx_export, "_scored", lambda *_: lost)
    told = copied.refused("export", "--precision", "int8", "--max-loss", "9")
    assert "reports/model.onnx is not written: int8 loses 10.00 points of mAP, more than 9: take a wider" in told
    assert (copied.folder / "reports/model.onnx").read_bytes() == b"the one before"


def test_evaluate_prints_a_table_and_reranks_where_the_settings_say_so(copied: Any) -> None:
    copied.set(evaluate__rerank=True)
    told = copied.here("evaluate", "--model", "data/model/model.safetensors")
    lines = [line.split()[0] for line in told.splitlines()]
    assert lines[:4] == ["data/model/model.safetensors", "mAP", "student", "student_reranked"]
    assert "queries have a match" in told and not (copied.folder / "scores.json").exists()


def test_evaluate_takes_settings_from_the_model_and_none_from_params(copied: Any) -> None:
    expected = scores(copied, "--model", "data/model/model.safetensors")
    copied.set(backbone="resnet50", model__features=7, model__pooling="gem", image__height=64)
    assert scores(copied, "--model", "data/model/model.safetensors") == expected


def test_checkpoint_of_an_interrupted_training_is_scored_and_exported(copied: Any) -> None:
    """The one of a finished training, which stays until a later stage runs, has the keys of all others."""
    copied.set(train__checkpoint_minutes=0, epochs=3)
    copied.here("train")
    (checkpoint,) = copied.folder.glob(".scratch/*/checkpoint.pt")
    shutil.copy(checkpoint, copied.folder / "kept.pt")
    # After the last epoch a checkpoint holds what the model does.
    for role in ("student", "teacher"):
        whole = scores(copied, "--model", "data/model/model.safetensors", "--role", role)
        found = scores(copied, "--model", "kept.pt", "--role", role)
        for key in ("kept", "thresholds"):  # a checkpoint has the state of the method, and no thresholds yet
            del whole["settings"][key]
        assert found["metrics"] == whole["metrics"] and found["settings"] == whole["settings"]
    assert "largest difference" in copied.here("export", "--model", "kept.pt", "--output", "out/kept.onnx")
    assert (copied.folder / "out/kept.onnx").is_file()


def test_mistakes_are_one_line(copied: Any) -> None:
    save_checkpoint(copied.folder / "old.pt", {"trainer": {}})
    for words, match in (
        (("--model", "old.pt"), "old.pt is of a training that kept no settings in its checkpoints"),
        (("--role", "teacher"), "--role, --output and --provider say more about --model: name one"),
        (("--model", "data/model/model.safetensors", "--role", "best"), "the network must be one of student, teacher"),
        (("--model", "reports/model.onnx"), "reports/model.onnx is missing: run `python -m stages.export` first"),
        (
            ("--model", "data/model/model.safetensors", "--output", "reports/metrics.json"),
            "reports/metrics.json belongs to the results of the stages",
        ),
    ):
        assert match in copied.refused("evaluate", *words)
    mistakes: tuple[tuple[tuple[str, ...], str], ...] = (
        (("--output", "data/model/model.onnx"), "data/model/model.onnx belongs to the results of the stages"),
        (("--output", "model.bin"), "--output must end in .onnx, got model.bin"),
        (("--model", "none.safetensors"), "none.safetensors is missing"),
        (("--precision", "int4"), "--precision must be one of fp32, fp16, int8, got 'int4'"),
        (("--max-loss", "-1"), "--max-loss must be 0 or more points of mAP, got -1.0"),
        (("--max-loss", "nan"), "--max-loss must be 0 or more points of mAP, got nan"),
        (("--max-loss", "1", "--no-score"), "is in points of mAP, and none is measured (no --score): leave it out"),
    )
    for options, match in mistakes:
        assert match in copied.refused("export", *options)


def test_model_of_another_size_than_the_prepared_images_is_one_line(copied: Any) -> None:
    copied.set(image__height=48, image__width=24)
    copied.here("prepare")
    told = copied.refused("evaluate", "--model", "data/model/model.safetensors")
    assert "was trained on images of 32 x 16 (height x width), and these are of 48 x 24" in told
    # An export needs no images of that size: those that are there are resized.
    told = copied.here("export", "--score")
    assert "resized to 32 x 16" in told
    assert "mAP was not compared: the images of data/prepared are of another size" in told


def test_model_is_registered_when_it_is_asked_for_and_once(copied: Any) -> None:
    assert "models:/" not in copied.here("report")
    first, second = copied.here("register"), copied.here("register")
    assert "in MLflow: models:/dccc-market1501-resnet10_w32/1" in first and first == second
