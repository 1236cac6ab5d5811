"""Kill a real writer and a real reader again and again, and check every published event.

    python3 tools/with_env.py -m tools.kill_storm --kills 10000 --seed 1
    python3 tools/with_env.py -m tools.kill_storm --roles --kills 300      whole roles, short runs

A warm process forks a writer of a rotating queue, and a reader that copies every event into its own
journal. It kills one of them with SIGKILL at a random moment, during start, append or rotation;
another one takes its place. An observer reads on after each kill. After every round both journals
are read from the disk alone and verified. Every line that a writer called durable or a reader saw
has to be there, once and in order. The last line says `kills N, lines L, acknowledged A, lost 0,
doubled 0, false stops 0`; exit code 1 where one of the last three is not 0. Needs `fork`, so no
Windows; `--roles` runs there too.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from minibot.kernel import canonical
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import RunStop
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.position import ZERO
from minibot.kernel.queue import make_queue, open_reader, open_writer
from minibot.kernel.verify import verify_tree
from tools.kill_storm_roles import kill_roles

RUN_ID: Final = "20261120_074600"
SOURCE, OUTPUT, READER = "signals", "order_intents", "risk_role"
SEGMENT_BYTES: Final = 16 * 1024
ROUND_KILLS: Final = 250
LIFE_S_MAX: Final = 0.01
# A reader without events stays silent.
SILENT_S: Final = 0.05
STUCK_S: Final = 30.0
FINDINGS_MAX: Final = 10
_NOTE: Final = struct.Struct(">cQ")
ACKNOWLEDGED, KEPT, CUT, STOPPED = b"a", b"k", b"c", b"s"


class Failed(Exception):
    """Failure of a round; the message says why."""


@dataclass
class Tally:
    """Totals of a storm."""

    kills: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    acknowledged: int = 0
    kept: int = 0
    cut: int = 0
    early: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def blame(self, kind: str, words: str, count: int = 1) -> None:
        """Record a violation."""
        self.wrong[kind] += count
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(f"{kind}: {words}")


@dataclass
class Child:
    """Forked writer or reader, and the pipe on which it reports its progress."""

    name: str
    pid: int
    pipe: int
    rest: bytes = b""
    said: list[tuple[bytes, int]] = field(default_factory=list)

    def hear(self) -> bool:
        """Read its reports, whole ones only; return whether it has acknowledged anything."""
        while True:
            try:
                more = os.read(self.pipe, 65536)
            except BlockingIOError:
                break
            self.rest += more
            if not more:
                break
        whole = len(self.rest) // _NOTE.size * _NOTE.size
        self.said += _NOTE.iter_unpack(self.rest[:whole])
        self.rest = self.rest[whole:]
        return any(kind in (ACKNOWLEDGED, STOPPED) for kind, _ in self.said)


# --- the children -----------------------------------------------------------------------------


def _line(number: int) -> bytes:
    return encode_line(canonical.encode({"n": number, "text": "x" * (number * 7 % 90)}))


def write_on(root: Path, is_eager: bool, say: Callable[[bytes, int], None]) -> NoReturn:
    """Append numbered lines until killed; report each durable line."""
    writer = open_writer(root, SOURCE, sync=is_eager, segment_bytes=SEGMENT_BYTES)
    say(KEPT, writer.recovered.kept_lines)
    say(CUT, writer.recovered.cut_bytes)
    number = writer.position.seq
    while True:
        count = 1 + number % 7
        writer.append([_line(number + step) for step in range(1, count + 1)])
        number += count
        say(ACKNOWLEDGED, number)


def read_on(root: Path, is_eager: bool, say: Callable[[bytes, int], None]) -> NoReturn:
    """Read events and write each one into the reader's own journal, exactly once."""
    output = open_writer(root, OUTPUT, sync=is_eager, segment_bytes=SEGMENT_BYTES)
    say(KEPT, output.recovered.kept_lines)
    say(CUT, output.recovered.cut_bytes)
    cursor = Cursor(root / SOURCE / "cursor.json", RUN_ID, SOURCE, READER)
    start = cursor.load() or ZERO
    done = output.position.seq
    if start.seq > done:
        raise Failed(f"the cursor is at {start.seq}, the output at {done}")
    reader = open_reader(root, SOURCE, start)
    turns = 0
    while True:
        taken = reader.read(16)
        fresh = [encode_line(line.json) for line in taken if line.seq > done]
        if fresh:
            output.append(fresh)
            done = output.position.seq
            say(ACKNOWLEDGED, done)
        turns += bool(taken)
        if turns % 3 == 1 and is_eager:
            cursor.save(reader.position)
        if not taken:
            time.sleep(0.0005)


