"""Fuzz targets for the files of a queue: lines, heads, cursors, segment manifests, seals.

Each input is the content of one file; all other files are right. The product must read it as the
strict reader does. A reader of the queue may then hand out only the lines that were written, in
order, from the first line on.
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

from minibot.kernel.cursor import Cursor
from minibot.kernel.errors import RunStop
from minibot.kernel.files import parse_hashed
from minibot.kernel.head import newest
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import LineError, decode_line, encode_line
from minibot.kernel.position import ZERO, Position
from minibot.kernel.seal import root_of, sums_of
from minibot.kernel.segments import load_segments
from minibot.kernel.sweep import Job, sweep
from minibot.kernel.verify import verify_tree
from tools import fuzz_json as shapes
from tools import fuzz_reference as reference
from tools.fuzz_memory import MemoryFiles
from tools.fuzz_target import Verdict

RUN_ID: Final = "20261120_074600"
QUEUE: Final = "fills"
READER: Final = "risk_role"
FOLDER: Final = "queues/fills"
# Most of the time goes into reading forty lines for each changed one.
READ_SHARE: Final = 3
# Absolute, so that resolving links does not change it; the path does not exist.
RUN_FOLDER: Final = "/fuzzed-run"
# One of each kind of value.
RICH: Final[dict[str, Any]] = {
    "a": [1, -1, 0, True, None, "x", [[]], {}],
    "id": "9493a350-5fb2-4b45-8ff2-d65dfa147891",
    "n": {"big": 2**64 - 1, "least": -(2**63), "text": '\u00e9\u2028\U0001f600"\\\t\x7f'},
    "ts": 1723161254087,
}


class Queue:
    """Files of a queue of forty lines in three segments."""

    def __init__(self) -> None:
        self.jsons = [b'{"n":%d,"text":"%s"}' % (n, b"x" * (n % 23)) for n in range(40)]
        self.files: dict[str, bytes] = {}
        self.ends = [ZERO]
        entries: list[dict[str, Any]] = []
        position = ZERO
        for number, part in enumerate((self.jsons[:15], self.jsons[15:28], self.jsons[28:]), 1):
            before, data = position, b""
            position = Position(position.seq, number, 0, position.chain)
            for json in part:
                data += encode_line(json)
                chain = sha256(position.chain + sha256(json).digest()).digest()
                position = Position(position.seq + 1, number, len(data), chain)
                self.ends.append(position)
            name = "inbox.jsonl" if number == 3 else f"inbox.{number:06d}.jsonl"
            self.files[f"{FOLDER}/{name}"] = data
            if number < 3:
                entries.append(
                    {
                        "name": name,
                        "size": len(data),
                        "lines": len(part),
                        "sha256": sha256(data).hexdigest(),
                        "chain_before": before.chain.hex(),
                        "chain_after": position.chain.hex(),
                    }
                )
        self.end = position
        self.manifest: dict[str, Any] = {
            "schema": "minibot.segments", "v": 1, "stem": "inbox", "segments": entries,
            "generation": 2,
        }  # fmt: skip
        self.files[f"{FOLDER}/segments.json"] = hashed(self.manifest)
        self.head = slot(position, 8) + slot(self.ends[-2], 7)
        self.files[f"{FOLDER}/inbox.head"] = self.head

    def cursor(self, position: Position) -> dict[str, Any]:
        """Return the object of a cursor."""
        return {
            "schema": "minibot.cursor", "v": 1, "run_id": RUN_ID, "queue": QUEUE,
            "reader": READER, "seq": position.seq, "segment": position.segment,
            "offset": position.offset, "chain": position.chain.hex(), "generation": 3,
        }  # fmt: skip

    def read(self, changed: dict[str, bytes], start: Position = ZERO) -> tuple[list[bytes], str]:
        """Return a reader's lines from changed files, and the code that ended it, if any."""
        files = MemoryFiles({**self.files, **changed})
        lines: list[bytes] = []
        try:
            reader = JournalReader(FOLDER, "inbox", start, files=files)
            while batch := reader.read(7):
                lines += [line.json for line in batch]
        except RunStop as error:
            return lines, error.reason_code
        return lines, ""

    def misread(self, changed: dict[str, bytes], start: Position = ZERO) -> str:
        """Return lines that a reader hands out but nobody wrote there; empty as a rule."""
        lines, _ = self.read(changed, start)
        wanted = self.jsons[start.seq : start.seq + len(lines)]
        return "" if lines == wanted else f"read {lines[-1:]} after {start}, wanted {wanted[-1:]}"


