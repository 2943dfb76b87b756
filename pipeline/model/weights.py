"""Loading weights, strictly: every tensor finds its place with its shape, or nothing is loaded.

Two kinds of file fit. One of a backbone alone, such as the ImageNet weights of torchvision, of IBN-Net and of timm, or
what others publish for persons: parts that the backbone does not have, its classifier or the heads of a
self-supervised training, are left out on purpose, and pooling, embedding and neck keep their initial values. One of a
whole network of this project, a model or a checkpoint of `train`, from which its student is taken (a data set can start
from another).

Files are read without executing what is in them: safetensors, or `torch.load` with `weights_only`. A checkpoint of
`train` has a line with the SHA-256 of its content before it.

Names are compared without their prefixes, see `published_files.py`.
"""

import math
import pickle
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy._core.multiarray import scalar as _numpy_scalar
from torch import nn

from pipeline.common.errors import UserError
from pipeline.model.checkpoint import checkpoint_payload
from pipeline.model.published_files import bare_name, listed, part_of, tensors_of
from pipeline.model.timm_backbones import TimmTrunk
from pipeline.model.timm_weights import fit_published

HEAD = ("pool.", "embedding.", "neck.")
TIMM = "timm."  # before timm's own names, in a network of this project
COUNTER = "num_batches_tracked"  # missing in files of torch before 0.4.1, and of no effect here
CLASSIFIERS = ("fc.", "head.", "classifier.")
# What trainings of others keep beside their tensors, without code of their own: options and scores.
_NUMBERS = (np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType)
_BEFORE_NUMPY_2 = (_numpy_scalar, "numpy.core.multiarray.scalar")
HARMLESS: list[Any] = [Namespace, _numpy_scalar, _BEFORE_NUMPY_2, np.dtype, *_NUMBERS]


@dataclass(frozen=True)
class LoadedWeights:
    """What was done on purpose, for the user: names as in the file, and as in the network."""

    left_out: tuple[str, ...]  # in the file, not in the network: classifier, teacher, optimizer state
    initial: tuple[str, ...]  # in the network, not in the file: pooling, embedding and neck, BatchNorm counters
    network: str | None = None  # prefix of what was taken, where the file holds several networks

    @property
    def remark(self) -> str | None:
        """A sentence about what was left out, part by part; None where nothing was."""
        counts = Counter(part_of(name, network=self.network) for name in self.left_out)
        parts = [f"{part} ({count} tensors)" if count > 1 else part for part, count in counts.items()]
        return f"of the file of starting weights is left out: {listed(parts)}" if parts else None


def load_weights_(network: nn.Module, weights: Mapping[str, Any] | Path | str) -> LoadedWeights:
    """Loads a state dict, or a file of one, into a network; on an error the network is as before.

    Args:
        network: made by `pipeline.model.build`.
        weights: state dict or path (.safetensors, else a file of `torch.save`), possibly wrapped in `state_dict` or
            `model`, with any of the prefixes of `published_files.py`.

    Raises:
        UserError: if the file cannot be read safely, or with the list of the tensors that are unexpected, missing,
            of another shape, or not finite.
    """
    if isinstance(weights, Mapping):
        source, content = "the given state dict", weights
    else:
        source, content = str(weights), read_weights(Path(weights))
    published = tensors_of(content, source)
    found = published.tensors
    expected = {bare_name(name): (name, tensor) for name, tensor in network.state_dict().items()}
    unpublished: list[str] = []
    if isinstance(network.backbone, TimmTrunk) and not any(name.startswith(TIMM) for name in found):
        trunk, dropped, unpublished = fit_published(network.backbone, found, source)
        found = {TIMM + name: tensor for name, tensor in trunk.items()}
    else:
        dropped = [published.names[name] for name in found if name.startswith(CLASSIFIERS)]
        found = {name: tensor for name, tensor in found.items() if not name.startswith(CLASSIFIERS)}
    foreign = _foreign(found, expected)
    whole = any(name.startswith(HEAD) for name in found)
    initial = [
        name
        for name in expected.keys() - found.keys()
        if name.endswith(COUNTER) or (name.startswith(HEAD) and not whole) or name.removeprefix(TIMM) in unpublished
    ]
    missing = expected.keys() - found.keys() - set(initial)
    common = found.keys() & expected.keys()
    shapes = {name: (tuple(found[name].shape), tuple(expected[name][1].shape)) for name in common}
    misshapen = [f"{name} {old} for {new}" for name, (old, new) in shapes.items() if old != new]
    infinite = [name for name in common if not math.isfinite(found[name].sum(dtype=torch.float64))]
    unexpected = found.keys() - expected.keys()
    if not (missing or misshapen or infinite):  # else parts of other names are a sign of another network
        unexpected -= set(foreign)
    _stop_if_any(source, unexpected=unexpected, missing=missing, misshapen=misshapen, infinite=infinite)
    network.load_state_dict({name: found.get(bare, old) for bare, (name, old) in expected.items()})
    left_out = published.left_out + dropped + [published.names[name] for name in foreign]
    kept = tuple(sorted(expected[name][0] for name in initial))
    return LoadedWeights(left_out=tuple(sorted(left_out)), initial=kept, network=published.network)


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
        with torch.serialization.safe_globals(HARMLESS):
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


def _foreign(found: Iterable[str], expected: Iterable[str]) -> list[str]:
    """Names whose first part is that of nothing in the network; never those of a head of this project."""
    parts = {name.split(".")[0] for name in expected}
    return [name for name in found if name.split(".")[0] not in parts and not name.startswith(HEAD)]


def _stop_if_any(
    source: str,
    *,
    unexpected: Iterable[str],
    missing: Iterable[str],
    misshapen: Iterable[str],
    infinite: Iterable[str],
) -> None:
    kinds = {"unexpected": unexpected, "missing": missing, "of another shape": misshapen, "not finite": infinite}
    found = [f"{kind}: {some}" for kind, names in kinds.items() if (some := listed(names))]
    if found:
        raise UserError(
            f"the weights of {source} do not fit the network "
            "(is it another backbone, pooling, embedding or image size?): " + "; ".join(found)
        )
