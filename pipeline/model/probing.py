"""What a feature extractor does with images, observed in one step on a copy without memory (device "meta").

Libraries of models declare their output in many ways, and some not at all. So the shape of the output, the layers of
BatchNorm that take part, the parameters that do not, and whether it draws random numbers, are observed.

Shapes: B images, C channels, n tokens.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

Kind = Literal["NCHW", "NHWC", "tokens"]


@dataclass(frozen=True)
class Probe:
    """What was observed.

    Attributes:
        kind: of the output: maps (B, C, h, w), maps (B, h, w, C) or tokens (B, n, C).
        width: C.
        prefix: tokens before those of the patches.
        batchnorms: names of the layers that the output depends on.
        unused: names of the parameters that it does not depend on.
    """

    kind: Kind
    width: int
    prefix: int
    batchnorms: tuple[str, ...]
    unused: tuple[str, ...]


def probe(model: nn.Module, images: Tensor, *, class_token: bool = False) -> Probe:
    """Runs `model` in train mode, forward and backward.

    Args:
        model: on the device "meta".
        images: (B, 3, H, W) on the same device.
        class_token: of tokens, the first is used, and not those of the patches.

    Raises:
        ValueError: the model cannot serve as a trunk; the message says why.
    """
    rows: dict[str, list[int]] = {}
    layers = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    hooks = [layer.register_forward_pre_hook(_remember(rows.setdefault(name, []))) for name, layer in layers.items()]
    with torch.inference_mode(False), torch.enable_grad():
        with _RandomDraws() as draws:
            output = model.train()(images)
        for hook in hooks:
            hook.remove()
    if draws.names:
        raise ValueError(f"it draws random numbers in training ({', '.join(sorted(draws.names))})")
    _stop_if_ungroupable(model, rows, len(images))
    kind, width, prefix = _form(model, output)
    names, parameters = zip(*model.named_parameters(), strict=True)
    used = slice(1) if class_token else slice(prefix, None)
    features = output[:, used] if kind == "tokens" else output
    with torch.inference_mode(False), torch.enable_grad():
        gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    unused = tuple(name for name, gradient in zip(names, gradients, strict=True) if gradient is None)
    return Probe(kind, width, prefix, tuple(name for name, seen in rows.items() if seen), unused)


class _RandomDraws(TorchDispatchMode):
    """Collects the names of the operations that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in func.tags and _probability(func, args, kwargs) != 0:
            self.names.add(func._schema.name.removeprefix("aten::"))
        return func(*args, **kwargs)


def _probability(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """The `dropout_p` of an attention; None for an operation that has none."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name == "dropout_p":
            return kwargs.get("dropout_p", args[place] if place < len(args) else argument.default_value)
    return None


def _remember(rows: list[int]) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows.append(len(inputs[0]))

    return hook


def _stop_if_ungroupable(model: nn.Module, rows: dict[str, list[int]], batch: int) -> None:
    for name, seen in rows.items():
        if seen and seen != [batch]:
            what = "runs several times" if len(seen) > 1 else "does not see one row per image"
            raise ValueError(f"its BatchNorm {name} {what}, so its images cannot be normalized in groups")
    for name, _ in model.named_buffers():
        place, _, own = name.rpartition(".")
        if own.startswith("running_") and not isinstance(model.get_submodule(place), _BatchNorm):
            raise ValueError(f"it keeps running statistics in {name} that are not BatchNorm's")


def _form(model: nn.Module, output: Any) -> tuple[Kind, int, int]:
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"it gives neither maps nor tokens but {shape}")
    if output.ndim == 4:
        last = str(getattr(model, "output_fmt", "NCHW")).endswith("NHWC")
        return ("NHWC", output.shape[3], 0) if last else ("NCHW", output.shape[1], 0)
    tokens = Counter(name for name, _ in model.named_parameters() if name in ("cls_token", "dist_token"))
    prefix = int(getattr(model, "num_prefix_tokens", tokens.total()))
    if output.shape[1] <= prefix:
        raise ValueError("it gives class tokens alone, and none of the patches")
    return "tokens", output.shape[2], prefix
