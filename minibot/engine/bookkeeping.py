"""Bookkeeping of a replay: lots, trades, ledger, hourly states and figures, recomputed.

The books take the fills that the replayed executor derives, never recorded ones. They are compared
with the files that the run wrote at its end, `hourly_state.jsonl` and `metrics.json`, and with the
executor's own portfolio and ledger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minibot.accounting.hourly_accounts import HOURLY_STATE_FILE, HourlyAccounts, HourlyState
from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Performance
from minibot.accounting.run_counters import HealthCounters
from minibot.cores.input_order import LoggedStep
from minibot.cores.protocol import Core
from minibot.engine.field_differences import NULL_IN_ONE, differing_fields
from minibot.engine.lookup import lines_from
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import RoleReplay, Window
from minibot.events.model import Event, Fill, Health, JsonObject
from minibot.events.names import TICKS
from minibot.kernel import canonical
from minibot.kernel.files import read_hashed, read_whole
from minibot.kernel.line import decode_line
from minibot.kernel.queue import open_reader
from minibot.runtime.runfiles import METRICS_FILE

STATES_BYTES_MAX = 1 << 30
# Fields of metrics.json that do not follow from the queues: time of writing, other runs.
OF_THE_MOMENT = frozenset({"schema", "generation", "sha256", "market_ms", "stop"})


@dataclass(slots=True)
class LedgerReplay:
    """Result of replaying the ledger; `difference` names the first deviation, empty if none."""

    lots: int = 0
    lots_open: int = 0
    trades: int = 0
    entries: int = 0
    states: int = 0
    head: str = ""
    digest: str = ""
    is_recorded: bool = False
    balances: list[JsonObject] = field(default_factory=list)
    difference: str = ""

    def to_json(self) -> JsonObject:
        """Return the comparison as one JSON object."""
        return {
            "identical": not self.difference,
            "recorded": self.is_recorded,
            "lots": self.lots,
            "lots_open": self.lots_open,
            "trades": self.trades,
            "entries": self.entries,
            "hourly_states": self.states,
            "head": self.head,
            "digest": self.digest,
            "balances": self.balances,
            "difference": self.difference or None,
        }


@dataclass(slots=True)
class FiguresReplay:
    """Result of recounting the figures; `differing` by path: (replayed, recorded)."""

    figures: int = 0
    is_recorded: bool = False
    differing: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """Return the comparison as one JSON object."""
        return {
            "identical": not self.differing,
            "recorded": self.is_recorded,
            "figures": self.figures,
            "differing": {
                name: {"replay": one, "recorded": two}
                for name, (one, two) in self.differing.items()
            },
        }


class Bookkeeper:
    """Keeps the books of a replayed run: the `listener` of `replay_role`, or its two hooks.

    Args:
        recorded: The run.

    Raises:
        IntegrityError: `control` is damaged, or does not begin with the opening.
    """

    def __init__(self, recorded: Recorded) -> None:
        self._opened_ts, opening = recorded.opening()
        self.books = HourlyAccounts(recorded.manifest.run_id, opening, self._opened_ts)
        self.market = MarketProjection(Performance(opening, recorded.quote_asset))
        self._recorded = recorded
        self._core: Core | None = None

    def on_taken(self, step: LoggedStep) -> None:
        """Take an input of the executor."""
        taken = step.taken
        if taken.queue == TICKS:
            self.market.take(taken.seq, taken.event)

    def on_step(self, step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Take the events that the executor derived."""
        self.on_made(core, events)

    def on_inputs(self, queue: str, first_seq: int, events: Sequence[Event]) -> None:
        """Take consecutive inputs of the executor."""
        if queue == TICKS:
            times, payloads = [one.ts for one in events], [one.payload for one in events]
            self.market.take_all(first_seq, times, payloads)

    def on_made(self, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        """Take the events that the executor derived from the last input."""
        self._core = core
        for _, event in events:
            if isinstance(event.payload, Fill):
                self.books.on_fill(event.payload, event.ts)
                self.market.on_fill(event)

    # --- the verdict --------------------------------------------------------------------------

    def ledger(self, window: Window, role: RoleReplay) -> LedgerReplay:
        """Compare the books with those that the run wrote.

        Args:
            window: The hours whose states are compared.
            role: Result of replaying the executor; if it was cut off, only the hours before that
                count.
        """
        books = self.books
        if role.is_cut:
            books.on_time(role.clock)
        else:
            self._take_rest()
            books.close(self.market.last_ts or self._opened_ts)
        recorded = recorded_states(self._recorded.run_dir)
        result = LedgerReplay(
            lots=sum(1 for booking in books.bookings if not booking.trades),
            lots_open=sum(len(books.portfolio.lots(s)) for s in books.portfolio.symbols()),
            trades=len(books.trades),
            entries=books.entries,
            head=books.head,
            digest=_digest(books),
            is_recorded=recorded is not None,
        )
        result.difference = self._against_core() or self._against_states(recorded, window, result)
        return result

    def _take_rest(self) -> None:
        """Process the market events that the executor did not reach."""
        for line in lines_from(self._recorded, TICKS, self.market.seq + 1):
            self.market.take(line.seq, self._recorded.decode(TICKS, line))

    def _against_core(self) -> str:
        """Return the differences of the executor's own portfolio and ledger from the books.

        An executor that a STOP ended before the opening has neither: then nothing differs.
        """
        state = {} if self._core is None else self._core.state()
        if state.get("portfolio") is None:
            return ""
        books = self.books
        for name, ours in (
            ("portfolio", books.portfolio.to_json()),
            ("ledger", books.ledger.to_json()),
        ):
            for path, (one, two) in differing_fields(state.get(name), ours).items():
                return f"{name} {path}: the executor says {one!r}, its fills give {two!r}"
        return ""

    def _against_states(
        self, recorded: list[bytes] | None, window: Window, result: LedgerReplay
    ) -> str:
        books = self.books
        for state in books.states:
            if state.to_ts < window.from_ms:
                continue
            if recorded is not None:
                found = recorded[state.n - 1] if state.n <= len(recorded) else b"{}"
                if found != state.encoded():
                    return _state_difference(state, found)
            result.states += 1
            result.balances.append(_balance(state))
        extra = 0 if recorded is None else len(recorded) - len(books.states)
        if books.is_closed and extra > 0:
            return f"hourly_state {len(books.states) + 1}: the run has no such hour"
        return ""

    def figures(self) -> FiguresReplay:
        """Compare every figure with the run's `metrics.json`."""
        path = self._recorded.run_dir / METRICS_FILE
        result = FiguresReplay(is_recorded=path.exists())
        replayed = self._figures()
        result.figures = _leaves(replayed)
        if result.is_recorded:
            found = {k: v for k, v in read_hashed(path).items() if k not in OF_THE_MOMENT}
            result.differing = differing_fields(replayed, found)
        return result

    def _figures(self) -> JsonObject:
        recorded = self._recorded
        lines = {
            queue: open_reader(recorded.queues, queue).head().lines
            for queue in recorded.roles.queues
        }
        return {
            "run_id": recorded.manifest.run_id,
            "lines": lines,
            **self.market.figures(),
            **tally(recorded).to_json(),
        }


def tally(recorded: Recorded) -> HealthCounters:
    """Return the run counters that the roles reported, from their own queue parts."""
    found = HealthCounters()
    for role in recorded.roles.writers("health"):
        for _, event in recorded.events(f"health/parts/{role}"):
            if isinstance(event.payload, Health):
                found.on_health(event.payload, event.ts)
    return found


def states_path(run_dir: Path) -> Path:
    """Return the path of a run's hourly states."""
    return run_dir / HOURLY_STATE_FILE


def recorded_states(run_dir: Path) -> list[bytes] | None:
    """Return the JSON of each hourly state that a run wrote; None if it wrote none.

    Raises:
        LineError: A line fails its own hash.
    """
    path = states_path(run_dir)
    if not path.exists():
        return None
    data = read_whole(path, size_max=STATES_BYTES_MAX)
    return [decode_line(line)[1] for line in data.splitlines(keepends=True)]


def _state_difference(state: HourlyState, found: bytes) -> str:
    try:
        fields = differing_fields(state.to_json(), canonical.decode(found))
    except canonical.CanonicalError as error:
        return f"hourly_state {state.n}: its JSON is not canonical: {error}"
    for path, (one, two) in fields.items():
        return f"hourly_state {state.n} {path}: replay {one!r}, recorded {two!r}"
    return f"hourly_state {state.n}: {NULL_IN_ONE}"


def _balance(state: HourlyState) -> JsonObject:
    """Return opening, entries and closing of the cash accounts in an hour."""
    accounts = state.to_json()["accounts"]
    return {
        "n": state.n,
        "hour_ts": state.hour_ts,
        "fills": state.fills - state.fills_before,
        "sha256": state.sha256,
        "cash": {name: account for name, account in accounts.items() if name.startswith("cash:")},
    }


def _digest(books: HourlyAccounts) -> str:
    """Return one sha256 over every entry, trade and hourly state."""
    total = hashlib.sha256()
    for booking in books.bookings:
        for entry in booking.entries:
            text = f"{entry.fill_n} {entry.ts} {entry.account} {entry.asset} {entry.amount}\n"
            total.update(text.encode())
    for trade in books.trades:
        total.update(canonical.encode(trade.to_json()) + b"\n")
    for state in books.states:
        total.update(state.encoded() + b"\n")
    return total.hexdigest()


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves, value))
    return 1
