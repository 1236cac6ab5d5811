"""Flip every bit of a queue and of its proofs, one at a time: is each flip found and located?

    python3 tools/with_env.py -m tools.bit_flips                     every bit, some minutes
    python3 tools/with_env.py -m tools.bit_flips --stride 61 --seed 3    every 61st, from the third

The real writers make a reference run: a queue of 64 KiB in segments, its acks, dead letters,
cursors, heads and list of segments, the run's manifest, its seal, sums and signature. For each bit,
`verify` has to name the file and, for a line, its number, byte, expected and found content. A
reader may hand out only the lines that were written, in order. A flip counts as
detected, as harmless (verify finds nothing and every reader reads the same), or as wrong. The last
line says `flips N, detected D, harmless H, wrong W`; exit code 1 where W is not 0.
"""

from __future__ import annotations

import argparse
import bisect
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from minibot.kernel import canonical
from minibot.kernel.audit import Finding, JournalAudit
from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import RunStop
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.position import ZERO, Position
from minibot.kernel.queue import make_queue, open_reader, open_side_writer, open_writer
from minibot.kernel.seal import seal_run
from minibot.kernel.segments import load_segments
from minibot.kernel.signature import sign_run
from minibot.kernel.sweep import Job, Sweeper, Swept
from minibot.kernel.verify import verify_quick, verify_tree
from tools.fuzz_memory import MemoryFiles

RUN_ID: Final = "20261120_074600"
QUEUE: Final = "fills"
READER: Final = "risk_role"
# Absolute, so that resolving links does not change it; the path does not exist.
RUN: Final = "/flipped-run"
FOLDER: Final = f"{RUN}/queues/{QUEUE}"
QUEUE_BYTES: Final = 64 * 1024
SEGMENT_BYTES: Final = 8 * 1024
# Any key will do; a fixed one makes every run of this tool the same.
PRIVATE_KEY: Final = "5e" * 32
STEP: Final = 2000
WRONG_MAX: Final = 20


class Flip(NamedTuple):
    """One bit of one file."""

    file: str
    offset: int
    bit: int


class Judged(NamedTuple):
    """Verdicts on some flips: counts by file and outcome, and a sentence for each wrong one."""

    counts: Counter[tuple[str, str]]
    wrong: list[str]


# --- the reference ----------------------------------------------------------------------------


