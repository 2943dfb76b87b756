"""The checksum of a tensor: a naive loop, every single bit, the order, and no more than that."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.distributed import checksum
from pipeline.training.distributed.checksum import checksums, descriptions, digest

TYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)
WORDS = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


def one(tensor: torch.Tensor) -> int:
    return int(checksums([tensor])[0])


def some(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    numbers = torch.randint(0, 256, (*shape, torch.empty(0, dtype=dtype).element_size()), generator=generator)
    if dtype == torch.bool:
        return numbers[..., 0] > 127
    return numbers.to(torch.uint8).view(dtype)[..., 0]


def naive(tensor: torch.Tensor) -> int:
    """Python's integers, one element after another."""
    size = tensor.element_size()
    total, wrap = 0, 1 << 64
    for place, word in enumerate(np.frombuffer(tensor.contiguous().view(torch.uint8).numpy().tobytes(), WORDS[size])):
        weight = (place + 1) * 0x9E3779B97F4A7C15 % wrap
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 1)):
            signed = weight - wrap if weight >= wrap // 2 else weight
            weight = (weight ^ (signed >> shift)) * factor % wrap  # torch shifts the sign in
        total += (int(word) ^ (int(word) >> 32)) * (weight | 1)
    return (total + wrap // 2) % wrap - wrap // 2


@pytest.mark.parametrize("dtype", TYPES)
def test_checksum_is_that_of_a_loop(dtype: torch.dtype) -> None:
    tensor = some(dtype, 5, 3)
    assert one(tensor) == naive(tensor)


@pytest.mark.parametrize("dtype", TYPES[:-1])
def test_checksum_sees_every_bit(dtype: torch.dtype) -> None:
    tensor = some(dtype, 7)
    found = {one(tensor)}
    for byte in range(7 * tensor.element_size()):
        for bit in range(8):
            other = tensor.clone()
            other.view(torch.uint8)[byte] ^= 1 << bit
            found.add(one(other))
    assert len(found) == 1 + 7 * tensor.element_size() * 8


def test_checksum_tells_a_nan_from_another_and_zero_from_minus_zero() -> None:
    nans = torch.tensor([0x7FC00000, 0x7FC00001], dtype=torch.int32).view(torch.float32)
    assert nans.isnan().all()
    assert one(nans[:1]) == one(nans[:1].clone()) != one(nans[1:])
    assert one(torch.tensor([0.0])) != one(torch.tensor([-0.0]))


def test_checksum_sees_two_signs() -> None:
    values = some(torch.float64, 6)
    assert one(values) != one(values * torch.tensor([1, -1, 1, 1, -1, 1]))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_checksum_sees_the_order(values: list[int], random: "object") -> None:
    other = values.copy()
    random.shuffle(other)  # type: ignore[attr-defined]
    assert (one(torch.tensor(values)) == one(torch.tensor(other))) == (values == other)


def test_checksum_does_not_depend_on_the_memory_format() -> None:
    images = some(torch.float32, 2, 3, 4, 5)
    assert one(images) == one(images.contiguous(memory_format=torch.channels_last)) == one(images.mT.contiguous().mT)
    assert one(images) != one(images.mT)


def test_checksum_of_blocks_sees_every_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksum, "_BLOCK", 8)
    found = {one(some(torch.float32, 37))}
    for place in range(37):
        other = some(torch.float32, 37)
        other.view(torch.int32)[place] ^= 1
        found.add(one(other))
    swapped = some(torch.float32, 37).roll(8)
    assert len(found | {one(swapped)}) == 39


def test_checksums_take_no_tensor_and_empty_ones() -> None:
    assert checksums([]).tolist() == []
    assert checksums([torch.zeros(0), torch.tensor(3)]).tolist() == [0, one(torch.tensor([3]))]


def test_checksum_leaves_the_tensor_as_it_is() -> None:
    tensor = some(torch.float32, 9).requires_grad_()
    before = tensor.detach().clone().view(torch.int32)
    assert not checksums([tensor]).requires_grad
    assert torch.equal(tensor.detach().view(torch.int32), before)


def test_descriptions_name_type_and_shape() -> None:
    zeros = descriptions({"a": torch.zeros(2, 3), "b": torch.zeros(3, 2), "c": torch.zeros(6, dtype=torch.int32)})
    assert zeros == [
        f"a torch.float32 (2, 3) {0:016x}",
        f"b torch.float32 (3, 2) {0:016x}",
        f"c torch.int32 (6,) {0:016x}",
    ]
    assert digest(zeros) == digest(list(zeros)) != digest(zeros[::-1])
    assert -(2**63) <= digest(zeros) < 2**63
