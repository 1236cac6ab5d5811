"""The events of minibot as frozen, concretely typed classes (msgspec structs).

One payload class per contract (`contracts/<type>.v1.schema.json`); optional fields are `None`
and are left out of the JSON. Lineage (`cause_ids`, `tick_seq`) stands in the payload on disk;
here `Event` and `Draft` have it, so that no payload class repeats it. Decimal values are strings
with the exchange's own characters. Fields `ts` and `..._ts` are integer Unix milliseconds; names
of other times and of durations end in their unit.

Payloads and events cannot contain themselves, so the garbage collector need not track them
(`gc=False`).

This module states rules and checks none: `events.codec` validates on both sides of a queue.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    get_args,
    get_origin,
)

from msgspec import Meta, Struct
from msgspec.structs import fields

from minibot.events.field_types import (
    DEFINED_LAST,
    OR_NULL,
    UNIQUE,
    WHOLE_MAX,
    AccountMark,
    Amounts,
    Asset,
    CampaignState,
    CarriedPlan,
    CarriedTrades,
    Codes,
    Count,
    Example,
    Id,
    Levels,
    Lot,
    Market,
    MonoNs,
    Ms,
    Name,
    Named,
    Number,
    NumberAboveZero,
    Probability,
    RankedSymbol,
    RiskLock,
    RiskMemory,
    Rule,
    RunId,
    Seq,
    Sha256,
    SignedNumber,
    Symbol,
    Text,
    Who,
    Why,
    matching,
    one_of,
    only,
)
from minibot.events.reason import BUSINESS_GROUP, END_GROUP, GROUPS, STOP_GROUP

JsonObject = dict[str, Any]
"""A JSON object as decoded: str keys; str, int, bool, None, list and dict values; never float."""

BUY: Final = "BUY"
SELL: Final = "SELL"
HOLD: Final = "HOLD"
ADJUST: Final = "ADJUST"

ALL_SYMBOLS: Final = "*"
"""The scope of a lock of all symbols."""

ENTRY: Final = "ENTRY"
EXIT: Final = "EXIT"
BLOCK: Final = "BLOCK"

STARTING: Final = "STARTING"
READY: Final = "READY"
DEGRADED: Final = "DEGRADED"

Side = Literal["BUY", "SELL"]
OrderSide: TypeAlias = Annotated[str, Named("side", "", "`BUY` `SELL`", one_of(BUY, SELL))]
TickKind = Literal["trade", "quote"]
BookWhy = Literal["interval", "resync"]

FILTER_TYPE: Final[Rule] = matching("^[A-Z][A-Z0-9_]{0,59}$", 60)


class Payload(Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The domain part of an event; subclasses add fields.

    A subclass is its contract: the first line of its docstring is the title, the second part the
    description, and each field is written with its rule and its words (`events.field_types`).
    """

    TYPE: ClassVar[str] = ""
    NAMED_LAST: ClassVar[tuple[str, ...]] = ()
    """Fields that the contract names behind the others, in this order."""

    @classmethod
    def conditions(cls) -> Rule:
        """Return the rule of the contract on several fields together; empty without one."""
        return {}

    def to_json(self) -> JsonObject:
        """Return the JSON object of this payload, without fields that are None."""
        shape = _shape(type(self))
        data = {name: value for name in shape.names if (value := getattr(self, name)) is not None}
        for name in shape.tuples:
            if name in data:
                data[name] = _plain(data[name])
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the typed payload; KeyError for a missing key.

        Further keys, which contracts admit, are dropped.
        """
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
    """Shape of a payload class, by which payloads are made from JSON and turned into it.

    Attributes:
        required: Names of the fields without a default.
        optional: Names of the fields with a default.
        names: Names of all fields, in the order of their declaration.
        tuples: Names of the fields that hold tuples, which JSON has as lists.
        is_flat: True where no field holds tuples and the constructor takes the required fields
            and then the optional ones by position: values from JSON are passed as they are.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    names: tuple[str, ...]
    tuples: tuple[str, ...]
    is_flat: bool


_SHAPES: dict[type[Payload], _Shape] = {}


def _shape(cls: type[Payload]) -> _Shape:
    shape = _SHAPES.get(cls)
    if shape is None:
        names = cls.__struct_fields__
        required = tuple(field.name for field in fields(cls) if field.required)
        optional = tuple(name for name in names if name not in required)
        tuples = tuple(field.name for field in fields(cls) if _holds_tuple(field.type))
        is_flat = not tuples and cls.__match_args__ == names
        shape = _SHAPES[cls] = _Shape(required, optional, names, tuples, is_flat)
    return shape


def _holds_tuple(hint: Any) -> bool:
    return get_origin(hint) is tuple or any(map(_holds_tuple, get_args(hint)))


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

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    value: Annotated[str, Meta(max_length=200)]
    threshold: Annotated[str, Meta(max_length=200)]
    passed: Annotated[
        bool | None, OR_NULL, "Whether the value keeps to the threshold; null where nobody judged."
    ]

    def to_json(self) -> JsonObject:
        """Return the JSON object of this check."""
        return {
            "name": self.name,
            "value": self.value,
            "threshold": self.threshold,
            "passed": self.passed,
        }


class RiskCheck(Check, frozen=True):
    """A check as risk writes it: judged."""

    passed: bool


def _checks(cls: type[Check]) -> Named:
    """Return the rule of a list of checks of a class."""
    checks = Named("checks", "Named values against named thresholds.", "list of checks")
    item = Annotated[cls, Named("check", "", "check")]  # type: ignore[valid-type]
    checks.rule = {"type": "array", "maxItems": 64, "description": "", "items": item}
    return checks


# Tuples of `Check` from a core, of dicts once read back; so payloads are compared as JSON.
SignalChecks: TypeAlias = Annotated[tuple[Any, ...], _checks(Check)]
RiskChecks: TypeAlias = Annotated[tuple[Any, ...], _checks(RiskCheck)]


