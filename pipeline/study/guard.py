"""A process that ends the workers of a study whose command was killed.

    python -m pipeline.study.guard CHECKOUT VARIABLE VALUE

Its standard input is a pipe from the command. It ends in silence when it reads "done"; when the pipe closes without
it, the command is gone, and the guard stops what the command left behind.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.common.errors import UserError
from pipeline.study.queue import Queue, kill_marked, wait_for_end

_DONE = "done"
_PATIENCE = 60.0  # seconds for trainings to write their checkpoint


@contextmanager
def guarded(checkout: Path, variable: str, value: str) -> Iterator[None]:
    """Sees to it that no marked process is left behind, even if this process is killed in the block."""
    command = [sys.executable, "-m", "pipeline.study.guard", str(checkout), variable, value]
    guard = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(_DONE.encode())


def _end(checkout: Path, variable: str, value: str) -> None:
    queue = Queue(checkout)
    with contextlib.suppress(UserError):
        names = {task.name for task in queue.tasks()}
        queue.remove({task.name for task in queue.tasks() if task.state == "Queued"})
        queue.interrupt(names)
    if not wait_for_end(variable, value, seconds=_PATIENCE):
        with contextlib.suppress(UserError):
            queue.kill()
    kill_marked(variable, value)


if __name__ == "__main__":
    if sys.stdin.read() != _DONE:
        _end(Path(sys.argv[1]), *sys.argv[2:])
