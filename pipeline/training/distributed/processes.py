"""This process among those that train together: who does what, and how it comes together.

The same code runs in one process and in many. Rows of a batch belong to the processes in rank order, so what is
gathered stands in the order in which the sampler drew it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from pipeline.training.distributed.checksum import descriptions, digest


@dataclass(frozen=True)
class Processes:
    """This process among `size` of them.

    Attributes:
        rank: 0 .. size - 1; process 0 clusters, evaluates, writes and reports.
        size: processes in all.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """The rows of a global batch that are this process's; `rows` is a multiple of the number of processes."""
        assert rows % self.size == 0, (rows, self.size)
        each = rows // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """(B / size, ...) of each process -> (B, ...) in rank order on all, with gradient.

        Every process computes the loss of the whole batch from what it gathers. The gradient of that loss with
        respect to its own rows is therefore complete already, and parameter gradients have to be *summed*.
        """
        return rows if self.size == 1 else _Gather.apply(rows, self)

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over the processes, in one transfer per data type."""
        if self.size == 1:
            return
        # Not a set, whose order differs from process to process: they would wait for each other for ever.
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            chosen = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.reshape(-1) for tensor in chosen])
            dist.all_reduce(flat)
            for tensor, part in zip(chosen, flat.split([t.numel() for t in chosen]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def sum_in_order(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """The sum of the rows of all processes, with the same bits however many processes hold them.

        Neighbours are added in pairs, then the pairs, and so on, where a sum over the processes' own sums would be
        rounded differently for every number of processes. Each process adds up one part of all rows, so that no more
        travels than for a sum in any order.

        Args:
            rows: (P,) each, as many in every process; those of all stand in the order of the ranks.

        Returns:
            of shape (P,).
        """
        rows = list(rows)
        while len(rows) % 2 == 0:  # so far a pair is always in one process
            rows = _pairs(rows)
        if self.size > 1:
            return self._sum_in_parts(torch.stack(rows))
        return _sum_of_pairs(rows)

    def _sum_in_parts(self, rows: torch.Tensor) -> torch.Tensor:
        """(r, P) of each process -> (P,), the sum of all rows in the order of the ranks."""
        number, length = rows.shape
        part = -(-length // self.size)
        padded = torch.nn.functional.pad(rows, (0, part * self.size - length))
        sent = padded.view(number, self.size, part).transpose(0, 1).contiguous()  # (size, r, part), one per process
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent)
        mine = _sum_of_pairs(list(received.flatten(0, 1)))
        return self.gather(mine)[:length]

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; the same answer in all."""
        if self.size == 1:
            return mine
        found = torch.tensor([mine], dtype=torch.int32)  # on the CPU: no device has to be waited for
        dist.all_reduce(found)
        return bool(found)

    def from_first(self, value: Any) -> Any:
        """What the first process holds (anything that can be pickled), on all of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def require_same(self, tensors: Mapping[str, torch.Tensor] | Sequence[torch.Tensor], what: str) -> None:
        """Stops all processes unless they hold the same: names, types, shapes and every bit.

        Cheap: one pass over the tensors where they are, and a transfer of 8 bytes per process. All must call it.

        Raises:
            RuntimeError: in every process; names `what`, the processes that differ from the others, and where first.
        """
        if self.size == 1:
            return
        named = tensors if isinstance(tensors, Mapping) else {str(place): t for place, t in enumerate(tensors)}
        mine = descriptions(named)
        number = torch.tensor([digest(mine)])
        numbers = torch.empty(self.size, dtype=number.dtype)
        dist.all_gather_into_tensor(numbers, number)
        if bool((numbers == number).all()):  # then it is so in every process
            return
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine)
        raise RuntimeError(f"{what} {_difference(found)}: this is a defect of the program or of a machine")


def _sum_of_pairs(rows: list[torch.Tensor]) -> torch.Tensor:
    while len(rows) > 1:
        rows = _pairs(rows)
    return rows[0]


def _pairs(rows: list[torch.Tensor]) -> list[torch.Tensor]:
    return [one + other for one, other in zip(rows[::2], rows[1::2], strict=False)] + rows[len(rows) // 2 * 2 :]


def _difference(found: Sequence[Sequence[str]]) -> str:
    """Which processes hold other lines than most of them, and the first line where they do."""
    usual = Counter(map(tuple, found)).most_common(1)[0][0]  # of equally many, those of the lower rank
    ranks = [rank for rank, lines in enumerate(found) if tuple(lines) != usual]
    other = found[ranks[0]]
    line = next((mine for mine, theirs in zip(other, usual, strict=False) if mine != theirs), f"{len(other)} tensors")
    return f"differs in process {', '.join(map(str, ranks))} of 0 to {len(found) - 1} (first: {line})"


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, processes: Processes) -> torch.Tensor:
        ctx.processes = processes
        whole = rows.new_empty((processes.size * len(rows), *rows.shape[1:]))
        dist.all_gather_into_tensor(whole, rows.contiguous())
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        return gradient[ctx.processes.share(len(gradient))], None
