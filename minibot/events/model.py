"""The events of minibot as frozen, concretely typed classes (msgspec structs).

One payload class per contract (`contracts/<type>.v1.schema.json`); optional fields are `None`
and are left out of the JSON. Lineage (`cause_ids`, `tick_seq`) stands in the payload on disk and
in `Event` and `Draft` here, so that no payload class repeats it. Decimal values are strings with
the exchange's own characters; times are integer Unix milliseconds.

No object here can contain itself, so the garbage collector need not track it (`gc=False`).

This module holds no validation: `events.codec` validates on both sides of a queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import fields

JsonObject = dict[str, Any]
"""A JSON object as decoded: str keys; str, int, bool, None, list and dict values; never float."""

BUY: Final = "BUY"
SELL: Final = "SELL"
HOLD: Final = "HOLD"

Side = Literal["BUY", "SELL"]
TickKind = Literal["trade", "quote"]
BookWhy = Literal["interval", "resync"]

# The bounds of the contracts, for the types of `fast_codec`; it compares both when it starts.
Ms = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]
MonoNs = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Seq = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Levels = Annotated[tuple[tuple[str, str], ...], Meta(max_length=5000)]
Ages = Annotated[Mapping[str, Ms], Meta(max_length=2000)]


class Payload(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The domain part of an event; subclasses add fields."""

    TYPE: ClassVar[str] = ""

    def to_json(self) -> JsonObject:
        """Return the JSON object of this payload, without fields that are None."""
        shape = _shape(type(self))
        data = {name: value for name in shape.names if (value := getattr(self, name)) is not None}
        for name in shape.tuples:
            if name in data:
                data[name] = _plain(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Payload:
        """Return the typed payload; unknown keys are ignored, a missing one raises KeyError."""
        shape = _shape(cls)
        if shape.is_flat:
            return cls(*map(data.__getitem__, shape.required), *map(data.get, shape.optional))
        values = {name: data[name] for name in shape.required}
        values.update((name, data[name]) for name in shape.optional if name in data)
        for name in shape.tuples:
            if name in values:
                values[name] = _frozen(values[name])
        return cls(**values)


class _Shape(NamedTuple):
    """Shape of a payload class: its fields; a flat class takes them in their order, as read."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    names: tuple[str, ...]
    tuples: tuple[str, ...]
    is_flat: bool


_SHAPES: dict[type[Payload], _Shape] = {}
_TUPLES: Final = ("tuple[", "Levels")


def _shape(cls: type[Payload]) -> _Shape:
    shape = _SHAPES.get(cls)
    if shape is None:
        names = cls.__struct_fields__
        required = tuple(field.name for field in fields(cls) if field.required)
        optional = tuple(name for name in names if name not in required)
        tuples = tuple(name for name in names if cls.__annotations__[name].startswith(_TUPLES))
        is_flat = not tuples and cls.__match_args__ == names
        shape = _SHAPES[cls] = _Shape(required, optional, names, tuples, is_flat)
    return shape


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Check):
        return value.to_json()
    return value


class Check(Struct, frozen=True):
    """One named value against one named threshold, as a trader would check it.

    `passed` is None without a judgement, which a strategy's signal may have and risk never does.
    """

    name: str
    value: str
    threshold: str
    passed: bool | None

    def to_json(self) -> JsonObject:
        """Return the JSON object of this check."""
        return {
            "name": self.name,
            "value": self.value,
            "threshold": self.threshold,
            "passed": self.passed,
        }


# --- market_ticks, by market_role -------------------------------------------------------------


class MarketTick(Payload, frozen=True, kw_only=True):
    """A trade, or a quote that changed price or size of the touch.

    Its fields are in the order of their names, as in the JSON: most events are ticks, and so
    neither reading nor writing one has to search for the next field.
    """

    TYPE: ClassVar[str] = "market_tick"
    ask: str
    ask_qty: str
    bid: str
    bid_qty: str
    exchange_ts: Ms | None = None
    kind: TickKind
    price: str
    qty: str | None = None
    recv_mono_ns: MonoNs
    symbol: str
    taker_side: Side | None = None
    trade_id: Count | None = None


class Bar(Payload, frozen=True):
    """A closed bar, aligned in exchange time."""

    TYPE: ClassVar[str] = "bar"
    symbol: str
    interval: str
    open_ts: Ms
    close_ts: Ms
    open: str
    high: str
    low: str
    close: str
    volume: str
    is_history: bool
    quote_volume: str | None = None
    taker_buy_volume: str | None = None
    trades: Count | None = None
    recv_mono_ns: MonoNs | None = None  # machine time of the socket read that closed it


class Book(Payload, frozen=True):
    """The best levels of the local book, best first; a level is (price, qty)."""

    TYPE: ClassVar[str] = "book"
    symbol: str
    bids: Levels
    asks: Levels
    last_update_id: Count
    why: BookWhy


class Instrument(Payload, frozen=True):
    """The rules of a symbol; at start and on change."""

    TYPE: ClassVar[str] = "instrument"
    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    price_increment: str
    qty_increment: str
    qty_min: str
    qty_max: str
    notional_min: str
    origin: str  # "exchange", "table" or "derived"
    market_qty_max: str | None = None
    notional_max: str | None = None
    bid_percent_up: str | None = None
    bid_percent_down: str | None = None
    ask_percent_up: str | None = None
    ask_percent_down: str | None = None
    price_min: str | None = None
    price_max: str | None = None
    market_qty_min: str | None = None
    market_qty_increment: str | None = None
    market_notional_min: str | None = None
    market_notional_max: str | None = None
    position_max: str | None = None
    filters_unknown: tuple[str, ...] | None = None
    percent_minutes: Count | None = None  # of the average that percent bands are multiples of


class Universe(Payload, frozen=True):
    """Which symbols the run may trade from now on; at start and on change."""

    TYPE: ClassVar[str] = "universe"
    mode: str  # "static" or "dynamic"
    quote_asset: str
    traded: tuple[str, ...]  # full streams; entries are allowed in these alone
    watched: tuple[str, ...]  # mini tickers only
    kept: tuple[str, ...]  # followed because of a position, no entry
    missing_bases: tuple[str, ...]  # asked for, not listed by the venue
    excluded: Mapping[str, list[str]]  # reason to symbols or bases
    quote_volumes: Mapping[str, str]  # 24 hours, of the traded symbols
    generation: int


class Beat(Payload, frozen=True):
    """A second of market time has passed; `data_age_ms` by symbol."""

    TYPE: ClassVar[str] = "beat"
    n: Seq
    data_age_ms: Ages


class Gap(Payload, frozen=True):
    """Market data is missing between two times."""

    TYPE: ClassVar[str] = "gap"
    symbol: str
    stream: str
    from_ts: int
    to_ts: int
    why: str


class PriceMark(Payload, frozen=True):
    """A last price from another stream, newer than all that a symbol's own streams brought."""

    TYPE: ClassVar[str] = "price_mark"
    symbol: str
    price: str
    stream: str
    exchange_ts: Ms


class AveragePrice(Payload, frozen=True):
    """The volume-weighted price of the last minutes of trades, up to `to_ts` of exchange time."""

    TYPE: ClassVar[str] = "average_price"
    symbol: str
    price: str
    minutes: Seq
    to_ts: Ms


# --- decisions --------------------------------------------------------------------------------


class Signal(Payload, frozen=True):
    """Signal: the strategy's decision on a symbol, with its checks against thresholds."""

    TYPE: ClassVar[str] = "signal"
    symbol: str
    side: str  # BUY, SELL or HOLD
    score: int  # 0-110
    confidence: int  # 0-100
    horizon_ms: int
    reason: str
    reason_code: str
    checks: tuple[Any, ...]  # of Check; plain dicts once read back
    strategy: str | None = None
    params_hash: str | None = None


class RiskAction(Payload, frozen=True):
    """Risk action: ALLOW, BLOCK, REDUCE, EXIT or STOP."""

    TYPE: ClassVar[str] = "risk_action"
    action: str
    reason_code: str
    symbol: str | None = None
    signal_id: str | None = None
    checks: tuple[Any, ...] | None = None
    profile: str | None = None
    headroom: Mapping[str, str] | None = None


class OrderIntent(Payload, frozen=True):
    """A wish that risk allowed; `limit_price`, `time_in_force` and `expires_ts` as they apply."""

    TYPE: ClassVar[str] = "order_intent"
    symbol: str
    side: str
    qty: str
    order_type: str  # MARKET or LIMIT
    client_order_id: str
    purpose: str  # ENTRY or EXIT
    limit_price: str | None = None
    time_in_force: str | None = None
    expires_ts: int | None = None


class OrderResult(Payload, frozen=True):
    """One change of state of an order."""

    TYPE: ClassVar[str] = "order_result"
    client_order_id: str
    order_id: str
    result: str  # ACCEPTED PARTIALLY_FILLED FILLED CANCELLED EXPIRED REJECTED
    symbol: str | None = None
    reason_code: str | None = None
    filled_qty: str | None = None
    remaining_qty: str | None = None


class Fill(Payload, frozen=True):
    """An execution with its evidence: the touch it met and the modelled latency."""

    TYPE: ClassVar[str] = "fill"
    order_id: str
    client_order_id: str
    symbol: str
    side: str
    qty: str
    price: str
    fee: str
    fee_asset: str
    liquidity: str  # TAKER or MAKER
    bid: str | None = None
    ask: str | None = None
    displayed_qty: str | None = None
    latency_market_ms: int | None = None


# --- run and world ----------------------------------------------------------------------------


class RunOpening(Payload, frozen=True):
    """Opening of a run: its cash, lots and used budgets; always its first event.

    `cash` maps asset to decimal string; a lot is {symbol, qty, price, ts}; `budgets_used` maps
    the name of a budget to its used amount as a decimal string.
    """

    TYPE: ClassVar[str] = "run_opening"
    cash: Mapping[str, str]
    lots: tuple[Mapping[str, Any], ...]
    budgets_used: Mapping[str, str]
    from_run: str | None = None
    from_root: str | None = None


class RunEnding(Payload, frozen=True):
    """No entries from now on; what is open expires on the first beat at or after `until_ts`."""

    TYPE: ClassVar[str] = "run_ending"
    who: str
    why: str
    until_ts: int


class Halt(Payload, frozen=True):
    """No new entries until `resume`."""

    TYPE: ClassVar[str] = "halt"
    who: str
    why: str


class Resume(Payload, frozen=True):
    """Entries are allowed again."""

    TYPE: ClassVar[str] = "resume"
    who: str
    why: str


class ExitPosition(Payload, frozen=True):
    """Close the position in a symbol."""

    TYPE: ClassVar[str] = "exit_position"
    who: str
    why: str
    symbol: str


class LockSymbol(Payload, frozen=True):
    """No entries in a symbol until `until_ts`."""

    TYPE: ClassVar[str] = "lock_symbol"
    who: str
    why: str
    symbol: str
    until_ts: int | None = None


class ModelActive(Payload, frozen=True):
    """A model snapshot passed its gate and is the active one, or was rolled back."""

    TYPE: ClassVar[str] = "model_active"
    who: str
    why: str
    model_id: str


class Health(Payload, frozen=True):
    """Health of a role; which optional fields are present depends on the role."""

    TYPE: ClassVar[str] = "health"
    role: str
    state: str  # STARTING READY DEGRADED DRAINING STOPPED
    uptime_s: int
    turns: int
    rss_bytes: int | None = None
    cpu_ms: int | None = None
    open_files: int | None = None
    threads: int | None = None
    inputs: Mapping[str, Mapping[str, int]] | None = None
    data_age_ms: int | None = None
    decision_age_ms: int | None = None
    latency_us: int | None = None
    endpoint: str | None = None
    ok: bool | None = None
    weight_used: int | None = None
    reconnects: int | None = None
    breaker: str | None = None
    late_trades: int | None = None
    reason: str | None = None
    open_orders: int | None = None
    open_positions: int | None = None
    dup_dropped: int | None = None
    detail: str | None = None
    counters: Mapping[str, int] | None = None
    degraded: str | None = None


class Incident(Payload, frozen=True):
    """Something that the run survived and an operator should know."""

    TYPE: ClassVar[str] = "incident"
    component: str
    kind: str
    detail: str
    count: int | None = None
    until_ts: int | None = None


class StopJournal(Payload, frozen=True):
    """A STOP, a planned END, a CLEAR of the flag, or a REFUSED start."""

    TYPE: ClassVar[str] = "stop_journal"
    component: str
    reason_code: str
    detail: str
    kind: str  # STOP, END, CLEAR or REFUSED
    open_positions: tuple[Mapping[str, str], ...] | None = None
    who: str | None = None
    why: str | None = None
    stopped_run: str | None = None


class Recommendation(Payload, frozen=True):
    """Recommendation of the model: probabilities as decimal strings with six places, sum one."""

    TYPE: ClassVar[str] = "recommendation"
    symbol: str
    model_id: str
    p_buy: str
    p_hold: str
    p_sell: str
    horizon_ms: int
    baseline: bool | None = None
    top_features: tuple[Any, ...] | None = None


class Ack(Payload, frozen=True):
    """A range of lines that a reader took: lines from_seq..to_seq of `queue`, at `taken_ts`."""

    TYPE: ClassVar[str] = "ack"
    reader: str
    queue: str
    from_seq: Seq
    to_seq: Seq
    n: Seq  # running number of the reader's first input in this range, from 1
    taken_ts: Ms
    took_us: Count | None = None


class DeadLetter(Payload, frozen=True):
    """A line that could not be used at all."""

    TYPE: ClassVar[str] = "dead_letter"
    queue: str
    seq: int
    offset: int
    reason_code: str
    detail: str
    line: str
    line_sha256: str


PAYLOAD_CLASSES: Final[Mapping[str, type[Payload]]] = {
    cls.TYPE: cls
    for cls in (
        MarketTick,
        Bar,
        Book,
        Instrument,
        Universe,
        Beat,
        Gap,
        PriceMark,
        AveragePrice,
        Signal,
        RiskAction,
        OrderIntent,
        OrderResult,
        Fill,
        RunOpening,
        RunEnding,
        Halt,
        Resume,
        ExitPosition,
        LockSymbol,
        ModelActive,
        Health,
        Incident,
        StopJournal,
        Recommendation,
        Ack,
        DeadLetter,
    )
}


class Event(Struct, frozen=True, gc=False):
    """An envelope with its typed payload and its lineage."""

    ts: int
    id: str
    source: str
    run_id: str
    cmdline_hash: str
    payload: Payload
    cause_ids: tuple[str, ...] | None = None
    tick_seq: int | None = None

    @property
    def type(self) -> str:
        """The event type, taken from the payload."""
        return self.payload.TYPE

    def to_json(self) -> JsonObject:
        """Return the whole envelope as it is written."""
        payload = self.payload.to_json()
        if self.cause_ids is not None:
            payload["cause_ids"] = list(self.cause_ids)
        if self.tick_seq is not None:
            payload["tick_seq"] = self.tick_seq
        kind = self.payload.TYPE
        return {
            "schema": "minibot." + kind,
            "v": 1,
            "ts": self.ts,
            "id": self.id,
            "source": self.source,
            "type": kind,
            "run_id": self.run_id,
            "cmdline_hash": self.cmdline_hash,
            "payload": payload,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Event:
        """Return the typed event of a decoded and validated envelope."""
        payload = data["payload"]
        causes = payload.get("cause_ids")
        return cls(
            ts=data["ts"],
            id=data["id"],
            source=data["source"],
            run_id=data["run_id"],
            cmdline_hash=data["cmdline_hash"],
            payload=PAYLOAD_CLASSES[data["type"]].from_json(payload),
            cause_ids=None if causes is None else tuple(causes),
            tick_seq=payload.get("tick_seq"),
        )


class Draft(Struct, frozen=True):
    """An event without envelope, as a core returns it; the shell adds id, source, run and hash.

    `cause_ids` holds ids of events, or integers: the ordinal of an earlier draft of the same step.
    `ts` is the highest `ts` among the causes. A core returns drafts cause before effect.
    """

    queue: str
    payload: Payload
    ts: int
    cause_ids: tuple[str | int, ...] = ()
    tick_seq: int | None = None
