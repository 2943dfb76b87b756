"""The files of weights that others publish: from their wrappers and names to the tensors of one network.

Recognised are the shapes in which the files of TransReID-SSL, PASS, PersonViT, SOLIDER, CION and LUPerson's MoCo are
described, and their like, nested in any order:

- mappings within mappings: `state_dict`, `model`, and of a self-distillation (DINO) its `teacher`, whose network the
  student's running mean is; of a training of this project (`trainer`), its `student`;
- prefixes: `module.`, `backbone.`, `base.`, `model.`;
- one of several networks by its prefix: `teacher.`, `encoder_q.` (MoCo; `encoder_k.` and the queue are left out),
  `base_encoder.`, `visual.` (an image tower beside others), `student.`; in a model file of this project, `student.`.
  The image tower of CLIP stays as it is: timm reads it;
- Swin transformers by the names of mmcv, whose patch merging has its channels in another order.

What the network has no place for is told to the caller by name. Nothing in a file is executed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipeline.common.errors import UserError
from pipeline.common.text import one_line

WRAPPERS = ("trainer", "teacher", "state_dict", "model", "student")
PREFIXES = ("module.", "backbone.", "base.", "model.")
# Of several networks in one file, the first of these is taken; in files of this project the student.
NETWORKS = ("teacher.", "encoder_q.", "base_encoder.", "visual.", "student.")
OURS = "neck.weight"  # no other network has it
TOWER = "visual."
CLIP = ("visual.class_embedding", "visual.trunk.")
SHOWN = 8  # names of each kind in a message

_MMCV_SWIN = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"^stages\.", "layers."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"^norm3\.", "norm."),
)


@dataclass(frozen=True)
class Found:
    """One network's tensors by names without prefix, those names in the file, and what in the file is left out.

    `network` is the prefix of the network among several, None where there is one alone.
    """

    tensors: dict[str, Tensor]
    names: dict[str, str]
    left_out: list[str]
    network: str | None


def tensors_of(content: Mapping[str, Any], source: str) -> Found:
    """The tensors of one network in a file.

    Args:
        content: what a file holds.
        source: its name, for messages.

    Raises:
        UserError: there are no tensors in it, or two of one name.
    """
    tensors, left_out = _unwrapped(content, source)
    networks: tuple[str, ...] = NETWORKS
    bare_of = {name: _split(name, ())[1] for name in tensors}
    if any(bare.startswith(CLIP) for bare in bare_of.values()):
        networks = tuple(network for network in NETWORKS if network != TOWER)
        left_out += [name for name, bare in bare_of.items() if not bare.startswith(TOWER)]
        tensors = {name: tensor for name, tensor in tensors.items() if bare_of[name].startswith(TOWER)}
    network = _network_of(tensors, networks)
    found: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    for name, tensor in tensors.items():
        own, bare = _split(name, networks)
        if network is not None and network != own:
            left_out.append(name)
        elif bare in found:
            raise UserError(f"{source} holds {one_line(bare)} twice, under different prefixes: keep one of them")
        else:
            found[bare], names[bare] = tensor, name
    return Found(_from_mmcv(found), names, left_out, network)


def bare_name(name: str) -> str:
    """`module.backbone.conv1.weight` -> `conv1.weight`."""
    return _split(name)[1]


def part_of(name: str, *, network: str | None) -> str:
    """What a name in a file belongs to: another network than the one that was taken, or the first part of it."""
    own, bare = _split(name)
    return own.removesuffix(".") if own is not None and own != network else bare.split(".")[0]


def listed(names: Iterable[str]) -> str:
    """Some of the names, in their order, and how many more there are."""
    ordered = sorted(map(one_line, names))
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more


def _unwrapped(content: Mapping[str, Any], source: str) -> tuple[dict[str, Tensor], list[str]]:
    """The innermost mapping, of tensors alone, and the names of what lies beside it and those around it."""
    left_out: list[str] = []
    wrappers: tuple[str, ...] = WRAPPERS
    while wrapper := next((key for key in wrappers if isinstance(content.get(key), Mapping)), None):
        left_out += [str(key) for key in content if key != wrapper]
        content = content[wrapper]
        if wrapper == "trainer":
            wrappers = ("student",)
    plain = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if plain or not content:
        raise UserError(
            f"{source} holds no state dict, neither by itself nor under {' or '.join(WRAPPERS)}: "
            f"{listed(plain) or 'it is empty'}"
        )
    return dict(content), left_out


def _network_of(names: Iterable[str], networks: tuple[str, ...]) -> str | None:
    """The prefix of the network to take; None where there is none."""
    pairs = [_split(name, networks) for name in names]
    there = {network for network, _ in pairs if network is not None}
    if ("student.", OURS) in pairs:
        return "student."
    return next((network for network in networks if network in there), None)


def _split(name: str, networks: tuple[str, ...] = NETWORKS) -> tuple[str | None, str]:
    """The first prefix of a network in a name, and the name without any prefix."""
    network: str | None = None
    while prefix := next((prefix for prefix in (*PREFIXES, *networks) if name.startswith(prefix)), None):
        network = network or (prefix if prefix in networks else None)
        name = name.removeprefix(prefix)
    return network, name


def _from_mmcv(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A Swin transformer by the names of mmcv, by those of its authors; any other network as it is."""
    if not any(".attn.w_msa." in name for name in tensors):
        return tensors
    found = {}
    for name, tensor in tensors.items():
        for old, new in _MMCV_SWIN:
            name = re.sub(old, new, name)
        found[name] = _in_order_of_places(tensor) if ".downsample." in name else tensor
    return found


def _in_order_of_places(tensor: Tensor) -> Tensor:
    """Patch merging of the last axis, (..., C x 4 places) -> (..., 4 places x C).

    mmcv has a channel's four places side by side, row by row; Swin's authors go down the columns.
    """
    places = tensor.unflatten(-1, (-1, 4)).transpose(-1, -2)  # (..., 4, C)
    return places[..., [0, 2, 1, 3], :].flatten(-2)