# --- market_ticks, by market_role -------------------------------------------------------------


# Tick fields are sorted by name, as JSON has them: most events are ticks, and so neither reading
# nor writing one has to look for the next field.
class MarketTick(Payload, frozen=True, kw_only=True):
    """A trade, or a quote that changed the touch.

    Written by market_role into market_ticks; one per trade and per bookTicker that changes
    price or size of the touch.
    """

    TYPE: ClassVar[str] = "market_tick"
    NAMED_LAST: ClassVar[tuple[str, ...]] = (
        *("symbol", "price", "kind", "bid", "bid_qty", "ask", "ask_qty", "recv_mono_ns"),
        *("exchange_ts", "qty", "taker_side", "trade_id"),
    )
    ask: Annotated[Number, "Best ask price."]
    ask_qty: Annotated[Number, "Base amount at the best ask."]
    bid: Annotated[Number, "Best bid price."]
    bid_qty: Annotated[Number, "Base amount at the best bid."]
    exchange_ts: Annotated[
        Ms | None, OR_NULL, "The exchange's own event time in Unix ms, where it gives one."
    ] = None
    kind: Annotated[TickKind, "A trade, or a quote that changed price or size of the touch."]
    price: Annotated[
        Number, "A trade's price; on a quote the last trade's, before the first trade the bid."
    ]
    qty: Annotated[Number | None, "Base amount of the trade."] = None
    recv_mono_ns: Annotated[MonoNs, "Machine time of the socket read."]
    symbol: Market
    taker_side: Annotated[Side | None, "Who crossed the spread."] = None
    trade_id: Annotated[Count | None, "The exchange's id of the trade."] = None


class Bar(Payload, frozen=True):
    """A closed bar, aligned in exchange time.

    Written by market_role into market_ticks; history fetched at start is marked.
    """

    TYPE: ClassVar[str] = "bar"
    NAMED_LAST: ClassVar[tuple[str, ...]] = ("is_history", "recv_mono_ns")
    symbol: Market
    interval: Annotated[
        str,
        matching("^[1-9][0-9]{0,3}[smhdwM]$", 5),
        Example("1m"),
        "Length of the bar: 1s, 1m, 1h ...",
    ]
    open_ts: Annotated[Ms, "First millisecond of the bar."]
    close_ts: Annotated[Ms, "Last millisecond of the bar."]
    open: Annotated[Number, "First trade's price, quote per base."]
    high: Annotated[Number, "Highest trade's price."]
    low: Annotated[Number, "Lowest trade's price."]
    close: Annotated[Number, "Last trade's price; of a bar without trades the last one before it."]
    volume: Annotated[Number, "Base amount traded."]
    is_history: Annotated[bool, "Fetched as a closed kline, not built from live trades."]
    quote_volume: Annotated[Number | None, "Quote amount traded."] = None
    taker_buy_volume: Annotated[Number | None, "Base amount bought by takers."] = None
    trades: Annotated[Count | None, "Number of trades."] = None
    recv_mono_ns: Annotated[
        MonoNs | None,
        DEFINED_LAST,
        "Machine time of the socket read of the message that closed the bar; none in history.",
    ] = None


class Book(Payload, frozen=True):
    """The best levels of the local order book.

    Written by market_role into market_ticks every market.book_interval_market_ms and after a
    resync.
    """

    TYPE: ClassVar[str] = "book"
    symbol: Market
    bids: Annotated[Levels, "Levels of buyers, best (highest) first."]
    asks: Annotated[Levels, "Levels of sellers, best (lowest) first."]
    last_update_id: Annotated[Count, "The exchange's id of the last update applied."]
    why: Annotated[
        BookWhy, "Written because its interval passed, or because the book was built anew."
    ]
    bid_depth: Annotated[
        Number | None,
        "Quote value of all kept bids within 2 % of the mid, rounded down; at least that where "
        "is_bid_whole is false.",
    ] = None
    is_bid_whole: Annotated[bool | None, "Whether the kept bids reach that far."] = None
    ask_depth: Annotated[Number | None, "The same of the asks."] = None
    is_ask_whole: Annotated[bool | None, "Whether the kept asks reach that far."] = None
    venue: Annotated[Name | None, "The exchange whose own book this is."] = None


