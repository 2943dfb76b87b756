"""Seeds by purpose and place."""

import numpy as np
import pytest
import torch

from pipeline.common.seeding import derive_seed, generator, seed_everything


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
