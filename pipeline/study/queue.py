"""DVC's experiment queue by DVC's own commands, and the processes that work on it.

`dvc queue start` detaches its workers. They, and all that they start, inherit a variable of the environment, by which
they are found again: a study ends when none is left. All experiments are queued, with code and settings, before the
first one starts, so the working copy may be edited meanwhile.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from pipeline.common.errors import UserError
from pipeline.common.files import write_text
from pipeline.study.study_file import Value, yaml_value

State = Literal["Queued", "Running", "Failed", "Success"]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_/.\-]*")  # a word that needs no quotes after `-S key=`
_KEYWORDS = ("true", "false", "null", "nan", "inf")


@dataclass(frozen=True)
class Task:
    """One line of `dvc queue status`: the id of a task, the name of its experiment ("" for none) and its state."""

    id: str
    name: str
    state: State


class Queue:
    """The queue of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._checkout = checkout

    def tasks(self) -> list[Task]:
        """All tasks that the queue knows.

        Raises:
            UserError: DVC cannot tell.
        """
        return parse_status(self._dvc("queue", "status"))

    def add(self, name: str, changes: Mapping[str, Value], *, target: str) -> None:
        """Queues one experiment, up to the stage `target`.

        Raises:
            UserError: DVC refuses it.
        """
        settings = [word for key, value in changes.items() for word in ("-S", f"{key}={_override(value)}")]
        self._dvc("exp", "run", "--queue", "--name", name, *settings, target)

    def remove(self, tasks: Collection[Task]) -> None:
        """Removes tasks that do not run."""
        if tasks:
            self._dvc("queue", "remove", *(task.id for task in tasks))

    def interrupt(self, names: Collection[str]) -> None:
        """Removes what is queued of these experiments, interrupts what runs as by Ctrl-C, and lets the workers end."""
        tasks = [task for task in self.tasks() if task.name in names]
        self.remove([task for task in tasks if task.state == "Queued"])
        running = [task.id for task in tasks if task.state == "Running"]
        if running:
            self._dvc("queue", "kill", *running)
        self._dvc("queue", "stop")

    def kill(self) -> None:
        """Ends the experiments that run, and the workers, at once."""
        self._dvc("queue", "stop", "--kill")

    def rename(self, name: str, to: str) -> None:
        """Gives an experiment that exists another name."""
        self._dvc("exp", "rename", name, to)

    def save_log(self, name: str, file: Path) -> Path | None:
        """Writes the output of a task into `file`; None if there is none, as of a task that never started."""
        try:
            write_text(file, self._dvc("queue", "logs", name))
        except UserError:
            return None
        return file

    def start(self, jobs: int, *, environment: Mapping[str, str]) -> None:
        """Starts workers, which end when the queue is empty.

        Args:
            jobs: Number of workers.
            environment: Variables for them and for all that they start, besides those of this process.
        """
        self._dvc("queue", "start", "--jobs", str(jobs), environment=environment)

    def _dvc(self, *words: str, environment: Mapping[str, str] | None = None) -> str:
        # Into files: workers keep open what they inherit, and a pipe would end with them alone. In its own session:
        # Ctrl-C must not interrupt DVC while it changes the working copy.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            done = subprocess.run(
                [sys.executable, "-m", "dvc", *words],
                cwd=self._checkout,
                env=_environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                check=False,
                start_new_session=True,
            )
            output.seek(0)
            errors.seek(0)
            text, lines = output.read(), errors.read().splitlines()
        if done.returncode != 0:
            reason = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason given"]
            raise UserError(f"dvc {' '.join(words[:2])}: {reason[0].removeprefix('ERROR: ')}")
        return text


def parse_status(text: str) -> list[Task]:
    """The tasks in what `dvc queue status` prints, a table whose columns are as wide as their widest cell."""
    lines = text.splitlines()
    header = next((number for number, line in enumerate(lines) if line.split()[:2] == ["Task", "Name"]), None)
    if header is None:
        return []
    name, created = lines[header].index("Name"), lines[header].index("Created")
    tasks = []
    for line in lines[header + 1 :]:
        words = line.split()
        if not words:
            break
        if words[-1] in get_args(State):
            tasks.append(Task(words[0], line[name:created].strip(), words[-1]))  # type: ignore[arg-type]
    return tasks


def marked_processes(variable: str, value: str) -> list[psutil.Process]:
    """The processes that have this value of a variable in their environment."""
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(variable) == value and process.pid != os.getpid()
    ]


def num_workers(variable: str, value: str) -> int:
    """How many of the marked processes are workers of DVC's queue."""
    number = 0
    for process in marked_processes(variable, value):
        with contextlib.suppress(psutil.Error):  # it has just ended
            number += "queue-worker" in process.cmdline()
    return number


def wait_for_end(variable: str, value: str, *, seconds: float) -> bool:
    """Waits until no marked process is left; False if that takes longer."""
    end = time.monotonic() + seconds
    while marked_processes(variable, value):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def kill_marked(variable: str, value: str) -> None:
    """Kills the marked processes, and those that they start meanwhile."""
    while processes := marked_processes(variable, value):
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(processes, timeout=5)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """That of this process, with the commands of its installation: a worker starts `dvc`, a stage `python`."""
    binaries = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}", **more}


def _override(value: Any) -> str:
    """A value in the grammar of `-S`, where a comma would make several experiments of one."""
    if isinstance(value, str) and (not _PLAIN.fullmatch(value) or value.lower() in _KEYWORDS):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return yaml_value(value)
