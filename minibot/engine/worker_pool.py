"""Worker pool: tasks in parallel processes, with results in the order of the tasks.

Workers are fresh interpreters on every system, so that none inherits threads or open files. They
leave Ctrl-C to the process that started them, which ends them and returns no partial results; it
takes SIGTERM as Ctrl-C, for its sudden end would leave them and their semaphores behind. At
most `AHEAD` tasks for each worker, and one more, are running or wait as results.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Final, TypeVar

from minibot.kernel.errors import Refusal

Task = TypeVar("Task")
Result = TypeVar("Result")

# One task waits for each running one, so that no worker is idle.
AHEAD: Final = 2


def default_jobs() -> int:
    """Return the number of processes for which this machine has CPU cores."""
    return os.cpu_count() or 1


class Workers:
    """Worker processes of this process, until the end of a `with`.

    Args:
        jobs: Number of workers; with 1 there is none, and this process does the work.

    Raises:
        Refusal: A worker died, for example for lack of memory, or its result cannot be read.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._before: set[BaseProcess] = set()
        self._is_guarding = False

    def __enter__(self) -> Workers:
        if self._jobs > 1:
            self._is_guarding = _take_termination()
            self._before = set(multiprocessing.active_children())
            self._pool = ProcessPoolExecutor(
                self._jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is None:
            return
        # Nobody needs the tasks still running: this process was interrupted, or something failed.
        for child in set(multiprocessing.active_children()) - self._before:
            child.terminate()
        # Wait for the pool's thread: while it closes its pipes, the end of Python would write to
        # them and print a traceback.
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._is_guarding:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def begin(self, work: Callable[[Task], Result], task: Task) -> Future[Result]:
        """Begin a task in another process; `result_of` returns its result later.

        Raises:
            ValueError: There are no workers.
        """
        if self._pool is None:
            raise ValueError("a task to be done beside one process needs two")
        with _held_interrupts():
            return self._pool.submit(work, task)

    def results(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yield the result of each task, in the order of the tasks.

        Raises:
            Refusal: A worker died, for example for lack of memory, or a result cannot be read.
        """
        if self._pool is None:
            yield from map(work, tasks)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                with _held_interrupts():
                    waiting.append(self._pool.submit(work, task))
                if len(waiting) > self._jobs * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise _refusal(error) from error


def result_of(future: Future[Result]) -> Result:
    """Return the result of a task that was begun in another process.

    Raises:
        Refusal: Its worker died, for example for lack of memory, or its result cannot be read.
    """
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _refusal(error) from error


def _refusal(error: BrokenProcessPool) -> Refusal:
    """Refuse in words; a pool that broke on an unreadable result names the error as its cause."""
    told = [line for line in str(error.__cause__ or "").splitlines() if line.strip("'")]
    if told:
        what = f"the result of a worker process could not be read: {told[-1]}."
    else:
        what = "a worker process died, perhaps for lack of memory."
    return Refusal(what, "Try again with --jobs 1.")


def in_parallel(
    work: Callable[[Task], Result], tasks: Sequence[Task], jobs: int
) -> Iterator[Result]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        work: A function of a module; it and the tasks are sent to other processes.
        tasks: Arguments of `work`.
        jobs: Number of processes; with one, or with one task, this process does the work.

    Raises:
        Refusal: A worker died, for example for lack of memory, or its result cannot be read.
    """
    with Workers(min(jobs, len(tasks))) as workers:
        yield from workers.results(work, tasks)


@contextmanager
def streamed(work: Callable[[Task], Iterator[Result]], task: Task) -> Iterator[Iterator[Result]]:
    """Begin an iteration in another process, for a `with`; yield its items as they come.

    It runs ahead only as far as a pipe holds items. The items end early if the process dies.

    Args:
        work: A function of a module; it and the task are sent to the process.
        task: Its argument.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_stream, args=(work, task, theirs), daemon=True)
    with _held_interrupts():
        process.start()
    theirs.close()
    try:
        yield _received(ours.recv)
    finally:
        ours.close()
        process.terminate()
        process.join()


def _stream(work: Callable[[Task], Iterator[Result]], task: Task, to: Connection) -> None:
    _leave_interrupts()
    with suppress(BrokenPipeError):  # No more items are needed.
        for item in work(task):
            to.send(item)


def _received(receive: Callable[[], Any]) -> Iterator[Any]:
    with suppress(EOFError, OSError):  # The latter if it died within an item.
        while True:
            yield receive()


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM: workers that start meanwhile never get it, this process later.

    A worker starts with the first tasks; before it reaches `_leave_interrupts`, Ctrl-C would end
    the starting interpreter with a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    held = [signal.SIGINT] if is_main else []
    if is_main and signal.getsignal(signal.SIGTERM) is _interrupt:
        held.append(signal.SIGTERM)  # Not blocked: a worker would start with it blocked as well.
    # The system gives a blocked signal to another thread, for example one of numpy's, and Python
    # then raises here nevertheless: so it is remembered as well.
    former = [(each, signal.signal(each, lambda number, _: came.append(number))) for each in held]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        for each, handler in former:
            signal.signal(each, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(came[0])


def _take_termination() -> bool:
    """Let SIGTERM interrupt this process as Ctrl-C does; False where the process has a rule."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return False
    signal.signal(signal.SIGTERM, _interrupt)
    return True


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # Once is enough: the workers are being ended.
    raise KeyboardInterrupt


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
