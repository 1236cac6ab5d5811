"""Fuzz the verbs with bad arguments: no traceback, a documented exit code, a bounded end.

    python3 tools/with_env.py -m tools.fuzz_verbs --cases 300 --seed 1

Arguments and flags come from the parsers, so new verbs are covered. Each case is a forked process
in which everything is already imported. A finding is a line that begins with `Traceback`, the name
of an internal error, an undocumented exit code, or a verb that has not ended after some seconds.
Exit code: 0 without a finding, else 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from minibot.cli.main import parser, run, verbs

DOCUMENTED: Final = frozenset((0, 1, 2, 3, 4, 5, 10))
OWN_ERROR: Final = "an error of minibot itself"
LIMIT_S: Final = 60.0
POLL_S: Final = 0.01
# Verbs that run nights, drills or servers, or change the project: played by hand, or by attacks.
LEFT_OUT: Final = frozenset(("ai-proof", "chaos", "doctor", "exchange", "gate", "probe", "stage"))
# Flags that keep a verb short and harmless where an argument happens to be allowed.
BESIDE: Final = {
    "backtest": ("--source", "klines:BROKEN"),
    "download-data": ("--rest-url", "http://127.0.0.1:9", "--source", "rest", "--pairs", "BTCUSDT"),
    "new-config": ("--set", "risk.positions_max=none"),
    "night": ("--config", "BROKEN"),
    "optimise": ("--source", "klines:BROKEN", "--vary", "strategy.score_min=50:60"),
    "service": ("--dry-run", "--config", "BROKEN"),
    "record": ("--for", "1s", "--set", "binance.rest_url=http://127.0.0.1:9"),
}
MARKS: Final = ("BROKEN", "NOT_UTF8", "SURROGATES", "DEEP", "FIFO", "FOLDER", "EMPTY", "LINK")
WORDS: Final = (
    *("", " ", "\udcff\udc80", "x" * 300, "/proc", "/proc/self/mem", "/dev/zero", "/dev/null"),
    *("../../../../etc", "-1", "0", "9" * 40, "nan", "1e999", "\n", "a\tb", "latest", "%s%n"),
    *("run:", "tape:", "run:/proc", "klines:/dev/zero", "tape:/dev/zero", "columns:/dev"),
    *("generator:" + "9" * 30, "strategy.rsi_period=", "=", "a.b=1:2:0", "\u202e\u0000", "[", "{}"),
    *("FIFO", "BROKEN", "NOT_UTF8", "SURROGATES", "DEEP", "FOLDER", "EMPTY", "LINK"),
    *("tape:FIFO", "klines:FIFO", "klines:FOLDER", "run:FOLDER", "tape:NOT_UTF8"),
)


class Case(NamedTuple):
    """One command line."""

    words: tuple[str, ...]


class Ended(NamedTuple):
    """Outcome of a case; the exit code is None where the case had to be killed."""

    code: int | None
    said: str


def cases() -> Iterator[Case]:
    """Yield every verb with every bad argument in every place, one at a time."""
    for name in sorted(verbs()):
        if name in LEFT_OUT:
            continue
        for places in _places(name):
            for word in WORDS:
                yield Case((name, *(word if part is None else part for part in places)))


def _places(name: str) -> Iterator[tuple[str | None, ...]]:
    """Yield a verb's arguments with one place left open, for each place."""
    subparsers = parser(name)._subparsers
    choices = subparsers._group_actions[0].choices if subparsers is not None else None
    assert isinstance(choices, dict)
    actions = [a for a in choices[name]._actions if a.dest not in ("help", "json", "debug", "var")]
    words = [a for a in actions if not a.option_strings]
    needed = [_harmless(a) for a in words if a.nargs not in ("?", "*")]
    beside = BESIDE.get(name, ())
    required = [
        part
        for action in actions
        if action.option_strings and action.required
        for part in (action.option_strings[-1], "x")
        if not set(action.option_strings) & set(beside)
    ]
    for place in range(len(words)):
        before = [_harmless(a) for a in words[:place]]
        after = [_harmless(a) for a in words[place + 1 :] if a.nargs not in ("?", "*")]
        yield (*required, *beside, "--", *before, None, *after)
    for action in actions:
        if action.option_strings and action.nargs != 0:
            yield (*required, *beside, f"{action.option_strings[-1]}", None, *needed)


