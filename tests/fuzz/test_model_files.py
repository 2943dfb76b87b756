"""Files of weights, models, checkpoints and ONNX: damaged or hostile, they are read or refused in one line."""

import copy
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save

from pipeline.inference.embedder import Embedder
from pipeline.inference.onnx_export import export_onnx
from pipeline.model.backbones import BACKBONES, Backbone
from pipeline.model.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from pipeline.model.saved import save_model
from pipeline.model.weights import load_weights_
from tests.fuzz.conftest import outcome
from tests.fuzz.mutations import mutated, mutated_json, rounds
from tests.inference.conftest import images_of, network_of, settings_of

Survive = Callable[[Callable[[Path], None], bytes, str], None]
SETTINGS = settings_of("tiny")
IMAGES = images_of(3)


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[Any]:
    """Of a backbone that is small, so that damages hit what describes a file more often than its numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", Backbone("BasicBlock", (1, 1, 1, 1), width=4))
        yield network_of(SETTINGS)


def embed(path: Path) -> None:
    """Opens a file and embeds images with what is in it."""
    embedder = Embedder(path)
    assert embedder.embed(IMAGES, "").shape == (len(IMAGES), embedder.num_features)


def load(network: Any) -> Callable[[Path], object]:
    target = copy.deepcopy(network)
    return lambda path: load_weights_(target, path)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, network: Any) -> bytes:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network, copy.deepcopy(network), settings=SETTINGS)
    return path.read_bytes()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory, network: Any) -> bytes:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(path, network, IMAGES, role="student", settings=SETTINGS)
    return path.read_bytes()


@pytest.mark.parametrize("reader", ["embed", "load"])
def test_damaged_model_is_read_or_refused_in_one_line(
    survive: Survive, model_file: bytes, network: Any, reader: str
) -> None:
    rng = np.random.default_rng(1)
    read = embed if reader == "embed" else load(network)
    for _ in rounds(f"model to {reader}"):
        survive(read, mutated(model_file, rng), "model.safetensors")


def test_model_with_odd_settings_is_read_or_refused_in_one_line(survive: Survive, network: Any) -> None:
    rng = np.random.default_rng(2)
    tensors = {f"student.{key}": value for key, value in network.state_dict().items()}
    for _ in rounds("model with odd settings"):
        text = mutated_json(SETTINGS, rng).encode(errors="replace").decode()
        survive(embed, save(tensors, metadata={"settings": text}), "model.safetensors")


@pytest.mark.parametrize("whole", [False, True])
def test_damaged_checkpoint_is_read_or_refused_in_one_line(
    survive: Survive, tmp_path: Path, network: Any, whole: bool
) -> None:
    """`whole`: its digest is right, as of a file that somebody made."""
    rng = np.random.default_rng(3)
    save_checkpoint(tmp_path / "good.pt", checkpoint_of(network, SETTINGS))
    good = (tmp_path / "good.pt").read_bytes()
    readers = (embed, load(network), lambda path: load_checkpoint(path) and None)
    for _ in rounds(f"checkpoint, sealed {whole}"):
        content = with_digest(mutated(good[HEADER:], rng)) if whole else mutated(good, rng)
        for read in readers:
            survive(read, content, "checkpoint.pt")


def test_checkpoint_with_odd_content_is_read_or_refused_in_one_line(survive: Survive, network: Any) -> None:
    rng = np.random.default_rng(4)
    for _ in rounds("checkpoint with odd content"):
        try:
            settings = json.loads(mutated_json(SETTINGS, rng))
        except (ValueError, RecursionError):
            continue
        state = checkpoint_of(network, settings)
        place: Any = [state, state["trainer"]][int(rng.integers(2))]
        if rng.random() < 0.5:
            place[str(rng.choice(list(place)))] = json.loads(mutated_json(3, np.random.default_rng(5)))
        content = io.BytesIO()
        torch.save({"format": FORMAT, **state}, content)
        survive(embed, with_digest(content.getvalue()), "checkpoint.pt")


def test_damaged_file_of_weights_is_read_or_refused_in_one_line(survive: Survive, tmp_path: Path, network: Any) -> None:
    rng = np.random.default_rng(6)
    torch.save(network.state_dict(), tmp_path / "good.pth")
    good = (tmp_path / "good.pth").read_bytes()
    read = load(network)
    for _ in rounds("weights"):
        survive(read, mutated(good, rng), "weights.pth")


def test_damaged_onnx_file_is_read_or_refused_in_one_line(survive: Survive, onnx_file: bytes) -> None:
    rng = np.random.default_rng(7)
    for _ in rounds("ONNX"):
        survive(embed, mutated(onnx_file, rng, head=int(rng.choice([4096, 50_000]))), "model.onnx")


def test_onnx_file_with_odd_metadata_is_read_or_refused_in_one_line(survive: Survive, onnx_file: bytes) -> None:
    rng = np.random.default_rng(8)
    model = onnx.load_from_string(onnx_file)
    good = {each.key: each.value for each in model.metadata_props}
    for _ in rounds("ONNX with odd metadata"):
        key = str(rng.choice(list(good)))
        texts = good | {key: mutated_json(json.loads(good[key]), rng).encode(errors="replace").decode()}
        onnx.helper.set_model_props(model, texts)
        survive(embed, model.SerializeToString(), "model.onnx")


def test_onnx_file_with_an_odd_graph_is_read_or_refused_in_one_line(survive: Survive, onnx_file: bytes) -> None:
    rng = np.random.default_rng(9)
    for _ in rounds("ONNX with an odd graph"):
        model = onnx.load_from_string(onnx_file)
        for _ in range(int(rng.integers(1, 3))):
            change_graph(model.graph, rng)
        survive(embed, model.SerializeToString(), "model.onnx")


def change_graph(graph: Any, rng: np.random.Generator) -> None:
    """Makes one part of a graph odd."""
    node = graph.node[int(rng.integers(len(graph.node)))] if graph.node else None
    tensor = graph.initializer[int(rng.integers(len(graph.initializer)))] if graph.initializer else None
    value = [*graph.input, *graph.output][int(rng.integers(len(graph.input) + len(graph.output)))]
    dims = value.type.tensor_type.shape.dim
    match int(rng.integers(11)):
        case 0 if node:
            graph.node.remove(node)
        case 1 if node:
            node.op_type = str(rng.choice(["Relu", "Identity", "Nothing", "Transpose", "Shape", "SequenceConstruct"]))
        case 2 if node and node.input:
            node.input[int(rng.integers(len(node.input)))] = str(rng.choice(["images", "nothing", ""]))
        case 3 if node:
            node.output[0] = "embeddings"
        case 4:
            value.name = str(rng.choice(["images", "embeddings", "\x9b", ""]))
        case 5 if dims:
            dims[int(rng.integers(len(dims)))].dim_value = int(rng.choice([0, 1, 3, 2**31, 2**62, -1]))
        case 6 if dims:
            del dims[int(rng.integers(len(dims)))]
        case 7:
            (graph.output if rng.random() < 0.5 else graph.input).append(copy.deepcopy(value))
        case 8:
            del graph.output[:]
            graph.output.append(onnx.ValueInfoProto(name=str(graph.node[0].output[0] if graph.node else "x")))
        case 9 if tensor and tensor.dims:
            tensor.dims[0] = int(rng.choice([0, 1, 2**40, -1]))
        case 10:
            value.type.tensor_type.elem_type = int(rng.choice([0, 1, 7, 8, 11, 99]))


HOSTILE_SETTINGS = ("[" * 100_000, "9" * 6000, "null", '{"backbone": 5, "model": {}, "image": {}}', "{", "[]")


@pytest.mark.parametrize("text", HOSTILE_SETTINGS, ids=range(len(HOSTILE_SETTINGS)))
def test_hostile_header_of_a_model_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"student.a": torch.zeros(1)}, metadata={"settings": text}))
    assert str(path) in outcome(embed, path)


def test_header_that_claims_terabytes_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    settings = {**SETTINGS, "model": {**SETTINGS["model"], "features": 10**9}}
    path.write_bytes(save({"student.a": torch.zeros(1)}, metadata={"settings": json.dumps(settings)}))
    assert "does not fit its own settings" in outcome(embed, path)
    path.write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")
    assert "is damaged" in outcome(embed, path)


HEADER = len(b"reid checkpoint ") + 64 + 1


def checkpoint_of(network: Any, settings: Any) -> dict[str, Any]:
    trainer = {"student": network.state_dict(), "teacher": None, "epoch": 1}
    return {"settings": settings, "trainer": trainer, "rows": []}


def with_digest(payload: bytes) -> bytes:
    return b"reid checkpoint " + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload
