"""For processes on the stub: convolutions that are right in shape alone, and how many calls reached the runtime."""

import ctypes
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, library

_STUB = ctypes.CDLL(os.environ["STUB_LIBRARY"])
_KEPT: list[library.Library] = []  # what is registered lasts as long as this object


@dataclass(frozen=True)
class Counts:
    """How often PyTorch called the runtime, by kind.

    Attributes:
        launches: of kernels, those of convolutions left out.
        synchronisations: waits for a stream or the device.
        to_device, to_host, on_device: copies.
        event_waits: waits for what was recorded earlier.
    """

    launches: int
    synchronisations: int
    to_device: int
    to_host: int
    on_device: int
    event_waits: int

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(mine - theirs for mine, theirs in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[int, ...]:
        return tuple(vars(self).values())


def counts() -> Counts:
    """Since the process began."""
    out = (ctypes.c_long * 6)()
    _STUB.stub_counts(out)
    return Counts(*out)


def replace_convolutions() -> None:
    """cuDNN cannot run: functions take its place that are true in shape, type and layout."""
    ours = library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are others
        ours.impl("cudnn_convolution", _convolution, "CUDA")
        ours.impl("convolution_backward", _convolution_backward, "CUDA")
        ours.impl("cudnn_convolution_relu", _convolution_relu, "CUDA")
        ours.impl("cudnn_convolution_add_relu", _convolution_add_relu, "CUDA")
    _KEPT.append(ours)


def _layout(images: Tensor, weight: Tensor) -> torch.memory_format:
    last = torch.channels_last
    beside = any(x.is_contiguous(memory_format=last) and not x.is_contiguous() for x in (images, weight))
    return last if beside else torch.contiguous_format


def _convolution(
    images: Tensor,
    weight: Tensor,
    padding: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    benchmark: bool,
    deterministic: bool,
    allow_tf32: bool,
) -> Tensor:
    assert images.device == weight.device and images.dtype == weight.dtype, (images.dtype, weight.dtype)
    size = [
        (images.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    layout = _layout(images, weight)
    images.contiguous(memory_format=layout), weight.contiguous(memory_format=layout)  # as cuDNN wants them
    shape = (images.shape[0], weight.shape[0], *size)
    return torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=layout)


def _convolution_relu(images: Tensor, weight: Tensor, bias: Tensor, *geometry: Any) -> Tensor:
    stride, padding, dilation, groups = geometry
    assert bias.device == weight.device and bias.shape == weight.shape[:1]
    return _convolution(images, weight, padding, stride, dilation, groups, False, True, False)


def _convolution_add_relu(
    images: Tensor, weight: Tensor, others: Tensor, alpha: float, bias: Tensor, *geometry: Any
) -> Tensor:
    out = _convolution_relu(images, weight, bias, *geometry)
    assert others.shape == out.shape and others.stride() == out.stride() and others.dtype == out.dtype
    return out


def _convolution_backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    bias: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    layout = _layout(images, weight)
    gradient.contiguous(memory_format=layout), images.contiguous(memory_format=layout)
    return (
        torch.empty_like(images, memory_format=layout) if wanted[0] else None,
        torch.empty_like(weight, memory_format=layout) if wanted[1] else None,
        weight.new_empty(weight.shape[0]) if wanted[2] else None,
    )
