"""Training processes on this machine by torchrun: how many, how they are started, and what is said when one fails."""

import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pipeline.common.device import num_gpus
from pipeline.common.errors import UserError

# Set in the processes that `launch` started.
LISTENING = "REID_LAUNCHER_LISTENS"


def default_processes(groups: int, *, gpus: int | None = None) -> int:
    """As many processes as there are visible GPUs and as the batch can be shared by; one on a machine without.

    Args:
        groups: BatchNorm groups of the global batch; every process takes the same number of whole ones.
        gpus: for the tests; None counts them.

    Raises:
        UserError: there are GPUs that cannot be used.
    """
    visible = num_gpus() if gpus is None else gpus
    return max(count for count in range(1, max(1, visible) + 1) if groups % count == 0)


def chosen_processes(wanted: Literal["auto"] | int, *, groups: int) -> int:
    """`wanted`, or for `auto` what `default_processes` gives."""
    return default_processes(groups) if wanted == "auto" else wanted


def launch(module: str, *, processes: int) -> int:
    """Runs `python -m module` in `processes` processes of this machine by torchrun; returns an exit status.

    When one fails, torchrun ends the others, and the first failure's message is printed once.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.CRITICAL)  # torchrun's own account of a failure is a page long
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    # The processes meet on this machine, whose own name need not be one that can be resolved (a laptop off-line, a
    # container).
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ[LISTENING] = "1"
    with tempfile.TemporaryDirectory() as logs:  # torchrun's own would stay behind
        meeting = ["--standalone", "--local-addr=127.0.0.1"]
        command = [*meeting, f"--nproc-per-node={processes}", f"--log-dir={logs}", "-m", module]
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
    """Leaves a user's mistake for the launcher, which prints that of the first process to fail, and exits with 1.

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
