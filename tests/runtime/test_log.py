"""Log lines: readable, bounded, free of secrets, and never a reason to stop."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.model import Beat, Event
from minibot.kernel.errors import RunStop
from minibot.kernel.files import FILES
from minibot.runtime.log import LINE_BYTES_MAX, Log
from minibot.runtime.secrets import redact


def make_log(folder: Path, **changes: Any) -> Log:
    """Return a log with roomy limits, unless a test says otherwise."""
    settings_: dict[str, Any] = {"file_bytes_max": 1_000_000, "files_max": 3, "now_ms": lambda: 7}
    return Log("risk_role", folder, **(settings_ | changes))


def lines(log: Log) -> list[dict[str, Any]]:
    """Return the decoded lines of the current file."""
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


def event(causes: tuple[str, ...] | None = None) -> Event:
    """Return a small event."""
    return Event(5, "event-1", "market_role", "20261120_010203", "0" * 64, Beat(1, {}), causes)


@pytest.mark.row("S-45")
def test_log_line_of_an_event_carries_its_id_and_its_causes(tmp_path: Path) -> None:
    """A fill's line and its tick's line share an id."""
    log = make_log(tmp_path)

    log.info("tick", event(), price="61837.63")
    log.info("fill", event(causes=("event-1", "intent-9")))

    tick, fill = lines(log)
    log = make_log(tmp_path, run_id="20261120_010203")
    log.info("end", run_id="another's")
    end = lines(log)[-1]
    assert (end["run_id"], end["run_id_"]) == ("20261120_010203", "another's")
    assert tick == {
        "ts": 7,
        "level": "info",
        "role": "risk_role",
        "kind": "tick",
        "event_id": "event-1",
        "price": "61837.63",
    }
    assert tick["event_id"] in fill["cause_ids"]


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_log_below_its_level_writes_nothing(tmp_path: Path, level: str, written: int) -> None:
    """Lines below the configured level are not written."""
    log = make_log(tmp_path, level=level)

    for method in (log.debug, log.info, log.warning, log.error):
        method("something")

    assert len(lines(log)) == written


@pytest.mark.row("N-18", "B-59", "F60")
@pytest.mark.fault("F60", by="a log over its size", ends="SURVIVE")
def test_log_over_its_size_rotates_and_keeps_the_newest(tmp_path: Path) -> None:
    """A full file rotates; count and size are bounded, and the newest line is last."""
    log = make_log(tmp_path, file_bytes_max=1_000, files_max=3)

    for number in range(100):
        log.info("step", number=number)

    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["risk_role.1.jsonl", "risk_role.2.jsonl", "risk_role.jsonl"]
    assert all(path.stat().st_size <= 1_000 for path in tmp_path.iterdir())
    ordered = ["risk_role.2.jsonl", "risk_role.1.jsonl", "risk_role.jsonl"]
    numbers = [
        json.loads(line)["number"]
        for name in ordered
        for line in (tmp_path / name).read_bytes().splitlines()
    ]
    assert numbers == list(range(numbers[0], 100))


def test_log_of_one_file_alone_starts_over_when_full(tmp_path: Path) -> None:
    """With one file allowed, a full one starts over."""
    log = make_log(tmp_path, file_bytes_max=300, files_max=1)

    for number in range(20):
        log.info("step", number=number)

    assert [path.name for path in tmp_path.iterdir()] == ["risk_role.jsonl"]
    assert lines(log)[-1]["number"] == 19


def test_log_opened_again_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """A restarted role appends to its predecessor's file."""
    first = make_log(tmp_path)
    first.info("before")
    first.close()

    second = make_log(tmp_path)
    second.info("after")

    assert [line["kind"] for line in lines(second)] == ["before", "after"]


@pytest.mark.row("N-12", "I8")
def test_log_never_shows_a_secret(tmp_path: Path) -> None:
    """Known values and named fields are removed from kinds, texts, keys and nested values."""
    redact.learn(["marker-of-the-log-test"])
    log = make_log(tmp_path)

    log.error(
        "marker-of-the-log-test",
        detail="x marker-of-the-log-test y",
        nested={"a": ["marker-of-the-log-test"], "marker-of-the-log-test": 1},
        api_key="short",
        inner={"password": "also short"},
        error=ValueError("marker-of-the-log-test"),
    )

    text = log.path.read_text()
    assert "marker" not in text
    assert "short" not in text