def slot(position: Position, sequence: int) -> bytes:
    """Return the bytes of a head's slot, in the reference's layout."""
    fields = position.segment, position.offset, position.seq, position.chain, sequence, 0
    body = reference.SLOT.pack(*fields)[:-4]
    return body + zlib.crc32(body).to_bytes(4, "big")


def hashed(obj: dict[str, Any]) -> bytes:
    """Return the bytes of a file that carries its own sha256, by the reference's rules."""
    body = {key: value for key, value in obj.items() if key != "sha256"}
    body["sha256"] = sha256(reference.written(body)).hexdigest()
    return reference.written(body) + b"\n"


class LineTarget:
    """Fuzz target: one line, alone and in the place of another line of a queue."""

    name = "line"

    def __init__(self) -> None:
        self._queue = Queue()
        self._lines = [encode_line(json) for json in self._queue.jsons]

    def seeds(self) -> list[bytes]:
        """Return valid lines."""
        return list(self._lines)

    def make(self, rnd: Random) -> bytes:
        """Return a line: changed bytes, or changed JSON under a new digest."""
        line = rnd.choice(self._lines)
        if rnd.random() < 0.6:
            for _ in range(rnd.choice((1, 1, 1, 2, 3))):
                line = shapes.change_bytes(rnd, line, rnd.choice(self._lines))
            return line
        json = shapes.change_bytes(rnd, line[72:-1], rnd.choice(self._lines)[72:-1])
        if rnd.random() < 0.6:
            node = shapes.tree_of(RICH)
            shapes.change_value(rnd, node, {}, {})
            shapes.change_form(rnd, node)
            json = shapes.data_of(node)
        digest = sha256(json).hexdigest().encode()
        if rnd.random() < 0.1:
            digest = rnd.choice((digest.upper(), digest[:-1], digest + b"0", b" " + digest[1:]))
        return b"sha256:" + digest + b":" + json + b"\n"

    def judge(self, data: bytes) -> Verdict:
        """Judge the line decoder, and a reader of the queue, against the strict reader."""
        try:
            wanted: bytes | None = reference.strict_line(data)
        except reference.Unreadable:
            wanted = None
        try:
            found: bytes | None = decode_line(data)[1]
            why = ""
        except LineError as error:
            found, why = None, error.why
        label = f"{'good' if wanted is not None else 'bad'} {why}"
        if found != wanted:
            return Verdict(label, f"line: expected {wanted!r}, found {found!r} {why}")
        wrong = self._swept_otherwise(data)
        if wrong:
            return Verdict(label, wrong)
        if zlib.crc32(data) % READ_SHARE:
            return Verdict(label)
        # In the place of the tenth line: a reader may hand out only written lines.
        name = f"{FOLDER}/inbox.000001.jsonl"
        changed = b"".join([*self._lines[:9], data, *self._lines[10:15]])
        return Verdict(label, self._queue.misread({name: changed}))

    def _swept_otherwise(self, data: bytes) -> str:
        """Return where the fast sweep of a file and the strict reader differ."""
        jsons = []
        try:
            for line in data.splitlines(keepends=True) if b"\r" not in data else [data]:
                jsons.append(reference.strict_line(line))
                reference.strict_json(jsons[-1])
            is_right = True
        except reference.Unreadable:
            is_right = False
        files = MemoryFiles({"alone.jsonl": data})
        swept = sweep(Job("alone.jsonl", ZERO, len(data), (1,)), files)
        if (swept is not None) != is_right:
            return f"sweep: expected {is_right}, found {swept}"
        chain = bytes(32)
        for json in jsons if swept is not None else ():
            chain = sha256(chain + sha256(json).digest()).digest()
        if swept is not None and (swept.end.chain, swept.end.seq) != (chain, len(jsons)):
            return f"sweep: expected {len(jsons)} lines to {chain.hex()}, found {swept}"
        return ""


