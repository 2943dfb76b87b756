"""Small files in the shapes in which others publish their weights: what is taken, what is left out and named."""

import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.common.errors import UserError
from pipeline.model import build, load_weights_
from pipeline.model.network import Network
from pipeline.model.positions import with_fitting_positions
from pipeline.model.published_files import tensors_of

SIZE = (64, 32)
VIT, RESNET = "timm/test_vit", "resnet10_w32"
State = dict[str, Tensor]


def vit_state(size: tuple[int, int] = SIZE, seed: int = 5) -> State:
    torch.manual_seed(seed)
    model = timm.create_model("test_vit", img_size=size, num_classes=0)
    return {name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()}


def resnet_state(seed: int = 5) -> State:
    torch.manual_seed(seed)
    return {name: torch.rand(x.shape).to(x.dtype) for name, x in build(RESNET).backbone.state_dict().items()}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def zeros(state: State) -> State:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


DINO_HEAD = {"head.mlp.0.weight": torch.ones(4, 64), "head.last_layer.weight_g": torch.ones(3, 1)}


def dino(state: State) -> dict[str, Any]:
    """A self-distillation, TransReID-SSL, PersonViT, SOLIDER: student and teacher, options and all."""
    student = prefixed("module.backbone.", zeros(state)) | prefixed("module.", DINO_HEAD)
    teacher = prefixed("backbone.", state) | DINO_HEAD
    options = Namespace(arch="vit_small", lr=0.0005, size=[256, 128])
    return {"student": student, "teacher": teacher, "optimizer": {"lr": 0.1}, "epoch": 100, "args": options}


def moco(state: State) -> dict[str, Any]:
    """Momentum contrast, LUPerson: the query's encoder, the key's, and a queue."""
    heads = {"fc.0.weight": torch.ones(4, 4), "fc.2.bias": torch.ones(4)}
    query, key = prefixed("module.encoder_q.", state | heads), prefixed("module.encoder_k.", zeros(state) | heads)
    queue = {"module.queue": torch.ones(4, 8), "module.queue_ptr": torch.ones(1)}
    score = np.float64(3.5)
    return {"arch": "resnet50", "best": score, "epoch": 200, "state_dict": query | key | queue}


def lightning(state: State) -> dict[str, Any]:
    flat = prefixed("teacher.backbone.", state) | prefixed("student.backbone.", zeros(state))
    return {"state_dict": flat | {"teacher.head.weight": torch.ones(3, 3)}, "loops": {"epoch": 3}}


def tower(state: State) -> dict[str, Any]:
    text = {"transformer.resblocks.0.weight": torch.ones(3), "logit_scale": torch.ones(())}
    return {"model": {"state_dict": prefixed("visual.", state) | text}}


def supervised(state: State) -> dict[str, Any]:
    """A re-identification network: backbone, bottleneck, classifier."""
    return prefixed("base.", state) | {"bottleneck.weight": torch.ones(3), "classifier.weight": torch.ones(7, 3)}


def test_read_from_disk_nothing_is_executed_and_options_are_let_through(tmp_path: Path) -> None:
    state = vit_state()
    torch.save(dino(state), tmp_path / "vit.pth")
    network = build(VIT, image_size=SIZE, weights=tmp_path / "vit.pth")
    assert_loaded(network, state)
    torch.save(moco(resnet_state()), tmp_path / "moco.pth.tar")
    assert_loaded(build(RESNET, weights=tmp_path / "moco.pth.tar"), resnet_state())


def test_scores_of_numpy_before_its_second_version_are_let_through(tmp_path: Path) -> None:
    path = tmp_path / "moco.pth"
    torch.save(moco(resnet_state()), path, _use_new_zipfile_serialization=False)
    new, old = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    assert new in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(new, old))
    assert_loaded(build(RESNET, weights=path), resnet_state())


def assert_loaded(network: Network, state: State) -> None:
    found = getattr(network.backbone, "timm", network.backbone).state_dict()
    assert found.keys() == state.keys()
    assert [name for name in state if not torch.equal(found[name], state[name])] == []


