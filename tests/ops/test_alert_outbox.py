"""Outbox of alerts: each once to each target, through restarts and damage."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from minibot.kernel import canonical
from minibot.kernel.codes import PERMISSIONS_UNSAFE, QUEUE_LOCKED
from minibot.kernel.errors import RunStop
from minibot.kernel.files import Files
from minibot.kernel.queue import open_writer
from minibot.ops.alerts import outbox as outboxes
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING, Alert
from minibot.ops.alerts.outbox import OUTBOX, Outbox

RUN = "20261123_200000"


def alert(
    number: int, run_id: str = RUN, *, is_urgent: bool = False, is_always: bool = False
) -> Alert:
    """Return an alert of an event."""
    return Alert.of(
        *(run_id, "test", str(number), WARNING, f"title {number}", ""),
        is_urgent=is_urgent,
        is_always=is_always,
    )


def ids(outbox: Outbox, target: str = "a") -> list[str]:
    """Return the numbers of the alerts that wait for a target."""
    return [each.id.rpartition("/")[2] for each, _ in outbox.waiting(target)]


@pytest.mark.row("B-61")
def test_alert_of_a_known_event_is_dropped_also_after_a_restart(tmp_path: Path) -> None:
    """An event alerts once, however often it is read."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    assert outbox.put(alert(1), ["a"])
    assert not outbox.put(alert(1), ["a"])
    outbox.done("a", [alert(1)])
    outbox.close()

    again = Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert not again.put(alert(1), ["a"])
    assert ids(again) == []
    again.close()


@pytest.mark.row("B-48")
def test_outbox_keeps_what_one_target_lacks_and_another_has(tmp_path: Path) -> None:
    """A target whose host is away gets its alerts after the restart, the other gets none twice."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    for number in (1, 2):
        outbox.put(alert(number), ["a", "b"])
    outbox.begin("a", [alert(1)])
    outbox.done("a", [alert(1)])
    outbox.begin("b", [alert(1)])
    outbox.failed("b", [alert(1)], "refused", in_doubt=False)
    outbox.close()

    again = Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert ids(again, "a") == ["2"]
    assert again.waiting("b") == [(each, False) for each, _ in again.waiting("b")]
    assert ids(again, "b") == ["1", "2"]
    again.close()


def test_urgent_alert_overtakes_all_that_wait(tmp_path: Path) -> None:
    """A STOP goes first."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    for number in (1, 2):
        outbox.put(alert(number), ["a"])
    outbox.put(alert(3, is_urgent=True), ["a"])

    assert ids(outbox) == ["3", "1", "2"]
    outbox.close()


def test_full_outbox_counts_what_it_leaves_out_but_takes_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded when a host is away for hours; a STOP always has room."""
    monkeypatch.setattr(outboxes, "HELD_MAX", 3)
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    taken = [outbox.put(alert(number), ["a"]) for number in range(5)]

    assert taken == [True, True, True, False, False]
    assert outbox.left_out["a"] == 2
    assert outbox.put(alert(9, is_urgent=True), ["a"])
    assert ids(outbox)[0] == "9"
    assert outbox.put(alert(10, is_always=True), ["a"])
    outbox.close()


def test_full_target_leaves_out_its_own_alerts_alone_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host that is away for nights costs no other target an alert, also after a restart."""
    monkeypatch.setattr(outboxes, "HELD_MAX", 3)
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    for number in range(5):
        assert outbox.put(alert(number), ["dead", "mail"])
        outbox.done("mail", [alert(number)])
    outbox.close()
    again = Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert again.put(alert(5), ["dead", "mail"])
    assert ids(again, "mail") == ["5"]
    assert ids(again, "dead") == ["0", "1", "2"]
    assert (outbox.left_out["dead"], outbox.left_out["mail"]) == (2, 0)
    again.close()
    # By each of the two, as a process tells it.
    assert capsys.readouterr().err.count("dead: 3 alerts wait") == 2


