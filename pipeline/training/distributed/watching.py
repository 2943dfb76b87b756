"""Ends a training process soon after another has failed, though it waits in a transfer that will never end.

A process that waits for others in a collective operation of nccl runs no signal handler. A thread of its own does run:
it looks whether another process has said that it failed, or, on the same machine, has disappeared without a word.
"""

import os
import platform
import sys
import threading

import psutil
from torch.distributed import Store  # type: ignore[attr-defined]

from pipeline.common.text import first_line

SECONDS_BETWEEN_LOOKS = 0.5
# So that the message of the process that failed first is there before anything covers it.
SECONDS_OF_GRACE = 2.0
_FAILED = "failed"


class Watch:
    """Watches the other processes from when it is made until this one leaves.

    Args:
        store: shared by all processes.
        rank: of this process.
        size: processes in all.
    """

    def __init__(self, store: Store, *, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store.clone(), rank, size
        self._over = threading.Event()
        self._store.set(f"process {rank}", f"{os.getpid()} {platform.node()}")
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """This process is about to end, as it should."""
        self._say(f"left {self._rank}")

    def fail(self) -> None:
        """This process is about to end, and all others have to."""
        self._say(_FAILED)

    def _say(self, key: str) -> None:
        self._over.set()
        self._thread.join()
        try:
            self._store.set(key, "")
        except Exception:  # whoever held the store is gone, and so nobody is left to hear
            return

    def _look(self) -> None:
        here: dict[int, int] = {}
        try:
            while not self._over.wait(SECONDS_BETWEEN_LOOKS):
                if self._store.check([_FAILED]):
                    break
                here = here or self._on_this_machine()
                if any(_is_gone(process) and not self._store.check([f"left {rank}"]) for rank, process in here.items()):
                    self._store.set(_FAILED, "")  # for those on other machines
                    break
        except Exception as error:  # the store is gone, and with it the launcher that held it
            if not self._over.is_set():
                print(f"this process ends: whoever started the training is gone ({first_line(error)})", file=sys.stderr)
        if not self._over.wait(SECONDS_OF_GRACE):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def _on_this_machine(self) -> dict[int, int]:
        """Rank -> process of the others on this machine; empty until all have said where they are."""
        others = [rank for rank in range(self._size) if rank != self._rank]
        if not self._store.check([f"process {rank}" for rank in others]):  # nothing here may wait for one that is gone
            return {}
        where = {rank: self._store.get(f"process {rank}").decode().split(" ", 1) for rank in others}
        return {rank: int(process) for rank, (process, node) in where.items() if node == platform.node()}


def _is_gone(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
