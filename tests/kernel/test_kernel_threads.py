"""Daemon threads: they run their function once, and a start never hangs."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from minibot.kernel import threads
from minibot.kernel.threads import DaemonThread, SignalEvent, call_after
from tests.kernel.injection import PROJECT
from tests.waiting import DEADLINE_S


def test_thread_runs_its_function_and_ends() -> None:
    """A thread is alive while its function runs, and can be waited for."""
    goes_on, done = threading.Event(), []

    def work() -> None:
        goes_on.wait()
        done.append(True)

    thread = DaemonThread(work, "work")
    assert not thread.is_alive()
    thread.join()  # Not started: nothing to wait for.

    thread.start()
    assert thread.is_alive()
    thread.join(0.0)
    assert thread.is_alive()

    goes_on.set()
    thread.join()
    assert done == [True]
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="work was started before"):
        thread.start()


def test_thread_whose_function_raises_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in the function ends the thread, as anybody who waits for it sees."""
    heard = threading.Event()
    monkeypatch.setattr("sys.unraisablehook", lambda _: heard.set())

    def fail() -> None:
        raise ValueError("no")

    thread = DaemonThread(fail, "fail")
    thread.start()
    thread.join()
    heard.wait()

    assert not thread.is_alive()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_start_says_that_the_system_gives_no_thread(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Refusal by the system is one error, and the thread does not seem alive."""

    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    thread = DaemonThread(lambda: None, "work")
    with pytest.raises(RuntimeError, match="thread work could not start"):
        thread.start()

    assert not thread.is_alive()


def test_start_does_not_hang_for_a_thread_that_had_no_memory_to_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that does not begin in time is refused, and does not run later either."""
    begin: list[Callable[[], None]] = []
    done: list[bool] = []

    def die(function: Callable[[], None], _: object) -> int:
        begin.append(function)  # The system's thread is there; its first call has no memory.
        return 1

    monkeypatch.setattr(_thread, "start_new_thread", die)
    monkeypatch.setattr(threads, "START_S", 0.01)
    thread = DaemonThread(lambda: done.append(True), "work")
    with pytest.raises(RuntimeError, match="thread work has not begun within"):
        thread.start()
    assert not thread.is_alive()
    thread.join()

    begin[0]()
    assert done == []


def test_call_after_calls_once_the_block_takes_too_long_and_not_before() -> None:
    """A block that ends in time is left alone; one that does not is interrupted."""
    called = threading.Event()
    with call_after(3_600, called.set):
        pass
    assert not called.is_set()

    with call_after(0.01, called.set):
        called.wait()
    assert called.is_set()


def test_call_after_ends_its_thread_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's timer ends with the request: thousands would wait at once otherwise."""
    made: list[DaemonThread] = []

    class Noted(DaemonThread):
        """Thread that is known to the test."""

        def start(self) -> None:
            """Start it, and note it."""
            made.append(self)
            super().start()

    monkeypatch.setattr(threads, "DaemonThread", Noted)
    with pytest.raises(ValueError, match="no"), call_after(3_600, lambda: None):
        raise ValueError("no")

    (thread,) = made
    thread.join()


def test_event_of_a_signal_wakes_each_thread_that_waits() -> None:
    """Before it is set a wait ends by its time; afterwards each wait, of any thread, is True."""
    event, woken = SignalEvent(), []
    assert not event.wait(0)
    assert not event.is_set()
    waiting = [
        DaemonThread(lambda: woken.append(event.wait(60)), f"wait {number}") for number in range(3)
    ]
    for thread in waiting:
        thread.start()

    event.set()
    event.set()

    for thread in waiting:
        thread.join()
    assert woken == [True] * 3
    assert event.is_set()
    assert event.wait(60)


INTERRUPTED = """
import signal
from minibot.kernel.threads import SignalEvent

rounds, event = 0, SignalEvent()
signal.signal(signal.SIGALRM, lambda *_: event.set())
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
while rounds < 1000:
    event = SignalEvent()
    while not event.wait(0.00001):
        pass
    rounds += 1
print(rounds)
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_signal_amid_a_wait_sets_the_event_it_waits_for() -> None:
    """A handler that runs between two steps of `wait` hangs on nothing that `wait` holds."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("1000\n", "")