class HeadTarget:
    """Fuzz target: the two slots of a head."""

    name = "head"

    def __init__(self) -> None:
        self._queue = Queue()

    def seeds(self) -> list[bytes]:
        """Return valid heads, old and new."""
        return [slot(end, 9) + slot(end, 8) for end in self._queue.ends] + [self._queue.head, b""]

    def make(self, rnd: Random) -> bytes:
        """Return a head: changed bytes, or slots with wrong content under a right checksum."""
        ends = self._queue.ends
        head = self._queue.head
        if rnd.random() < 0.5:
            for _ in range(rnd.choice((1, 1, 2, 5))):
                head = shapes.change_bytes(rnd, head, slot(rnd.choice(ends), 3) * 2)
            return head
        slots = []
        for _ in range(rnd.choice((1, 2, 2, 2, 4))):
            at = rnd.choice(ends)
            if rnd.random() < 0.5:
                at = _other_position(rnd, at, rnd.choice(ends))
            made = slot(at, rnd.choice((0, 1, 7, 8, 9, 2**64 - 1)))
            slots.append(shapes.change_bytes(rnd, made) if rnd.random() < 0.2 else made)
        return b"".join(slots)

    def judge(self, data: bytes) -> Verdict:
        """Judge the head's reader, and a reader of the queue, against the strict reader."""
        wanted = reference.strict_head(data)
        head = newest(data[:256])
        found = None if head is None else (head.segment, head.offset, head.lines, head.chain)
        label = "bad" if wanted is None else "good"
        if found != wanted:
            return Verdict(label, f"head: expected {wanted}, found {found}")
        changed = {f"{FOLDER}/inbox.head": data}
        lines, code = self._queue.read(changed)
        label = f"{label} {code}"
        if lines != self._queue.jsons[: len(lines)]:
            return Verdict(label, f"read {lines[-1:]} below {wanted}")
        if wanted is None and lines:
            return Verdict(label, f"{len(lines)} lines read without a head")
        true = [end for end in self._queue.ends if wanted and end[1:3] == wanted[:2]]
        is_true = bool(wanted) and any((*end[1:3], end[0], end[3]) == wanted for end in true)
        if not code and wanted is not None and not is_true and len(lines) != wanted[2]:
            return Verdict(label, f"{len(lines)} lines read below {wanted}, without a word")
        return Verdict(label)


