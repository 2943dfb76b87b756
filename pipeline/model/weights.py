"""Loading weights, strictly: every tensor finds its place with its shape, or nothing is loaded.

Two kinds of file fit. One of a backbone alone, such as the ImageNet weights of torchvision, of IBN-Net and of timm:
its classifier is left out on purpose, and pooling, embedding and neck keep their initial values. One of a whole network
of this project, a model or a checkpoint of `train`, from which its student is taken (a data set can start from
another).

Files are read without executing what is in them: safetensors, or `torch.load` with `weights_only`. A checkpoint of
`train` has a line with the SHA-256 of its content before it.

Names are compared without their prefixes: `module.` (DataParallel), `backbone.`, `base.`, `model.`, `student.`.
"""

import math
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.common.errors import UserError
from pipeline.common.text import one_line
from pipeline.model.checkpoint import checkpoint_payload
from pipeline.model.timm_backbones import TimmTrunk
from pipeline.model.timm_weights import fit_published

# The last two are those of a checkpoint of `train`, one within the other.
WRAPPERS = ("state_dict", "model", "trainer", "student")
PREFIXES = ("module.", "backbone.", "base.", "model.", "student.")
HEAD = ("pool.", "embedding.", "neck.")
TIMM = "timm."  # before timm's own names, in a network of this project
CLASSIFIER = "fc."
COUNTER = "num_batches_tracked"  # missing in files of torch before 0.4.1, and of no effect here
SHOWN = 8  # names of each kind in a message


@dataclass(frozen=True)
class LoadedWeights:
    """What was done on purpose, for the user: names as in the file, and as in the network."""

    left_out: tuple[str, ...]  # in the file, not in the network: classifier, teacher, optimizer state
    initial: tuple[str, ...]  # in the network, not in the file: pooling, embedding and neck, BatchNorm counters


def load_weights_(network: nn.Module, weights: Mapping[str, Any] | Path | str) -> LoadedWeights:
    """Loads a state dict, or a file of one, into a network; on an error the network is as before.

    Args:
        network: made by `pipeline.model.build`.
        weights: state dict or path (.safetensors, else a file of `torch.save`), possibly wrapped in `state_dict` or
            `model`, with any of the prefixes above.

    Raises:
        UserError: if the file cannot be read safely, or with the list of the tensors that are unexpected, missing,
            of another shape, or not finite.
    """
    if isinstance(weights, Mapping):
        source, content = "the given state dict", weights
    else:
        source, content = str(weights), read_weights(Path(weights))
    tensors, left_out = _unwrap(content, source)
    found = _by_bare_name(tensors, source)
    expected = {_bare(name): (name, tensor) for name, tensor in network.state_dict().items()}
    unpublished: list[str] = []
    if isinstance(network.backbone, TimmTrunk) and not any(name.startswith(TIMM) for name in found):
        trunk, dropped, unpublished = fit_published(network.backbone, found, source)
        found = {TIMM + name: tensor for name, tensor in trunk.items()}
        left_out += dropped
    else:
        classifier = [name for name in found if name.startswith(CLASSIFIER)]
        left_out += [name for name in tensors if _bare(name) in classifier]
        found = {name: tensor for name, tensor in found.items() if name not in classifier}

    whole = any(name.startswith(HEAD) for name in found)
    initial = [
        name
        for name in expected.keys() - found.keys()
        if name.endswith(COUNTER) or (name.startswith(HEAD) and not whole) or name.removeprefix(TIMM) in unpublished
    ]
    common = found.keys() & expected.keys()
    shapes = {name: (tuple(found[name].shape), tuple(expected[name][1].shape)) for name in common}
    _stop_if_any(
        source,
        unexpected=found.keys() - expected.keys(),
        missing=expected.keys() - found.keys() - set(initial),
        misshapen=[f"{name} {old} for {new}" for name, (old, new) in shapes.items() if old != new],
        infinite=[name for name in common if not math.isfinite(found[name].sum(dtype=torch.float64))],
    )
    network.load_state_dict({name: found.get(bare, old) for bare, (name, old) in expected.items()})
    return LoadedWeights(left_out=tuple(sorted(left_out)), initial=tuple(sorted(expected[name][0] for name in initial)))


def read_weights(path: Path) -> Mapping[str, Any]:
    """Reads a .safetensors file, or a file of `torch.save`, on the CPU, without executing anything in it.

    Raises:
        UserError: if there is no such file, it is damaged, or it holds more than tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"there is no file of weights at {path}")
    payload = checkpoint_payload(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(payload or path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds more than tensors and plain values, which could run code when loaded: "
            "refused; save its state dict alone"
        ) from error
    except Exception as error:  # torch's reader meets damage with whatever its parsers raise
        raise UserError(f"{path} cannot be read as weights, it is damaged or of another kind") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds no state dict but a {type(content).__name__}")
    return content


def _unwrap(content: Mapping[str, Any], source: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors to load, by their names in the file, and the names of what is left out on purpose."""
    left_out: list[str] = []
    while wrapper := next((key for key in WRAPPERS if isinstance(content.get(key), Mapping)), None):
        left_out += [str(key) for key in content if key != wrapper]
        content = content[wrapper]
    plain = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if plain or not content:
        raise UserError(
            f"{source} holds no state dict, neither by itself nor under {' or '.join(WRAPPERS)}: "
            f"{_listed(plain) or 'it is empty'}"
        )
    # A model of this project holds student and teacher: a network starts from the student.
    both = any(key.startswith("student.") for key in content)
    dropped = [key for key in content if both and key.startswith("teacher.")]
    return {key: value for key, value in content.items() if key not in set(dropped)}, left_out + dropped


def _by_bare_name(tensors: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if _bare(name) in found:
            raise UserError(f"{source} holds {one_line(_bare(name))} twice, under different prefixes: keep one of them")
        found[_bare(name)] = tensor
    return found


def _bare(name: str) -> str:
    """`module.backbone.conv1.weight` -> `conv1.weight`."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    return name


def _stop_if_any(
    source: str,
    *,
    unexpected: Iterable[str],
    missing: Iterable[str],
    misshapen: Iterable[str],
    infinite: Iterable[str],
) -> None:
    kinds = {"unexpected": unexpected, "missing": missing, "of another shape": misshapen, "not finite": infinite}
    found = [f"{kind}: {listed}" for kind, names in kinds.items() if (listed := _listed(names))]
    if found:
        raise UserError(
            f"the weights of {source} do not fit the network "
            "(is it another backbone, pooling, embedding or image size?): " + "; ".join(found)
        )


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(map(one_line, names))
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
