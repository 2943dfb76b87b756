"""A trained model comes back bit for bit, with the settings that made it, or not at all."""

import copy
import stat
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from pipeline.common.errors import UserError
from pipeline.model import build
from pipeline.model.saved import load_model, load_network, model_settings, save_best, save_model

SETTINGS: dict[str, Any] = {
    "dataset": "toy",
    "backbone": "resnet10_w32",
    "seed": 2**32 - 1,
    "image": {"height": 32, "width": 16},
    "model": {"pooling": "gem", "features": 8, "bn_group": 2},
    "optimizer": {"lr": 3.5e-4, "names": ["σ", None, True]},
}


def network(seed: int, settings: dict[str, Any] = SETTINGS) -> nn.Module:
    """A network with a value of its own in every tensor, the statistics of BatchNorm included."""
    torch.manual_seed(seed)
    made = build(settings["backbone"], **settings["model"])
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor += torch.rand(tensor.shape) / 10 if tensor.is_floating_point() else seed
    return made


@pytest.fixture(scope="module")
def pair() -> tuple[nn.Module, nn.Module]:
    return network(1), network(2)


@pytest.fixture
def path(tmp_path: Path, pair: tuple[nn.Module, nn.Module]) -> Path:
    save_model(tmp_path / "data" / "model.safetensors", *pair, settings=SETTINGS)
    return tmp_path / "data" / "model.safetensors"


