"""A number for the bits of a tensor, by which processes compare what they hold without sending it.

    sum_i w_i (x_i xor (x_i >> 32))  mod 2^64

x_i: the elements, read as integers of their width, so that NaNs count as bits too. w_i: odd pseudo-random numbers. An
odd number has an inverse modulo 2^64, so one element that differs is always seen, by whatever bit; that several make
up for each other, or that they stand in another order, is missed by chance alone. It is no protection against malice.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# Elements at a time: what is needed beside the tensors is a few times 8 MB.
_BLOCK = 1 << 20
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32}
# The constants of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) as signed integers.
_STEP, _MIX = -0x61C8864680B583EB, -0x40A7B892E31B1A47


def descriptions(tensors: Mapping[str, Tensor]) -> list[str]:
    """One line per tensor: name, type, shape and checksum. Two mappings hold the same if their lines are the same."""
    sums = checksums(list(tensors.values())).tolist()
    return [
        f"{name} {tensor.dtype} {tuple(tensor.shape)} {value & (1 << 64) - 1:016x}"
        for (name, tensor), value in zip(tensors.items(), sums, strict=True)
    ]


def digest(lines: Sequence[str]) -> int:
    """64 bits of lines of text, as a signed integer."""
    return int.from_bytes(hashlib.blake2b("\n".join(lines).encode(), digest_size=8).digest(), signed=True)


@torch.no_grad()
def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """One checksum per tensor, of shape (len(tensors),), int64, on the CPU.

    Computed where each tensor is, in one pass; the memory format does not matter, dtype and shape are not looked at.

    Args:
        tensors: of any shape, on any device, of any dtype of up to 8 bytes.
    """
    weights: dict[torch.device, Tensor] = {}
    longest = min(_BLOCK, max((tensor.numel() for tensor in tensors), default=0))
    for device in {tensor.device for tensor in tensors}:
        weights[device] = _weights(longest, device)
    found = [_checksum(tensor, weights[tensor.device]) for tensor in tensors]
    if not found:
        return torch.zeros(0, dtype=torch.int64)
    return torch.stack([value.to(found[0].device) for value in found]).cpu()


def _checksum(tensor: Tensor, weights: Tensor) -> Tensor:
    words = tensor.contiguous().reshape(-1).view(_INTEGERS.get(tensor.element_size(), torch.int64))
    total = torch.zeros((), dtype=torch.int64, device=tensor.device)
    for block in words.split(_BLOCK):
        wide = block.long()
        # Without the shift, two changed signs of double precision would cancel: 2^63 times odd is always 2^63.
        total = total * _STEP + ((wide ^ (wide >> 32)) * weights[: len(block)]).sum()
    return total


def _weights(count: int, device: torch.device) -> Tensor:
    weights = torch.arange(1, count + 1, device=device) * _STEP
    weights = (weights ^ (weights >> 30)) * _MIX
    return (weights ^ (weights >> 27)) | 1
