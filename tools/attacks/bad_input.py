"""Attacks by arguments, files and streams that no verb should be given."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from minibot.runtime.configuration.config import load_config
from tools.attacks.frame import PROJECT, Done, Found, Lab, NotPlayable, attack

DEMO = "config/nore-demo.v1.json"
CONFIGURATION, CANNOT_RUN, CHECK_FAILED = 4, 2, 1
OWN_ERROR = "an error of minibot itself"
LOOPING = """
from minibot.strategies.protocol import ClosedBar, Decision, Needs, Settings, Strategy, View


class Looping(Strategy):
    @staticmethod
    def needs(settings: Settings) -> Needs:
        return Needs(intervals=("1s",), history=5)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        n = 0
        while True:
            n += 1
"""


def told(done: Done, code: int, *words: str) -> Found:
    """Return whether a verb refused in words: its code, no traceback, no internal error name."""
    lines = [*done.out.splitlines(), *done.err.splitlines()]
    is_clean = not any(line.startswith("Traceback") for line in lines)
    is_clean = is_clean and not done.says(OWN_ERROR)
    return Found(done.last_words(), done.code, is_clean and done.code == code and done.says(*words))


def make_fifo(path: Path) -> None:
    """Make a FIFO that nobody writes to."""
    if sys.platform == "win32":
        raise NotPlayable("Windows has no FIFO in a folder")
    os.mkfifo(path)


def shell(lab: Lab, script: str, *words: str) -> Done:
    """Run a verb on the lab's `var` as `"$@"` of a shell script, for redirected streams."""
    argv = (sys.executable, "-m", "minibot", *words, "--var", str(lab.var))
    return lab.command("/bin/sh", "-c", script, "sh", *argv)


@attack("C19", "a profile holds half a letter (a lone surrogate)", "refused in words, exit 4")
def profile_with_surrogates(lab: Lab) -> Found:
    """Put lone surrogates into a value and a key of a profile."""
    raw = load_config(PROJECT / DEMO).raw
    raw["profile"] = "\ud800"
    raw["risk"]["\udfff"] = "\udc80"
    path = lab.folder / "surrogates.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    done = lab.minibot("night", "--config", str(path), "--quiet")
    return told(done, CONFIGURATION, "surrogates.json")


@attack("C19", "a profile is not UTF-8", "refused in words, exit 4")
def profile_in_another_encoding(lab: Lab) -> Found:
    """Write a profile in Latin-1."""
    path = lab.folder / "latin.json"
    path.write_bytes('{"profile": "n\u00f6re"}'.encode("latin-1"))
    return told(lab.minibot("backtest", "--config", str(path)), CONFIGURATION, "not UTF-8")


@attack("C19", "a FIFO that nobody writes to is given as a profile", "refused at once, exit 4")
def profile_is_a_fifo(lab: Lab) -> Found:
    """Give a FIFO to the verb that starts a night."""
    path = lab.folder / "fifo.json"
    make_fifo(path)
    return told(lab.minibot("night", "--config", str(path)), CONFIGURATION, "not a regular file")


@attack("C19", "a FIFO lies where a strategy's file should", "refused at once, exit 4")
def strategy_is_a_fifo(lab: Lab) -> Found:
    """Choose a strategy whose file is a FIFO."""
    make_fifo(lab.folder / "piped.py")
    sets = ("--set", "strategy.name=piped", "--set", f"strategy.folder={lab.folder}")
    done = lab.minibot("config", "check", "--config", DEMO, *sets)
    return told(done, CONFIGURATION, "not a regular file")


@attack("C19", "verify of /proc", "refused or found wanting in words")
def verify_of_proc(lab: Lab) -> Found:
    """Verify a folder that changes while it is read."""
    done = lab.minibot("verify", "/proc")
    return told(done, CHECK_FAILED if done.code == CHECK_FAILED else CANNOT_RUN)


@attack("C19", "verify of /dev/zero, which has no end", "refused at once, exit 2")
def verify_of_dev_zero(lab: Lab) -> Found:
    """Verify a device that yields bytes without end."""
    return told(lab.minibot("verify", "/dev/zero"), CANNOT_RUN, "not a regular file")


