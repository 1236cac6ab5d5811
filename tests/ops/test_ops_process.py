"""Process `ops`: its status file, and a night that starts none."""

from __future__ import annotations

from pathlib import Path

from minibot.kernel import canonical
from minibot.ops.live_status import LiveStatus
from tests.runs import ShortRun


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


def test_night_without_a_section_for_ops_starts_none(short_run: ShortRun) -> None:
    """The status file is written all the same; no process reads it, and none has a log."""
    assert (short_run.var / "ops" / "status.json").is_file()
    logs = [path.name for path in (short_run.var / "logs").iterdir()]
    assert [name for name in logs if name.startswith("risk_role")] != []
    assert [name for name in logs if name.startswith("ops")] == []