class Instrument(Payload, frozen=True):
    """The rules of a symbol.

    Written by market_role into market_ticks at start and on change.
    """

    TYPE: ClassVar[str] = "instrument"
    NAMED_LAST: ClassVar[tuple[str, ...]] = ("origin",)
    symbol: Market
    base_asset: Annotated[Asset, "What is bought and sold."]
    quote_asset: Annotated[Asset, "What pays."]
    status: Annotated[
        str,
        matching("^[A-Z_]{1,40}$", 40),
        Example("TRADING"),
        "The exchange's word; TRADING is the one that trades.",
    ]
    price_increment: Annotated[Number, "Tick size; 0 means the rule is off."]
    qty_increment: Annotated[Number, "Step size; 0 means the rule is off."]
    qty_min: Annotated[Number, "Smallest base amount of an order."]
    qty_max: Annotated[Number, "0 means no limit."]
    notional_min: Annotated[Number, "Smallest order value in quote."]
    origin: Annotated[str, one_of("exchange", "table", "derived"), "Where the rules come from."]
    market_qty_max: Annotated[
        Number | None, "Largest quantity of a market order; 0 means no limit."
    ] = None
    notional_max: Annotated[Number | None, "Largest order value in quote; 0 means no limit."] = None
    bid_percent_up: Annotated[
        Number | None, "Multiplier of the reference price: highest buy price."
    ] = None
    bid_percent_down: Annotated[Number | None, "Multiplier: lowest buy price."] = None
    ask_percent_up: Annotated[Number | None, "Multiplier: highest sell price."] = None
    ask_percent_down: Annotated[Number | None, "Multiplier: lowest sell price."] = None
    price_min: Annotated[Number | None, "Lowest limit price; 0 means the rule is off."] = None
    price_max: Annotated[Number | None, "Highest limit price; 0 means the rule is off."] = None
    market_qty_min: Annotated[
        Number | None,
        "Smallest quantity of a market order, on top of qty_min; 0 means the rule is off.",
    ] = None
    market_qty_increment: Annotated[
        Number | None,
        "Step size of a market order, on top of qty_increment; 0 means the rule is off.",
    ] = None
    market_notional_min: Annotated[
        Number | None,
        "Smallest value of a market order; 0 means no limit, a missing key notional_min.",
    ] = None
    market_notional_max: Annotated[
        Number | None,
        "Largest value of a market order; 0 means no limit, a missing key notional_max.",
    ] = None
    position_max: Annotated[
        Number | None, "Largest base amount held and being bought; 0 means no limit."
    ] = None
    filters_unknown: Annotated[
        tuple[Annotated[str, FILTER_TYPE], ...] | None,
        Meta(min_length=1, max_length=16),
        "Types of filters that this build does not know; no order is judged by them.",
    ] = None
    percent_minutes: Annotated[
        Count | None,
        "Minutes of the average price that the percent bands are multiples of; "
        "0 means the last price.",
    ] = None
    orders_max: Annotated[
        Count | None, "Open orders that rest, an OCO as two; 0 means no limit."
    ] = None
    algo_orders_max: Annotated[
        Count | None, "Those of them that wait for a trigger; 0 means no limit."
    ] = None
    order_lists_max: Annotated[Count | None, "Open OCOs; 0 means no limit."] = None
    trailing_sell_min: Annotated[
        Count | None, "Least trailing delta of a sale's stop, in basis points; 0 means no limit."
    ] = None
    trailing_sell_max: Annotated[Count | None, "The largest; 0 means no limit."] = None
    venue: Annotated[Name | None, "The exchange whose own rules, and whose market, these are."] = (
        None
    )


class Universe(Payload, frozen=True):
    """Which symbols the run may trade.

    Written by market_role into market_ticks at start and on change; risk allows entries in
    `traded` alone.
    """

    TYPE: ClassVar[str] = "universe"
    mode: Annotated[
        str,
        one_of("static", "dynamic"),
        "A list of the profile, or resolved from the exchange's answers.",
    ]
    quote_asset: Annotated[Asset, "What pays in every symbol of it."]
    traded: Annotated[
        tuple[Symbol, ...],
        Meta(max_length=400),
        UNIQUE,
        "Followed with trades, quotes and depth, best rank first; entries are allowed here.",
    ]
    watched: Annotated[
        tuple[Symbol, ...],
        Meta(max_length=2000),
        UNIQUE,
        "In the universe below the rank that is traded: mini tickers alone.",
    ]
    kept: Annotated[
        tuple[Symbol, ...],
        Meta(max_length=400),
        UNIQUE,
        "Followed because a position is held, although they are not in the universe.",
    ]
    missing_bases: Annotated[
        tuple[Asset, ...],
        Meta(max_length=2000),
        UNIQUE,
        "Bases that the profile asks for and the exchange does not list against the quote asset.",
    ]
    excluded: Annotated[
        Mapping[str, Annotated[list[Symbol], Meta(max_length=2000)]],
        Meta(max_length=20),
        "Why symbols were left out: not_trading, not_spot, excluded, volume, no_volume, no_rules.",
    ]
    quote_volumes: Annotated[
        Mapping[str, Number],
        Meta(max_length=400),
        "Quote volume of 24 hours of the traded symbols, as the exchange said it.",
    ]
    generation: Annotated[
        int,
        Meta(ge=1, le=WHOLE_MAX),
        "Counts universes of this run from 1, anew after a restart of market_role.",
    ]


class Beat(Payload, frozen=True):
    """A second of market time has passed.

    Written by market_role into market_ticks; time itself for the cores.
    """

    TYPE: ClassVar[str] = "beat"
    n: Annotated[Seq, "Running number of the beat, from 1."]
    data_age_ms: Annotated[
        Mapping[str, Ms], Meta(max_length=2000), "Symbol to age of its last message."
    ]


class Gap(Payload, frozen=True):
    """Market data is missing between two times.

    Written by market_role into market_ticks.
    """

    TYPE: ClassVar[str] = "gap"
    symbol: Market
    stream: Annotated[Name, "Which stream, such as trade or depth."]
    from_ts: Annotated[Ms, "Last time before the gap, Unix ms on the run clock."]
    to_ts: Annotated[Ms, "First time after it."]
    why: Annotated[Text, "What caused it."]


class PriceMark(Payload, frozen=True):
    """A price that is newer than what the symbol's own streams brought.

    Written by market_role into market_ticks; it values what is held, and nothing is traded at
    it.
    """

    TYPE: ClassVar[str] = "price_mark"
    symbol: Market
    price: Annotated[NumberAboveZero, "Last price of the market."]
    stream: Annotated[Name, "Which stream told it, such as miniTicker."]
    exchange_ts: Annotated[Ms, "The exchange's own event time in Unix ms."]


class AveragePrice(Payload, frozen=True):
    """The volume-weighted price of the last minutes.

    Written by market_role into market_ticks about once a minute; what percent bands of limit
    prices are multiples of.
    """

    TYPE: ClassVar[str] = "average_price"
    symbol: Market
    price: Annotated[
        Number,
        "Quote traded over base traded, rounded down to eight places; "
        "without trades the last price.",
    ]
    minutes: Annotated[Seq, "How many minutes of trades it is made of."]
    to_ts: Annotated[Ms, "End of those minutes in exchange time."]