SHAPES: dict[Callable[[State], dict[str, Any]], str] = {
    dino: r"args, epoch, head \(2 tensors\), optimizer, student",
    moco: r"arch, best, encoder_k \(\d+ tensors\), epoch, fc \(2 tensors\), queue, queue_ptr",
    lightning: r"head, loops, student \(\d+ tensors\)",
    tower: "logit_scale, transformer",
    supervised: "bottleneck, classifier",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backbone", [VIT, RESNET])
def test_shape_is_recognised_and_what_is_left_out_is_named(
    shape: Callable[[State], dict[str, Any]], backbone: str
) -> None:
    state = vit_state() if backbone == VIT else resnet_state()
    network = build(backbone, image_size=SIZE)
    loaded = load_weights_(network, shape(state))
    assert_loaded(network, state)
    assert loaded.remark is not None
    parts = loaded.remark.removeprefix("of the file of starting weights is left out: ")
    assert re.fullmatch(SHAPES[shape], ", ".join(sorted(parts.split(", ")))), parts


def test_part_tokens_are_left_out_and_their_positions_with_them() -> None:
    """PASS: a class token, three of parts, then the patches."""
    state = vit_state()
    class_position, patches = state["pos_embed"].split([1, 8], dim=1)
    tokens = {f"part_token{part}": torch.ones(1, 1, 64) for part in (1, 2, 3)}
    behind_each_other: State = {"pos_embed": torch.cat([class_position, torch.ones(1, 3, 64), patches], dim=1)}
    parts = {f"part{part}_pos": torch.ones(1, 1, 64) for part in (1, 2, 3)}
    apart: State = {"pos_embed": patches, "cls_pos": class_position, **parts}
    for positions in (behind_each_other, apart):
        network = build(VIT, image_size=SIZE)
        loaded = load_weights_(network, {"teacher": prefixed("backbone.", {**state, **tokens, **positions})})
        assert_loaded(network, state)
        assert {"part_token1", "part_token2", "part_token3"} <= set(loaded.left_out)


@pytest.mark.parametrize(("old", "grid"), [((128, 64), (8, 4)), ((64, 64), (4, 4)), ((96, 32), (6, 2))])
def test_positions_of_images_that_are_not_square_are_resized(old: tuple[int, int], grid: tuple[int, int]) -> None:
    state = vit_state(old)
    network = build(VIT, image_size=SIZE, weights=dino(state))
    first, rest = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    maps = rest.reshape(1, *grid, 64).permute(0, 3, 1, 2)
    expected = F.interpolate(maps, size=(4, 2), mode="bicubic", antialias=True).permute(0, 2, 3, 1).reshape(1, 8, 64)
    found = network.backbone.timm.pos_embed
    torch.testing.assert_close(found, torch.cat([first, expected], dim=1))


def test_positions_that_fit_are_not_touched() -> None:
    state = vit_state()
    model = build(VIT, image_size=SIZE).backbone.timm
    assert with_fitting_positions(model, state, state)["pos_embed"] is state["pos_embed"]
    with_more = {**state, "pos_embed": torch.ones(9, 64)}
    assert with_fitting_positions(model, with_more, with_more)["pos_embed"] is with_more["pos_embed"]


def test_ics_file_is_loaded() -> None:
    """TransReID-SSL: a teacher with the convolution stem."""
    torch.manual_seed(1)
    theirs = build("timm/vit_small_ics", pooling="token", image_size=SIZE)
    state = {name: tensor.clone() for name, tensor in theirs.backbone.timm.state_dict().items()}
    torch.manual_seed(2)
    ours = build("timm/vit_small_ics", pooling="token", image_size=(128, 64))
    loaded = load_weights_(ours, {"teacher": prefixed("backbone.", state) | DINO_HEAD})
    assert set(loaded.left_out) == {"head.mlp.0.weight", "head.last_layer.weight_g"}
    found = ours.backbone.timm.state_dict()
    assert [name for name in state if name != "pos_embed" and not torch.equal(found[name], state[name])] == []


SWIN: dict[str, Any] = {
    "img_size": SIZE,
    "embed_dim": 16,
    "depths": (1, 1, 1, 1),
    "num_heads": (1, 1, 2, 2),
    "window_size": 2,
}
NAMES = {"patch_embed.proj.": "patch_embed.projection.", "layers.": "stages.", "mlp.fc1.": "ffn.layers.0.0."}
NAMES |= {"mlp.fc2.": "ffn.layers.1."}


def test_swin_by_the_names_of_mmcv_merges_its_patches_alike() -> None:
    """SOLIDER. mmcv unfolds maps, a channel's four places side by side; Swin's authors put four maps side by side."""
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **SWIN)
    state: State = {}
    for name, tensor in model.state_dict().items():
        for old, new in NAMES.items():
            name = name.replace(old, new)
        name = name.replace(".attn.", ".attn.w_msa.")
        if ".downsample." in name:  # timm has it at the beginning of the next stage
            _, stage, rest = name.split(".", 2)
            name = f"stages.{int(stage) - 1}.{rest}"
        state["norm3." + name.removeprefix("norm.") if name.startswith("norm.") else name] = tensor
    merging = model.get_submodule("layers.1.downsample")
    maps = torch.rand(1, 8, 4, 16)
    unfolded = F.unfold(maps.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)  # as mmcv merges patches
    norm, reduction = torch.rand(64), torch.rand(32, 64)
    state["stages.0.downsample.norm.weight"], state["stages.0.downsample.reduction.weight"] = norm, reduction
    state["stages.0.downsample.norm.bias"] = torch.rand(64)
    expected = F.layer_norm(unfolded, (64,), norm, state["stages.0.downsample.norm.bias"]) @ reduction.T
    controller = {"semantic_embed_w.0.weight": torch.ones(3, 2), "norm0.weight": torch.ones(3)}
    found = tensors_of({"teacher": prefixed("backbone.", state | controller)}, "file").tensors
    place = "layers.0.downsample."
    merging.load_state_dict({name.removeprefix(place): x for name, x in found.items() if name.startswith(place)})
    with torch.no_grad():
        torch.testing.assert_close(merging(maps).flatten(1, 2), expected, atol=1e-5, rtol=1e-5)
    assert found.keys() >= {"patch_embed.proj.weight", "layers.3.blocks.0.attn.qkv.weight", "norm.weight"}


def test_file_of_another_architecture_is_one_line(tmp_path: Path) -> None:
    cases = [(RESNET, dino(vit_state())), (VIT, moco(resnet_state()))]
    torch.manual_seed(0)
    cases += [(VIT, dino(timm.create_model("test_vit2", img_size=SIZE, num_classes=0).state_dict()))]
    for number, (backbone, content) in enumerate(cases):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        with pytest.raises(UserError, match=rf"weights of .*{number}\.pth do not fit") as caught:
            build(backbone, image_size=SIZE, weights=path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1200


def test_deeper_network_of_the_same_parts_is_refused() -> None:
    state = resnet_state() | {"layer4.1.conv1.weight": torch.ones(3)}
    with pytest.raises(UserError, match="unexpected: layer4.1.conv1.weight"):
        build(RESNET, weights=moco(state))
    vit = vit_state() | {"blocks.99.norm1.weight": torch.ones(64)}
    with pytest.raises(UserError, match=r"do not fit timm/test_vit: .*blocks\.99\.norm1\.weight"):
        build(VIT, image_size=SIZE, weights=dino(vit))
