"""Copies between the CPU and a device that nobody waits for."""

from typing import Any

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`, without waiting for what is being computed there."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def copied(state: Any) -> Any:
    """A copy on the CPU of nested mappings, lists and tuples of tensors and plain values; waits for the device once."""
    copy = _copied(state)
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return copy


def _copied(state: Any) -> Any:
    if isinstance(state, Tensor):
        target = torch.empty_like(state, device="cpu", pin_memory=state.is_cuda)
        return target.copy_(state.detach(), non_blocking=True)
    if isinstance(state, dict):
        return type(state)((key, _copied(value)) for key, value in state.items())
    if isinstance(state, list | tuple):
        return type(state)(_copied(value) for value in state)
    return state


class Arriving:
    """A tensor of a device on its way to the CPU.

    Args:
        tensor: copied as it is when all that is being computed now has ended; what is computed later may change it.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if not tensor.is_cuda:
            self._copy = tensor.clone()
            return
        self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._copy.copy_(tensor, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def wait(self) -> Tensor:
        """The tensor, on the CPU."""
        if self._event is not None:
            self._event.synchronize()
        return self._copy