class FeedValue(Payload, frozen=True):
    """A value from outside the market.

    Written by market_role into market_ticks once market time has reached its time; it comes from
    a file that the profile names.
    """

    TYPE: ClassVar[str] = "feed_value"
    feed: Annotated[Name, "Its feed, by its name in market.feeds."]
    value: Annotated[SignedNumber, "As it stands in the file."]
    value_ts: Annotated[Ms, "From when on it holds, Unix ms in market time."]


# --- decisions --------------------------------------------------------------------------------


class Signal(Payload, frozen=True):
    """What the strategy thinks of a symbol now, and why.

    Written by strategy_role into signals.
    """

    TYPE: ClassVar[str] = "signal"
    symbol: Market
    side: Annotated[
        str,
        one_of(BUY, SELL, HOLD, ADJUST),
        "What the strategy would do; ADJUST moves the levels of a position.",
    ]
    score: Annotated[int, Meta(ge=0, le=110), "0-100, to which social input may add up to 10."]
    confidence: Annotated[int, Meta(ge=0, le=100), "0-100."]
    horizon_ms: Annotated[Ms, "How long the signal is meant to hold, market time."]
    reason: Annotated[Text, "One sentence for a person."]
    reason_code: Annotated[
        str, Codes(BUSINESS_GROUP), "A code of the closed list in events/reasons.py; generated."
    ]
    checks: Annotated[
        SignalChecks, "Every value against its threshold, so that a trader can check the reason."
    ]
    strategy: Annotated[Name | None, "Name of the strategy."] = None
    params_hash: Annotated[Sha256 | None, "Hash of the strategy's parameters."] = None
    notional: Annotated[
        Number | None,
        "Quote amount that the strategy wants an entry to cost, or a sale to bring; risk may cut "
        "it.",
    ] = None
    share_bps: Annotated[
        int | None,
        Meta(ge=1, le=10_000),
        "The same as a share of what positions may take together; the lesser of the two counts. "
        "Of a sale, the share of the position that is sold.",
    ] = None
    qty: Annotated[NumberAboveZero | None, "Base amount that a sale is to sell at most."] = None
    stop_price: Annotated[
        NumberAboveZero | None, "Stop that the strategy wants for the position, above risk's own."
    ] = None
    target_price: Annotated[
        NumberAboveZero | None, "Target that the strategy wants for it, below risk's own."
    ] = None
    trail_distance: Annotated[
        NumberAboveZero | None, "How far below the highest bid a stop shall follow, in quote."
    ] = None
    trail_bps: Annotated[NumberAboveZero | None, "The same in basis points of that bid."] = None
    trail_atr: Annotated[NumberAboveZero | None, "The same as a multiple of the ATR."] = None
    limit_price: Annotated[
        NumberAboveZero | None, "Price at which an entry rests, for horizon_ms at most."
    ] = None


class MarketRegime(Payload, frozen=True):
    """Regime of the market: which factors count how much.

    Written by strategy_role into signals with the first scan behind 00, 04 ... 20 UTC; absent while
    the profile has no scanner.
    """

    TYPE: ClassVar[str] = "regime"
    name: Annotated[
        str, one_of("trending", "choppy", "highvol", "mixed"), "mixed where too few bars are known."
    ]
    since_ts: Annotated[Ms, "The 00, 04 ... 20 UTC as of which it was decided."]
    momentum: Annotated[Count, "Weight of momentum in percent; the four make 100."]
    technical: Annotated[Count, "Weight of technical."]
    volume: Annotated[Count, "Weight of volume."]
    quality: Annotated[Count, "Weight of quality."]
    symbols: Annotated[Count, "How many symbols had a say."]
    missing: Annotated[Count, "How many lacked bars of four hours."]
    volatility: Annotated[Number | None, "Percent a year."] = None
    above: Annotated[Number | None, "Percent of symbols above their mean."] = None
    thrust: Annotated[Number | None, "Rises in percent of all changes of a day."] = None


class MarketScan(Payload, frozen=True):
    """Scan of the market: the symbols by rank.

    Written by strategy_role into signals every scanner.every_market_ms, with scanner.mode event
    only where the order has changed; absent while the profile has no scanner.
    """

    TYPE: ClassVar[str] = "scan"
    as_of_ts: Annotated[Ms, "Bars that closed later are not in it."]
    interval: Annotated[Name, "Length of the bars that give the factors."]
    ranked: Annotated[
        tuple[RankedSymbol, ...], Meta(max_length=400), "Best first, at most 400 of them."
    ]
    scored: Annotated[Count, "How many symbols have a score."]
    lacking: Annotated[Count, "How many symbols lack bars or trades."]


class RiskAction(Payload, frozen=True):
    """What risk decided.

    Written by risk_role into risk_actions, before the intent it allows.
    """

    TYPE: ClassVar[str] = "risk_action"
    action: Annotated[
        str,
        one_of("ALLOW", "BLOCK", "REDUCE", "EXIT", "STOP", "PROTECT", "WITHDRAW", ADJUST),
        "Let pass, refuse, make smaller, leave a position, stop the run, rest its stop and target "
        "with the executor, withdraw an entry's quote, or move a position's levels.",
    ]
    reason_code: Annotated[
        str, Codes(BUSINESS_GROUP, STOP_GROUP), "A business code; with STOP a STOP code. Generated."
    ]
    symbol: Market | None = None
    signal_id: Annotated[Id | None, "The signal that was judged."] = None
    checks: Annotated[RiskChecks | None, "Every limit looked at, also when it allows."] = None
    profile: Annotated[Name | None, "Name of the risk profile."] = None
    policy_version: Annotated[
        int | None, Meta(ge=1, le=999), "Version of the policy within whose bounds the profile is."
    ] = None
    profile_sha256: Annotated[
        Sha256 | None, "Over the profile's risk section as canonical JSON, under a policy."
    ] = None
    headroom: Annotated[
        Mapping[str, Annotated[str, Meta(max_length=100)]] | None,
        Meta(max_length=100),
        "How much is left of each limit, as text.",
    ] = None
    campaign_id: Annotated[Id | None, "Campaign of the symbol, which an ALLOW may begin."] = None

    @classmethod
    def conditions(cls) -> Rule:
        """Return that a STOP code goes with STOP, and a business code with all else."""
        return {
            "if": {"properties": {"action": only("STOP")}},
            "then": {"properties": {"reason_code": Codes(STOP_GROUP)}},
            "else": {"properties": {"reason_code": Codes(BUSINESS_GROUP)}},
        }


