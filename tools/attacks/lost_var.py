"""Attacks on the folder that a night writes: moved, deleted or replaced during the night."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tools.attacks.frame import Done, Found, Lab, attack, only_run, stops_of

AWAY = "away"
# Two blanks and a label stand before the text of a row.
LABEL_CHARS = 16


def _lose(lab: Lab, damage: Callable[[Path, Path], object]) -> tuple[Done, Path]:
    """Let a night trade, take its `var` away, wait for its end; return the night and the place."""
    night = lab.start_night()
    night.wait_for_fills()
    away = lab.folder / AWAY
    damage(lab.var, away)
    return night.wait(), away


def _judge(lab: Lab, done: Done, where: Path | None) -> Found:
    """Judge the end of a night that lost its `var`, and the next start in the same place."""
    note = lab.folder / "var.STOP.flag"
    facts = {
        "no VAR_LOST": done.says("VAR_LOST"),
        "OPERATOR_KILL": not done.says("OPERATOR_KILL"),
        "no exit 10": done.code == 10,
        "no note beside var": note.is_file(),
        "a file is named that is not there": not _missing_files(lab, done),
    }
    if where is not None:
        codes = [stop["reason_code"] for stop in stops_of(where)]
        facts["no flag in the folder"] = (where / "STOP.flag").exists()
        facts["no STOP on record in the folder"] = codes[-1:] == ["VAR_LOST"]
        facts["not sealed"] = (only_run(where) / "seal.json").exists()
    else:
        facts["not said to be unsealed"] = done.says("not sealed")
    following = lab.start_night().wait()
    facts["the next start runs"] = following.code == 2 and following.says("var.STOP.flag")
    missing = [name for name, holds in facts.items() if not holds]
    said = (
        f"missing: {', '.join(missing)}" if missing else "VAR_LOST, on record, next start refused"
    )
    return Found(said, done.code, not missing)


def _missing_files(lab: Lab, done: Done) -> list[str]:
    """Return the files that the summary's last section names and that do not exist."""
    lines = done.out.partition("\nFiles\n")[2].splitlines()
    named = [line[LABEL_CHARS:] for line in lines if line.startswith("  ")]
    return [name for name in named if not (lab.project / name).exists()]


LOST = "VAR_LOST, flag and journal kept, run sealed, next start refused"


@attack("A7", "var is moved under a night", LOST)
def var_moved(lab: Lab) -> Found:
    """Rename the folder."""
    done, away = _lose(lab, lambda var, away: var.rename(away))
    return _judge(lab, done, away)


@attack("A7", "var is moved and an empty one is made in its place", LOST)
def var_exchanged(lab: Lab) -> Found:
    """Put another folder in the place of `var`, as a restore or a clean-up does."""

    def exchange(var: Path, away: Path) -> None:
        var.rename(away)
        var.mkdir(mode=0o700)

    done, away = _lose(lab, exchange)
    return _judge(lab, done, away)


@attack("A7", "var is moved to another disk's place and linked", LOST)
def var_replaced_by_a_link(lab: Lab) -> Found:
    """Replace the folder by a link to it, although the run began in a real folder."""

    def link(var: Path, away: Path) -> None:
        var.rename(away)
        var.symlink_to(away)

    done, away = _lose(lab, link)
    return _judge(lab, done, away)


@attack("A7", "var is deleted under a night", "VAR_LOST, noted beside var, next start refused")
def var_deleted(lab: Lab) -> Found:
    """Delete the folder with its content, again and again while the night still writes."""

    def delete(var: Path, away: Path) -> None:
        var.rename(away)
        shutil.rmtree(away, ignore_errors=True)

    done, _ = _lose(lab, delete)
    return _judge(lab, done, None)


@attack("A7", "all that var holds is deleted", "VAR_LOST, on record in it, next start refused")
def var_emptied(lab: Lab) -> Found:
    """Delete the folder's content; the folder itself stays."""

    def empty(var: Path, away: Path) -> None:
        (var / "queues").rename(away)
        for path in list(var.iterdir()):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()

    done, _ = _lose(lab, empty)
    found = _judge(lab, done, None)
    codes = [stop["reason_code"] for stop in stops_of(lab.var)]
    is_expected = found.is_expected and "VAR_LOST" in codes
    return Found(f"{found.said}; journal {codes}", found.exit_code, is_expected)


@attack("A7", "var is moved, moved back, cleared", "clear-stop records it, the next night runs")
def var_moved_back(lab: Lab) -> Found:
    """Move the folder away and back again, as an operator does."""
    done, away = _lose(lab, lambda var, away: var.rename(away))
    away.rename(lab.var)
    status = lab.minibot("status")
    cleared = lab.minibot("clear-stop", "--reason", "moved back")
    following = lab.start_night({"duration_ms": "40000"}).wait()
    kinds = [stop["kind"] for stop in stops_of(lab.var)]
    codes = (done.code, status.code, cleared.code, following.code)
    held = codes == (10, 10, 0, 0) and kinds == ["STOP", "CLEAR", "END"]
    said = f"exits {codes}, journal {kinds}"
    return Found(said, following.code, held and status.says("VAR_LOST"))
