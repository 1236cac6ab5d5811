"""Attacks on the folder of a finished run: files deleted or replaced."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from tools.attacks.frame import Done, Found, Lab, attack, make_fifo

HUGE_BYTES: Final = 3 << 30
TOLD: Final = "each judge says so, exit 1, no traceback, no waiting"


def by_hand(lab: Lab, run: Path) -> Done:
    """Verify a run by hand, with the script that knows nothing of minibot."""
    return lab.command(sys.executable, "docs/verify_by_hand.py", str(run))


def told_by_all(lab: Lab, run: Path, name: str, *, replay: bool = True) -> Found:
    """Return whether every judge names the damage of a run, and ends with 1."""
    judges = {
        "verify": lab.minibot("verify", str(run)),
        "verify --quick": lab.minibot("verify", str(run), "--quick"),
        "by hand": by_hand(lab, run),
    }
    if replay:
        judges["replay"] = lab.minibot("replay", str(run))
    wrong = [
        f"{who} exits {done.code}: {done.last_words()}"
        for who, done in judges.items()
        if done.code != 1 or done.says("Traceback") or not done.says(name)
    ]
    said = "; ".join(wrong) or judges["verify"].last_words()
    return Found(said, judges["verify"].code, not wrong)


@attack("A5", "the manifest of a finished run is deleted", TOLD)
def sealed_manifest_deleted(lab: Lab) -> Found:
    """Delete a manifest: verify and replay must name what is left and what is missing."""
    run = lab.finished_run()
    (run / "manifest.json").unlink()
    return told_by_all(lab, run, "manifest.json")


@attack("A5", "a run without its manifest is asked for as latest", "it is found, not an older one")
def latest_without_manifest(lab: Lab) -> Found:
    """Ask for the newest run after its manifest was deleted."""
    run = lab.finished_run()
    (run / "manifest.json").unlink()
    done = lab.minibot("verify", "latest")
    return Found(done.last_words(), done.code, done.code == 1 and done.says(run.name, "left: "))


@attack("A4", "the clock of a finished run is deleted", TOLD)
def sealed_clock_deleted(lab: Lab) -> Found:
    """Delete a clock file after the run."""
    run = lab.finished_run()
    (run / "clock.json").unlink()
    return told_by_all(lab, run, "clock.json")


@attack("A4", "one digit of a finished run's clock is changed", TOLD)
def sealed_clock_changed(lab: Lab) -> Found:
    """Change one digit of the clock's origin after the run."""
    run = lab.finished_run()
    data = bytearray((run / "clock.json").read_bytes())
    position = data.index(b'"machine_origin_ns":') + len(b'"machine_origin_ns":')
    data[position] = ord("1") if data[position] != ord("1") else ord("2")
    (run / "clock.json").write_bytes(bytes(data))
    return told_by_all(lab, run, "clock.json")


@attack("A4", "sealed fills are replaced by a FIFO", TOLD)
def sealed_queue_is_a_fifo(lab: Lab) -> Found:
    """Replace a queue's file by a FIFO."""
    run = lab.finished_run()
    path = run / "queues" / "fills" / "inbox.jsonl"
    path.unlink()
    make_fifo(path)
    return told_by_all(lab, run, "fills")


@attack("A4", "the seal is replaced by a FIFO", TOLD)
def seal_is_a_fifo(lab: Lab) -> Found:
    """Replace the seal by a FIFO; the queues are whole, so replay is not affected."""
    run = lab.finished_run()
    (run / "seal.json").unlink()
    make_fifo(run / "seal.json")
    return told_by_all(lab, run, "seal.json", replay=False)


@attack("A4", "a queue's head is replaced by a folder", TOLD)
def sealed_head_is_a_folder(lab: Lab) -> Found:
    """Replace a head by a folder."""
    run = lab.finished_run()
    path = run / "queues" / "signals" / "inbox.head"
    path.unlink()
    path.mkdir()
    return told_by_all(lab, run, "signals")


@attack("A4", "a cursor is replaced by a link to a copy of itself", TOLD)
def sealed_cursor_is_a_link(lab: Lab) -> Found:
    """Replace a cursor by a link; replay never reads cursors."""
    run = lab.finished_run()
    path = run / "queues" / "fills" / "cursor.json"
    elsewhere = lab.folder / "cursor.json"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    return told_by_all(lab, run, "cursor.json", replay=False)


@attack("C22", "the manifest of a finished run is three gigabytes long", TOLD)
def huge_manifest(lab: Lab) -> Found:
    """Grow a manifest by a hole in the file: it is refused before it is read."""
    run = lab.finished_run()
    os.truncate(run / "manifest.json", HUGE_BYTES)
    done = lab.command(
        "prlimit",
        f"--as={1 << 30}",
        sys.executable,
        "-m",
        "minibot",
        "verify",
        str(run),
        "--jobs",
        "1",
    )
    is_expected = done.code == 1 and done.says("manifest.json", "at most")
    return Found(done.last_words(), done.code, is_expected and not done.says("Traceback"))


@attack("A5", "the queues of a finished run are deleted", TOLD)
def sealed_queues_deleted(lab: Lab) -> Found:
    """Delete all queues of a run: its seal still lists them."""
    run = lab.finished_run()
    shutil.rmtree(run / "queues")
    return told_by_all(lab, run, "queues")


@attack("A5", "a folder that holds nothing of a run is verified", "a refusal, exit 2, no traceback")
def folder_of_no_run(lab: Lab) -> Found:
    """Verify and replay an empty folder."""
    empty = lab.folder / "empty"
    empty.mkdir()
    verify = lab.minibot("verify", str(empty))
    replay = lab.minibot("replay", str(empty))
    is_expected = replay.code == 2 and verify.code in (1, 2)
    said = f"verify {verify.code}: {verify.last_words()}; replay {replay.code}"
    return Found(said, verify.code, is_expected and not verify.says("Traceback"))