class RiskStanding(Payload, frozen=True):
    """Standing of the account: tier, headroom and locks.

    Written by risk_role into risk_actions after each fill, on a change of tier or high-water mark,
    and each minute of market time; absent while the profile has no protections, limits of the
    account or week budgets.
    """

    TYPE: ClassVar[str] = "risk_state"
    state: Annotated[
        str,
        one_of("ACTIVE", "REDUCING", "HALTED"),
        "Entries as ever, entries of a share, no entries.",
    ]
    tier: Annotated[
        int, Meta(ge=0, le=16), "Row of risk.drawdown_tiers that holds, from 1; 0 for none."
    ]
    equity: Annotated[SignedNumber, "Cash and positions at their last marks."]
    high_water_mark: Annotated[
        SignedNumber | None,
        "Highest equity over all carried runs, where the profile has limits of the account.",
    ] = None
    drawdown_bps: Annotated[Number | None, "Fall from that mark in basis points."] = None
    headroom: Annotated[
        Mapping[str, Annotated[str, Meta(max_length=100)]] | None,
        Meta(max_length=100),
        "How much is left of each limit, as text.",
    ] = None
    locks: Annotated[
        tuple[RiskLock, ...] | None, Meta(max_length=10_000), "Locks of protections that last."
    ] = None
    memory: Annotated[
        RiskMemory | None, "After a fill: what the next run needs to know of trades and locks."
    ] = None


class PositionPlan(Payload, frozen=True):
    """Levels of a position, and which of them moved.

    Written by risk_role into risk_actions after each fill and at the first beat after a level has
    moved; absent while the profile neither carries nor has a key of a plan.
    """

    TYPE: ClassVar[str] = "position_plan"
    symbol: Market
    qty: Annotated[Number, "How much is held; 0 once the position is closed."]
    moved: Annotated[
        tuple[Name, ...], Meta(max_length=20), "What has changed since it was told last."
    ]
    stop: Annotated[NumberAboveZero | None, "The highest stop: it is in force."] = None
    stop_reason: Annotated[Name | None, "The reason code of a sale there."] = None
    target: Annotated[NumberAboveZero | None, "The lowest target."] = None
    target_reason: Annotated[Name | None, "The reason code of a sale there."] = None
    rungs: Annotated[
        tuple[NumberAboveZero, ...] | None,
        Meta(max_length=2),
        "Rungs of the ladder at which a part is left to sell.",
    ] = None
    until_ts: Annotated[Ms | None, "When it is left whatever the price."] = None
    original_qty: Annotated[NumberAboveZero | None, "How much was bought in all."] = None
    entry_price: Annotated[Number | None, "Average price at the last purchase."] = None
    opened_ts: Annotated[Ms | None, "When the position was opened."] = None
    age_row: Annotated[Count | None, "Row of risk.targets_by_age that holds; 0 for none."] = None
    stop_hard: Annotated[NumberAboveZero | None, "Stop of risk.hard_stop_bps."] = None
    stop_entry: Annotated[NumberAboveZero | None, "Stop of the entry."] = None
    stop_break_even: Annotated[NumberAboveZero | None, "Stop at break-even."] = None
    stop_trailing: Annotated[NumberAboveZero | None, "Stop that trails the peak."] = None
    stop_signal: Annotated[NumberAboveZero | None, "Stop that the strategy wanted."] = None
    target_signal: Annotated[NumberAboveZero | None, "Target that the strategy wanted."] = None
    trail_signal: Annotated[
        NumberAboveZero | None, "Distance at which that stop follows the highest bid, in quote."
    ] = None
    trail_signal_bps: Annotated[NumberAboveZero | None, "The same in basis points."] = None
    peak_signal: Annotated[NumberAboveZero | None, "Highest bid that it follows."] = None
    peak: Annotated[NumberAboveZero | None, "Highest bid that the trailing stop follows."] = None
    atr: Annotated[NumberAboveZero | None, "ATR of the entry, in quote."] = None
    campaign_id: Annotated[Id | None, "Campaign of the symbol."] = None
    campaign: Annotated[CampaignState | None, "Entries of that campaign and its worst loss."] = None
    leaving: Annotated[
        Name | None, "The reason code of an exit that waits until the symbol can be sold."
    ] = None
    has_thesis: Annotated[bool | None, "The thesis held when the horizon was over."] = None


class RecoveryIntent(Payload, frozen=True):
    """What becomes of a position that loses much.

    Written by risk_role into risk_actions, once for each row of risk.recovery that is the deepest
    reached, before the risk_action that follows from it; absent without that key.
    """

    TYPE: ClassVar[str] = "recovery_intent"
    symbol: Market
    campaign_id: Annotated[Id, "Campaign of the symbol."]
    choice: Annotated[
        str,
        one_of("hold", "de-risk", "exit"),
        "No further entry at that loss, the sale of a part, or the sale of all.",
    ]
    row: Annotated[Count, "Row of risk.recovery, from 1."]
    loss_bps: Annotated[Number, "Loss of the bid from entry_price, rounded down."]
    row_bps: Annotated[Number, "Loss at which the row begins."]
    entry_price: Annotated[NumberAboveZero, "Average price at the last purchase."]
    bid: Annotated[NumberAboveZero, "The bid that reached the row."]


