"""Several backtests beside each other, one process each: results in the order of the tasks.

Workers are fresh interpreters on every system, so that none inherits threads or open files. They
leave Ctrl-C to the process that started them, which ends them and gives nothing half done. No more
tasks than workers need are sent ahead, and no more results wait than that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeVar

from minibot.kernel.errors import Refusal

Task = TypeVar("Task")
Result = TypeVar("Result")

# One task waits for each that runs, so that no worker idles.
AHEAD: Final = 2


def default_jobs() -> int:
    """Return how many processes this machine has cores for."""
    return os.cpu_count() or 1


def in_parallel(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Iterator[Result]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        work: A function of a module; it and the tasks are sent to other processes.
        tasks: What to do.
        jobs: How many processes; with one, or one task, everything happens here.

    Raises:
        Refusal: A worker died, as for want of memory.
    """
    workers = min(jobs, len(tasks))
    if workers <= 1:
        yield from map(work, tasks)
        return
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts)
    try:
        yield from _results(pool, work, tasks, workers * AHEAD)
    except BrokenProcessPool as error:
        raise Refusal(
            "a worker process died, perhaps for want of memory.", "Try again with --jobs 1."
        ) from error
    finally:
        # Whoever is still at work here works for nobody: we were interrupted, or something failed.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()


def _results(
    pool: ProcessPoolExecutor,
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    ahead: int,
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
