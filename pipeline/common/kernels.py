"""Compiled functions and the threads that run them, for the numerical core.

`compiled` is numba's `njit` with the machine code kept on disk, so that the second process starts at once. It
releases the interpreter's lock: `over_rows` cuts the rows into blocks and hands each block to one of several threads.
Compiled functions start no threads of their own. So there is no threading layer that could warn, or break when a data
loader forks, and a row's numbers are one thread's work in one fixed order: the same with any number of threads.

A compiled function may call only compiled functions of its own module: numba's cache notices a changed file, not
a changed callee in another file.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import numba
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Result = TypeVar("Result")


def compiled(function: Callable[..., Any] | None = None, *, reorder_sums: bool = False) -> Callable[..., Any]:
    """Decorates a function to be compiled at its first call.

    The code is kept in `__pycache__` beside the module, or, where that cannot be written, in numba's folder
    (NUMBA_CACHE_DIR, else the user's cache).

    Args:
        function: what is decorated.
        reorder_sums: lets a sum be computed in vector lanes, in an order that depends on the machine. Only for sums
            in double precision that are rounded to single precision afterwards, where the order does not show.
    """
    if function is None:
        return lambda function: compiled(function, reorder_sums=reorder_sums)
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc"} if reorder_sums else False}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:
        # No folder at all can be written (a read-only container): every process compiles for itself.
        return numba.njit(**options)(function)


def one_thread_products() -> AbstractContextManager[Any]:
    """Matrix products of numpy within it take the thread that asks for them and no other.

    For tasks that multiply: each thread its own product is quicker than all threads at one product after another.
    """
    return threadpool_limits(1, "blas")


def run(tasks: Sequence[Callable[[], Result]], *, threads: int | None = None) -> list[Result]:
    """Calls every task and returns their results in order.

    Args:
        tasks: independent of each other.
        threads: how many at a time; None is one for each core that this process may use (NUMBA_NUM_THREADS, where it is
            set).
    """
    workers = min(threads or int(numba.config.NUMBA_NUM_THREADS), len(tasks))
    if workers <= 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda task: task(), tasks))


def over_rows(
    task: Callable[[int, int], Result], num_rows: int, *, rows: int, threads: int | None = None
) -> list[Result]:
    """Calls `task(start, stop)` for consecutive blocks of rows and returns the results in row order.

    Args:
        task: must depend on nothing but its rows; what it writes, it writes to its own rows.
        num_rows: how many rows there are in all.
        rows: rows in a block (the last may be shorter).
        threads: how many blocks at a time, as in `run`.
    """
    starts = range(0, num_rows, rows)
    return run([partial(task, start, min(start + rows, num_rows)) for start in starts], threads=threads)