class OrderIntent(Payload, frozen=True):
    """A wish that risk allowed.

    Written by risk_role alone into order_intents.
    """

    TYPE: ClassVar[str] = "order_intent"
    symbol: Market
    side: Annotated[OrderSide, "BUY opens or adds, SELL closes or reduces."]
    qty: Annotated[SignedNumber, "Base amount; execution rejects what is not above zero."]
    order_type: Annotated[
        str,
        one_of(
            *("MARKET", "LIMIT", "STOP_LOSS", "TAKE_PROFIT", "OCO"),
            *("LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"),
        ),
        "At the market; at limit_price or better; or at the market once a trade reaches "
        "stop_price, target_price, or the first of both. LIMIT_MAKER ends where it would take; "
        "the forms with _LIMIT are limit orders once triggered, which a gap can jump past.",
    ]
    client_order_id: Annotated[Id, "Derived from the run and the cause."]
    purpose: Annotated[str, one_of(ENTRY, EXIT), "To open a position or to leave it."]
    limit_price: Annotated[
        SignedNumber | None,
        "Quote per base; LIMIT, LIMIT_MAKER, the forms with _LIMIT, an OCO whose stop has a limit.",
    ] = None
    time_in_force: Annotated[
        str | None,
        one_of("GTC", "IOC", "FOK"),
        "Till cancelled, at once or not at all in part, at once or not at all.",
    ] = None
    expires_ts: Annotated[
        Ms | None,
        "Not executed at or after this time; an order that waits for a trigger is not accepted "
        "then.",
    ] = None
    late_ts: Annotated[
        Ms | None, "An entry is too late for its signal at or after this time (late_fill)."
    ] = None
    stop_price: Annotated[
        SignedNumber | None, "STOP_LOSS, STOP_LOSS_LIMIT, OCO: sold once a trade is here or below."
    ] = None
    target_price: Annotated[
        SignedNumber | None,
        "TAKE_PROFIT, TAKE_PROFIT_LIMIT, OCO: sold once a trade is here or above.",
    ] = None
    trailing_delta: Annotated[
        Count | None,
        "STOP_LOSS: stop_price rises with the trades, to so many basis points below the highest; "
        "it never falls.",
    ] = None
    campaign_id: Annotated[Id | None, "Campaign of the symbol."] = None


class OrderReplace(OrderIntent, frozen=True, kw_only=True):
    """An order in the place of an open one, in one step.

    Written by risk_role alone into order_intents. The open order ends only if the new one is
    accepted.
    """

    TYPE: ClassVar[str] = "order_replace"
    replaces: Annotated[Id, "client_order_id of the open order."]


class OrderCancel(Payload, frozen=True):
    """The end of an open order, asked for.

    Written by risk_role alone into order_intents.
    """

    TYPE: ClassVar[str] = "order_cancel"
    symbol: Market
    client_order_id: Annotated[Id, "The order's."]


class OrderResult(Payload, frozen=True):
    """One change of state of an order.

    Written by execution_role into order_results.
    """

    TYPE: ClassVar[str] = "order_result"
    client_order_id: Annotated[Id, "The intent's id of the order."]
    order_id: Annotated[Id, "The executor's id of the order."]
    result: Annotated[
        str,
        one_of(
            *("ACCEPTED", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "EXPIRED", "REJECTED"),
            *("TRIGGERED", "CANCEL_REJECTED"),
        ),
        "The state that the order is in from now on; CANCEL_REJECTED is the answer to a cancel "
        "that changes nothing.",
    ]
    symbol: Market | None = None
    reason_code: Annotated[
        str | None,
        Codes(BUSINESS_GROUP),
        "A code of the closed list in events/reasons.py; generated.",
    ] = None
    filled_qty: Annotated[Number | None, "Base amount filled so far."] = None
    remaining_qty: Annotated[SignedNumber | None, "Base amount still open."] = None
    trigger_price: Annotated[Number | None, "TRIGGERED: price of the trade that did it."] = None


class Fill(Payload, frozen=True):
    """An execution with its evidence.

    Written by execution_role into fills.
    """

    TYPE: ClassVar[str] = "fill"
    order_id: Annotated[Id, "The executor's id of the order."]
    client_order_id: Annotated[Id, "The intent's id of the order."]
    symbol: Market
    side: Annotated[OrderSide, "BUY pays quote for base, SELL the reverse."]
    qty: Annotated[Number, "Base amount, above zero."]
    price: Annotated[Number, "Quote per base, above zero."]
    fee: Annotated[Number, "In fee_asset."]
    fee_asset: Annotated[Asset, "The asset that pays the fee."]
    liquidity: Annotated[str, one_of("TAKER", "MAKER"), "Whether the order took or gave liquidity."]
    bid: Annotated[Number | None, "Best bid that the order met."] = None
    ask: Annotated[Number | None, "Best ask that the order met."] = None
    displayed_qty: Annotated[Number | None, "Base amount shown at that touch."] = None
    latency_market_ms: Annotated[Ms | None, "Modelled latency."] = None


# --- run and world ----------------------------------------------------------------------------


class RunOpening(Payload, frozen=True):
    """What the run starts with.

    Written by watchdog_role into control; always its first event.
    """

    TYPE: ClassVar[str] = "run_opening"
    cash: Annotated[Amounts, "Asset to amount."]
    lots: Annotated[tuple[Lot, ...], Meta(max_length=100_000), "Open lots, oldest first."]
    budgets_used: Annotated[Amounts, "Name of a budget to its used amount."]
    from_run: Annotated[RunId | None, "The run that this one carries on."] = None
    from_root: Annotated[Sha256 | None, "Seal root of that run."] = None
    account: Annotated[
        AccountMark | None,
        "High-water mark and tier of the account as that run's risk last told.",
    ] = None
    memory: Annotated[RiskMemory | None, "Trades and locks as that run's risk last told."] = None
    plans: Annotated[
        tuple[CarriedPlan, ...] | None,
        Meta(max_length=1000),
        "Levels of open positions as that run's risk last told them.",
    ] = None
    trades: Annotated[
        CarriedTrades | None, "Trades that sizing kelly counts, of that run and those before it."
    ] = None
    marks: Annotated[
        Amounts | None, "Symbol of open lots to its last price in that run, or before it."
    ] = None


