"""The hash graph of a run: every decision with its causes, down to lots, trades and hourly states.

A node is an event, a lot, a trade, a ledger entry or an hourly state. Its hash covers its own bytes
and the hashes of its causes, so one changed byte changes the hash of that node and of everything
derived from it, and of nothing else. Changed nodes are found in two ways: by the hash in each line,
and by recomputing every decision, which also finds an edit whose hashes were all recomputed. A
damaged run is read as far as its bytes can be parsed; nothing is repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.field_differences import differing_fields
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import is_stopped, replay_role
from minibot.events.ids import position_id
from minibot.events.model import Event, JsonObject
from minibot.events.names import CONTROL, MARKET_ROLE, TICKS
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.line import JSON_AT, PREFIX
from minibot.kernel.queue import INBOX, open_reader, queue_folder
from minibot.kernel.segments import active_name, load_segments

PROGRESS_EVERY: Final = 65_536
BAD_HASH: Final = "its bytes do not fit the hash of its line"
OTHERWISE: Final = "recomputed, it differs"
UNDERIVED: Final = "recorded, and not derived: no input leads to it"

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Node:
    """Node of the graph; `key` is an event's id, or names a node of the books."""

    key: str
    place: str
    kind: str
    parents: tuple[str, ...]
    digest: bytes
    hash: str = ""


