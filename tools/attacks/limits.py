"""Attacks by system limits on a night: descriptors, memory, file size, processes."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.attacks.frame import Found, Lab, NotPlayable, attack, only_run, stops_of

SEALED = "STOP on record; sealed, or the summary says why not; no traceback"
# Root is exempt from limits on processes: play as another user with root's right to read.
NOBODY = ("setpriv", "--reuid=65534", "--clear-groups")
READING = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override")


def _limited(lab: Lab, *before: str) -> Found:
    """Start a night under a limit and judge how it ended."""
    if shutil.which(before[0]) is None:
        raise NotPlayable(f"{before[0]} is not installed")
    night = lab.start_night(before=before)
    done = night.wait()
    run = only_run(lab.var)
    if done.code == 0:
        return Found("it came to its end in order", 0, (run / "seal.json").exists())
    codes = [stop["reason_code"] for stop in stops_of(lab.var) if stop["kind"] == "STOP"]
    is_sealed = (run / "seal.json").exists()
    is_told = is_sealed or done.says("not sealed")
    held = done.code == 10 and bool(codes) and is_told and not done.says("Traceback")
    how = "sealed" if is_sealed else "not sealed, and told" if is_told else "not sealed"
    return Found(f"{', '.join(codes) or 'no STOP'}, {how}", done.code, held)


@attack("C22", "a night with 64 descriptors for each process", SEALED)
def few_descriptors(lab: Lab) -> Found:
    """Limit the night to 64 descriptors: `ulimit -n 64`."""
    return _limited(lab, "prlimit", "--nofile=64")


@attack("C22", "a night with 250,000 KB of address space for each process", SEALED)
def little_address_space(lab: Lab) -> Found:
    """Limit the night's address space: `ulimit -v 250000`."""
    return _limited(lab, "prlimit", "--as=256000000")


@attack("C22", "a night whose files may not pass 900,000 bytes", SEALED)
def small_files(lab: Lab) -> Found:
    """Limit the size of files (`ulimit -f`) so that the ticks of a few seconds exceed it."""
    return _limited(lab, "prlimit", "--fsize=900000")


@attack("C22", "files may not pass 200,000 bytes", "refused in one sentence, on record")
def tiny_files(lab: Lab) -> Found:
    """Limit the size of files (`ulimit -f`) below what a start tries on the disk."""
    done = lab.start_night(before=("prlimit", "--fsize=200000")).wait()
    kinds = [stop["kind"] for stop in stops_of(lab.var)]
    held = done.code == 2 and kinds == ["REFUSED"] and not done.says("Traceback")
    return Found(f"{done.last_words()}; journal {kinds}", done.code, held)


@attack("C22", "a night with twelve processes and threads", SEALED)
def few_processes(lab: Lab) -> Found:
    """Limit processes by `ulimit -u 12`; root has no such limit, so another user plays for root."""
    if Path("/proc/self").stat().st_uid != 0:
        raise NotPlayable("the user's own processes count too: play as root")
    _give_to_nobody(lab)
    return _limited(lab, *NOBODY, *READING, "prlimit", "--nproc=12")


def _give_to_nobody(lab: Lab) -> None:
    for path in (lab.folder, lab.var):
        shutil.chown(path, 65534)
