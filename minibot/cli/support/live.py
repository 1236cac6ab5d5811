"""Live table of a running night: a separate process, which may block or die.

It reads one status per line on standard input. On a terminal it redraws a table; elsewhere it
prints one short line each second of the first minute, then one every half a minute, and at once
when fills, notices or the end change. Started by the launcher, not by people. `--stderr` keeps
standard output free for the one JSON document of `--json`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from minibot.cli.support.live_view import Status, View
from minibot.cli.support.output import drop_reader
from minibot.kernel import canonical

# A line each second at first, so that a reader sees it live; later a night of seven hours stays
# below a thousand of them.
FIRST_S: Final = 60.0
FIRST_EVERY_S, LATER_EVERY_S = 1.0, 30.0


def show_live(console: Console, statuses: Iterable[Status]) -> None:
    """Show statuses as they come: a table on a terminal, else lines at the pace of a log."""
    if console.is_terminal and not console.is_dumb_terminal:
        _draw(console, statuses)
    else:
        _speak(console, statuses)


def _draw(console: Console, statuses: Iterable[Status]) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        lines: list[Text] = []
        for status in statuses:
            view = View(status)
            # The cursor rests on a separate line: `^C` at the end of a full line would begin a
            # new one, and the head of the table would stay behind, one line higher.
            lines = view.lines(console.width, console.height - 1)
            live.update(Group(*lines, Text()), refresh=True)
        live.update(Group(*lines), refresh=True)


class Pace:
    """Pace of a log: at once when fills, notices or the end change, else by the clock."""

    def __init__(self) -> None:
        self._begun_s: float | None = None
        self._shown_s = 0.0
        self._shown: object = None

    def is_due(self, view: View, moment_s: float) -> bool:
        """Return whether a view is due at a moment of wall-clock time, in seconds."""
        if self._begun_s is None:
            self._begun_s = moment_s
        every_s = FIRST_EVERY_S if moment_s - self._begun_s < FIRST_S else LATER_EVERY_S
        news = (view.ending(), view.notices(), view.execution.get("fills", 0))
        if news == self._shown and moment_s - self._shown_s < every_s:
            return False
        self._shown, self._shown_s = news, moment_s
        return True


def _speak(console: Console, statuses: Iterable[Status]) -> None:
    """Print the title of the run, then one line at the pace of a log, and one at the end."""
    pace: Pace | None = None
    for status in statuses:
        view = View(status)
        if pace is None:
            pace = Pace()
            print(view.title(), file=console.file, flush=True)
        if pace.is_due(view, time.monotonic()):
            print(view.sentence(), file=console.file, flush=True)


def main(argv: Sequence[str]) -> int:
    """Show statuses until standard input ends."""
    # The launcher handles Ctrl-C; the table shows how the run ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console = Console(stderr="--stderr" in argv, highlight=False)
    try:
        show_live(console, (canonical.decode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer))
    except BrokenPipeError:
        # The night goes on without a reader; the interpreter would complain about that at exit.
        drop_reader(sys.stderr if console.stderr else sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
