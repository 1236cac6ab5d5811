"""Attacks on `STOP.flag` and on what a refused start leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tools.attacks.frame import Found, Lab, attack, stops_of

CLEARED = "a start is refused and on record, clear-stop clears it on record"


def _cleared(lab: Lab, plant: Callable[[Path], object]) -> Found:
    """Plant a flag, start a night, clear the flag, and look at what is left."""
    flag = lab.var / "STOP.flag"
    plant(flag)
    refused = lab.start_night().wait()
    status = lab.minibot("status")
    cleared = lab.minibot("clear-stop", "--reason", "planted by an attack")
    kinds = [stop["kind"] for stop in stops_of(lab.var)]
    codes = (refused.code, status.code, cleared.code)
    is_gone = not flag.is_symlink() and not flag.exists()
    held = codes == (2, 10, 0) and kinds == ["REFUSED", "CLEAR"] and is_gone
    trouble = any(done.says("Traceback") for done in (refused, status, cleared))
    return Found(
        f"exits {codes}, journal {kinds}: {cleared.last_words()}",
        cleared.code,
        held and not trouble,
    )


@attack("C19", "STOP.flag is a folder", CLEARED)
def flag_is_a_folder(lab: Lab) -> Found:
    """Plant an empty folder as the flag."""
    return _cleared(lab, lambda flag: flag.mkdir())


@attack("C19", "STOP.flag is a folder that holds a file", CLEARED)
def flag_is_a_full_folder(lab: Lab) -> Found:
    """Plant a full folder as the flag: its content is set aside, not deleted."""

    def plant(flag: Path) -> None:
        flag.mkdir()
        (flag / "kept").write_text("mine")

    found = _cleared(lab, plant)
    kept = [path.read_text() for path in (lab.var / "stop").glob("STOP.flag-*/kept")]
    return Found(
        f"{found.said}; kept {kept}", found.exit_code, found.is_expected and kept == ["mine"]
    )


@attack("C19", "STOP.flag is a link to nothing", CLEARED)
def flag_is_a_dangling_link(lab: Lab) -> Found:
    """Plant a dangling link as the flag: it exists for `ls`, but not for `test -e`."""
    return _cleared(lab, lambda flag: flag.symlink_to("nowhere"))


@attack("C19", "STOP.flag is a link to a file of the user", CLEARED + ", the file stays")
def flag_is_a_link(lab: Lab) -> Found:
    """Plant a link as the flag: the link is removed, its target stays."""
    precious = lab.folder / "precious"
    precious.write_text("mine")
    found = _cleared(lab, lambda flag: flag.symlink_to(precious))
    return Found(found.said, found.exit_code, found.is_expected and precious.exists())


@attack("C22", "run.lock was left readable by all", "the next run makes it 0600")
def run_lock_open_to_others(lab: Lab) -> Found:
    """Plant a run lock open to other users, as an older minibot left it under a careless umask."""
    path = lab.var / "run.lock"
    path.touch()
    path.chmod(0o666)
    night = lab.start_night()
    night.wait_for_run()
    mode = path.stat().st_mode & 0o777
    return Found(f"run.lock has mode {mode:04o}", None, mode == 0o600)
