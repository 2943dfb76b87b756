"""Randomness that depends on (seed, purpose, epoch, step) alone: never on a process, a worker or what ran before."""

import os
import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed for one purpose at one place of the experiment, statistically independent of all others.

    Args:
        seed: the experiment's.
        purpose: a word, for instance "view".
        counters: for instance epoch and step, each from 0.
    """
    # The number of counters too: a sequence and the same with zeros behind it give one state.
    entropy = [seed, zlib.crc32(purpose.encode()), len(counters), *counters]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator seeded by `derive_seed`."""
    return np.random.default_rng(derive_seed(seed, purpose, *counters))


def seed_everything(seed: int, *, deterministic: bool = True) -> None:
    """Seeds the global generators (weights are initialised from torch's) and says which kernels torch may take.

    Args:
        seed: the experiment's.
        deterministic: only kernels that give the same bits in every run, an error where there is none (see
            pipeline/training/failures.py); False lets cuDNN try which ones are fastest.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries that draw from the global state
    torch.manual_seed(seed)
    _choose_kernels(deterministic=deterministic)


@contextmanager
def same_bits_in_every_run() -> Iterator[None]:
    """Within it torch takes only kernels that give the same bits in every run; an error where there is none."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    _choose_kernels(deterministic=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _choose_kernels(*, deterministic: bool) -> None:
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)
    # Nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
