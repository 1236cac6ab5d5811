"""Process `ops`: kept alive beside a run, ended with it, and never the end of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import psutil
import pytest

from minibot.engine.role_replay import Recorded
from minibot.kernel import canonical
from minibot.kernel.verify import verify_tree
from minibot.ops.live_status import LiveStatus
from tests.nights.night import Night
from tests.waiting import DEADLINE_S, wait_until

PAGE = 'page={"port":0,"required":false}'


def ops_of(night: Night) -> psutil.Process | None:
    """Return the process `ops` of a night; None while there is none."""
    return night.role("minibot.ops.process")


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


@pytest.mark.process
def test_killed_ops_is_an_incident_and_started_again_while_the_night_goes_on(
    tmp_path: Path,
) -> None:
    """Its death changes nothing of the run; at the end of the run it ends too."""
    night = Night(tmp_path / "var", [PAGE, "ai.enabled=false"])
    first = wait_until(lambda: ops_of(night), "ops is started")
    night.await_trading()
    first.kill()

    def again() -> psutil.Process | None:
        found = ops_of(night)
        return found if found is not None and found.pid != first.pid else None

    second = wait_until(again, "ops is started again")
    before = night.lines("market_ticks")
    wait_until(lambda: night.lines("market_ticks") > before, "ticks go on")
    night.interrupt()
    code, said = night.end()

    assert code == 0, said
    assert psutil.wait_procs([second], timeout=DEADLINE_S)[1] == []
    run_dir = night.run_dirs()[-1]
    assert list(verify_tree(run_dir)) == []
    kinds = Counter(
        event.payload.to_json()["kind"] for _, event in Recorded.open(run_dir).events("incidents")
    )
    assert kinds["OPS_ENDED"] == 1
    assert kinds["OPS_OFF"] == 0
    status = LiveStatus(night.var / "ops" / "status.json")
    assert status.look()
    assert status.latest is not None
    assert status.latest["ended"]["kind"] == "END"


@pytest.mark.process
def test_night_without_a_section_for_ops_starts_none(tmp_path: Path) -> None:
    """The status file is written all the same; no process reads it."""
    night = Night(tmp_path / "var", ["ai.enabled=false"])
    night.await_trading()
    assert ops_of(night) is None
    assert (night.var / "ops" / "status.json").is_file()
    night.interrupt()
    code, said = night.end()

    assert code == 0, said