def fork(name: str, act: Callable[..., NoReturn], root: Path, is_eager: bool) -> Child:
    """Start a child; the child never returns into this code."""
    if sys.platform == "win32":
        raise Failed("this system has no fork")
    out, into = os.pipe()
    pid = os.fork()
    if pid:
        os.close(into)
        os.set_blocking(out, False)
        return Child(name, pid, out)
    try:
        os.close(out)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        act(root, is_eager, lambda kind, number: os.write(into, _NOTE.pack(kind, number)))
    except BaseException:
        traceback.print_exc()
        os.write(into, _NOTE.pack(STOPPED, 0))
    os._exit(1)


# --- the storm --------------------------------------------------------------------------------


class Round:
    """One queue under fire until the given number of kills."""

    def __init__(self, folder: Path, rnd: random.Random, is_eager: bool, tally: Tally) -> None:
        self._root = folder
        self._rnd = rnd
        self._is_eager = is_eager
        self._tally = tally
        self._acknowledged = {"writer": 0, "reader": 0}
        self._seen = 0
        for queue in (SOURCE, OUTPUT):
            make_queue(folder, queue, READER)
        self._observer = JournalReader(folder / SOURCE, "inbox")

    def run(self, kills: int) -> None:
        """Kill, restart, observe; then judge the files on the disk."""
        children = {"writer": self._start("writer"), "reader": self._start("reader")}
        try:
            for _ in range(kills):
                name = self._rnd.choice(("writer", "writer", "reader"))
                self._let_live(children[name])
                self._end(children[name])
                self._observe()
                children[name] = self._start(name)
        finally:
            for child in children.values():
                self._end(child, is_counted=False)
            self._observer.close()
        self._judge()

    def _start(self, name: str) -> Child:
        return fork(name, write_on if name == "writer" else read_on, self._root, self._is_eager)

    def _let_live(self, child: Child) -> None:
        """Wait until a random moment: within the child's start, or after its first line."""
        if self._rnd.random() < 0.7:
            # A reader may have nothing to read; a writer writes, or ends, however busy the machine.
            end = time.monotonic() + (SILENT_S if child.name == "reader" else STUCK_S)
            while not child.hear() and time.monotonic() < end:
                time.sleep(0.0002)
        time.sleep(self._rnd.random() ** 2 * LIFE_S_MAX)

    def _end(self, child: Child, *, is_counted: bool = True) -> None:
        """End a child and read its last reports."""
        if sys.platform == "win32":
            raise Failed("this system has no SIGKILL")
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        has_acknowledged = child.hear()
        os.close(child.pipe)
        if is_counted:
            self._tally.kills[child.name] += 1
            self._tally.early += not has_acknowledged
        for kind, number in child.said:
            if kind == ACKNOWLEDGED:
                self._acknowledged[child.name] = max(self._acknowledged[child.name], number)
            elif kind == KEPT:
                self._tally.kept += number
            elif kind == CUT:
                self._tally.cut += bool(number)
            else:
                self._tally.blame("false stops", f"the {child.name} ended by itself")

    def _observe(self) -> None:
        """Read on from where the last look ended, across every kill and rotation."""
        try:
            while lines := self._observer.read(1000):
                for line in lines:
                    self._seen += 1
                    if line.json != _line(self._seen)[72:-1]:
                        self._tally.blame("doubled", f"line {line.seq}: {line.json[:40]!r}")
        except RunStop as error:
            self._tally.blame("false stops", f"the observer: {error}")

    def _judge(self) -> None:
        """Let both recover once more, read the rest, and check all files on the disk."""
        tally = self._tally
        writer = open_writer(self._root, SOURCE, segment_bytes=SEGMENT_BYTES)
        writer.close()
        whole = writer.position.seq
        self._take_rest(whole)
        lost = max(self._acknowledged["writer"], self._seen) - whole
        if lost > 0:
            tally.blame("lost", f"{lost} lines that were acknowledged or seen", lost)
        for queue in (SOURCE, OUTPUT):
            count = self._compare(queue, whole)
            if count < whole:
                tally.blame("lost", f"{queue} has {count} of {whole} lines", whole - count)
        for finding in verify_tree(self._root):
            tally.blame("false stops", f"verify: {finding}")
        tally.lines += whole
        tally.acknowledged += self._acknowledged["writer"]

    def _compare(self, queue: str, whole: int) -> int:
        """Return the number of lines in a queue; each has to be the next one."""
        reader = open_reader(self._root, queue)
        count = 0
        while lines := reader.read(1000):
            for line in lines:
                count += 1
                if line.json != _line(count)[72:-1]:
                    self._tally.blame("doubled", f"{queue} line {line.seq}: {line.json[:40]!r}")
        reader.close()
        return count

    def _take_rest(self, whole: int) -> None:
        """Let a last reader run until it has everything."""
        child = self._start("reader")
        end = time.monotonic() + STUCK_S
        try:
            while open_reader(self._root, OUTPUT).head().lines < whole:
                if time.monotonic() > end:
                    self._tally.blame("lost", "the last reader does not get to the end")
                    return
                time.sleep(0.002)
        finally:
            self._end(child, is_counted=False)


