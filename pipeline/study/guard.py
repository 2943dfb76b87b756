"""A process that ends the workers of a study whose command was killed.

A shell reads a pipe from the command. It ends in silence when it reads "done"; when the pipe closes without it, the
command is gone, and `python -m pipeline.study.guard CHECKOUT VARIABLE VALUE` stops what it left behind.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.study.queue import Queue, kill_marked, wait_for_end

_SHELL = 'read answer; [ "$answer" = done ] || exec "$@"'  # a Python process would wait with its memory
_PATIENCE = 60.0  # seconds for trainings to write their checkpoint


@contextmanager
def guarded(checkout: Path, variable: str, value: str) -> Iterator[None]:
    """Sees to it that no marked process is left behind, even if this process is killed in the block."""
    ending = [sys.executable, "-m", "pipeline.study.guard", str(checkout), variable, value]
    guard = subprocess.Popen(
        ["sh", "-c", _SHELL, "guard", *ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(b"done\n")


def _end(checkout: Path, variable: str, value: str) -> None:
    queue = Queue(checkout)
    with contextlib.suppress(UserError):
        queue.interrupt({task.name for task in queue.tasks()})
    if not wait_for_end(variable, value, seconds=_PATIENCE):
        with contextlib.suppress(UserError):
            queue.kill()
    kill_marked(variable, value)


if __name__ == "__main__":
    _end(Path(sys.argv[1]), *sys.argv[2:])
