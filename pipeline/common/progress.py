"""A progress bar on a terminal, a line every few seconds in a file: with the figures that matter."""

import sys
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows how far a long piece of work is, on stderr.

    On a terminal it is a bar. Elsewhere (a log file, CI) a plain line appears at the start of the second quarter
    minute, every quarter minute from then on, and one at the end.

    Args:
        title: what is going on, for instance "epoch 3/8".
        total: steps of the work; None where `reach` will tell.
        unit: what a step is, for instance "image".
        shown: False shows nothing (all processes but the first).
    """

    def __init__(self, title: str, total: int | None = None, *, unit: str = "step", shown: bool = True) -> None:
        terminal = sys.stderr.isatty()
        plain = "{desc}: {n_fmt}/{total_fmt} {unit}s, {elapsed}<{remaining}, {rate_fmt}{postfix}"
        self._bar = tqdm(
            desc=title,
            total=total,
            unit=unit,
            disable=not shown,
            dynamic_ncols=terminal,
            mininterval=0.1 if terminal else SECONDS_BETWEEN_LINES,
            maxinterval=10 if terminal else 2 * SECONDS_BETWEEN_LINES,
            delay=0 if terminal else SECONDS_BETWEEN_LINES,
            file=sys.stderr if terminal else _Lines(sys.stderr),
            bar_format=None if terminal else plain,
            leave=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, steps: int = 1, **figures: float | int | str) -> None:
        """Counts `steps` more, and shows the figures beside the bar."""
        if figures:
            self._bar.set_postfix(figures, refresh=False)
        self._bar.update(steps)

    def reach(self, done: int, total: int) -> None:
        """As `advance`, from absolute numbers."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)


class _Lines:
    """Turns the carriage returns of a bar into lines, so that a log file stays readable."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            self._stream.write(text + "\n")

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