@attack("C19", "verify of a run without a name", "refused, exit 2; not the working folder")
def verify_of_nothing(lab: Lab) -> Found:
    """Verify an empty argument, as a script with an unset variable passes it."""
    return told(lab.minibot("verify", ""), CANNOT_RUN, "is not a run id")


@attack("C19", "stage add with a path of 300 letters", "refused in words, exit 2")
def staged_path_of_300_letters(lab: Lab) -> Found:
    """Stage a file whose name is longer than any file system allows, in a copy of the product."""
    product = lab.copy_product()
    source = lab.folder / "source.py"
    source.write_text("VALUE = 1\n", encoding="utf-8")
    done = lab.minibot("stage", "add", str(source), f"docs/{'x' * 300}.md")
    left = list((product / "staging" / "pending").rglob("x*"))
    found = told(done, CANNOT_RUN)
    return Found(found.said, found.exit_code, found.is_expected and not left)


@attack("C19", "strategy-check of a file with an endless loop", "ended, with its line, exit 1")
def strategy_with_an_endless_loop(lab: Lab) -> Found:
    """Check a strategy that never answers its first bar."""
    path = lab.folder / "looping.py"
    path.write_text(LOOPING, encoding="utf-8")
    done = lab.minibot("strategy-check", str(path), "--limit", "4")
    inside = any(done.says(f"looping.py, line {line} ") for line in (12, 13))
    found = told(done, CHECK_FAILED, "had not ended after 4 s")
    return Found(found.said, found.exit_code, found.is_expected and inside)


@attack("C19", "--debug on a refusal", "the trace is shown, same exit code")
def debug_shows_the_trace(lab: Lab) -> Found:
    """Ask for the traceback of a refusal."""
    done = lab.minibot("verify", "", "--debug")
    return Found(
        done.last_words(), done.code, done.code == CANNOT_RUN and done.says("Traceback (most")
    )


@attack("C19", "standard output is closed", "ends in order")
def closed_standard_output(lab: Lab) -> Found:
    """Run a verb without any standard output."""
    return told(shell(lab, 'exec "$@" >&-', "config", "show"), 0)


@attack("C19", "standard output is a full disk", "refused in words, exit 2")
def full_standard_output(lab: Lab) -> Found:
    """Run a verb whose output goes to a full device."""
    return told(shell(lab, 'exec "$@" >/dev/full', "config", "show"), CANNOT_RUN)


@attack("C19", "the reader of a pipe goes away", "no trace, exit 2")
def reader_goes_away(lab: Lab) -> Found:
    """Read one byte of a verb's output, close the pipe, and read the exit code."""
    script = '{ "$@"; echo "code $?" >&2; } | head -c 1 >/dev/null'
    done = shell(lab, script, "config", "show", "--json")
    # A small answer may fit into the pipe's buffer as a whole.
    is_told = done.says("code 2") or done.says("code 0")
    return Found(done.last_words(), done.code, is_told and not done.says("Traceback"))


@attack("C19", "var is a file", "refused in words, exit 2")
def var_is_a_file(lab: Lab) -> Found:
    """Give a file instead of the folder of runs to a verb that writes there."""
    path = Path(lab.folder, "file")
    path.write_text("no folder\n", encoding="utf-8")
    argv = (sys.executable, "-m", "minibot", "night", "--config", DEMO, "--var", str(path))
    return told(lab.command(*argv, "--quiet"), CANNOT_RUN)


@attack("C19", "a terminal of one column", "help and status as always")
def terminal_of_one_column(lab: Lab) -> Found:
    """Print a table and a help text on a terminal of one column."""
    environ = {"COLUMNS": "1", "LINES": "1"}
    helped = lab.minibot("backtest", "--help", environ=environ)
    status = lab.minibot("status", environ=environ)
    found = told(status, 3)
    return Found(found.said, found.exit_code, found.is_expected and helped.code == 0)
