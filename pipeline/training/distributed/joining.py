"""How the processes that torchrun started find each other, and how they end when one of them has failed."""

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from pipeline.common.device import choose_device
from pipeline.common.errors import UserError
from pipeline.common.parent_process import end_with_parent
from pipeline.training.distributed.processes import Processes
from pipeline.training.distributed.watching import Watch
from pipeline.training.interruption import InterruptedTrainingError

# Clustering happens in the first process while the others wait: longer than torch's default of 10 to 30 minutes.
PATIENCE = timedelta(hours=12)
# To find each other, after which one that has failed would be waited for in vain.
MEETING = timedelta(minutes=5)
# torchrun looks every 0.1 s whether a process of its machine has failed.
SECONDS_TO_BE_ENDED = 5.0


def launched() -> bool:
    """True in a process that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def join() -> Iterator[Processes]:
    """Joins the processes that torchrun started (nccl on CUDA, gloo on a CPU); alone, there is nothing to join.

    Raises:
        UserError: the GPU cannot be used, or none is left for this process; another process failed and torchrun,
            perhaps that of another machine, has not ended this one.
    """
    device = choose_device(int(os.environ.get("LOCAL_RANK", "0")))
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if launched():
        end_with_parent()  # torchrun gives each process a session of its own: what ends torchrun does not reach it
    elif "OMP_NUM_THREADS" not in os.environ:
        # As many as `launch` gives: torch alone counts a core once that has two threads.
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    if size == 1:
        yield Processes(device=device)
        return
    watch: Watch | None = None
    try:
        store, rank, _ = next(rendezvous("env://", timeout=MEETING))
        _meet(PrefixStore("meeting", store), rank, size)
        store.set_timeout(PATIENCE)  # the first transfer waits for whoever is slow to record its run
        # What lies on the CPU is exchanged there, so that no GPU is waited for.
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        watch = Watch(PrefixStore("watch", store), rank=rank, size=size)
        yield Processes(rank=rank, size=size, device=device)
    except BaseException as error:
        if watch is not None:
            # Told to stop, all processes do after the same step; the first may still write its checkpoint.
            (watch.leave if isinstance(error, InterruptedTrainingError) else watch.fail)()
        if dist.is_initialized():
            atexit.register(_end_at_once)
        if not _lost_another(error):
            raise
        _wait_to_be_ended()
        reason = str(error).splitlines()[0]
        raise UserError(f"another training process has failed; its own message says why ({reason})") from error
    watch.leave()
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
