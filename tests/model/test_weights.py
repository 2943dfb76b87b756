"""Strict loading: prefixes, wrappers, what is left out on purpose, and everything that must stop."""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from pipeline.common.errors import UserError
from pipeline.model import build, load_weights_
from pipeline.model.checkpoint import save_checkpoint

THIN = "resnet10_w32"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build(THIN, features=8)


@pytest.fixture
def other():
    """Another network of the same shape, with values of its own everywhere."""
    torch.manual_seed(1)
    network = build(THIN, features=8)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape) * 100)
    return network


def trunk_of(network):
    """The state dict of the backbone alone, named as torchvision and IBN-Net name it, with a classifier."""
    state = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    return state | {"fc.weight": torch.ones(1000, 256), "fc.bias": torch.ones(1000)}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_classifier_is_left_out_and_named_and_the_head_stays(network, other):
    head = {name: tensor.clone() for name, tensor in network.state_dict().items() if "backbone" not in name}
    loaded = load_weights_(network, trunk_of(other))
    assert loaded.left_out == ("fc.bias", "fc.weight")
    assert set(loaded.initial) == set(head)
    assert_same(network.backbone.state_dict(), other.backbone.state_dict())
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in head.items())


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "base.", "model.", "module.base.", "module.model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_prefixes_and_wrappers_are_recognised(network, other, prefix, wrapper):
    state = {prefix + name: tensor for name, tensor in trunk_of(other).items()}
    content = state if wrapper is None else {"epoch": 3, wrapper: state, "optimizer": {"lr": 0.1}}
    loaded = load_weights_(network, content)
    assert_same(network.backbone.state_dict(), other.backbone.state_dict())
    others = set() if wrapper is None else {"epoch", "optimizer"}
    assert set(loaded.left_out) == {prefix + "fc.weight", prefix + "fc.bias"} | others


def test_wrappers_may_be_nested(network, other):
    load_weights_(network, {"model": {"state_dict": trunk_of(other)}})
    assert_same(network.backbone.state_dict(), other.backbone.state_dict())


def test_whole_network_is_loaded_with_its_head(network, other):
    loaded = load_weights_(network, other.state_dict())
    assert_same(network.state_dict(), other.state_dict())
    assert loaded.left_out == loaded.initial == ()


def test_checkpoint_of_train_gives_its_student(tmp_path, network, other):
    state = {f"student.{name}": tensor for name, tensor in other.state_dict().items()}
    state |= {f"teacher.{name}": torch.zeros_like(tensor) for name, tensor in other.state_dict().items()}
    save_file(state, tmp_path / "last.safetensors")
    loaded = load_weights_(network, tmp_path / "last.safetensors")
    assert_same(network.state_dict(), other.state_dict())
    assert set(loaded.left_out) == {f"teacher.{name}" for name in other.state_dict()}


def checkpoint(path, student):
    """What a training leaves while it runs: see `Trainer.state_dict`."""
    teacher = {name: torch.zeros_like(tensor) for name, tensor in student.state_dict().items()}
    trainer = {"student": student.state_dict(), "teacher": teacher, "optimizer": {"state": {}}, "scaler": {}}
    trainer |= {"epoch": 3, "step": 120, "running": None}
    save_checkpoint(path, {"trainer": trainer, "rows": [], "unscored": None})


def test_interrupted_training_gives_its_student(tmp_path, network, other):
    checkpoint(tmp_path / "checkpoint.pt", other)
    loaded = load_weights_(network, tmp_path / "checkpoint.pt")
    assert_same(network.state_dict(), other.state_dict())
    kept = {"format", "rows", "unscored", "epoch", "step", "running", "teacher", "optimizer", "scaler"}
    assert set(loaded.left_out) == kept and loaded.initial == ()


def test_interrupted_training_that_is_damaged_is_refused(tmp_path, network, other):
    path = tmp_path / "checkpoint.pt"
    checkpoint(path, other)
    content = path.read_bytes()
    for wrong in (content[:-1], content[:2000] + b"x" + content[2001:], content[:50]):
        path.write_bytes(wrong)
        refused(network, path, r"checkpoint\.pt is damaged: its SHA-256 is not the one in its first line")


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_files_are_loaded_by_build(tmp_path, other, kind):
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth.tar")
    if kind == "safetensors":
        save_file(trunk_of(other), path)
    else:
        state = OrderedDict((f"module.{name}", tensor) for name, tensor in trunk_of(other).items())
        torch.save(
            {"epoch": 1, "arch": "resnet", "state_dict": state},
            path,
            _use_new_zipfile_serialization=kind == "zip",
        )
    for place in (path, str(path)):
        assert_same(build(THIN, weights=place).backbone.state_dict(), other.backbone.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_state_dict_fits(name):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)()
    ours = build(name, weights=theirs.state_dict())
    assert all(torch.equal(ours.backbone.get_parameter(n), p) for n, p in theirs.named_parameters() if "fc" not in n)


