"""Seeds by purpose and place."""

import numpy as np
import pytest
import torch

from pipeline.common.seeding import derive_seed, generator, same_bits_in_every_run, seed_everything


def test_derived_seeds_differ_by_every_word_and_counter() -> None:
    seeds = {
        derive_seed(seed, purpose, *counters)
        for seed in (0, 1)
        for purpose in ("view", "sampler")
        for counters in ((), (0,), (1,), (0, 1), (1, 0), (1, 1))
    }
    assert len(seeds) == 24
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_derived_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(1, "view", 2, 3) == derive_seed(1, "view", 2, 3)
    assert generator(1, "view", 2).integers(2**62) == generator(1, "view", 2).integers(2**62)


def test_seed_everything_repeats_torch_and_numpy() -> None:
    was = torch.are_deterministic_algorithms_enabled()
    try:
        draws = []
        for _ in range(2):
            seed_everything(3)
            draws.append((torch.rand(3).tolist(), np.random.rand(3).tolist()))  # noqa: NPY002
        assert draws[0] == draws[1]
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(was)


def test_seed_everything_keeps_numpys_limit() -> None:
    with pytest.raises(ValueError, match="Seed must be"):
        seed_everything(2**32)


@pytest.mark.parametrize("before", [True, False])
def test_kernels_are_chosen_for_a_while_alone(before: bool) -> None:
    was = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    try:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.benchmark = not before
        with pytest.raises(ZeroDivisionError), same_bits_in_every_run():
            assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
            raise ZeroDivisionError
        assert torch.are_deterministic_algorithms_enabled() is before
        assert torch.backends.cudnn.benchmark is not before
    finally:
        torch.use_deterministic_algorithms(was[0])
        torch.backends.cudnn.benchmark = was[1]
