"""What several benchmarks share: drawn embeddings, seconds, and the most memory that was held."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def synthetic_embeddings(num_images: int, width: int, *, noise: float = 0.6, seed: int = 0) -> Floats:
    """Embeddings like those of re-identification in mid-training, in catalogue order: identity after identity.

    17 images per identity, 6 cameras. An image is its identity, its camera's bias, what this camera makes of this
    identity, and noise, in 64 dimensions, projected to `width`, cut at 0 as a ReLU does, and normalised.
    """
    rng = np.random.default_rng(seed)
    latent, cameras, num_ids = 64, 6, num_images // 17 + 1
    identity = np.sort(rng.integers(0, num_ids, num_images))
    camera = rng.integers(0, cameras, num_images)
    centres = rng.standard_normal((num_ids, latent), np.float32)
    bias = rng.standard_normal((cameras, latent), np.float32)
    view = rng.standard_normal((num_ids, cameras, latent), np.float32)
    projection = rng.standard_normal((latent, width), np.float32)
    embeddings = np.empty((num_images, width), np.float32)
    for start in range(0, num_images, 4096):
        rows = slice(start, start + 4096)
        i, c = identity[rows], camera[rows]
        hidden = centres[i] + 0.5 * bias[c] + 0.5 * view[i, c]
        hidden += noise * rng.standard_normal(hidden.shape, np.float32)
        np.maximum(hidden @ projection, 0, out=embeddings[rows])
        embeddings[rows] /= np.linalg.norm(embeddings[rows], axis=1, keepdims=True)
    return embeddings


def timed(function: Callable[[], Any], *, repeats: int = 1) -> tuple[float, Any]:
    """Seconds of the quickest of some calls, and what the last one returned."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def peak_bytes(*, reset: bool = False) -> int:
    """The most memory that this process has held (Linux); `reset` begins anew from what it holds now."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "no VmHWM in /proc/self/status"
    return int(found.group(1)) * 1024