def test_counters_of_old_files_may_be_missing(network, other):
    state = {name: tensor for name, tensor in trunk_of(other).items() if "num_batches_tracked" not in name}
    loaded = load_weights_(network, state)
    assert "backbone.bn1.num_batches_tracked" in loaded.initial
    assert torch.equal(network.backbone.bn1.running_mean, other.backbone.bn1.running_mean)


def test_half_precision_file_becomes_float32(network, other):
    load_weights_(network, {name: tensor.half() for name, tensor in trunk_of(other).items()})
    weight = network.backbone.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, other.backbone.conv1.weight.half().float())


def test_weights_are_copied_and_the_input_is_not_modified(network, other):
    state = trunk_of(other)
    before = {name: tensor.clone() for name, tensor in state.items()}
    load_weights_(network, state)
    with torch.no_grad():
        network.backbone.conv1.weight.zero_()
    assert_same(state, before)


def refused(network, weights, match):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(UserError, match=match) as caught:
        load_weights_(network, weights)
    assert "\n" not in str(caught.value)
    assert_same(network.state_dict(), before)


def test_unexpected_missing_misshapen_and_infinite_are_listed(network, other):
    state = trunk_of(other)
    state["layer5.weight"] = state.pop("layer1.0.conv1.weight")
    state["conv1.weight"] = state["conv1.weight"][:, :1]
    state["bn1.bias"][3] = float("nan")
    refused(
        network,
        state,
        r"unexpected: layer5.weight; missing: layer1.0.conv1.weight; "
        r"of another shape: conv1.weight \(32, 1, 7, 7\) for \(32, 3, 7, 7\); not finite: bn1.bias",
    )


def test_long_lists_are_cut(network):
    refused(network, build("resnet18").backbone.state_dict(), r"unexpected: layer1.1.bn1.bias, .* and 40 more")


def test_other_backbone_is_refused():
    refused(
        build("resnet10"),
        build(THIN).state_dict(),
        r"is it another backbone, .*of another shape: bn1.bias \(32,\) for \(64,\)",
    )


def test_whole_network_with_another_head_is_refused(network):
    refused(network, build(THIN).state_dict(), r"missing: embedding.weight; of another shape: neck.bias \(256,\)")
    refused(build(THIN), network.state_dict(), "unexpected: embedding.weight")
    refused(build(THIN, pooling="gem"), build(THIN).state_dict(), r"missing: pool\.p")
    refused(build(THIN), build(THIN, pooling="gem").state_dict(), r"unexpected: pool\.p")


def test_teacher_alone_is_taken(network, other):
    load_weights_(network, {f"teacher.{name}": tensor for name, tensor in other.state_dict().items()})
    assert_same(network.state_dict(), other.state_dict())


def test_same_tensor_under_two_prefixes_is_refused(network, other):
    state = trunk_of(other)
    refused(network, state | {"module.conv1.weight": state["conv1.weight"]}, "holds conv1.weight twice")


@pytest.mark.parametrize(
    ("content", "named"),
    [({"epoch": 3, "weights": {"a": 1}}, "epoch, weights"), ({}, "it is empty"), ({1: torch.ones(1)}, "1")],
)
def test_dictionary_without_tensors_is_refused(network, content, named):
    refused(network, content, f"the given state dict holds no state dict.*: {named}")


def test_missing_file_is_named(network, tmp_path):
    refused(network, tmp_path / "none.pth", r"no file of weights at .*none\.pth")
    refused(network, tmp_path, "no file of weights")


class Malicious:
    """Unpickling this creates a file."""

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_malicious_pickle_is_refused_and_not_run(network, other, tmp_path, kind):
    trace = tmp_path / "executed"
    content = {"state_dict": trunk_of(other), "extra": Malicious(trace)}
    path = tmp_path / "weights.pth"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused(network, path, r"weights\.pth .*could run code when loaded: refused")
    assert not trace.exists()
    # The trap works: an ordinary load springs it.
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_file_is_refused(network, other, tmp_path, suffix, share):
    path = tmp_path / f"weights{suffix}"
    save_file(trunk_of(other), path) if suffix == ".safetensors" else torch.save(trunk_of(other), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(network, path, r"weights\.(pth|safetensors) (cannot be read as weights|is damaged)")


def test_file_that_is_no_state_dict_is_refused(network, tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    refused(network, tmp_path / "list.pth", "holds no state dict but a list")