@pytest.mark.row("N-12")
@pytest.mark.parametrize("length", [1_990, 1_995, 2_000, 19_990])
def test_log_cuts_no_secret_in_half(tmp_path: Path, length: int) -> None:
    """A secret at the edge of a cut leaves no part."""
    redact.learn(["EDGE-abcdefghij-0123456789"])
    log = make_log(tmp_path)

    log.info("long", text="." * length + "EDGE-abcdefghij-0123456789" + "." * 9_000)

    assert "EDGE" not in log.path.read_text()


@pytest.mark.row("N-12")
@pytest.mark.parametrize(("key_length", "kind_length"), [(190, 1_990), (195, 1_995), (0, 0)])
def test_log_cuts_no_key_and_no_kind_within_a_secret(
    tmp_path: Path, key_length: int, kind_length: int
) -> None:
    """A secret at the edge of a key or kind leaves no part, and a cut name of a secret hides it."""
    redact.learn(["EDGE-abcdefghij-0123456789"])
    log = make_log(tmp_path)

    log.info(
        "k" * kind_length + "EDGE-abcdefghij-0123456789",
        nested={"k" * key_length + "EDGE-abcdefghij-0123456789": 1, "k" * 200 + "_token": "EDGE"},
    )

    (line,) = lines(log)
    assert "EDGE" not in log.path.read_text()
    assert line["kind"].startswith("k" * kind_length)
    assert len(line["kind"]) <= 2_000
    assert max(map(len, line["nested"])) <= 200


@pytest.mark.row("N-12")
def test_log_of_a_long_text_that_shrinks_shows_no_part_of_the_secret_at_its_end(
    tmp_path: Path,
) -> None:
    """A secret cut by the end of the searched part stays hidden, however much goes before it."""
    redact.learn(["LONG" * 250, "EDGE-abcdefghij-0123456789"])
    log = make_log(tmp_path)

    for filler in range(980, 1_000):
        text = "LONG" * 250 * 19 + "." * filler + "EDGE-abcdefghij-0123456789"
        log.info("long", text=text, error=ValueError(text))
    log.info("url", text="LONG" * 250 * 19 + "." * 970 + " https://me:EDGE-word@example.com")

    assert "EDGE" not in log.path.read_text()


@pytest.mark.row("F149")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    kind=st.text(max_size=50),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    ),
)
def test_log_of_any_value_is_one_line_of_plain_json(
    tmp_path: Path, kind: str, value: object
) -> None:
    """Newlines, escapes, bidi marks and lone surrogates neither forge nor break a line."""
    log = make_log(tmp_path)
    before = len(log.path.read_bytes().splitlines())

    log.info(kind, value=value)
    log.close()

    data = log.path.read_bytes()
    assert len(data.split(b"\n")) == before + 2
    assert all(byte == 10 or 32 <= byte < 127 for byte in data)
    assert json.loads(data.splitlines()[-1])["role"] == "risk_role"


@pytest.mark.slow
def test_log_of_something_huge_stays_within_its_bound(tmp_path: Path) -> None:
    """A megabyte of text, or a deep value, becomes one bounded line."""
    log = make_log(tmp_path)
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]

    log.info("huge", text="x" * 1_000_000, items=list(range(100_000)), deep=deep)
    fields: dict[str, Any] = {f"field_{n}": "y" * 1_999 for n in range(50)}
    log.info("wide", **fields)

    assert all(len(line) <= LINE_BYTES_MAX for line in log.path.read_bytes().splitlines())
    assert [line["kind"] for line in lines(log)] == ["huge", "wide"]


