"""minibot tail: print the events of a queue, the recorded ones or also new ones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import say, show_lines
from minibot.cli.support.selection import find_run, var_of
from minibot.engine.lookup import start_of
from minibot.engine.role_replay import Recorded
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import ContractError, Refusal
from minibot.kernel.journal import JournalReader, Line
from minibot.kernel.position import Position
from minibot.kernel.queue import open_reader
from minibot.kernel.wakeup import Waiter
from minibot.replay.explain.lines import event_line, plain
from minibot.runtime.paths import Var
from minibot.runtime.running import running_run

HELP = "show the events of a queue; --follow goes on as they come, also over rotation"
EXAMPLE = "minibot tail signals --follow"
JSON = "one JSON object a line on stdout"
BATCH = 512
WAIT_S = 1.0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    known = ", ".join(Roles.of_project().queues)
    text = f"{known}; or one role's part, such as health/parts/market_role"
    command.add_argument("queue", help=text)
    command.add_argument(
        "-f", "--follow", action="store_true", help="go on as events come; Ctrl-C ends it"
    )
    command.add_argument(
        "-n", "--lines", type=at_least(0), default=10, help="how many of the last (default: 10)"
    )
    command.add_argument(
        "--run", dest="of_run", metavar="RUN", help="of this run instead of the newest"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print events, with --json one JSON object a line; 0 also when interrupted."""
    var = var_of(arguments)
    followed = Followed(_recorded(var, arguments.of_run), arguments.queue, arguments.lines)
    try:
        _print(followed.read(), followed, as_json=arguments.json)
        while arguments.follow:
            followed = _reopened(var, followed, arguments)
            followed.wait()
            _print(followed.read(), followed, as_json=arguments.json)
    except KeyboardInterrupt:
        pass
    finally:
        followed.close()
    return 0


class Followed:
    """One queue of one run, read from its last lines on."""

    def __init__(self, recorded: Recorded, queue: str, lines: int) -> None:
        name, _, part = queue.partition("/parts/")
        if name not in recorded.roles.queues:
            near = get_close_matches(name, list(recorded.roles.queues), n=1, cutoff=0.55)
            hint = f"Did you mean {near[0]}? " if near else ""
            known = ", ".join(recorded.roles.queues)
            raise Refusal(f"there is no queue {plain(queue)!r}.", f"{hint}Queues: {known}.")
        if part and not recorded.roles.queues[name].parts:
            raise Refusal(f"{name} has no parts.", f"Try: minibot tail {name}")
        if part and part not in (writers := recorded.roles.writers(name)):
            raise Refusal(f"{name} has no part {plain(part)!r}.", f"Parts: {', '.join(writers)}.")
        self.recorded = recorded
        self.queue = queue
        root = recorded.queues
        self._part = part or None
        with closing(open_reader(root, name, part=self._part)) as counted:
            total = counted.head().lines
        self._first = max(1, total - lines + 1)
        start = start_of(recorded, queue, self._first)
        self._reader = self._open(name, start)
        self._waiter = Waiter([_head_path(root, name, self._part)])

    def _open(self, name: str, start: Position) -> JournalReader:
        return open_reader(self.recorded.queues, name, start, part=self._part)

    def read(self) -> Iterator[Line]:
        """Yield the lines that were published since the last call."""
        while lines := self._reader.read(BATCH):
            for line in lines:
                if line.seq >= self._first:
                    yield line

    def wait(self) -> None:
        """Wait until new lines may have been published."""
        if not self._reader.backlog():
            self._waiter.wait(WAIT_S)

    def close(self) -> None:
        """Close the reader and the waiter."""
        self._reader.close()
        self._waiter.close()


def _recorded(var: Var, name: str | None) -> Recorded:
    if name is None:
        name = running_run(var) or "latest"
    return Recorded.open(find_run(name, var))


def _reopened(var: Var, followed: Followed, arguments: argparse.Namespace) -> Followed:
    """Return the same queue of a run that has begun since, from its first event on."""
    run_id = running_run(var)
    if arguments.of_run is not None or run_id in (None, followed.recorded.manifest.run_id):
        return followed
    if not (var.run(str(run_id)) / "manifest.json").exists():
        return followed
    rest = list(followed.read())
    _print(iter(rest), followed, as_json=arguments.json)
    followed.close()
    say(f"{run_id} begins")
    return Followed(_recorded(var, run_id), followed.queue, sys.maxsize)


def _head_path(root: Path, name: str, part: str | None) -> Path:
    return root / name / "parts" / f"{part}.head" if part else root / name / "inbox.head"


def _print(lines: Iterator[Line], followed: Followed, *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            # In ASCII, as every document of `--json`: a terminal or pipe may know no more.
            sentence = json.dumps(canonical.decode(line.json), separators=(",", ":"))
            sys.stdout.write(sentence + "\n")
            continue
        try:
            text = event_line(line.seq, followed.recorded.decode(followed.queue, line))
        except ContractError as error:
            text = f"{line.seq:>7}  {error.reason_code}: {plain(error.detail)}"
        show_lines([text])
    sys.stdout.flush()