class RunEnding(Payload, frozen=True):
    """No entries from now on.

    Written by watchdog_role into control; what is open expires on the first beat at or after
    until_ts.
    """

    TYPE: ClassVar[str] = "run_ending"
    who: Who
    why: Why
    until_ts: Annotated[Ms, "Planned end, Unix ms on the run clock."]


class Halt(Payload, frozen=True):
    """No new entries until resume.

    Written by watchdog_role into control.
    """

    TYPE: ClassVar[str] = "halt"
    who: Who
    why: Why


class Resume(Payload, frozen=True):
    """Entries are allowed again.

    Written by watchdog_role into control.
    """

    TYPE: ClassVar[str] = "resume"
    who: Who
    why: Why


class ExitPosition(Payload, frozen=True):
    """Close the position in a symbol.

    Written by watchdog_role into control.
    """

    TYPE: ClassVar[str] = "exit_position"
    who: Who
    why: Why
    symbol: Market


class LockSymbol(Payload, frozen=True):
    """No entries in a symbol.

    Written by watchdog_role into control; without until_ts until the run ends.
    """

    TYPE: ClassVar[str] = "lock_symbol"
    who: Who
    why: Why
    symbol: Market
    until_ts: Annotated[
        Ms | None, "End of the lock; without it the lock lasts as long as the run."
    ] = None


class ModelActive(Payload, frozen=True):
    """A model snapshot is the active one.

    Written by watchdog_role into control, after the gate or a rollback.
    """

    TYPE: ClassVar[str] = "model_active"
    who: Who
    why: Why
    model_id: Annotated[Name, "The snapshot that is active from now on."]


class Health(Payload, frozen=True):
    """How a role is.

    Written by each role into its own part of health.
    """

    TYPE: ClassVar[str] = "health"
    role: Annotated[Name, "The role that speaks of itself."]
    state: Annotated[
        str,
        one_of(STARTING, READY, DEGRADED, "DRAINING", "STOPPED"),
        "Where the role stands in its life.",
    ]
    uptime_s: Annotated[Count, "Whole machine seconds since start."]
    turns: Annotated[Count, "Turns of the role's loop."]
    rss_bytes: Annotated[Count | None, "Resident memory."] = None
    cpu_ms: Annotated[Count | None, "CPU time used, user and system."] = None
    open_files: Annotated[Count | None, "Descriptors or handles."] = None
    threads: Annotated[Count | None, "Threads of the process."] = None
    inputs: Annotated[
        Mapping[str, Annotated[Mapping[str, Count], {"maxProperties": 20}]] | None,
        Meta(max_length=100),
        "Queue to position, backlog, age_ms.",
    ] = None
    data_age_ms: Annotated[Ms | None, "Market ms since the last message of the oldest symbol."] = (
        None
    )
    decision_age_ms: Annotated[Ms | None, "Market ms since the last decision."] = None
    latency_us: Annotated[
        Count | None, "One measured round trip to the exchange, machine time."
    ] = None
    endpoint: Annotated[str | None, Meta(min_length=1, max_length=200), "What was measured."] = None
    ok: Annotated[bool | None, "Whether the measurement succeeded."] = None
    weight_used: Annotated[Count | None, "API weight used in this minute."] = None
    reconnects: Annotated[Count | None, "Connections built again since start."] = None
    breaker: Annotated[Name | None, "State of the circuit breaker."] = None
    late_trades: Annotated[Count | None, "Trades that came after their bar was written."] = None
    reason: Annotated[str | None, Meta(max_length=4096), "The strategy's reason now."] = None
    open_orders: Annotated[Count | None, "Orders not yet at their end."] = None
    open_positions: Annotated[Count | None, "Symbols held."] = None
    dup_dropped: Annotated[Count | None, "Events dropped because their id was known."] = None
    detail: Annotated[str | None, Meta(max_length=4096), "More words for a person."] = None
    counters: Annotated[
        Mapping[str, Annotated[int, Meta(ge=-WHOLE_MAX, le=WHOLE_MAX)]] | None,
        Meta(max_length=200),
        "Further counts by name.",
    ] = None
    degraded: Annotated[
        str | None,
        Meta(max_length=500),
        "Why the market data of this run are not the exchange's; "
        "such a run never counts. In every event of it.",
    ] = None


class Incident(Payload, frozen=True):
    """Something that the run survived and an operator should know.

    Written by each role but ai_role into its own part of incidents.
    """

    TYPE: ClassVar[str] = "incident"
    component: Annotated[Name, "Who found it."]
    kind: Annotated[Name, "What kind of thing, a stable word."]
    detail: Annotated[Text, "What happened, for a person."]
    count: Annotated[Count | None, "How often, where it is counted."] = None
    until_ts: Annotated[Ms | None, "Until when it lasts, where that is known."] = None


