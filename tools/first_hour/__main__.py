"""Play the first hour in a real terminal and a real Chromium, and keep what a person would see.

    python -m tools.first_hour --out DIR                 the whole hour, from a fresh clone
    python -m tools.first_hour --out DIR --size 120x40   in another terminal
    python -m tools.first_hour --list                    only print its steps

DIR gets a screen of each step, further ones of what runs for seconds, the pages with pictures, and
`hour.json`. The clone holds what is committed. Exit code 1 where a promise was not kept, 2 where
tmux is missing or DIR exists.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.chromium import ChromiumError, found_chromium
from tools.first_hour.looking import Looked, look_at, pages_of
from tools.first_hour.session import CHECKOUT, Done, play, steps
from tools.first_hour.terminal import Terminal, TerminalError, found_tmux

KEPT_GLANCES = 4


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m tools.first_hour",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--out", type=Path, help="new folder for screens, pages and pictures")
    command.add_argument("--size", default="80x24", help="columns and lines (default: 80x24)")
    command.add_argument("--list", action="store_true", help="print the steps and end")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Play the hour; return the exit code."""
    command = parser()
    arguments = command.parse_args(argv)
    hour = list(steps())
    if arguments.list:
        for step in hour:
            print(f"{step.part:6} {step.page:14} {step.command or step.file}")
        return 0
    size = re.fullmatch(r"(\d+)x(\d+)", arguments.size)
    if arguments.out is None or size is None:
        command.error("needs --out DIR, and a size as 80x24")
    if found_tmux() is None:
        print("no tmux here; Debian: apt-get install tmux", file=sys.stderr)
        return 2
    out: Path = arguments.out.resolve()
    if out.exists():
        print(f"{out}: is there already; name a new folder", file=sys.stderr)
        return 2
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="minibot-hour-") as place:
        folder = Path(place)
        numbers = iter(range(1, len(hour) + 1))
        with Terminal(folder, int(size[1]), int(size[2])) as terminal:
            try:
                done = play(terminal, folder, hour, lambda each: keep(each, next(numbers), out))
            except TerminalError as error:
                print(error, file=sys.stderr)
                return 1
        looked = _look(folder / CHECKOUT / "var", out)
    document = document_of(done, looked)
    (out / "hour.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    kept = len(done) == len(hour) and not any(each.missing for each in done)
    return 0 if kept and (looked is None or not looked.faults) else 1


def keep(done: Done, number: int, out: Path) -> None:
    """Write the screens of a step, and print a line about it."""
    words = re.sub(r"[^a-z0-9]+", "-", (done.step.command or done.step.file).lower()).strip("-")
    name = f"{number:02}-{words[:40].strip('-')}"
    took = ""
    if done.ended is not None:
        (out / f"{name}.txt").write_text(done.ended.screen, encoding="utf-8")
        took = f"{done.ended.wall_s:6.1f} s {done.ended.cpu_s:6.1f} s CPU  exit {done.ended.code}"
    at = sorted(done.glances)
    for second in at[:: max(1, len(at) // KEPT_GLANCES)]:
        path = out / f"{name}-at-{second:.0f}s.txt"
        path.write_text(done.glances[second], encoding="utf-8")
    verdict = "MISSED" if done.missing else "ok"
    print(f"{verdict:6} {took:32} {done.step.command or done.step.file}", flush=True)
    for each in done.missing:
        print(f"       expected {each}", flush=True)


def _look(var: Path, out: Path) -> Looked | None:
    """Look at the pages below a folder of runs; None without a Chromium."""
    browser = found_chromium()
    if browser is None:
        print("no pictures: no Chromium here; Debian: apt-get install chromium")
        return None
    try:
        looked = look_at(browser, pages_of(var), out)
    except ChromiumError as error:
        print(f"no pictures: {error}")
        return None
    print(f"pages: no sideways scrolling down to {looked.narrowest} px")
    for page, faults in looked.faults.items():
        print(f"       {page}: {'; '.join(faults)}")
    return looked


def document_of(done: Sequence[Done], looked: Looked | None) -> dict[str, object]:
    """Return the hour in the form of `hour.json`."""
    rows = [
        {
            "part": each.step.part,
            "page": each.step.page,
            "does": each.step.command or each.step.file,
            "exit_code": None if each.ended is None else each.ended.code,
            "wall_s": None if each.ended is None else round(each.ended.wall_s, 2),
            "cpu_s": None if each.ended is None else round(each.ended.cpu_s, 2),
            "missing": list(each.missing),
        }
        for each in done
    ]
    return {"steps": rows, "pages": None if looked is None else looked._asdict()}


if __name__ == "__main__":
    sys.exit(main())
