"""Being told to stop: SIGTERM and SIGINT end a training between two steps, so that it can go on from there.

A signal that arrives while steps run is kept until all processes have finished the same step: the trainer passes it on
with the gradients. At any other time it ends the training at once; the state is whole then.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.common.kept_signals import SIGNALS


class InterruptedTrainingError(KeyboardInterrupt):
    """A signal asked to stop. Not an `Exception`: nobody on the way may take it for a failure."""


class Interruption:
    """Whether this process was asked to stop.

    Attributes:
        signal: number of the last signal that arrived, None where none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._deferred = False

    @property
    def asked(self) -> bool:
        """A signal has arrived."""
        return self.signal is not None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Takes the signals for as long as the block lasts; only the main thread of a process can."""
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Keeps a signal in `asked` until the block ends well, and then raises.

        Raises:
            InterruptedTrainingError: a signal arrived meanwhile.
        """
        self._deferred = True
        yield  # where the block breaks off, a step may be half done: no signal may lead to saving it
        self._deferred = False
        if self.asked:
            raise InterruptedTrainingError

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        if not self._deferred:
            raise InterruptedTrainingError