class CursorTarget:
    """Fuzz target: a reader's cursor."""

    name = "cursor"

    def __init__(self) -> None:
        self._queue = Queue()

    def seeds(self) -> list[bytes]:
        """Return a cursor at every line, and the cursor of a new queue."""
        none = {**self._queue.cursor(ZERO), "run_id": None}
        return [hashed(none), *(hashed(self._queue.cursor(end)) for end in self._queue.ends)]

    def make(self, rnd: Random) -> bytes:
        """Return a cursor with one fault."""
        obj = self._queue.cursor(rnd.choice(self._queue.ends))
        if rnd.random() < 0.4:
            other = _other_position(rnd, rnd.choice(self._queue.ends), rnd.choice(self._queue.ends))
            return hashed(self._queue.cursor(other))
        return _broken(rnd, obj)

    def judge(self, data: bytes) -> Verdict:
        """Judge the cursor, and a reader that begins there, against the strict reader."""
        try:
            wanted = reference.strict_cursor(data, RUN_ID, QUEUE, READER)
            label = "good"
        except reference.Unreadable:
            wanted, label = None, "bad"
        files = MemoryFiles({f"{FOLDER}/cursor.json": data})
        cursor = Cursor(f"{FOLDER}/cursor.json", RUN_ID, QUEUE, READER, files=files)
        try:
            found = cursor.load()
        except RunStop as error:
            wrong = f"cursor: refused {error}" if label == "good" else ""
            return Verdict(f"{label} {error.reason_code}", wrong)
        if label == "bad":
            return Verdict(label, f"cursor: expected a refusal, found {found}")
        if found != wanted:
            return Verdict(label, f"cursor: expected {wanted}, found {found}")
        if found is None:
            return Verdict("good none")
        lines, code = self._queue.read({}, found)
        is_true = found in self._queue.ends
        if is_true or not lines:
            wanted_lines = self._queue.jsons[found.seq :] if is_true else []
            wrong = "" if lines == wanted_lines else f"read {lines} from {found}"
            return Verdict(f"good {is_true} {code}", wrong)
        # A false position under a right digest must be noticed before the head is reached.
        return Verdict(f"good {is_true} {code}", "" if code else f"{len(lines)} from {found}")


class ManifestTarget:
    """Fuzz target: the manifest of a queue's sealed segments."""

    name = "manifest"

    def __init__(self) -> None:
        self._queue = Queue()

    def seeds(self) -> list[bytes]:
        """Return the right manifest and an empty one."""
        return [hashed(self._queue.manifest), hashed({**self._queue.manifest, "segments": []})]

    def make(self, rnd: Random) -> bytes:
        """Return a manifest with one fault."""
        obj = self._queue.manifest
        if rnd.random() < 0.3:
            entries = [dict(entry) for entry in obj["segments"]]
            entry = rnd.choice(entries)
            key = rnd.choice(sorted(entry))
            value = entry[key]
            entry[key] = (
                value + rnd.choice((-1, 1, 70))
                if type(value) is int
                else rnd.choice((value[::-1], value.upper(), rnd.choice(entries)[key], value[:-2]))
            )
            rnd.shuffle(entries) if rnd.random() < 0.1 else None
            return hashed({**obj, "segments": entries[: rnd.choice((1, 2, 2, 2))]})
        return _broken(rnd, obj)

    def judge(self, data: bytes) -> Verdict:
        """Judge the manifest's reader, and a reader of the queue, against the strict reader."""
        try:
            wanted = reference.strict_segments(data, "inbox")
        except reference.Unreadable:
            wanted = None
        label = "bad" if wanted is None else "good"
        name = f"{FOLDER}/segments.json"
        try:
            segments = load_segments(Path(FOLDER), "inbox", files=MemoryFiles({name: data}))
        except RunStop as error:
            wrong = f"manifest: refused {error}" if wanted is not None else ""
            return Verdict(f"{label} {error.reason_code}", wrong)
        found = [(*s[:4], s.chain_before.hex(), s.chain_after.hex()) for s in segments]
        if found != wanted:
            return Verdict(label, f"manifest: expected {wanted}, found {found}")
        return Verdict(label, self._queue.misread({name: data}))


