"""Neighbours that all processes search for the first one, which clusters: each its rows on its own device.

While the first process clusters, the others wait for what it asks. A search on a device is such a question. Which rows
a process searches does not change what is found beyond the last bits of products, by which candidates alone are chosen
(see pipeline/clustering/candidates.py).

On a CPU the first process searches alone, with the threads of all cores.

N: images · D: width of an embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from pipeline.clustering.candidates import Candidates, on_device, ranked_candidates, searched_by
from pipeline.training.distributed.processes import Processes

T = TypeVar("T")


@dataclass(frozen=True)
class _Question:
    """Of which embeddings, and how many of which neighbours."""

    shape: tuple[int, int]
    width: int
    groups: NDArray[np.int64] | None


def in_first(processes: Processes, compute: Callable[[], T]) -> T:
    """What the first process computes, in all of them; its searches on a device are shared among all."""
    if processes.size == 1:
        return compute()
    if processes.first:
        with searched_by(lambda embeddings, width, *, groups: _ask(processes, embeddings, width, groups)):
            found = compute()
        return processes.from_first(found)
    while isinstance(told := processes.from_first(None), _Question):
        embeddings = torch.empty(told.shape, device=processes.device)
        _search(processes, embeddings, told)
    return told


def _ask(processes: Processes, embeddings: torch.Tensor, width: int, groups: NDArray[np.int64] | None) -> Candidates:
    num_images, dimensions = embeddings.shape
    question = _Question((num_images, dimensions), width, groups)
    processes.from_first(question)
    return _search(processes, embeddings.contiguous(), question)


def _search(processes: Processes, embeddings: torch.Tensor, question: _Question) -> Candidates:
    """Embeddings (N, D): of the first process; in the others room for them."""
    dist.broadcast(embeddings, src=0)
    num_images, each = len(embeddings), -(-len(embeddings) // processes.size)
    start = min(processes.rank * each, num_images)
    mine = range(start, min(start + each, num_images))
    found = on_device(embeddings, question.width, groups=question.groups, rows=mine)
    values, columns = (_of_all(processes, part, each)[:num_images] for part in (found.values, found.columns))
    return ranked_candidates(values, columns, num_images)


def _of_all(processes: Processes, rows: NDArray[Any], each: int) -> NDArray[Any]:
    padded = np.zeros((each, rows.shape[1]), rows.dtype)
    padded[: len(rows)] = rows
    return processes.gather(torch.from_numpy(padded)).numpy()