class StopJournal(Payload, frozen=True):
    """A STOP, a planned END, a CLEAR of the flag, or a REFUSED start.

    Written by each role into its own part of stop_journal.
    """

    TYPE: ClassVar[str] = "stop_journal"
    component: Annotated[Name, "The role or part that stopped or ended the run."]
    reason_code: Annotated[
        str,
        Codes(STOP_GROUP, END_GROUP),
        "A STOP code, a planned end, CLEARED or REFUSED; generated.",
    ]
    detail: Annotated[Text, "What happened, for a person."]
    kind: Annotated[
        str,
        one_of("STOP", "END", "CLEAR", "REFUSED"),
        "A STOP at once, a planned END, a CLEAR of the flag, or a REFUSED start of no run.",
    ]
    open_positions: Annotated[
        tuple[
            Annotated[Mapping[str, Annotated[str, Meta(max_length=200)]], Meta(max_length=20)], ...
        ]
        | None,
        Meta(max_length=2000),
        "What is open: symbol, qty, entry price ...",
    ] = None
    who: Annotated[Text | None, "Who cleared the flag."] = None
    why: Annotated[Text | None, "The reason given for it."] = None
    stopped_run: Annotated[RunId | None, "The run whose flag a CLEAR removed."] = None

    @classmethod
    def conditions(cls) -> Rule:
        """Return which reason codes go with each kind."""
        # Imported on first use: the codes take longer to load than all classes of events.
        from minibot.events.reasons import CLEARED, REFUSED, codes

        ends = (code for code in codes(END_GROUP) if code not in (CLEARED, REFUSED))
        by_kind = {
            "STOP": Codes(STOP_GROUP),
            "END": one_of(*ends),
            "CLEAR": one_of(CLEARED),
            "REFUSED": one_of(REFUSED),
        }
        return {
            "allOf": [
                {
                    "if": {"properties": {"kind": only(kind)}},
                    "then": {"properties": {"reason_code": allowed}},
                }
                for kind, allowed in by_kind.items()
            ]
        }


class Recommendation(Payload, frozen=True):
    """What the model thinks.

    Written by ai_role into recommendations; advice, never an order.
    """

    TYPE: ClassVar[str] = "recommendation"
    symbol: Market
    model_id: Annotated[Name, "The snapshot that speaks, or baseline."]
    p_buy: Annotated[
        Probability, "Probability of a rise over the horizon by ai.label_bps_min or more."
    ]
    p_hold: Annotated[Probability, "Probability of neither."]
    p_sell: Annotated[
        Probability, "Probability of a fall over the horizon by ai.label_bps_min or more."
    ]
    horizon_ms: Annotated[Ms, "What it looks ahead, market ms."]
    baseline: Annotated[bool | None, "No model was active."] = None
    top_features: Annotated[
        tuple[Any, ...] | None,
        Meta(max_length=100),
        {"items": {"type": ["string", "object", "array"]}},
        "What weighed most.",
    ] = None


class Ack(Payload, frozen=True):
    """A range of lines that a reader took.

    Written by a reader into acks.jsonl of a queue; those of its order log are the order in
    which it took its inputs.
    """

    TYPE: ClassVar[str] = "ack"
    reader: Annotated[Name, "The role that took the lines."]
    queue: Annotated[Name, "The queue taken from; a part is queue/parts/role."]
    from_seq: Annotated[Seq, "First line taken."]
    to_seq: Annotated[Seq, "Last line taken."]
    n: Annotated[Seq, "Running number of the reader's first input in this range."]
    taken_ts: Annotated[Ms, "Run clock when the range was opened."]
    took_us: Annotated[Count | None, "Machine time from opening to closing."] = None


class DeadLetter(Payload, frozen=True):
    """A line that could not be used at all.

    Written by a reader into deadletter.jsonl of a queue.
    """

    TYPE: ClassVar[str] = "dead_letter"
    queue: Annotated[Name, "The queue that holds the line."]
    seq: Annotated[Count, "Line number, from 1; 0 where none is known."]
    offset: Annotated[Count, "Byte offset in the segment."]
    reason_code: Annotated[
        str, Codes(*GROUPS), "A code of the closed list in events/reasons.py; generated."
    ]
    detail: Annotated[Text, "What is wrong with it."]
    line: Annotated[str, Meta(max_length=65536), "The line as escaped text, bounded."]
    line_sha256: Annotated[Sha256, "Over the whole line as it was found."]


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
        FeedValue,
        Signal,
        RiskAction,
        MarketRegime,
        MarketScan,
        RiskStanding,
        PositionPlan,
        RecoveryIntent,
        OrderIntent,
        OrderReplace,
        OrderCancel,
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

CAUSED_BY_AI: Final[frozenset[type[Payload]]] = frozenset(
    {Recommendation, ModelActive, Health, Incident, StopJournal}
)
"""All that the AI causes, itself or through the watchdog: no core heeds any of it."""


class Envelope(Struct, frozen=True, kw_only=True):
    """The envelope of every event.

    Strict: no further keys. The payload's contract is that of the type.
    """

    schema: Annotated[str, matching("^minibot[.][a-z_]{1,40}$", 48), "minibot.<type>."]
    v: Annotated[int, only(1), "Version of the contract."]
    ts: Annotated[Ms, "Unix ms on the run clock."]
    ts_iso: Annotated[
        str | None, Meta(min_length=20, max_length=40), "ts for people; left out by default."
    ] = None
    id: Annotated[
        Id,
        "uuid4-shaped, derived from the cause, so that a restarted role finds its own outputs.",
    ]
    source: Annotated[str, matching("^[a-z][a-z0-9_]{0,39}$", 40), "Name of the writing role."]
    type: Annotated[str, matching("^[a-z_]{1,40}$", 40), "Event type."]
    run_id: Annotated[RunId, "The run, YYYYMMDD_HHMMSS in UTC of the machine at its start."]
    cmdline_hash: Annotated[Sha256, "sha256 of the writing process's command line."]
    payload: Annotated[Mapping[str, Any], "The domain part; its contract is that of the type."]


class Event(Struct, frozen=True, gc=False):
    """An envelope with its typed payload and its lineage."""

    ts: int
    id: str
    source: str
    run_id: str
    cmdline_hash: str
    payload: Payload
    cause_ids: Annotated[
        tuple[Id, ...] | None,
        Meta(min_length=1, max_length=64),
        "Ids of the events this one follows from.",
    ] = None
    tick_seq: Annotated[Seq | None, "The market_ticks line it goes back to."] = None

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
    The core sets `ts`: the highest `ts` among the causes. It returns drafts cause before effect.
    """

    queue: str
    payload: Payload
    ts: int
    cause_ids: tuple[str | int, ...] = ()
    tick_seq: int | None = None