def test_settled_lines_of_older_runs_are_read_no_more(tmp_path: Path) -> None:
    """The outbox of a hundred nights opens as fast as that of one."""
    for night in ("20261121_200000", "20261122_200000"):
        outbox = Outbox(tmp_path / "ops", OUTBOX, night)
        outbox.put(alert(1, night), ["a"])
        outbox.done("a", [alert(1, night)])
        outbox.close()

    Outbox(tmp_path / "ops", OUTBOX, RUN).close()
    last = Outbox(tmp_path / "ops", OUTBOX, "20261122_200000")

    # Its cursor stands behind that night, so the id is a new one again.
    assert last.put(alert(1, "20261122_200000"), ["a"])
    last.close()


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Fills the disk: from its call on no write and no new file or folder succeeds."""

    def fill() -> None:
        def refuse(*_: object) -> NoReturn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        for call in ("pwrite", "write_through", "mkdir"):
            monkeypatch.setattr(Files, call, refuse)

    return fill


@pytest.mark.parametrize("has_folder", [True, False])
def test_outbox_opened_on_a_full_disk_takes_alerts_and_has_those_that_wait(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    full_disk: Callable[[], None],
    has_folder: bool,
) -> None:
    """A disk that is full before `ops` starts costs no alert of this process, the STOP included."""
    if has_folder:
        before = Outbox(tmp_path / "ops", OUTBOX, RUN)
        before.put(alert(1), ["a"])
        before.put(alert(2), ["a"])
        before.done("a", [alert(2)])
        before.close()
    full_disk()

    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    assert outbox.put(alert(3, is_urgent=True), ["a"])
    waiting = ids(outbox)
    for number in waiting:
        outbox.begin("a", [alert(int(number))])
        outbox.done("a", [alert(int(number))])

    assert outbox.is_mute
    assert waiting == (["3", "1"] if has_folder else ["3"])
    assert outbox.targets() == set()
    assert not outbox.put(alert(3), ["a"])
    outbox.close()
    assert capsys.readouterr().err.count("takes no more lines") == 1


def test_outbox_whose_place_cannot_be_read_is_not_opened_in_memory(tmp_path: Path) -> None:
    """An error other than a refused write hides what waits, so it is told and tried again."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / OUTBOX).symlink_to(real)

    with pytest.raises(RunStop) as caught:
        Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert caught.value.reason_code == PERMISSIONS_UNSAFE


def test_second_process_is_told_that_the_outbox_is_taken(tmp_path: Path) -> None:
    """No alert is sent by two processes at once."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)

    with pytest.raises(RunStop) as caught:
        Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert caught.value.reason_code == QUEUE_LOCKED
    outbox.close()


def test_damaged_outbox_is_set_aside_and_the_next_alert_goes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damage costs no alert: the file stays under another name, and a warning names it."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    outbox.put(alert(1), ["a"])
    outbox.close()
    path = tmp_path / "ops" / OUTBOX / "inbox.jsonl"
    path.write_bytes(path.read_bytes().replace(b"title 1", b"title 7"))

    again = Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert again.put(alert(1), ["a"])
    assert len(list((tmp_path / "ops").glob("outbox.damaged_*"))) == 1
    assert "is damaged and set aside" in capsys.readouterr().err
    again.close()


@pytest.mark.parametrize("line", [{"what": "alert", "alert": {"id": "1"}}, {"by": "another"}])
def test_outbox_of_another_form_is_set_aside_too(tmp_path: Path, line: Any) -> None:
    """Lines of another version cost no alert, though no byte of them is damaged."""
    writer = open_writer(tmp_path / "ops", OUTBOX)
    writer.append_json([canonical.encode(line)])
    writer.close()

    again = Outbox(tmp_path / "ops", OUTBOX, RUN)

    assert again.put(alert(1), ["a"])
    assert len(list((tmp_path / "ops").glob("outbox.damaged_*"))) == 1
    again.close()


def test_levels_pass_as_asked_and_ends_always() -> None:
    """The level of a profile holds back what is less, never a STOP or an end."""
    alert = Alert.of(RUN, "x", "1", INFO, "", "")
    end = Alert.of(RUN, "END", "END", INFO, "", "", is_always=True)

    assert alert.passes(INFO)
    assert not alert.passes(WARNING)
    assert Alert.of(RUN, "x", "1", CRITICAL, "", "").passes(WARNING)
    assert end.passes(CRITICAL)
