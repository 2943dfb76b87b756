"""DVC's experiment queue, worked by processes that end with the command that started them.

`dvc queue start` leaves its workers behind as daemons. Here the same worker (`dvc exp queue-worker`) runs as a child,
in a process group of its own: Ctrl-C reaches the command alone, which takes back what is still queued, and then lets
the trainings that run write their checkpoints. All experiments are queued, with code and settings, before the first one
starts, so the working copy may be edited meanwhile.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.common.errors import UserError
from pipeline.study.study_file import Value, yaml_value

State = Literal["queued", "running", "failed", "done"]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/.\-]*")  # a word that needs no quotes after `-S key=`
_KEYWORDS = ("true", "false", "null", "nan", "inf")
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Queue:
    """The queue of a checkout."""

    def __init__(self, checkout: Path) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        try:
            self._queue = Repo(str(checkout)).experiments.celery_queue
        except DvcException as error:
            raise UserError(f"{checkout}: {error}") from error
        self._checkout = checkout
        self._last: dict[str, State] = {}

    def states(self) -> dict[str, State]:
        """Name -> state of every experiment that the queue knows; of several of one name, the newest."""
        from dvc.exceptions import DvcException

        states: dict[str, State] = {}
        names: dict[str, State] = {"Queued": "queued", "Running": "running", "Failed": "failed", "Success": "done"}
        try:
            listed = sorted(self._queue.status(), key=lambda each: each["timestamp"])
        except (DvcException, OSError):  # an entry was moved while it was read: the next look finds it
            return self._last
        for each in listed:
            if each["name"]:
                states[each["name"]] = names[each["status"]]
        self._last = states
        return states

    def add(self, name: str, changes: Mapping[str, Value], *, target: str) -> None:
        """Queues one experiment, up to the stage `target`.

        Raises:
            UserError: DVC refuses it.
        """
        settings = [word for key, value in changes.items() for word in ("-S", f"{key}={_override(value)}")]
        self._dvc("exp", "run", "--queue", "--name", name, *settings, target)

    def withdraw(self, names: Iterable[str]) -> None:
        """Takes experiments out of the queue: those that wait, and the memory of those that failed."""
        wanted = set(names)
        known = [each["rev"] for each in self._queue.status() if each["name"] in wanted and each["status"] != "Running"]
        if known:
            self._queue.remove(known)

    def rename(self, name: str, to: str) -> None:
        """Gives an experiment that exists another name."""
        self._dvc("exp", "rename", name, to)

    def log(self, name: str) -> Path | None:
        """What a running or ended experiment printed; None where it did not come to start."""
        from itertools import chain

        entries = chain(self._queue.iter_active(), (done.entry for done in self._queue.iter_done()))
        found = [entry.stash_rev for entry in entries if entry.name == name]
        files = [Path(self._queue.pid_dir) / rev / f"{rev}.out" for rev in found]
        there = sorted((file for file in files if file.is_file()), key=lambda file: file.stat().st_mtime)
        return there[-1].relative_to(self._checkout) if there else None

    def _dvc(self, *words: str) -> None:
        # In a session of its own: Ctrl-C must not break off what DVC does with the working copy in these seconds.
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words],
            cwd=self._checkout,
            env=_environment({}),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        if done.returncode != 0:
            reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise UserError(f"dvc {' '.join(words[:2])}: {(reason or ['no reason given'])[0].removeprefix('ERROR: ')}")


class Workers:
    """Processes that take one experiment after the other from the queue, until they are stopped."""

    def __init__(self, checkout: Path, *, jobs: int, environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        libc = ctypes.CDLL(None)  # before the fork
        with log.open("wb") as output:
            for number in range(1, jobs + 1):
                clean = ["--clean"] if number == 1 else []  # of messages between the workers, at its end
                self._processes.append(
                    subprocess.Popen(
                        [
                            sys.executable,
                            "-m",
                            "dvc",
                            "exp",
                            "queue-worker",
                            "-q",
                            *clean,
                            f"reid-study-{os.getpid()}-{number}@localhost",
                        ],
                        cwd=checkout,
                        env=_environment(environment),
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        # Should this command be killed, the worker ends with what it is running.
                        preexec_fn=lambda: libc.prctl(_END_WITH_PARENT, signal.SIGTERM, 0, 0, 0),
                    )
                )

    def alive(self) -> bool:
        """Whether any is left."""
        return any(process.poll() is None for process in self._processes)

    def end(self) -> None:
        """Lets them end when they have nothing to do."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()

    def interrupt(self) -> None:
        """Ctrl-C for them and for the experiments that they run."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends them, and all that they run, at once."""
        self._signal(signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Waits until all have ended; False if that takes longer."""
        try:
            for process in self._processes:
                process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, number)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Of this process, with the commands of this environment: a worker starts `dvc`, a stage `python`."""
    binaries = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **more}


def _override(value: Any) -> str:
    """A value in the grammar of `-S`, where a comma would make several experiments of one."""
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in _KEYWORDS):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return yaml_value(value)
