"""One result on any number of processes: who does what, and how it comes together.

The only import of torch.distributed. The same code runs in one process and in many. Rows of a batch belong to the
processes in rank order, so what is gathered stands in the order in which the sampler drew it.
"""

import atexit
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from pipeline.errors import UserError
from pipeline.training.checksum import descriptions, digest

# Clustering happens in the first process while the others wait: longer than torch's default of 10 to 30 minutes.
PATIENCE = timedelta(hours=12)
# To find each other, after which one that has failed would be waited for in vain.
MEETING = timedelta(minutes=5)
# torchrun looks every 0.1 s whether a process of its machine has failed.
SECONDS_TO_BE_ENDED = 5.0
# Set in the processes that `launch` started.
LISTENING = "REID_LAUNCHER_LISTENS"


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
        """Replaces each tensor by its sum over the processes, in one transfer a data type."""
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
        sent = padded.view(number, self.size, part).transpose(0, 1).contiguous()  # (size, r, part), one a process
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent)
        mine = _sum_of_pairs(list(received.flatten(0, 1)))
        return self.gather(mine)[:length]

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; the same answer in all."""
        if self.size == 1:
            return mine
        found = torch.tensor([mine], dtype=torch.int32, device=self.device)
        dist.all_reduce(found)
        return bool(found)

    def from_first(self, value: Any) -> Any:
        """What the first process holds (anything that can be pickled), on all of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def require_same(self, tensors: Mapping[str, torch.Tensor] | Sequence[torch.Tensor], what: str) -> None:
        """Stops all processes unless they hold the same: names, types, shapes and every bit.

        Cheap: one pass over the tensors where they are, and a transfer of 8 bytes a process. All must call it.

        Raises:
            RuntimeError: in every process; names `what`, the processes that differ from the others, and where first.
        """
        if self.size == 1:
            return
        named = tensors if isinstance(tensors, Mapping) else {str(place): t for place, t in enumerate(tensors)}
        mine = descriptions(named)
        number = torch.tensor([digest(mine)], device=self.device)
        numbers = [torch.empty_like(number) for _ in range(self.size)]
        dist.all_gather(numbers, number)
        if all(torch.equal(other, number) for other in numbers):  # then it is so in every process
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
        parts = [torch.empty_like(rows) for _ in range(processes.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        return gradient[ctx.processes.share(len(gradient))], None


def launched() -> bool:
    """True in a process that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def default_processes(groups: int, *, gpus: int | None = None) -> int:
    """As many processes as there are visible GPUs and as the batch can be shared by; one on a machine without.

    Args:
        groups: BatchNorm groups of the global batch; every process takes the same number of whole ones.
        gpus: for the tests; None counts them.
    """
    visible = torch.cuda.device_count() if gpus is None else gpus
    return max(count for count in range(1, max(1, visible) + 1) if groups % count == 0)


@contextmanager
def join() -> Iterator[Processes]:
    """Joins the processes that torchrun started (nccl on CUDA, gloo on a CPU); alone, there is nothing to join.

    Raises:
        UserError: no GPU is left for this process; another process failed and torchrun, perhaps that of another
            machine, has not ended this one.
    """
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda and local >= torch.cuda.device_count():
        raise UserError(f"train.processes: process {local + 1} on this machine has no GPU of its own")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if launched():
        _end_with_parent()  # torchrun gives each process a session of its own: what ends torchrun does not reach it
    if size == 1:
        yield Processes(device=device)
        return
    try:
        store, rank, _ = next(rendezvous("env://", timeout=MEETING))
        _meet(PrefixStore("meeting", store), rank, size)
        dist.init_process_group("nccl" if cuda else "gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
        yield Processes(rank=rank, size=size, device=device)
    except BaseException as error:
        if dist.is_initialized():
            atexit.register(_end_at_once)
        if not _lost_another(error):
            raise
        _wait_to_be_ended()
        reason = str(error).splitlines()[0]
        raise UserError(f"another training process has failed; its own message says why ({reason})") from error
    # Not after a failure: with nccl that may wait for the others, who wait for this one. It ends, and so they notice.
    dist.destroy_process_group()


def _meet(store: Store, rank: int, size: int) -> None:
    """Waits until all processes have said that they are there."""
    store.set(str(rank), "here")
    store.wait([str(other) for other in range(size)], MEETING)


def _end_at_once() -> None:
    """The last that a failed process does: taking gloo's running threads down may abort it, and cover its message."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _lost_another(error: BaseException) -> bool:
    """Whether a transfer failed because another process is gone; gloo raises no type of its own."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _wait_to_be_ended() -> None:
    """Leaves torchrun the time to end this process, so that nothing covers the message of the one that failed."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    time.sleep(SECONDS_TO_BE_ENDED)


def launch(module: str, *, processes: int) -> int:
    """Runs `python -m module` in `processes` processes of this machine by torchrun; returns an exit status.

    When one fails, torchrun ends the others, and the first failure's message is printed once.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.CRITICAL)  # torchrun's own account of a failure is a page long
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    os.environ[LISTENING] = "1"
    if "DVC_ROOT" in os.environ:
        _end_with_parent()  # a killed `dvc repro` must not leave a training behind that nobody knows of
    with tempfile.TemporaryDirectory() as logs:  # torchrun's own would stay behind
        command = ["--standalone", f"--nproc-per-node={processes}", f"--log-dir={logs}", "-m", module]
        try:
            run(parse_args(command))
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode < 0:
                reason = " (out of memory?)" if failure.exitcode == -signal.SIGKILL else ""
                print(f"error: a training process was ended by {failure.signal_name()}{reason}", file=sys.stderr)
            elif Path(failure.error_file).is_file():
                print(f"error: {failure.message}", file=sys.stderr)
            return 1
        except SignalException as asked:  # passed on to the processes, which have left a checkpoint and said so
            return 128 + int(asked.sigval)
    return 0


@contextmanager
def told_to_launcher() -> Iterator[None]:
    """Leaves a person's mistake for the launcher, which prints that of the first process to fail, and exits with 1.

    Under a torchrun that `launch` did not start, the mistake is printed by whoever catches it.
    """
    try:
        yield
    except UserError as error:
        path = os.environ.get("TORCHELASTIC_ERROR_FILE")
        if not path or LISTENING not in os.environ:
            raise
        content = {"message": str(error), "timestamp": int(time.time())}
        Path(path).write_text(json.dumps(content), encoding="utf-8")
        raise SystemExit(1) from error


def _end_with_parent() -> None:
    """On Linux, this process gets SIGTERM when the one that started it dies, so that none is left behind."""
    if sys.platform.startswith("linux"):
        import ctypes

        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
