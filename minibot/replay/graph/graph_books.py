"""The books of a run in its hash graph: lots, trades, ledger entries and hourly states.

A lot goes back to the fill that opened it, a trade to its lot and to the fill that closed it, an
entry to its fill, an hourly state to the entries of its hour and to the state before it.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from minibot.accounting.bookings import Booking
from minibot.accounting.hourly_accounts import HourlyAccounts, HourlyState
from minibot.engine.bookkeeping import STATES_BYTES_MAX, states_path
from minibot.engine.field_differences import NULL_IN_ONE, differing_fields
from minibot.engine.lookup import last_event
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import is_stopped
from minibot.events.model import Fill
from minibot.events.names import FILLS
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_whole
from minibot.kernel.line import JSON_AT, PREFIX
from minibot.kernel.seal import SEAL_FILE
from minibot.kernel.verify import verify_quick
from minibot.replay.compare import false_verdicts
from minibot.replay.graph.hash_graph import BAD_HASH, OTHERWISE, EventGraph, Graph, Node, Raw

LOT: Final = "lot"
TRADE: Final = "trade"
ENTRY: Final = "entry"
STATE: Final = "hourly_state"


def graph_of(
    recorded: Recorded, progress: Callable[[int, int], None] = lambda done, whole: None
) -> Graph:
    """Return the whole graph of a run with every change and what depends on it.

    Args:
        recorded: The run, damaged or not.
        progress: Called now and then with the market events read, and with 0, as the whole is not
            counted.
    """
    events = EventGraph(recorded, progress)
    events.build()
    graph = events.graph
    try:
        _add_books(recorded, events)
    except (RunStop, KeyError, ValueError) as error:
        graph.notes.append(f"the books end here: {error}")
    graph.notes += _unsealed(recorded)
    graph.finish()
    return graph


def _add_books(recorded: Recorded, events: EventGraph) -> None:
    graph = events.graph
    opened_ts, opening = recorded.opening()
    books = HourlyAccounts(recorded.manifest.run_id, opening, opened_ts)
    entries: list[tuple[int, str]] = []
    for fill in events.fills():
        event = recorded.codec.decode(FILLS, canonical.encode(fill))
        if not isinstance(event.payload, Fill):
            continue
        booking = books.on_fill(event.payload, event.ts)
        for node in _booking_nodes(booking, event.id, len(books.trades)):
            graph.add(node)
            if node.kind == ENTRY:
                entries.append((booking.fill_n, node.key))
    last = last_event(recorded, "market_ticks")
    before = ""
    states = books.close(opened_ts if last is None else last.ts)
    standing = _standing(recorded)
    for state in states:
        raw = standing[state.n - 1] if state.n <= len(standing) else None
        node = _state_node(state, raw, entries, before)
        graph.add(node)
        before = node.key
        if raw is not None and (events.has_market_end or state is not states[-1]):
            _judge_state(graph, node.key, state, raw)
    if states and not events.has_market_end:
        text = f"{before} is not compared: the end of market_ticks, up to which it goes, is damaged"
        graph.notes.append(text)
    # Until its seal a run that still goes, or was interrupted, has yet to write its last hours.
    may_lack = is_stopped(recorded) and not (recorded.run_dir / SEAL_FILE).exists()
    is_other = len(standing) > len(states) or (len(standing) < len(states) and not may_lack)
    if is_other and states_path(recorded.run_dir).exists():
        text = f"hourly_state.jsonl has {len(standing)} hours; the fills give {len(states)}"
        graph.notes.append(text)


def _booking_nodes(booking: Booking, fill_id: str, trades: int) -> list[Node]:
    """Return the book nodes of one fill; `trades` counts all trades so far."""
    n = booking.fill_n
    nodes = []
    if not booking.trades:
        nodes.append(_node(LOT, str(n), (fill_id,), {"fill": fill_id}))
    for at, trade in enumerate(booking.trades, trades - len(booking.trades) + 1):
        opened = (f"{LOT}:{trade.open_fill_n}",) if trade.open_fill_n else ()
        nodes.append(_node(TRADE, str(at), (*opened, fill_id), trade.to_json()))
    for entry in booking.entries:
        fields = {"account": entry.account, "amount": str(entry.amount), "ts": entry.ts}
        nodes.append(_node(ENTRY, f"{n}.{entry.account}", (fill_id,), fields))
    return nodes


def _state_node(
    state: HourlyState, raw: Raw | None, entries: list[tuple[int, str]], before: str
) -> Node:
    own = [key for n, key in entries if state.fills_before < n <= state.fills]
    parents = (*own, before) if before else tuple(own)
    data = state.encoded() if raw is None else raw.json
    key = f"{STATE}:{state.n}"
    return Node(key, key, STATE, parents, sha256(data).digest())


def _judge_state(graph: Graph, key: str, state: HourlyState, raw: Raw) -> None:
    # By its bytes: one that writes the same fields otherwise is another state.
    if not raw.is_whole or raw.json != state.encoded():
        fields = differing_fields(state.to_json(), raw.event())
        graph.change(key, OTHERWISE if raw.is_whole else BAD_HASH, fields)


def _standing(recorded: Recorded) -> list[Raw]:
    """Return the hourly states as the run wrote them; none where it wrote none."""
    path = states_path(recorded.run_dir)
    if not path.exists():
        return []
    lines = read_whole(path, size_max=STATES_BYTES_MAX).splitlines()
    return [
        Raw(
            n,
            line[JSON_AT:],
            sha256(line[JSON_AT:]).hexdigest().encode() == line[len(PREFIX) : JSON_AT - 1],
        )
        for n, line in enumerate(lines, 1)
    ]


def _node(kind: str, name: str, parents: tuple[str, ...], fields: dict[str, object]) -> Node:
    key = f"{kind}:{name}"
    return Node(key, key, kind, parents, sha256(canonical.encode(fields)).digest())


def _unsealed(recorded: Recorded) -> list[str]:
    """Return the files that differ from the sealed ones."""
    if not (recorded.run_dir / SEAL_FILE).exists():
        return []
    return [
        f"{finding.file} is not what was sealed ({finding.code})"
        for finding in verify_quick(recorded.run_dir)
    ]


def graph_lines(graph: Graph) -> list[str]:
    """Return a graph for people: its size, each change, and what depends on it."""
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(graph.counts().items()))
    lines = [f"graph: {counts}; root {graph.root}"]
    lines += [f"  {note}" for note in graph.notes]
    lines += [f"  cause {key} is not there" for key in graph.missing]
    if graph.unwritten:
        listed = ", ".join(graph.unwritten)
        lines.append(f"  {len(graph.unwritten)} not written when the run was stopped: {listed}")
    for change in graph.changes.values():
        lines.append(f"changed: {change.node.place} ({change.node.kind} {change.node.key})")
        lines.append(f"  {change.why}")
        for name, (one, two) in change.fields.items():
            lines.append(f"  {name}: replay {one!r}, recorded {two!r}")
        if change.why == OTHERWISE and not change.fields:
            lines.append(f"  {NULL_IN_ONE}")
        queue = change.node.place.partition(":")[0]
        lines += [f"  why: {sentence}" for sentence in false_verdicts(queue, change.fields)]
        places = [node.place for node in change.dependents]
        lines.append(f"  {len(places)} depend on it" + (f": {', '.join(places)}" * bool(places)))
    if graph.is_proven:
        lines.append("nothing was changed: every hash fits, and every decision is reproduced")
    elif not graph.changes:
        lines.append("no event was changed, as far as events were recomputed; see the faults above")
    return lines
