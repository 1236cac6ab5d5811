"""Process `ops`: its status file, and a night that starts none."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.threads import DaemonThread
from minibot.ops import process
from minibot.ops.live_status import LiveStatus
from minibot.runtime.channels import SilentHeartbeat
from minibot.watchdog.status_file import StatusFile
from tests.runs import ShortRun
from tests.waiting import DEADLINE_S, wait_until


class Closing:
    """Service of which a test sees the end."""

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self.is_closed = False

    def take(self, status: JsonObject) -> None:
        """Take a status."""

    def close(self) -> None:
        """Close as the test says."""
        self._close()
        self.is_closed = True


@pytest.fixture
def serve_until_end(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[Closing]], None]:
    """Serve a run with these services, whose launcher is gone at once."""
    monkeypatch.setattr(process, "start_control", lambda gone: SimpleNamespace(orphaned=True))
    monkeypatch.setattr(process, "Heartbeat", SilentHeartbeat)
    monkeypatch.setattr(process, "_take_lowest_priority", lambda: None)

    def serve(services: list[Closing]) -> None:
        monkeypatch.setattr(process, "services_of", lambda manifest, var: services)
        process.serve(short_run.run_dir)

    return serve


def test_status_file_is_read_once_for_each_status(tmp_path: Path) -> None:
    """A status that was read is no news; a spoiled file is left out until the next one."""
    path = tmp_path / "status.json"
    status = LiveStatus(path)
    assert not status.look()
    assert status.age_ms() is None

    path.write_bytes(canonical.encode({"run_id": "a", "written_ms": 1}))
    assert status.look()
    assert not status.look()
    assert status.latest == {"run_id": "a", "written_ms": 1}

    (tmp_path / "next").write_text("{")
    (tmp_path / "next").replace(path)
    assert not status.look()
    assert status.latest == {"run_id": "a", "written_ms": 1}


def test_status_comes_again_after_somebody_removed_its_folder(tmp_path: Path) -> None:
    """Guard and watch go on hearing of a run whose `var/ops` was tidied away."""
    (tmp_path / "var").mkdir()
    path = tmp_path / "var" / "ops" / "status.json"
    file, status = StatusFile(path), LiveStatus(path)
    file.start()
    file.show({"run_id": "a"})
    wait_until(status.look, "the first status")
    shutil.rmtree(path.parent)

    file.show({"run_id": "a"})
    wait_until(status.look, "the status behind it")

    file.end(None)


def test_night_without_a_section_for_ops_starts_none(short_run: ShortRun) -> None:
    """The status file is written all the same; no process reads it, and none has a log."""
    assert (short_run.var / "ops" / "status.json").is_file()
    logs = [path.name for path in (short_run.var / "logs").iterdir()]
    assert [name for name in logs if name.startswith("risk_role")] != []
    assert [name for name in logs if name.startswith("ops")] == []


def test_services_close_together(serve_until_end: Callable[[list[Closing]], None]) -> None:
    """The launcher waits ten seconds for all: a dead alert host costs the last backup nothing."""
    together = threading.Barrier(3)
    services = [Closing(lambda: together.wait(DEADLINE_S)) for _ in range(3)]

    serve_until_end(services)

    assert [each.is_closed for each in services] == [True] * 3


def test_close_that_fails_is_told_and_spares_the_others(
    serve_until_end: Callable[[list[Closing]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """An error ends the process with its reason once every other service has closed."""

    def fail() -> None:
        raise Refusal("the page cannot be closed.", "Look at its log.")

    services = [Closing(lambda: None), Closing(fail), Closing(fail), Closing(lambda: None)]

    with pytest.raises(Refusal, match="cannot be closed"):
        serve_until_end(services)

    assert [each.is_closed for each in services] == [True, False, False, True]
    assert capsys.readouterr().err.count("did not close: Refusal") == 1


def test_services_close_in_turn_where_no_thread_starts(
    serve_until_end: Callable[[list[Closing]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without memory delivers the end all the same."""

    class Refused(DaemonThread):
        """Thread that the system does not provide."""

        def start(self) -> None:
            """Refuse."""
            raise RuntimeError("no thread")

    services = [Closing(lambda: None) for _ in range(2)]
    monkeypatch.setattr(process, "DaemonThread", Refused)

    serve_until_end(services)

    assert [each.is_closed for each in services] == [True, True]
