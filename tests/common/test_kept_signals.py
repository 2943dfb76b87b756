"""Signals that wait until a block has ended."""

import signal
import threading
from collections.abc import Iterator

import pytest

from pipeline.common.kept_signals import kept_signals


@pytest.fixture
def taken() -> Iterator[list[int]]:
    """The signals that this process has taken so far."""
    numbers: list[int] = []
    before = {number: signal.signal(number, lambda number, _: numbers.append(number)) for number in (2, 15)}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_wait_for_the_end_of_the_block_and_come_once(taken: list[int]) -> None:
    with kept_signals():
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        assert taken == []
    assert taken == [signal.SIGTERM, signal.SIGINT]
    signal.raise_signal(signal.SIGINT)
    assert len(taken) == 3


def test_signals_are_raised_where_the_block_fails(taken: list[int]) -> None:
    with pytest.raises(ZeroDivisionError), kept_signals():
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError
    assert taken == [signal.SIGTERM]


def test_other_threads_take_no_signals(taken: list[int]) -> None:
    def block() -> None:
        with kept_signals():
            pass

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    signal.raise_signal(signal.SIGTERM)
    assert taken == [signal.SIGTERM]
