"""Attacks on the files of a run's folder during its night."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from tools.attacks.first_seconds import NOTICED_S_MAX
from tools.attacks.frame import (
    Done,
    Found,
    Lab,
    Night,
    NotPlayable,
    attack,
    make_fifo,
    stops_of,
)

STOP_CODE: Final = "RUN_FILE_CHANGED"
# Long enough that the damage is noticed before the night is over.
LONG: Final = {"duration_ms": "600000"}
EXPECTED: Final = "STOP(RUN_FILE_CHANGED) within seconds that names it; verify names it, exit 1"


def rewrite_clock(run: Path) -> None:
    """Change the origin in a clock file and leave its sha256 wrong."""
    path = run / "clock.json"
    data = json.loads(path.read_bytes())
    data["market_origin_ms"] += 3_600_000
    path.write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n")


def forge_clock(run: Path) -> None:
    """Change the origin in a clock file, and its sha256 to match."""
    path = run / "clock.json"
    data = json.loads(path.read_bytes())
    data["market_origin_ms"] += 3_600_000
    del data["sha256"]
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    data["sha256"] = sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(data, sort_keys=True, separators=(",", ":")) + "\n")


def played(lab: Lab, name: str, damage: Callable[[Path], object], told: str = "") -> Found:
    """Damage the run of a short night; judge how it ends and what the judges say afterwards.

    Args:
        lab: The lab in which the night runs.
        name: The file that the STOP has to name.
        damage: Called with the run's folder.
        told: The file that `verify` has to name; the same as `name` where absent.
    """
    night = lab.start_night(LONG)
    run = night.wait_for_fills()
    damage(run)
    return judged(lab, night, run, name, told or name)


def judged(lab: Lab, night: Night, run: Path, name: str, told: str) -> Found:
    """Judge how a night ends whose file was just damaged, and the verdicts on it afterwards."""
    begun = time.monotonic()
    night.wait_until(lambda: stops_of(lab.var), "the STOP")
    noticed_s = time.monotonic() - begun
    done = night.wait()
    stop = stops_of(lab.var)[-1]
    said = f"{stop['reason_code']}: {stop['detail']}, noticed in {noticed_s:.1f} s"
    verify = lab.minibot("verify", run.name)
    replay = lab.minibot("replay", run.name)
    by_hand = lab.command(sys.executable, "docs/verify_by_hand.py", str(run))
    judges = {"verify": verify, "replay": replay, "by hand": by_hand}
    wrong = [who for who, judge in judges.items() if not is_told(judge)]
    if wrong:
        said += "; not told by " + ", ".join(wrong)
    is_expected = (
        done.code == 10
        and stop["reason_code"] == STOP_CODE
        and name in stop["detail"]
        and noticed_s <= NOTICED_S_MAX
        and not wrong
        and verify.says(told)
    )
    return Found(said, done.code, is_expected)


def is_told(judge: Done) -> bool:
    """Return whether a judge ended with a finding, and not with a traceback."""
    return judge.code == 1 and not judge.says("Traceback")


@attack("A4", "clock.json is changed during a night", EXPECTED)
def clock_changed(lab: Lab) -> Found:
    """Change a clock file without its hash."""
    return played(lab, "clock.json", rewrite_clock)


@attack("A4", "clock.json is forged, its own hash right, during a night", EXPECTED)
def clock_forged(lab: Lab) -> Found:
    """Change a clock file and its hash."""
    return played(lab, "clock.json", forge_clock)


@attack("A4", "clock.json is deleted during a night", EXPECTED)
def clock_deleted(lab: Lab) -> Found:
    """Delete a clock file."""
    return played(lab, "clock.json", lambda run: (run / "clock.json").unlink())


@attack("A4", "clock.json is deleted and a role killed in the same moment", EXPECTED)
def clock_deleted_and_role_killed(lab: Lab) -> Found:
    """Delete a role's clock file, then kill the role, which has to restart without it."""
    night = lab.start_night(LONG)
    run = night.wait_for_fills()
    roles = night.roles()
    if "risk_role" not in roles:
        raise NotPlayable(f"no risk_role among {sorted(roles)}")
    (run / "clock.json").unlink()
    roles["risk_role"].kill()
    return judged(lab, night, run, "clock.json", "clock.json")


@attack("A4", "a clock.json is planted before the launcher writes its own", EXPECTED)
def clock_planted(lab: Lab) -> Found:
    """Plant a clock file that would start in the year 2001."""
    night = lab.start_night(LONG)
    run = night.wait_for_run()
    (run / "clock.json").write_text('{"machine_origin_ns":1,"market_origin_ms":1,"speed":"1"}\n')
    begun = time.monotonic()
    night.wait_until(lambda: stops_of(lab.var), "the STOP")
    noticed_s = time.monotonic() - begun
    done = night.wait()
    stop = stops_of(lab.var)[-1]
    said = f"{stop['reason_code']}: {stop['detail']}, noticed in {noticed_s:.1f} s"
    return Found(said, done.code, done.code == 10 and "clock.json" in stop["detail"])