class SealTarget:
    """Fuzz target: the seal of a run with one queue."""

    name = "seal"

    def __init__(self) -> None:
        queue = Queue()
        self._files = {
            **queue.files,
            f"{FOLDER}/cursor.json": hashed(queue.cursor(queue.end)),
            "manifest.json": hashed({"schema": "minibot.manifest", "generation": 1}),
        }
        for stem in ("acks", "deadletter"):
            self._files[f"{FOLDER}/{stem}.jsonl"] = b""
            self._files[f"{FOLDER}/{stem}.head"] = slot(ZERO, 2) + slot(ZERO, 1)
        sizes = {
            name: {"size": len(data), "sha256": sha256(data).hexdigest()}
            for name, data in self._files.items()
        }
        run = {"manifest.json": sizes.pop("manifest.json")}
        self._seal: dict[str, Any] = {
            "schema": "minibot.seal", "v": 1, "files": sizes, "run_files": run,
            "extra": {"state": "sealed"}, "generation": 1,
        }  # fmt: skip
        self._seal["root"] = root_of(self._seal)
        self._sums = sums_of(self._seal)

    def seeds(self) -> list[bytes]:
        """Return the right seal."""
        return [hashed(self._seal)]

    def make(self, rnd: Random) -> bytes:
        """Return a seal with one fault."""
        if rnd.random() < 0.4:
            obj = {**self._seal, "files": dict(self._seal["files"])}
            name = rnd.choice(sorted(obj["files"]))
            entry = dict(obj["files"].pop(name))
            kind = rnd.randrange(4)
            if kind == 0:
                entry["size"] += rnd.choice((-1, 1))
            elif kind == 1:
                entry["sha256"] = sha256(name.encode()).hexdigest()
            if kind < 2:
                obj["files"][name] = entry
            elif kind == 2:
                obj["files"][name + "x"] = entry
            if rnd.random() < 0.7:
                obj["root"] = root_of(obj)
            return hashed(obj)
        return _broken(rnd, self._seal)

    def judge(self, data: bytes) -> Verdict:
        """Judge verify: it must report every seal but the right one."""
        try:
            value: dict[str, Any] | None = reference.strict_hashed(data)
        except reference.Unreadable:
            value = None
        try:
            read: dict[str, Any] | None = parse_hashed(data, "seal.json")
        except RunStop:
            read = None
        if read != value:
            return Verdict("seal", f"seal: expected {value}, found {read}")
        same = value is not None and all(
            reference.written(value.get(key)) == reference.written(self._seal[key])
            for key in ("files", "run_files", "extra", "root")
        )
        content = {**self._files, "seal.json": data, "SHA256SUMS": self._sums}
        files = MemoryFiles({f"{RUN_FOLDER}/{name}": item for name, item in content.items()})
        try:
            codes = {finding.code for finding in verify_tree(RUN_FOLDER, files=files)}
        except RunStop as error:
            codes = {error.reason_code}
        label = f"{'good' if same else 'bad'} {' '.join(sorted(codes))}"
        if same and codes:
            return Verdict(label, f"verify: {codes} of a right seal")
        if not same and not codes:
            return Verdict(label, f"verify: nothing said of {data[:2000]!r}")
        return Verdict(label)


def _other_position(rnd: Random, at: Position, other: Position) -> Position:
    """Return a position with one value of another position, or slightly off."""
    kind = rnd.randrange(6)
    if kind == 0:
        return at._replace(chain=other.chain)
    if kind == 1:
        return at._replace(seq=other.seq)
    if kind == 2:
        return at._replace(offset=max(0, at.offset + rnd.choice((-1, 1, 72, 1 << 40))))
    if kind == 3:
        return at._replace(segment=rnd.choice((1, 2, 3, 4, 2**32 - 1)))
    if kind == 4:
        return at._replace(seq=at.seq + 1)
    return at._replace(offset=other.offset)


def _broken(rnd: Random, obj: dict[str, Any]) -> bytes:
    """Return a self-hashed file: changed bytes, or changed content with a new or old hash."""
    if rnd.random() < 0.4:
        data = hashed(obj)
        return shapes.change_bytes(rnd, data, data)
    node = shapes.tree_of(obj)
    for _ in range(rnd.choice((1, 1, 2))):
        change = shapes.change_keys if rnd.random() < 0.4 else shapes.change_value
        change(rnd, node, {}, {})
    if rnd.random() < 0.1:
        shapes.change_form(rnd, node)
    shapes.sort_keys(node)
    body = shapes.data_of(node)
    if rnd.random() < 0.2:
        return body + b"\n"
    digest = sha256(body).hexdigest()
    node.append(("sha256", digest))
    shapes.sort_keys(node)
    return shapes.data_of(node) + b"\n"