@dataclass(slots=True)
class Change:
    """A node that was changed after it was written, and the evidence for it."""

    node: Node
    why: str
    fields: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    dependents: list[Node] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the change with the places of all nodes that depend on it."""
        return {
            "place": self.node.place,
            "kind": self.node.kind,
            "id": self.node.key,
            "why": self.why,
            "fields": {
                name: {"replay": one, "recorded": two} for name, (one, two) in self.fields.items()
            },
            "dependents": [
                {"place": node.place, "kind": node.kind, "id": node.key} for node in self.dependents
            ],
        }


class Graph:
    """All nodes of a run, in the order in which they were added; `finish` finds the causes first.

    Attributes:
        missing: Ids of causes that are not there.
        unwritten: Places of the last decisions of a stopped run, which ended before it wrote them.
        notes: What else is wrong, one sentence each.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.changes: dict[str, Change] = {}
        self.missing: list[str] = []
        self.unwritten: list[str] = []
        self.notes: list[str] = []

    def add(self, node: Node) -> None:
        """Add a node, unless one with the same key exists."""
        self.nodes.setdefault(node.key, node)

    def change(self, key: str, why: str, fields: dict[str, tuple[Any, Any]] | None = None) -> None:
        """Note that a node was changed; the first reason is kept, fields are added once."""
        found = self.changes.setdefault(key, Change(self.nodes[key], why))
        found.fields = found.fields or fields or {}

    def counts(self) -> Counter[str]:
        """Return how many nodes there are of each kind."""
        return Counter(node.kind for node in self.nodes.values())

    @property
    def is_proven(self) -> bool:
        """True when nothing was changed, nothing is missing, and there are no other notes."""
        return not (self.changes or self.missing or self.notes)

    @property
    def root(self) -> str:
        """One sha256 over the hashes of all nodes, hex; only after `finish`."""
        total = sha256()
        for key in sorted(self.nodes):
            total.update(f"{key}:{self.nodes[key].hash}\n".encode())
        return total.hexdigest()

    def finish(self) -> None:
        """Compute all hashes and the dependents of each change."""
        order = self._in_order()
        for key in order:
            node = self.nodes[key]
            total = sha256(node.digest)
            for parent in node.parents:
                total.update(self.nodes[parent].hash.encode() if parent in self.nodes else b"?")
            node.hash = total.hexdigest()
        for change in self.changes.values():
            reached = {change.node.key}
            for key in order:
                if key not in reached and reached & set(self.nodes[key].parents):
                    reached.add(key)
                    change.dependents.append(self.nodes[key])

    def _in_order(self) -> list[str]:
        """Return all keys, parents first; a cycle, which no honest run has, is cut."""
        done: dict[str, None] = {}
        for start in self.nodes:
            waiting = [(start, False)]
            entered: set[str] = set()
            while waiting:
                key, is_left = waiting.pop()
                if key in done or key not in self.nodes:
                    continue
                if is_left or key in entered:
                    done[key] = None
                    continue
                entered.add(key)
                waiting.append((key, True))
                waiting += [(parent, False) for parent in self.nodes[key].parents]
        return list(done)

    def to_json(self) -> JsonObject:
        """Return the graph's findings as one JSON object."""
        return {
            "nodes": dict(sorted(self.counts().items())),
            "root": self.root,
            "changed": [change.to_json() for change in self.changes.values()],
            "missing": self.missing,
            "unwritten": self.unwritten,
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class _Made:
    """A derived event as its role recomputes it at its input `n`."""

    json: bytes
    role: str
    n: int


@dataclass(frozen=True, slots=True)
class _Apart:
    """A recorded event that differs from the one recomputed in its place."""

    key: str
    queue: str
    seq: int
    made: _Made
    fields: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class _Beside:
    """A recorded event that was not recomputed, with the event that it names as cause."""

    key: str
    queue: str
    seq: int
    cause: str
    tick_seq: int | None


@dataclass(frozen=True, slots=True)
class Raw:
    """One line as recorded: whether its hash fits, and its content as far as it can be parsed."""

    seq: int
    json: bytes
    is_whole: bool

    def event(self) -> JsonObject:
        """Return the envelope; empty where it cannot be read."""
        try:
            return canonical.decode(self.json)
        except canonical.CanonicalError:
            return {}


def raw_lines(recorded: Recorded, queue: str) -> Iterator[Raw]:
    """Yield every published line of a queue, even damaged ones; those of a lost file are left out.

    A lost sealed segment is counted, so that the lines behind it keep their numbers.
    """
    folder = queue_folder(recorded.queues, queue)
    reader = open_reader(recorded.queues, queue)
    published = reader.head().lines
    reader.close()
    seq = 0
    for segment in load_segments(folder, INBOX):
        yield from _lines_of(folder / segment.name, seq, seq + segment.lines)
        seq += segment.lines
    yield from _lines_of(folder / active_name(INBOX), seq, published)


def _lines_of(path: Path, seq: int, last: int) -> Iterator[Raw]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for raw in file:
            seq += 1
            if seq > last:
                return
            json = raw[JSON_AT:].rstrip(b"\n")
            written = raw[len(PREFIX) : JSON_AT - 1]
            yield Raw(seq, json, sha256(json).hexdigest().encode() == written)


class EventGraph:
    """Builder that puts the events of a run into a graph and finds those that were changed.

    Args:
        recorded: The run, damaged or not.
        progress: Called now and then with the market events read, and with 0, as the whole is not
            counted.

    Attributes:
        has_market_end: Whether the last line of the market is there and whole.
    """

    def __init__(self, recorded: Recorded, progress: Progress = lambda done, whole: None) -> None:
        self.graph = Graph()
        self.has_market_end = False
        self._made: dict[str, list[_Made]] = {queue: [] for queue in recorded.roles.derived}
        self._taken: dict[str, dict[tuple[str, int], int]] = {}
        self._differences: list[_Apart] = []
        self._beside: list[_Beside] = []
        # By role, the last market event that its core took; None where its replay broke off.
        self._last_tick: dict[str, int | None] = {}
        self._recorded = recorded
        # As in every replay, a stopped run may lack its last decisions.
        self._was_stopped = is_stopped(recorded)
        self._progress = progress
        self._wanted: dict[str, int | None] = {}
        self._found: dict[str, list[Raw]] = {}

    def build(self) -> None:
        """Read all events, then recompute every decision."""
        self._make_again()
        for queue in self._recorded.roles.derived:
            self._read_derived(queue)
        self._judge_differences()
        self._judge_beside()
        self._read_roots()
        self._read_control()
        self.graph.missing = sorted(key for key in self._wanted if key not in self.graph.nodes)

    def fills(self) -> list[JsonObject]:
        """Return the fills as they were before any change, as far as that is known."""
        fills = []
        made = self._made["fills"]
        forged = {item.seq for item in self._beside if item.key in self.graph.changes}
        for raw in self._found["fills"]:
            if raw.seq > len(made) and raw.seq in forged:
                continue
            was = canonical.decode(made[raw.seq - 1].json) if raw.seq <= len(made) else {}
            fills.append(was if was.get("id") in self.graph.changes else raw.event())
        return fills

    # --- making decisions again ---------------------------------------------------------------

    def _make_again(self) -> None:
        broken: set[str] = set()
        for name in self._recorded.roles.cores:
            taken = self._taken[name] = {}
            self._last_tick[name] = 0

            def on_taken(
                step: LoggedStep, taken: dict[tuple[str, int], int] = taken, name: str = name
            ) -> None:
                if step.taken.queue == TICKS:
                    self._last_tick[name] = step.taken.seq
                else:
                    taken[step.taken.queue, step.taken.seq] = step.n

            def on_step(
                step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]], name: str = name
            ) -> None:
                for queue, event in events:
                    data = self._recorded.codec.encode(queue, event)
                    self._made[queue].append(_Made(data, name, step.n))

            try:
                replay_role(
                    self._recorded, name, on_taken=on_taken, on_step=on_step, is_compared=False
                )
            except RunStop as error:
                broken.add(f"{error.reason_code}: {error.detail}")
                self._last_tick[name] = None
        self.graph.notes += [f"recomputed only as far as inputs are whole: {why}" for why in broken]

    # --- reading ------------------------------------------------------------------------------

    def _read_derived(self, queue: str) -> None:
        all_made = self._made[queue]
        found = self._found[queue] = list(raw_lines(self._recorded, queue))
        for raw in found:
            made = all_made[raw.seq - 1] if raw.seq <= len(all_made) else None
            stands = raw.event()
            was = stands if made is None else canonical.decode(made.json)
            fields = differing_fields(was, stands)
            # A damaged or forged id names no event: then the recomputed event's id counts.
            document = stands if raw.is_whole and stands and set(fields) != {"id"} else was
            key, place = str(document.get("id") or f"{queue}:{raw.seq}"), f"{queue}:{raw.seq}"
            if made is None and key in self.graph.nodes:
                key = place  # It repeats the id of another event.
            causes, tick_seq = _causes(document)
            self.graph.add(_event_node(key, queue, raw, str(document.get("type", queue)), causes))
            for cause in causes:
                if cause not in self.graph.nodes:
                    self._wanted.setdefault(cause, tick_seq)
            if not raw.is_whole:
                self.graph.change(key, BAD_HASH, fields if made is not None else None)
            # By its bytes: one that writes the same fields otherwise is another event.
            if made is not None and raw.json != made.json:
                self._differences.append(_Apart(key, queue, raw.seq, made, fields))
            elif made is None and raw.is_whole:
                cause = causes[-1] if causes else ""
                self._beside.append(_Beside(key, queue, raw.seq, cause, tick_seq))
        for seq, made in enumerate(all_made[len(found) :], len(found) + 1):
            place = f"{queue}:{seq}"
            if self._was_stopped:
                self.graph.unwritten.append(place)
            else:
                document = canonical.decode(made.json)
                self.graph.notes.append(f"{place} is missing: {document['id']}")

    def _judge_differences(self) -> None:
        """Distinguish changed events from those that differ only because of a change.

        An event differs from its recomputation. If all inputs that its role had processed by then
        are unchanged, the event itself was changed; otherwise it follows from a changed input.
        """
        apart = {(item.queue, item.seq) for item in self._differences}
        follows = 0
        for item in self._differences:
            taken = self._taken[item.made.role]
            if any(taken.get(place, item.made.n + 1) <= item.made.n for place in apart):
                follows += 1
            else:
                self.graph.change(item.key, OTHERWISE, item.fields)
        if follows:
            self.graph.notes.append(f"{follows} later decisions differ because of what was changed")

    def _judge_beside(self) -> None:
        """Name the recorded events that no core derived, although it took their named causes.

        If an event before them was changed, they may follow from that. A stopped run may also hold
        events that follow from inputs after its last logged ones; any other run logged all inputs.
        """
        places = {
            str(raw.event().get("id")): (queue, raw.seq)
            for queue, found in self._found.items()
            for raw in found
        }
        for raw in raw_lines(self._recorded, CONTROL) if self._beside else ():
            places.setdefault(str(raw.event().get("id")), (CONTROL, raw.seq))
        is_changed = bool(self.graph.changes)
        follows = 0
        for item in self._beside:
            role = self._recorded.roles.writers(item.queue)[0]
            last_tick = self._last_tick[role]
            if last_tick is None:
                continue
            place = places.get(item.cause)
            if place is None:
                is_taken = item.tick_seq is not None and item.tick_seq <= last_tick
            else:
                is_taken = place in self._taken[role]
            if self._was_stopped and not is_taken:
                continue
            if is_changed:
                follows += 1
            else:
                self.graph.change(item.key, UNDERIVED)
        if follows:
            self.graph.notes.append(
                f"{follows} events that nothing leads to any more, beside these"
            )

    def _read_roots(self) -> None:
        """Read the market events that are causes, and those that are damaged."""
        seqs = {seq for seq in self._wanted.values() if seq is not None}
        run_id = self._recorded.manifest.run_id
        last = self._recorded.lines(TICKS).reader.head().lines
        self.has_market_end = not last
        for raw in raw_lines(self._recorded, TICKS):
            self.has_market_end = raw.is_whole and raw.seq == last
            if raw.seq % PROGRESS_EVERY == 0:
                self._progress(raw.seq, 0)
            if raw.is_whole and raw.seq not in seqs:
                continue
            event = raw.event()
            key = position_id(run_id, MARKET_ROLE, TICKS, raw.seq)
            if raw.is_whole:
                key = str(event.get("id") or key)
            self.graph.add(_event_node(key, TICKS, raw, str(event.get("type", "market_tick")), ()))
            if not raw.is_whole:
                self.graph.change(key, BAD_HASH)

    def _read_control(self) -> None:
        for raw in raw_lines(self._recorded, CONTROL):
            event = raw.event()
            key = str(event.get("id") or f"{CONTROL}:{raw.seq}")
            if key in self._wanted or not raw.is_whole:
                self.graph.add(_event_node(key, CONTROL, raw, str(event.get("type", CONTROL)), ()))
            if not raw.is_whole:
                self.graph.change(key, BAD_HASH)


def _causes(event: JsonObject) -> tuple[tuple[str, ...], int | None]:
    """Return the causes that an event names, and its market event; its shape is unjudged."""
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return (), None
    named, tick_seq = payload.get("cause_ids"), payload.get("tick_seq")
    causes = tuple(map(str, named)) if isinstance(named, list) else ()
    return causes, tick_seq if isinstance(tick_seq, int) else None


def _event_node(key: str, queue: str, raw: Raw, kind: str, causes: tuple[str, ...]) -> Node:
    return Node(key, f"{queue}:{raw.seq}", kind, causes, sha256(raw.json).digest())