@pytest.mark.row("F60")
@pytest.mark.fault("F60", by="writes of a log give ENOSPC", ends="SURVIVE")
def test_log_on_a_full_disk_loses_lines_and_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk loses lines, and the next line tells how many."""
    log = make_log(tmp_path)
    log.info("first")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(FILES, "pwrite", full)
        log.info("lost")
        log.info("lost")
    log.info("again")
    log.info("calm")

    kinds = [(line["kind"], line.get("lost")) for line in lines(log)]
    assert kinds == [("first", None), ("again", 2), ("calm", None)]


@pytest.mark.row("F60")
@pytest.mark.parametrize("is_reopened", [False, True], ids=["same process", "next process"])
def test_log_line_behind_a_half_written_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_reopened: bool
) -> None:
    """A disk that fills up within a line costs that line, and not the next one with its count."""
    log = make_log(tmp_path)
    log.info("first")
    pwrite, room = FILES.pwrite, [10]

    def half(descriptor: int, data: bytes | memoryview, offset: int) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[: room.pop()], offset)

    with monkeypatch.context() as patch:
        patch.setattr(FILES, "pwrite", half)
        log.info("lost")
    if is_reopened:
        log.close()
        log = make_log(tmp_path)
    log.info("again")

    first, rest, again = log.path.read_bytes().splitlines()
    assert (json.loads(first)["kind"], len(rest)) == ("first", 10)
    assert json.loads(again)["kind"] == "again"
    assert json.loads(again).get("lost") == (None if is_reopened else 1)


@pytest.mark.row("F60")
@pytest.mark.parametrize("number", [errno.EBADF, errno.EIO])
def test_log_whose_descriptor_is_lost_goes_on_with_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A descriptor that can be neither written nor closed loses one line and no more."""
    log = make_log(tmp_path)
    log.info("first")
    close = FILES.close

    def failed(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    def closed(descriptor: int) -> None:
        close(descriptor)
        failed()

    with monkeypatch.context() as patch:
        patch.setattr(FILES, "pwrite", failed)
        patch.setattr(FILES, "close", closed)
        log.info("lost")
    log.info("again")

    kinds = [(line["kind"], line.get("lost")) for line in lines(log)]
    assert kinds == [("first", None), ("again", 1)]


def test_log_whose_file_is_held_by_another_program_goes_on_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file held by another program (Windows) grows within bounds instead of rotating."""
    log = make_log(tmp_path, file_bytes_max=500)

    def held(*_: object) -> None:
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(FILES, "replace", held)
    for number in range(200):
        log.info("step", number=number)

    assert 500 < log.path.stat().st_size <= 5 * 500
    assert log.lost > 0


def test_log_from_many_threads_keeps_every_line_whole(tmp_path: Path) -> None:
    """Lines of several threads stay whole."""
    log = make_log(tmp_path)

    def write(name: int) -> None:
        for number in range(200):
            log.info("step", name=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    seen = {(line["name"], line["number"]) for line in lines(log)}
    assert len(seen) == 800


def test_log_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """A log file is private under any umask."""
    if sys.platform == "win32":
        pytest.skip("Windows has no file modes")
    former = os.umask(0)
    try:
        log = make_log(tmp_path / "logs")
        log.info("x")
    finally:
        os.umask(former)

    assert log.path.stat().st_mode & 0o777 == 0o600
    assert log.path.parent.stat().st_mode & 0o777 == 0o700


def test_log_whose_file_is_a_link_is_refused_and_leaves_the_target(tmp_path: Path) -> None:
    """A link in the log's place is refused, and its target is untouched."""
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (tmp_path / "risk_role.jsonl").symlink_to(target)

    with pytest.raises(RunStop, match="PERMISSIONS_UNSAFE"):
        make_log(tmp_path)

    assert target.read_text() == "mine"


def test_log_field_named_like_an_envelope_field_does_not_replace_it(tmp_path: Path) -> None:
    """A field named like an envelope's stands beside it."""
    log = make_log(tmp_path)

    log.info("restart", role="strategy_role", ts=1)

    (line,) = lines(log)
    assert (line["role"], line["role_"], line["ts"], line["ts_"]) == (
        "risk_role",
        "strategy_role",
        7,
        1,
    )