def make_reference(folder: Path) -> dict[str, bytes]:
    """Write the reference run with the real writers; return its files by path."""
    root, run = folder / "queues", folder / "runs" / RUN_ID
    make_queue(root, QUEUE, READER)
    writer = open_writer(root, QUEUE, sync=False, segment_bytes=SEGMENT_BYTES)
    lines, size, number = [], 0, 0
    while size < QUEUE_BYTES:
        lines.append(encode_line(canonical.encode(_event(number))))
        size, number = size + len(lines[-1]), number + 1
    for line in lines:
        writer.append([line])
    writer.close()
    for stem, count in (("acks", 12), ("deadletter", 2)):
        side = open_side_writer(root / QUEUE, stem)
        side.append(lines[:count])
        side.close()
    reader = open_reader(root, QUEUE)
    taken = 0
    while taken < number // 2:
        taken += len(reader.read(number // 2 - taken))
    Cursor(root / QUEUE / "cursor.json", RUN_ID, QUEUE, READER).save(reader.position)
    reader.close()
    ensure_folder(run)
    write_hashed(run / "manifest.json", {"schema": "minibot.manifest", "run_id": RUN_ID})
    seal_run(root, run, {"state": "sealed"})
    sign_run(run, PRIVATE_KEY)
    return {
        f"{RUN}/{path.relative_to(run).as_posix()}": path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }


def _event(number: int) -> dict[str, object]:
    fills = {"price": f"{61813 + number}.57", "qty": "0.00808", "side": "BUY", "tick_seq": number}
    return {
        "cmdline_hash": "bd" * 32,
        "id": f"eb51befb-9daa-4f66-bef9-{number:012x}",
        "payload": {**fills, "symbol": "BTCUSDT", "note": "\u00e9\u2028" * (number % 5)},
        "run_id": RUN_ID,
        "ts": 1700000000000 + number,
        "type": "fill",
        "v": 1,
    }


class OneChanged(Sweeper):
    """Sweep that reads only the flipped file again, and remembers its findings in all others."""

    def __init__(self, files: MemoryFiles) -> None:
        super().__init__(files=files)
        self.changed = ""
        self._found: dict[Job, Swept | None] = {}

    def swept(self, job: Job) -> Swept | None:
        """Return the content of a file if all of it is right."""
        if job.path == self.changed:
            return super().swept(job)
        if job not in self._found:
            self._found[job] = super().swept(job)
        return self._found[job]


# --- judging ----------------------------------------------------------------------------------


class Judge:
    """Judge of flips in one reference run."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self._content = content
        self._files = MemoryFiles(content)
        self._sweeper = OneChanged(self._files)
        self._starts = {
            name: [0, *(at + 1 for at, byte in enumerate(data) if byte == 10)]
            for name, data in content.items()
            if name.endswith(".jsonl")
        }
        self._begins = self._segment_begins()
        self._truth = {stem: self._read(stem, ZERO)[0] for stem in ("inbox", "acks", "deadletter")}

    def judge(self, flips: Iterable[Flip]) -> Judged:
        """Judge flips one by one."""
        judged = Judged(Counter(), [])
        for flip in flips:
            data = bytearray(self._content[flip.file])
            data[flip.offset] ^= 1 << flip.bit
            self._files.put(flip.file, bytes(data))
            self._sweeper.changed = flip.file
            outcome, wrong = self._judge_of(flip.file)(flip)
            self._files.put(flip.file, self._content[flip.file])
            judged.counts[flip.file, outcome] += 1
            if wrong and len(judged.wrong) < WRONG_MAX:
                judged.wrong.append(f"{flip}: {wrong}")
        return judged

    def _judge_of(self, file: str) -> Callable[[Flip], tuple[str, str]]:
        if file.endswith(".jsonl"):
            return self._line
        if file.endswith(".head"):
            return self._head
        if "/queues/" in file:
            return self._small
        return self._sealed

    def _line(self, flip: Flip) -> tuple[str, str]:
        """Judge a bit of a line: verify names line and byte, and no reader gets past it."""
        folder, _, name = flip.file.rpartition("/")
        stem = name.split(".")[0]
        number = bisect.bisect_right(self._starts[flip.file], flip.offset)
        place = (name, number, self._starts[flip.file][number - 1])
        found = self._audited(folder, stem)
        named = [f for f in found if f[:3] == place and f.code == "QUEUE_CORRUPT"]
        if not named or not named[0].expected or not named[0].found:
            return "wrong", f"expected a finding at {place}, found {found[:3]}"
        start = self._begins.get(flip.file, ZERO)
        lines, error = self._read(stem, start)
        if lines != self._truth[stem][start.seq : start.seq + len(lines)]:
            return "wrong", f"read {lines[-1:]}, which was never written"
        if start.seq + len(lines) >= start.seq + number:
            return "wrong", f"read over it: {len(lines)} lines"
        if f"{flip.file}, line {number}, byte {place[2]}" not in error and not (
            flip.file in error and str(number) in error and str(place[2]) in error
        ):
            return "wrong", f"a reader says {error!r}"
        return "detected", ""

    def _head(self, flip: Flip) -> tuple[str, str]:
        """Judge a bit of a head: verify names the slot; readers use the other slot, or stop."""
        folder, _, name = flip.file.rpartition("/")
        stem = name.split(".")[0]
        place = (name, 0, flip.offset // 64 * 64)
        found = self._audited(folder, stem)
        if not any(f[:3] == place and f.code == "QUEUE_CORRUPT" and f.expected for f in found):
            return "wrong", f"expected a finding at {place}, found {found[:3]}"
        lines, _ = self._read(stem, ZERO)
        if lines != self._truth[stem][: len(lines)]:
            return "wrong", f"read {lines[-1:]}, which was never written"
        return "detected", ""

    def _small(self, flip: Flip) -> tuple[str, str]:
        """Judge a bit of a cursor or a segment list: named, refused, and nothing false is read."""
        name = flip.file.rpartition("/")[2]
        found = list(verify_tree(FOLDER, files=self._files))
        if not any(f.file == name and f.expected and f.found for f in found):
            return "wrong", f"expected a finding in {name}, found {found[:3]}"
        if name == "cursor.json":
            try:
                place = Cursor(flip.file, RUN_ID, QUEUE, READER, files=self._files).load()
            except RunStop:
                return "detected", ""
            return "wrong", f"taken as {place}"
        lines, _ = self._read("inbox", ZERO)
        if lines != self._truth["inbox"][: len(lines)]:
            return "wrong", f"read {lines[-1:]}, which was never written"
        return "detected", ""

    def _sealed(self, flip: Flip) -> tuple[str, str]:
        """Judge a bit of manifest, seal, sums or signature: the seal alone must name it."""
        name = flip.file.rpartition("/")[2]
        found = list(verify_quick(RUN, files=self._files))
        if any(f.file == name and f.expected and f.found for f in found):
            return "detected", ""
        return ("wrong", f"found {found[:3]}") if found else ("harmless", "")

    # --- reading ------------------------------------------------------------------------------

    def _audited(self, folder: str, stem: str) -> list[Finding]:
        audit = JournalAudit(
            Path(folder),
            stem,
            name=lambda path: path.name,
            is_final=True,
            sweeper=self._sweeper,
            files=self._files,
        )
        return list(audit.findings())

    def _read(self, stem: str, start: Position) -> tuple[list[bytes], str]:
        """Return the events that a reader hands out, and the error that ended it."""
        lines: list[bytes] = []
        try:
            reader = JournalReader(FOLDER, stem, start, files=self._files)
            while batch := reader.read(1000):
                lines += [line.json for line in batch]
        except RunStop as error:
            return lines, str(error)
        return lines, ""

    def _segment_begins(self) -> dict[str, Position]:
        """Return the place where each segment of the inbox begins."""
        begins = {}
        position = ZERO
        for number, segment in enumerate(
            load_segments(Path(FOLDER), "inbox", files=self._files), 1
        ):
            begins[f"{FOLDER}/{segment.name}"] = position._replace(segment=number)
            position = Position(position.seq + segment.lines, number + 1, 0, segment.chain_after)
        begins[f"{FOLDER}/inbox.jsonl"] = position
        return begins


# --- all flips --------------------------------------------------------------------------------


def flips_of(content: dict[str, bytes], stride: int = 1, seed: int = 0) -> Iterator[Flip]:
    """Yield every bit of every file, or every n-th of them."""
    number = seed
    for file, data in sorted(content.items()):
        for offset in range(len(data)):
            for bit in range(8):
                if number % stride == 0:
                    yield Flip(file, offset, bit)
                number += 1


_judges: list[Judge] = []


def _begin(content: dict[str, bytes]) -> None:
    _judges[:] = [Judge(content)]


def _work(flips: list[Flip]) -> Judged:
    return _judges[0].judge(flips)


def judge_all(content: dict[str, bytes], flips: list[Flip], jobs: int) -> Judged:
    """Judge flips in several processes."""
    whole = Judged(Counter(), [])
    pieces = [flips[at : at + STEP] for at in range(0, len(flips), STEP)]
    if jobs == 1:
        _begin(content)
        _gather(whole, map(_work, pieces))
        return whole
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, initializer=_begin, initargs=(content,)) as pool:
        _gather(whole, pool.imap_unordered(_work, pieces))
    return whole


def _gather(whole: Judged, parts: Iterable[Judged]) -> None:
    for part in parts:
        whole.counts.update(part.counts)
        whole.wrong.extend(part.wrong[: max(0, WRONG_MAX - len(whole.wrong))])


def main(argv: list[str] | None = None) -> int:
    """Flip bits; return 0, or 1 where a flip was read as something else or found nowhere."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stride", type=int, default=1, help="flip every so-manieth bit")
    parser.add_argument("--seed", type=int, default=0, help="where a stride begins")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args(argv)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        content = make_reference(Path(folder) / "var")
    judged = judge_all(content, list(flips_of(content, args.stride, args.seed)), args.jobs)
    for file in sorted(content):
        counts = [judged.counts[file, name] for name in ("detected", "harmless", "wrong")]
        shown = file.removeprefix(RUN + "/")
        print(f"{shown}: {sum(counts)} flips, {counts[0]} detected, {counts[1]} harmless")
    for text in judged.wrong:
        print(f"WRONG {text[:600]}")
    total = Counter[str]()
    for (_, outcome), count in judged.counts.items():
        total[outcome] += count
    print(f"stride {args.stride}, seed {args.seed}, {time.monotonic() - started:.0f} s")
    print(
        f"flips {sum(total.values())}, detected {total['detected']}, "
        f"harmless {total['harmless']}, wrong {total['wrong']}"
    )
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
