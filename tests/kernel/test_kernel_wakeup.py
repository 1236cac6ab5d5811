"""Waiting for a head: woken by each publication, without misses or long idle waits."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.kernel import wakeup
from minibot.kernel.queue import make_queue, open_writer
from minibot.kernel.wakeup import Waiter
from tests.kernel.kernel_support import json_of, line_of
from tests.waiting import DEADLINE_S

LONG_S = DEADLINE_S


@pytest.fixture(params=["watch", "poll"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Way of waiting: by the system's watches, or by polling."""
    if request.param == "poll":

        def unavailable(*_arguments: object) -> None:
            raise wakeup._Unavailable("none left")

        monkeypatch.setattr(wakeup._Inotify, "__init__", unavailable)
    elif sys.platform != "linux":
        pytest.skip("inotify is a feature of Linux")
    return str(request.param)


def head(root: Path, name: str = "fills") -> Path:
    """Return the head of a queue."""
    return root / name / "inbox.head"


def quiet(waiter: Waiter) -> None:
    """Consume earlier notifications."""
    while waiter.wait(0.005):
        pass


def test_waiter_is_woken_by_an_append_and_by_nothing_else(var_dir: Path, kind: str) -> None:
    """One append ends a long wait; without one the time runs out."""
    make_queue(var_dir, "fills", "risk_role")
    make_queue(var_dir, "signals", "risk_role")
    writer = open_writer(var_dir, "fills")
    other = open_writer(var_dir, "signals")
    waiter = Waiter([head(var_dir)])
    quiet(waiter)
    other.append([line_of(1)])
    assert not waiter.wait(0.05)
    timer = threading.Timer(0.05, lambda: writer.append([line_of(1)]))
    timer.start()
    assert waiter.wait(LONG_S)
    timer.join()
    waiter.close()
    writer.close()
    other.close()


def test_first_wait_returns_at_once(var_dir: Path, kind: str) -> None:
    """A first wait returns at once, as news may be older than the watch."""
    make_queue(var_dir, "fills", "risk_role")
    waiter = Waiter([head(var_dir)])

    assert waiter.wait(LONG_S)
    assert not waiter.wait(0)
    waiter.close()


def test_append_between_look_and_wait_is_not_missed(var_dir: Path, kind: str) -> None:
    """An append between look and wait ends the wait at once."""
    make_queue(var_dir, "fills", "risk_role")
    writer = open_writer(var_dir, "fills")
    waiter = Waiter([head(var_dir)])
    quiet(waiter)
    for number in range(1, 10):
        writer.append([line_of(number)])
        assert waiter.wait(LONG_S)
        quiet(waiter)
    waiter.close()
    writer.close()


def test_waiter_on_a_queue_that_is_not_there_yet_is_woken_by_its_making(
    var_dir: Path, kind: str
) -> None:
    """A watch on a queue that does not exist yet is woken by its creation."""
    waiter = Waiter([var_dir / "queues" / "health" / "parts" / "risk_role.head"])
    quiet(waiter)
    writer = open_writer(var_dir / "queues", "health", part="risk_role")
    assert waiter.wait(LONG_S)
    quiet(waiter)
    writer.append([line_of(1)])
    assert waiter.wait(LONG_S)
    quiet(waiter)
    # Other files of the folder cause no wake-up once the head exists.
    (var_dir / "queues" / "health" / "parts" / "other").write_bytes(b"")
    assert not waiter.wait(0.05)
    waiter.close()
    writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is a feature of Linux")
@pytest.mark.parametrize("made", ["health", "health/parts", "health/parts/risk_role.head"])
def test_head_made_while_its_folders_are_looked_for_is_not_missed(
    made: str, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder made between a look for it and the watch above it hides no head within."""
    root = var_dir / "queues"
    root.mkdir()
    path = root / "health" / "parts" / "risk_role.head"
    watched: Callable[[wakeup._Inotify, Path, int], int] = vars(wakeup._Inotify)["_watch"]

    def watch(self: wakeup._Inotify, place: Path, mask: int) -> int:
        found = watched(self, place, mask)
        if place == root / "health" and found < 0:
            _make(root / made)
        return found

    monkeypatch.setattr(wakeup._Inotify, "_watch", watch)
    waiter = Waiter([path])
    assert isinstance(waiter._watch, wakeup._Inotify), "this user has no watch left: see lsof"
    quiet(waiter)
    for place in (path.parent.parent, path.parent, path):
        _make(place)
    path.write_bytes(b"news")

    assert waiter.wait(LONG_S)
    quiet(waiter)
    path.write_bytes(b"more")
    assert waiter.wait(LONG_S)
    waiter.close()


def _make(place: Path) -> None:
    """Make a head, or a folder on the way to it."""
    if place.suffix:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    else:
        place.mkdir(parents=True, exist_ok=True)


def test_waiter_watches_several_heads(var_dir: Path, kind: str) -> None:
    """News in any input ends the wait."""
    names = ["fills", "signals", "control"]
    for name in names:
        make_queue(var_dir, name, None)
    writers = [open_writer(var_dir, name) for name in names]
    waiter = Waiter([head(var_dir, name) for name in names])
    for number, writer in enumerate(writers * 2, 1):
        quiet(waiter)
        writer.append([line_of(number)])
        assert waiter.wait(LONG_S)
    waiter.close()
    for writer in writers:
        writer.close()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes cannot be waited for on Windows")
def test_waiter_is_woken_by_a_control_channel(var_dir: Path, kind: str) -> None:
    """A word on a control channel ends the wait like an event."""
    make_queue(var_dir, "fills", "risk_role")
    read_end, write_end = os.pipe()
    waiter = Waiter([head(var_dir)], [read_end])
    quiet(waiter)
    os.write(write_end, b"drain\n")
    assert waiter.wait(LONG_S)
    os.read(read_end, 100)
    assert not waiter.wait(0.02)
    waiter.close()
    os.close(read_end)
    os.close(write_end)


def test_wait_that_runs_out_takes_its_time_and_no_longer_than_needed(
    var_dir: Path, kind: str
) -> None:
    """A wait without news returns False, and not early."""
    make_queue(var_dir, "fills", "risk_role")
    waiter = Waiter([head(var_dir)])
    quiet(waiter)
    began = time.monotonic()
    assert not waiter.wait(0.05)

    assert time.monotonic() - began >= 0.045
    waiter.close()


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is a feature of Linux")
def test_waiter_is_woken_by_the_write_before_the_sync(var_dir: Path) -> None:
    """A watcher of the segment wakes before the sync, also after a rotation."""
    make_queue(var_dir, "fills", "risk_role")
    writer = open_writer(var_dir, "fills", segment_bytes=4 * len(line_of(1)))
    waiter = Waiter([head(var_dir)], segments=[var_dir / "fills" / "inbox.jsonl"])
    assert isinstance(waiter._watch, wakeup._Inotify), "this user has no watch left: see lsof"
    quiet(waiter)
    for number in range(1, 12):
        writer.write_json([json_of(number)])
        assert waiter.wait(LONG_S)
        quiet(waiter)
        writer.publish()
        assert waiter.wait(LONG_S)
        waiter.renew()
        quiet(waiter)
    assert writer.position.segment > 1
    waiter.close()
    writer.close()