@attack("A5", "manifest.json is deleted during a night", EXPECTED)
def manifest_deleted(lab: Lab) -> Found:
    """Delete a manifest."""
    return played(lab, "manifest.json", lambda run: (run / "manifest.json").unlink())


@attack("A5", "manifest.json is truncated during a night", EXPECTED)
def manifest_truncated(lab: Lab) -> Found:
    """Cut a manifest in half."""
    return played(lab, "manifest.json", lambda run: os.truncate(run / "manifest.json", 500))


@attack("A5", "manifest.json is replaced by a FIFO during a night", EXPECTED)
def manifest_is_a_fifo(lab: Lab) -> Found:
    """Replace a manifest by a FIFO, whose reader would wait for ever."""

    def damage(run: Path) -> None:
        (run / "manifest.json").unlink()
        make_fifo(run / "manifest.json")

    return played(lab, "manifest.json", damage)


@attack("A5", "manifest.json is replaced by a gigabyte of nothing during a night", EXPECTED)
def manifest_is_huge(lab: Lab) -> Found:
    """Let a manifest grow until hashing it takes a while."""
    return played(lab, "manifest.json", lambda run: os.truncate(run / "manifest.json", 1 << 30))


@attack(
    "A5",
    "the run's folder is moved away during a night",
    "STOP within seconds that names it; the run's id is found, and verify says what is missing",
)
def run_folder_moved(lab: Lab) -> Found:
    """Move a run's folder away."""
    return played(lab, "the run's folder", lambda run: _moved(run, lab), told="manifest.json")


@attack(
    "A5",
    "the run's folder is moved away and a link to it put in its place during a night",
    "STOP within seconds that names it; nothing is written through the link; verify tells",
)
def run_folder_is_a_link(lab: Lab) -> Found:
    """Replace a run's folder by a link."""

    def damage(run: Path) -> None:
        run.symlink_to(_moved(run, lab), target_is_directory=True)

    found = played(lab, "the run's folder", damage, told="manifest.json")
    written = sorted(path.name for path in (lab.folder / "moved").iterdir())
    return Found(
        f"{found.said}; in the moved folder: {', '.join(written)}",
        found.exit_code,
        found.is_expected and written == ["clock.json", "manifest.json"],
    )


@attack(
    "A5",
    "the run's folder is copied and the copy put in its place during a night",
    "STOP within seconds that names it",
)
def run_folder_is_a_copy(lab: Lab) -> Found:
    """Replace a run's folder by a copy of it."""
    night = lab.start_night(LONG)
    run = night.wait_for_fills()
    shutil.copytree(_moved(run, lab), run)
    night.wait_until(lambda: stops_of(lab.var), "the STOP")
    done = night.wait()
    stop = stops_of(lab.var)[-1]
    said = f"{stop['reason_code']}: {stop['detail']}"
    return Found(said, done.code, done.code == 10 and stop["reason_code"] == STOP_CODE)


@attack(
    "A5",
    "the next night starts after a run has lost its folder",
    "clear-stop, then a night that ends in order; the former run is kept and verify names it",
)
def night_after_a_lost_folder(lab: Lab) -> Found:
    """Start again over the remains of a run whose folder is lost."""
    night = lab.start_night(LONG)
    run = night.wait_for_fills()
    _moved(run, lab)
    night.wait()
    cleared = lab.minibot("clear-stop", "--reason", "the folder was moved away")
    again = lab.start_night().wait()
    former = lab.minibot("verify", run.name)
    said = (
        f"clear-stop {cleared.code}, verify of the former run {former.code}: {again.last_words()}"
    )
    is_expected = (cleared.code, again.code, former.code) == (0, 0, 1)
    return Found(said, again.code, is_expected and former.says("manifest.json"))


def _moved(run: Path, lab: Lab) -> Path:
    target = lab.folder / "moved"
    os.replace(run, target)
    return target


@attack("A4", "a folder in place of a role's reserve, then minibot kill", "stopped, sealed, proven")
def folder_in_place_of_a_reserve(lab: Lab) -> Found:
    """Put a folder in the place of a role's disk reserve, and end the night at once."""
    night = lab.start_night(LONG)
    run = night.wait_for_fills()
    reserve = night.var / "stop" / "risk_role.reserve"
    reserve.unlink()
    reserve.mkdir()
    lab.minibot("kill")
    done = night.wait()
    verify = lab.minibot("verify", run.name)
    said = f"exit {done.code}, verify exit {verify.code}: {verify.last_words()}"
    return Found(said, done.code, done.code == 10 and verify.code == 0)