def _harmless(action: argparse.Action) -> str:
    return str(next(iter(action.choices))) if action.choices else "BROKEN"


def bad_files(folder: Path) -> dict[str, str]:
    """Make the files that arguments name by a mark, and return their paths."""
    paths = {mark: str(folder / f"{mark.lower()}.json") for mark in MARKS}
    Path(paths["BROKEN"]).write_text('{"profile": ', encoding="utf-8")
    Path(paths["NOT_UTF8"]).write_bytes(b'{"profile": "\xff\xfe"}\n1 \xff\n')
    Path(paths["SURROGATES"]).write_text('{"profile": "\\ud800", "\\udfff": 1}', encoding="utf-8")
    Path(paths["DEEP"]).write_text("[" * 100_000, encoding="utf-8")
    Path(paths["EMPTY"]).touch()
    Path(paths["FOLDER"]).mkdir()
    Path(paths["LINK"]).symlink_to(paths["LINK"])
    if sys.platform != "win32":
        os.mkfifo(paths["FIFO"])
    return paths


def filled(case: Case, files: dict[str, str]) -> list[str]:
    """Return the arguments of a case with marks replaced by paths."""
    words = []
    for word in case.words:
        for mark, path in files.items():
            word = word.replace(mark, path)
        words.append(word)
    return words


def play(argv: Sequence[str], folder: Path, limit_s: float = LIMIT_S) -> Ended:
    """Run one command line in a fork of this process and return how it ended."""
    if sys.platform == "win32":
        raise NotImplementedError("a case is a fork, which Windows does not have")
    said = folder / "said"
    pid = os.fork()
    if pid == 0:
        _child(argv, folder, said)
    end = time.monotonic() + limit_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return Ended(os.waitstatus_to_exitcode(status), said.read_text("utf-8", "replace"))
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return Ended(None, said.read_text("utf-8", "replace"))
        time.sleep(POLL_S)


def _child(argv: Sequence[str], folder: Path, said: Path) -> None:
    code = 99
    try:
        stdin = os.open(os.devnull, os.O_RDONLY)
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor, target in ((stdin, 0), (out, 1), (out, 2)):
            os.dup2(descriptor, target)
        code = run([argv[0], "--var", str(folder / "var"), *argv[1:]])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def trouble(ended: Ended) -> str:
    """Return the fault in a case's end, empty where there is none."""
    if ended.code is None:
        return f"has not ended in {LIMIT_S:.0f} s"
    if any(line.startswith("Traceback") for line in ended.said.splitlines()):
        return f"a raw traceback: {ended.said.strip().splitlines()[-1][:200]}"
    if OWN_ERROR in ended.said:
        return next(line for line in ended.said.splitlines() if OWN_ERROR in line)[:250]
    if ended.code not in DOCUMENTED:
        return f"exit code {ended.code}: {ended.said[-200:]}"
    return ""


def kinds(files: dict[str, str]) -> dict[str, int]:
    """Return the type and mode of each pipe and device that a case may name."""
    named = (files["FIFO"], *(word for word in WORDS if word.startswith("/dev/")))
    return {path: os.lstat(path).st_mode for path in named if os.path.lexists(path)}


def main(argv: Sequence[str] | None = None) -> int:
    """Play a seeded share of all cases and return the exit code."""
    command = argparse.ArgumentParser(prog="python -m tools.fuzz_verbs", description=__doc__)
    command.add_argument("--cases", type=int, default=300, help="how many; 0 for all")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--only", default="", help="verbs whose name holds this")
    arguments = command.parse_args(argv)
    every = [case for case in cases() if arguments.only in case.words[0]]
    drawn = every
    if 0 < arguments.cases < len(every):
        drawn = random.Random(arguments.seed).sample(every, arguments.cases)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-verbs-"))
    files = bad_files(folder)
    findings, special = 0, kinds(files)
    try:
        for case in drawn:
            shutil.rmtree(folder / "var", ignore_errors=True)
            (folder / "var").mkdir(mode=0o700)
            what = trouble(play(filled(case, files), folder))
            if kinds(files) != special:
                what, special = "a device or pipe was replaced", kinds(files)
            if what:
                findings += 1
                print(f"FINDING {[word[:40] for word in case.words]}: {what}", flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"verbs: {len(drawn)} of {len(every)} cases, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
