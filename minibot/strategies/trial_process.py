"""Trial of a strategy's file in a separate process, which can be ended if the file hangs.

A file may contain an endless loop, which Python cannot leave from within the process. It may also
take all memory: the process has the memory ceiling of a role.
"""

from __future__ import annotations

import faulthandler
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.configuration.config_files import printable
from minibot.runtime.interpreter import environ_of_read, python_argv
from minibot.runtime.memory import limit_memory
from minibot.runtime.paths import shown_path
from minibot.strategies.selection import judge

LIMIT_S: Final = 30
# Time to report its current line, and to end.
ENDING_S: Final = 30
MODULE: Final = "minibot.strategies.trial_process"
_PLACE: Final = re.compile(r'  File "(.*)", line (\d+) in (.*)')


def require_runnable(config: Config) -> None:
    """Refuse a profile whose strategy cannot run with it.

    An own strategy is first tried in a separate process: `judge` calls its code in this one, where
    an endless loop could not be interrupted.

    Raises:
        ConfigError: With every violation, or the finding of the trial.
    """
    require_tried(config.raw)
    judge(config.raw, config.given)


def require_tried(config: JsonObject, limit_s: int = LIMIT_S) -> None:
    """Refuse an own strategy that fails its trial with the night's profile, before it starts.

    Args:
        config: The resolved profile; a shipped strategy is not tried.
        limit_s: As for `tried`.

    Raises:
        ConfigError: The trial failed; it carries the finding.
    """
    section = config["strategy"]
    if "source" not in section:
        return
    failure = tried(Path(section["source"]["path"]), limit_s, config)
    if failure:
        raise ConfigError(
            f"strategy {section['name']} fails the trial of strategy-check.",
            failure.split("\n"),
            "Nothing was started; a night would have stopped at it.",
        )


def tried(path: Path, limit_s: int = LIMIT_S, config: JsonObject | None = None) -> str:
    """Return the failure of a trial of a strategy's file, empty if it passed.

    Args:
        path: The file.
        limit_s: Seconds after which the trial is ended, and its current line reported.
        config: A resolved profile that contains the file's text, for a trial with its values.
    """
    argv = [*python_argv(MODULE), str(path), str(limit_s)]
    try:
        done = subprocess.run(
            argv,
            env=environ_of_read(),
            input="" if config is None else encode(config).decode(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=limit_s + ENDING_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _hung(path, limit_s, "")
    if done.returncode == 0:
        return str(decode(done.stdout.strip().encode())["failure"])
    if done.stderr.startswith("Timeout ("):
        return _hung(path, limit_s, done.stderr)
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    text = f"the trial ended with exit code {done.returncode}: {printable(last)}"
    return f"{shown_path(path)}: {text}"


def _hung(path: Path, limit_s: int, trace: str) -> str:
    """Return the message for a trial without an end, with the innermost known line of the file."""
    shown = shown_path(path)
    # A trace has letters outside ASCII escaped.
    given = (shown, str(path), os.path.realpath(path))
    names = [name.encode("ascii", "backslashreplace").decode() for name in given]
    for found in map(_PLACE.fullmatch, trace.splitlines()):
        if found is not None and found[1] in names:
            place = f"{shown}, line {found[2]} (in {printable(found[3])})"
            break
    else:
        place = shown
    return (
        f"{place}: the trial had not ended after {limit_s} s; a loop without an end, or too slow: "
        "each tick and bar has to be answered in microseconds"
    )


def main(argv: Sequence[str]) -> int:
    """Try the file, with the profile on standard input if any; print the failure as JSON."""
    from minibot.strategies.trial import PROFILE, Trial, wave_fault

    faulthandler.dump_traceback_later(int(argv[1]), exit=True)
    profile = sys.stdin.buffer.read()
    config = decode(profile) if profile else load_config(PROFILE).raw
    limit_memory(config["watchdog"]["rss_mb_max"])
    if profile:
        failure = wave_fault(lambda: Trial.of(config), argv[0])
    else:
        path = Path(argv[0])
        failure = wave_fault(lambda: Trial(path), shown_path(path))
    faulthandler.cancel_dump_traceback_later()
    print(encode({"failure": failure}).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