def storm(folder: Path, kills: int, seed: int) -> Tally:
    """Make the given number of kills in rounds, every other round on lazily synced journals."""
    tally = Tally()
    left = kills
    number = 0
    while left > 0:
        count = min(ROUND_KILLS, left)
        place = folder / f"round{number}"
        place.mkdir(mode=0o700)
        Round(place, random.Random(f"{seed} {number}"), number % 2 == 0, tally).run(count)
        left -= count
        number += 1
    return tally


def report(tally: Tally, seed: int, seconds: float) -> int:
    """Print a storm's totals; return the exit code."""
    for finding in tally.findings:
        print(f"WRONG {finding[:600]}")
    print(
        f"writers killed {tally.kills['writer']}, readers {tally.kills['reader']}, "
        f"{tally.early} before their first line; recovery kept {tally.kept} lines above the head "
        f"and cut {tally.cut} rests; seed {seed}, {seconds:.0f} s"
    )
    wrong = ", ".join(f"{kind} {tally.wrong[kind]}" for kind in ("lost", "doubled", "false stops"))
    print(
        f"kills {sum(tally.kills.values())}, lines {tally.lines}, "
        f"acknowledged {tally.acknowledged}, {wrong}"
    )
    return 1 if tally.wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a storm; return 0, 1 where a line was lost, doubled or refused, 2 without `fork`."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=None, help="10000; of roles 300")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", action="store_true", help="kill roles of short runs")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="kill-storm-") as folder:
        if args.roles:
            return kill_roles(Path(folder), args.kills or 300, args.seed)
        if not hasattr(os, "fork"):
            print("this system has no fork; --roles works here", file=sys.stderr)
            return 2
        tally = storm(Path(folder), args.kills or 10_000, args.seed)
    return report(tally, args.seed, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