def test_model_comes_back_bit_for_bit(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    *found, settings = load_model(path)
    assert settings == SETTINGS == model_settings(path)
    for before, after in zip(pair, found, strict=True):
        expected, state = before.state_dict(), after.state_dict()
        assert list(state) == list(expected)
        assert [key for key in state if not torch.equal(state[key], expected[key])] == []
        assert {key: value.dtype for key, value in state.items()} == {key: v.dtype for key, v in expected.items()}


def test_model_computes_as_before_in_eval_mode(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    images = torch.rand(3, 3, 32, 16)
    for before, after in zip(pair, load_model(path)[:2], strict=True):
        assert not any(module.training for module in after.modules())
        with torch.no_grad():
            assert after is not None
            assert torch.equal(after(images), before.eval()(images))


def test_model_is_saved_without_being_changed(tmp_path: Path) -> None:
    student, teacher = network(1), network(2)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    save_model(tmp_path / "m.safetensors", student.train(), teacher, settings=SETTINGS)
    assert student.training
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())


def test_model_of_other_strides_is_saved(tmp_path: Path) -> None:
    student = network(1).to(memory_format=torch.channels_last)
    save_model(tmp_path / "m.safetensors", student, network(2), settings=SETTINGS)
    assert torch.equal(load_model(tmp_path / "m.safetensors")[0].backbone.conv1.weight, student.backbone.conv1.weight)


def test_model_is_the_same_file_for_the_same_networks(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    content = path.read_bytes()
    save_model(path, *pair, settings=SETTINGS)
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_model_may_be_read_by_others(path: Path) -> None:
    (path.parent / "other").write_text("")
    assert stat.filemode(path.stat().st_mode) == stat.filemode((path.parent / "other").stat().st_mode)


def test_model_is_valid_as_starting_weights(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    start = build(SETTINGS["backbone"], **SETTINGS["model"], weights=path)
    assert all(torch.equal(value, pair[0].state_dict()[key]) for key, value in start.state_dict().items())


def test_model_that_cannot_be_saved_leaves_the_old_one(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    content = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_model(path, *pair, settings={"folder": path})
    assert path.read_bytes() == content


@pytest.mark.parametrize("read", [model_settings, load_model])
class TestRefused:
    """Reading the settings alone is as careful as reading everything."""

    def refused(self, read: Any, path: Path, match: str) -> None:
        with pytest.raises(UserError, match=match) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_missing_model_says_which_stage_to_run(self, read: Any, tmp_path: Path) -> None:
        self.refused(read, tmp_path / "model.safetensors", "is missing: run `dvc repro train` first")

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
    def test_truncated_model_is_damaged(self, read: Any, path: Path, share: float) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        self.refused(read, path, r"model\.safetensors is damaged")

    @pytest.mark.parametrize("content", [b"{}", b"\xff" * 100, b"PK\x03\x04" + bytes(200)])
    def test_file_of_another_kind_is_damaged(self, read: Any, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.refused(read, path, r"model\.safetensors is damaged")

    def test_file_of_others_is_foreign(self, read: Any, path: Path) -> None:
        for metadata in (None, {"format": "pt"}):
            safetensors.torch.save_file({"conv1.weight": torch.ones(2)}, path, metadata=metadata)
            self.refused(read, path, "was not written by the train stage: its header holds no settings")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backbone": "resnet10"}, "size mismatch"),
        ({"model": {**SETTINGS["model"], "features": 9}}, "size mismatch"),
        ({"model": {**SETTINGS["model"], "features": 0}}, "Unexpected key|size mismatch"),
        ({"model": {**SETTINGS["model"], "pooling": "avg"}}, r"Unexpected key\(s\) in state_dict: .pool.p"),
        ({"backbone": "resnet18_w32"}, "Missing key"),
    ],
)
def test_tensors_that_do_not_fit_the_settings_are_refused(
    path: Path, pair: tuple[nn.Module, nn.Module], change: dict[str, Any], words: str
) -> None:
    save_model(path, *pair, settings=SETTINGS | change)
    with pytest.raises(UserError, match=rf"model\.safetensors does not fit its own settings: .*({words})") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_model_without_a_teacher_holds_the_student_alone(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    save_model(path, pair[0], None, settings=SETTINGS)
    assert {key.split(".")[0] for key in safetensors.torch.load_file(path)} == {"student"}
    student, teacher, _ = load_model(path)
    assert teacher is None
    state = student.state_dict()
    assert [key for key, value in pair[0].state_dict().items() if not torch.equal(state[key], value)] == []
    with pytest.raises(UserError, match=r"model\.safetensors holds no teacher: it was trained without one .*student"):
        load_network(path, role="teacher")


def test_best_networks_without_a_teacher(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    for epoch, score in enumerate((0.2, 0.4, 0.3), start=1):
        save_best(path, network(epoch), None, mean_aps={"student": score}, epoch=epoch, settings=SETTINGS)
    student, teacher, settings = load_model(path)
    assert teacher is None and settings["best"] == {"student": {"mAP": 0.4, "epoch": 2}}
    assert torch.equal(student.backbone.conv1.weight, network(2).backbone.conv1.weight)


def test_model_of_an_unknown_backbone_is_refused(path: Path, pair: tuple[nn.Module, nn.Module]) -> None:
    save_model(path, *pair, settings=SETTINGS | {"backbone": "resnet7"})
    with pytest.raises(UserError, match="backbone must be one of .*, got 'resnet7'"):
        load_model(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged: the settings in its header cannot be read"),
        ('{"backbone": "resnet10_w32"}', "is not of this version: the settings in its header lack model, image"),
        ("[1]", "lack backbone, model, image"),
    ],
)
def test_header_that_lacks_settings_is_refused(path: Path, text: str, message: str) -> None:
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, metadata={"settings": text})
    with pytest.raises(UserError, match=message):
        load_model(path)


def test_best_networks_are_kept_each_by_itself(tmp_path: Path) -> None:
    path, networks = tmp_path / "best.safetensors", [network(seed) for seed in (1, 2, 3)]
    figures = [(0.2, 0.5), (0.4, 0.3), (0.4, 0.5)]  # student and teacher; equal is not better
    for epoch, (now, (student, teacher)) in enumerate(zip(networks, figures, strict=True), start=1):
        save_best(
            path,
            now,
            copy.deepcopy(now),
            mean_aps={"student": student, "teacher": teacher},
            epoch=epoch,
            settings=SETTINGS,
        )
    *found, settings = load_model(path)
    best = {"student": {"mAP": 0.4, "epoch": 2}, "teacher": {"mAP": 0.5, "epoch": 1}}
    assert settings == {**SETTINGS, "best": best}
    for before, after in zip((networks[1], networks[0]), found, strict=True):
        state = after.state_dict()
        assert [key for key, value in before.state_dict().items() if not torch.equal(state[key], value)] == []


@pytest.mark.parametrize(("old", "new"), [("optimiser", "optimizer"), ("reliability", "methods.spcl")])
def test_model_of_an_earlier_version_says_what_its_settings_are_called_now(tmp_path, old, new):
    path = tmp_path / "model.safetensors"
    save_model(path, build(SETTINGS["backbone"], **SETTINGS["model"]), None, settings={**SETTINGS, old: {}})
    with pytest.raises(UserError, match=f"is of an earlier version: {old}, in its header, is called {new} now"):
        model_settings(path)
