"""The part of a resolved run profile that the cores read, as frozen sections.

Units stand in the names of keys, ranges beside them; decimal numbers are text. `CoreProfile.of`
builds it from the resolved JSON, also from that of an older run, which lacks keys that were added
later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from minibot.cores.profile_keys import (
    DECIMAL,
    DECIMAL_POSITIVE,
    DECIMAL_SIGNED,
    FEE_BPS,
    LATER,
    OPTIONAL,
    OPTIONAL_OR_NULL,
    PERCENT,
    Rule,
    distance,
    holding,
    listed,
    listing,
    one_of,
    section_of,
    share,
    string,
    whole,
)
from minibot.events.intervals import INTERVAL_MS, MONTH
from minibot.events.model import JsonObject
from minibot.events.unit_sizes import DAY_MS

VENUE: Final = "binance"
"""The venue of a profile that names none; the simulator speaks its protocol."""

AT_VENUE: Final = "venue"
"""The value of `risk.exits_at` with which stop and target rest with the executor."""

MAKER: Final = "maker"
"""The value of `risk.entry` with which an entry rests at the best bid before it is bought."""

TAKE: Final = "take"
"""The value of `risk.maker_end` with which the rest of an entry is bought at the market."""

FIXED: Final = "fixed"
SHARE: Final = "share"
RISK: Final = "risk"
KELLY: Final = "kelly"
"""The values of `risk.sizing`."""
KELLY_PERCENT: Final = 25
"""A quarter of Kelly's share, where the profile says nothing else."""

TRADES_KEPT: Final = 1_000
"""How many closed trades protections count at most, the newest. All are written in one line of
`risk_state` or `run_opening`, at 145 to 190 bytes each: at most three quarters of the shipped
`queues.line_bytes_max`, and fewer if locks need more than is left."""

TRADES_CARRIED: Final = 1_500
"""How many closed trades are carried for sizing kelly, the newest: 30 bytes each, in the line of
`run_opening`. Beside them and the trades of protections a tenth of that line is left for locks,
lots and plans. A start is refused if they need more."""

HALTED_TIER: Final = "HALTED"
"""The state of a drawdown tier in which nothing enters."""

CARRY: Final = "carry"
"""The value of `portfolio.at_end` and `portfolio.start_from` with which positions go on."""

LADDER: Final = "ladder"
"""The value of `risk.exit_policy` with which a position is left in parts."""

CAMPAIGN: Final = "campaign"
"""The value of `risk.exit_policy` with which a symbol's entries share one worst loss."""

HOLD: Final = "hold"
DE_RISK: Final = "de-risk"
LEAVE: Final = "exit"
"""The choices of a row of `risk.recovery`."""

MIXED: Final = "mixed"
"""The regime of a market without another one, and while too few 4-hour bars are known."""

INTERVAL: Final = one_of(*INTERVAL_MS, MONTH)
"""The rule of a bar's length."""

FATIGUE_INTERVALS: Final = tuple(name for name, ms in INTERVAL_MS.items() if ms < DAY_MS)
"""Intervals of which several bars make up a day."""

FATIGUE_RSI_PERIOD: Final = 14
"""The period of the fatigue gate's RSI, as Wilder has it."""

NAME: Final = string(
    1,
    500,
    pattern="^[a-z0-9][a-z0-9-]*$",
    title="lower-case letters, digits and dashes, no dash first",
)
"""The rule of a profile's name."""

RISK_NAME: Final[Rule] = {
    **NAME,
    "maxLength": 100,
    "title": "at most 100 lower-case letters, digits and dashes, no dash first",
}
"""The rule of the limits' name, which events contain."""

NAME_OF_CODE: Final = string(
    pattern="^[a-z][a-z0-9_]{0,63}$",
    title="a name of small letters, digits and _, at most 64, that begins with a letter",
)
"""The rule of a strategy's name."""

MULTIPLE: Final = distance(
    6,
    "a decimal number as text, above zero and below 1000000, at most 4 places, such as "
    '"1.5"; or null for none',
)
"""The rule of a distance in ATRs."""

STOP_BPS: Final = distance(
    4, "basis points as text, above 0 and below 10000, at most 4 places; or null for none"
)
"""The rule of a stop's distance: below the whole price."""

TARGET_BPS: Final = distance(
    6, "basis points as text, above 0 and below 1000000, at most 4 places; or null for none"
)
"""The rule of a target's distance."""

HARD_STOP_BPS: Final[Rule] = {
    **STOP_BPS,
    "type": "string",
    "title": "basis points as text, above 0 and below 10000, at most 4 places",
}
"""The rule of the hard stop's distance, which no null turns off."""

CORRELATION_RULE: Final = share(
    'a decimal number as text, above 0 and at most 1, at most 4 places, such as "0.7"'
)
"""The rule of a correlation, and of a distance between distributions."""

RATIO_RULE: Final[Rule] = {
    **distance(
        3,
        'a decimal number as text, above zero and below 1000, at most 4 places, such as "1.8"',
    ),
    "type": "string",
}
"""The rule of a ratio."""

AGES: Final[Rule] = {
    "type": ["array", "null"],
    "minItems": 1,
    "maxItems": 20,
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "prefixItems": [
            {"type": "integer", "minimum": 0, "maximum": 100_000},
            {
                "type": "string",
                "maxLength": 12,
                "pattern": "^(0|[1-9][0-9]{0,5})([.][0-9]{1,4})?$",
                "not": {"pattern": "\\n"},
                "title": "basis points as text, zero or more and below 1000000, at most 4 places",
            },
        ],
    },
    "title": "at most 20 pairs of minutes held and basis points as text, such as "
    '[[0, "300"], [60, "100"]]; or null for none',
}
"""The rule of targets by age."""

RECOVERY: Final[Rule] = {
    "minItems": 1,
    "maxItems": 20,
    "items": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "prefixItems": [
            {
                "type": "string",
                "maxLength": 9,
                "pattern": "^[1-9][0-9]{0,3}([.][0-9]{1,4})?$",
                "not": {"pattern": "\\n"},
                "title": "basis points as text, from 1 to below 10000, at most 4 places",
            },
            {"enum": [HOLD, DE_RISK, LEAVE]},
        ],
    },
    "title": "at most 20 pairs of basis points as text and hold, de-risk or exit, such as "
    '[["300", "hold"], ["500", "de-risk"], ["700", "exit"]]',
}
"""The rule of what to do at which loss."""

PARAMETERS: Final[Rule] = {
    "maxProperties": 100,
    "additionalProperties": {
        "type": ["string", "integer", "boolean"],
        "maxLength": 200,
        "title": "a whole number, a decimal number in quotes, true, false or a word",
    },
}
"""The rule of the values that a strategy declares itself."""

SYMBOL_AMOUNTS: Final[Rule] = {
    "maxProperties": 1000,
    "propertyNames": {"pattern": "^[A-Z0-9]{2,40}$", "title": "symbols as names"},
    "additionalProperties": DECIMAL_POSITIVE,
}
"""The rule of quote amounts by symbol."""


def venue_name(raw: Mapping[str, Any]) -> str:
    """Return the venue of a profile, which is also the name of its section."""
    name: str = raw.get("venue", VENUE)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSection:
    """The own strategy's file as it was at the start.

    Written by minibot into the manifest, never by hand.
    """

    api: Annotated[
        int | None,
        {"minimum": 2, "maximum": 2, "title": "2"},
        "How its checks are read: 2 means that minibot evaluates them; a run without the key was "
        "recorded earlier.",
    ] = field(default=None, metadata=OPTIONAL)
    path: Annotated[str, string(title="a path"), "Path of the file."]
    sha256: Annotated[
        str, string(pattern="^[0-9a-f]{64}$", title="a sha256"), "The sha256 of the file's bytes."
    ]
    text: Annotated[str, string(title="text"), "The whole text of the file."]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategySection:
    """The strategy's parameters."""

    name: Annotated[
        str,
        NAME_OF_CODE,
        "Which strategy decides: a shipped one, such as nore_strategy_v1 or ema_cross, or NAME for "
        "the file NAME.py in strategy.folder.",
    ]
    folder: Annotated[
        str,
        string(1, 1000, title="a folder"),
        "Folder of own strategies, outside the package.",
    ] = field(default="strategies", metadata=LATER)
    parameters: Annotated[
        JsonObject,
        PARAMETERS,
        "Values of the parameters that the strategy itself declares; those left out have their "
        "defaults.",
    ] = field(default_factory=dict, metadata=LATER)
    source: Annotated[SourceSection | None, {"title": "nothing: minibot writes it"}] = field(
        default=None, metadata=holding(SourceSection)
    )
    bar_interval: Annotated[str, INTERVAL, "Interval of the bars that give signals."]
    trend_interval: Annotated[str, INTERVAL, "Interval of the bars that give the trend."]
    rsi_period: Annotated[int, whole(2, 500), "Period of the RSI, in bars."]
    rsi_oversold: Annotated[str, PERCENT, "RSI at or below which a market counts as oversold."]
    rsi_overbought: Annotated[str, PERCENT, "RSI at or above which a market counts as overbought."]
    ema_fast: Annotated[int, whole(1, 1000), "Period of the fast average, in bars."]
    ema_slow: Annotated[int, whole(2, 2000), "Period of the slow average, in bars."]
    atr_period: Annotated[int, whole(2, 500), "Period of the ATR, in bars."]
    momentum_bps_min: Annotated[str, DECIMAL, "Least distance between the two averages."]
    reversion_bps_min: Annotated[str, DECIMAL, "Least distance of the price from its average."]
    spread_bps_max: Annotated[
        str, DECIMAL_POSITIVE, "Widest spread at which a signal to trade is given."
    ]
    touch_notional_min: Annotated[str, DECIMAL, "Least quote amount at the touch."]
    tick_age_ms_max: Annotated[int, whole(1, 600_000), "Oldest tick to decide on, market time."]
    score_min: Annotated[
        int, whole(0, 110), "Least score to trade; nore_strategy_v1 gives 100 at most."
    ]
    confidence_min: Annotated[int, whole(0, 100), "Least confidence to trade."]
    horizon_ms: Annotated[
        int,
        whole(1000, 86_400_000),
        "How long a signal is meant to hold, market time; a time that the strategy gives with it "
        "counts instead. Risk refuses an older one, and one older than risk.signal_age_ms_max; a "
        "purchase at the strategy's limit rests no longer. No position ends by it.",
    ]
    cooldown_ms: Annotated[
        int,
        whole(0, 86_400_000),
        "Wait in a symbol, market time: for a purchase after its last BUY (also one that risk "
        "refused), SELL or sale, for a SELL after its last SELL or sale.",
    ]
    cost_gate: Annotated[bool, "Hold when the expected move does not cover the costs."]
    bars_from_ticks: Annotated[
        bool,
        "Build the strategy's bars from trades instead of taking live `bar` events.",
    ]
    return_bars: Annotated[int, whole(1, 500), "Number of bars over which the return is measured."]
    flow_touches: Annotated[
        int,
        whole(1, 10_000),
        "Number of changes of the touch over which order flow is netted.",
    ]
    cost_gate_atr_mult: Annotated[
        str,
        DECIMAL_POSITIVE,
        "Expected move in ATRs, for the cost gate.",
    ]
    rank_max: Annotated[
        int | None,
        whole(1, 1000),
        "Worst rank of a symbol in the last scan at which a purchase is signalled, 1 for the best; "
        "a symbol without a rank gives none. Needs the section scanner; off without the key, or "
        "by null.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectionSection:
    """A protection: closed trades that lock a symbol, or all, against entries for a time.

    Methods and parameters mean what they mean in freqtrade 2026.9. A trade is a position from flat
    to flat, its profit net of fees. Trades are judged at each close; a trade counts while its
    close lies less than the look-back before this one. A lock lasts from the last counted close
    for the stop's duration, and to the end of the bar of strategy.bar_interval in which that ends;
    an end between two bars lies in the second. Times are market time. Nothing has a default
    beyond those named here, and a key that the method does not read is refused.
    """

    method: Annotated[
        str,
        one_of("StoplossGuard", "CooldownPeriod", "MaxDrawdown", "LowProfitPairs", "LossesInRow"),
        "StoplossGuard: trade_limit losing trades closed by their stop lock all symbols, or with "
        "only_per_pair their own. CooldownPeriod: each close locks its symbol. MaxDrawdown: "
        "trade_limit or more trades with a drawdown above max_allowed_drawdown lock all symbols. "
        "LowProfitPairs: trade_limit or more trades of a symbol with a summed profit ratio below "
        "required_profit lock it. LossesInRow (not in freqtrade): trade_limit losing trades "
        "without a winning one between them lock all symbols, or with only_per_pair their own, "
        "and so does each further loss until a trade wins.",
    ]
    lookback_period_candles: Annotated[
        int | None, whole(1, 100_000), "Look-back in bars of strategy.bar_interval."
    ] = field(default=None, metadata=OPTIONAL)
    lookback_period: Annotated[
        int | None, whole(1, 10_000_000), "Look-back in minutes, instead."
    ] = field(default=None, metadata=OPTIONAL)
    stop_duration_candles: Annotated[
        int | None, whole(1, 100_000), "Duration of the lock in bars of strategy.bar_interval."
    ] = field(default=None, metadata=OPTIONAL)
    stop_duration: Annotated[
        int | None, whole(1, 10_000_000), "Duration of the lock in minutes, instead."
    ] = field(default=None, metadata=OPTIONAL)
    unlock_at: Annotated[
        str | None,
        string(most=5, pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", title='a time of day as "HH:MM"'),
        "Time of day in UTC until which the lock lasts, instead of a duration.",
    ] = field(default=None, metadata=OPTIONAL)
    trade_limit: Annotated[
        int | None,
        whole(1, TRADES_KEPT),
        f"Least number of trades; over all symbols at most the newest {TRADES_KEPT:,} count.",
    ] = field(default=None, metadata=OPTIONAL)
    required_profit: Annotated[
        str | None,
        DECIMAL_SIGNED,
        "Profit ratio below which a stopped trade, or a symbol, counts; 0 for StoplossGuard "
        "without the key.",
    ] = field(default=None, metadata=OPTIONAL)
    max_allowed_drawdown: Annotated[
        str | None, DECIMAL_SIGNED, "Drawdown above which all symbols are locked, as a ratio."
    ] = field(default=None, metadata=OPTIONAL)
    calculation_mode: Annotated[
        str | None,
        one_of("ratios", "equity"),
        "For MaxDrawdown. ratios (the default): the drawdown of the summed profit ratios in the "
        "look-back. equity: the drawdown of equity after each closed trade, relative to its "
        "highest value in the look-back.",
    ] = field(default=None, metadata=OPTIONAL)
    only_per_pair: Annotated[
        bool | None, "Count and lock each symbol alone; without the key all together."
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawdownTierSection:
    """A tier of the account's drawdown, and the state that it maps to.

    Drawdown counts from the highest equity of all runs carried so far, not from the night's. Tiers
    stand from the least to the deepest; above all of them is ACTIVE. Exits are never held back.
    """

    state: Annotated[
        str,
        one_of("REDUCING", HALTED_TIER),
        "REDUCING: entries have at most entry_percent of their size. HALTED: no entries.",
    ]
    drawdown_bps: Annotated[int, whole(1, 9_999), "Drawdown above which the tier begins."]
    back_bps: Annotated[
        int, whole(0, 9_998), "Drawdown at or below which it ends; less than drawdown_bps."
    ]
    entry_percent: Annotated[
        int | None,
        whole(1, 100),
        "For REDUCING: percentage of an entry's usual size that is allowed.",
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSection:
    """Limits; a limit has no default but off.

    A value at a soft or hard limit passes; only one above it blocks, or stops the run. Losses count
    open positions at their last prices.
    """

    profile: Annotated[str, RISK_NAME, "Name of the limits."]
    policy_version: Annotated[
        int | None,
        whole(1, 1),
        "Version of config/risk_policy.v1.json. The section must stay within that policy's "
        "bounds for this profile name, whatever changed it. Each risk_action then carries the "
        "version and the sha256 of the section. Without the key: no bounds.",
    ] = field(default=None, metadata=OPTIONAL)
    order_notional: Annotated[
        str,
        DECIMAL_POSITIVE,
        "Quote amount of one entry with sizing fixed; unused in other modes.",
    ]
    position_notional_max: Annotated[
        str, DECIMAL_POSITIVE, "Largest quote amount in one symbol; a larger entry is reduced."
    ]
    positions_max: Annotated[
        int,
        whole(1, 1000),
        "Open positions at a time; one whose value at the last mid is below the venue's minimum "
        "order does not count.",
    ]
    exposure_ratio_max_bps: Annotated[
        int,
        whole(1, 10_000),
        "Largest share of equity in open positions.",
    ]
    night_notional_soft: Annotated[str, DECIMAL_POSITIVE, "Cost of the run's entries (blocks)."]
    night_notional_hard: Annotated[
        str,
        DECIMAL_POSITIVE,
        "Cost of the run's entries (stops the run).",
    ]
    day_notional_soft: Annotated[str, DECIMAL_POSITIVE, "Cost of a UTC day's entries (blocks)."]
    day_notional_hard: Annotated[
        str,
        DECIMAL_POSITIVE,
        "Cost of a UTC day's entries (stops the run).",
    ]
    night_loss_soft: Annotated[str, DECIMAL_POSITIVE, "Loss of the run in quote (blocks)."]
    night_loss_hard: Annotated[str, DECIMAL_POSITIVE, "Loss of the run in quote (stops the run)."]
    day_loss_soft: Annotated[str, DECIMAL_POSITIVE, "Loss of a UTC day in quote (blocks)."]
    day_loss_hard: Annotated[str, DECIMAL_POSITIVE, "Loss of a UTC day in quote (stops the run)."]
    drawdown_bps_soft: Annotated[
        int, whole(1, 10_000), "Fall from the night's high-water mark (blocks)."
    ]
    drawdown_bps_hard: Annotated[
        int,
        whole(1, 10_000),
        "Fall from the night's high-water mark (stops the run).",
    ]
    orders_per_minute_soft: Annotated[int, whole(1, 10_000), "Orders within a minute (blocks)."]
    orders_per_minute_hard: Annotated[
        int,
        whole(1, 10_000),
        "Orders within a minute (stops the run).",
    ]
    signal_age_ms_max: Annotated[int, whole(1, 600_000), "Oldest signal to act on, market time."]
    tick_age_ms_max: Annotated[int, whole(1, 600_000), "Oldest tick to act on, market time."]
    intent_ttl_ms: Annotated[int, whole(1, 600_000), "Life of an intent, market time."]
    entry: Annotated[
        str | None,
        one_of("market", MAKER),
        "How an entry buys. market (the default): a market order. maker: a LIMIT_MAKER at the "
        "best bid, which needs the three keys below. Its size is that of a purchase at the ask; "
        "its cash stays reserved, and no other entry in the symbol is allowed meanwhile. A halt, "
        "a lock, the announced end, a sale or a request to leave the symbol cancels it.",
    ] = field(default=None, metadata=OPTIONAL)
    maker_patience_market_ms: Annotated[
        int | None,
        whole(100, 3_600_000),
        "For entry maker: how long a quote waits before it follows a best bid that has moved "
        "away. The entry lasts at most (maker_requotes + 1) times this long.",
    ] = field(default=None, metadata=OPTIONAL)
    maker_requotes: Annotated[
        int | None,
        whole(0, 20),
        "For entry maker: how often an entry is quoted again. A quote that would have traded at "
        "once, or was rejected, counts too.",
    ] = field(default=None, metadata=OPTIONAL)
    maker_end: Annotated[
        str | None,
        one_of("give_up", TAKE),
        "For entry maker: what happens to the unfilled rest at the end. give_up: it is not "
        "bought; what was bought stays, with its exits. take: it is bought at the market.",
    ] = field(default=None, metadata=OPTIONAL)
    limit_entries_max: Annotated[
        int | None,
        whole(2, 50),
        "How many purchases of a symbol may rest at limit prices of its strategy; each reserves "
        "its cash and counts against every limit. Without the key: one order per symbol at a "
        "time.",
    ] = field(default=None, metadata=OPTIONAL)
    stop_atr_mult: Annotated[
        str | None, MULTIPLE, "Distance of the stop in ATRs; null for no stop."
    ]
    take_profit_atr_mult: Annotated[
        str | None, MULTIPLE, "Distance of the target in ATRs; null for no target."
    ]
    stop_bps: Annotated[
        str | None,
        STOP_BPS,
        "Distance of the stop in basis points of the entry price, instead of ATRs.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    take_profit_bps: Annotated[
        str | None,
        TARGET_BPS,
        "Distance of the target in basis points of the entry price, instead of ATRs.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    hard_stop_bps: Annotated[
        str | None,
        HARD_STOP_BPS,
        "Distance of the hard stop in basis points of the entry price. It needs no bars, and no "
        "other key turns it off. Trailing stop, break-even, targets by age, exits for missing "
        "data, ladder, campaign and horizon all need it.",
    ] = field(default=None, metadata=OPTIONAL)
    trail_bps: Annotated[
        str | None,
        STOP_BPS,
        "Trailing stop: distance below the highest bid since activation, in basis points of that "
        "bid. It never falls. Within a bar the low comes before the high, so a stop that the "
        "high raises acts only on later prices.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    trail_atr_mult: Annotated[
        str | None,
        MULTIPLE,
        "The same distance in ATRs; the ATR is that of the position's stop.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    trail_from_bps: Annotated[
        str | None,
        TARGET_BPS,
        "The trailing stop activates when the bid is this far above the entry price, in basis "
        "points of it; without this key and the next it activates at the entry price, at once.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    trail_from_atr_mult: Annotated[str | None, MULTIPLE, "The same distance in ATRs."] = field(
        default=None, metadata=OPTIONAL_OR_NULL
    )
    break_even_bps: Annotated[
        str | None,
        TARGET_BPS,
        "When the bid is this far above the entry price, in basis points of it, a stop is set at "
        "the price where a sale pays for the entry and the taker fees of both sides. It is set "
        "only once the bid is above it.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    break_even_atr_mult: Annotated[str | None, MULTIPLE, "The same distance in ATRs."] = field(
        default=None, metadata=OPTIONAL_OR_NULL
    )
    targets_by_age: Annotated[
        tuple[list[Any], ...] | None,
        AGES,
        "Targets by age (freqtrade's minimal_roi): pairs of minutes held, rising, and the gain "
        "after the taker fees of both sides in basis points, falling. The last pair whose "
        "minutes have passed applies, beside the position's own target.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    stale_exit_ms: Annotated[
        int | None,
        whole(1000, 604_800_000),
        "When a gap event reports missing data of a held symbol, and the first fresh price comes "
        "this long or longer after the last price before the gap (market time), the position is "
        "sold at it.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    silent_exit_ms: Annotated[
        int | None,
        whole(1000, 604_800_000),
        "When a held symbol has had neither a tick nor a bar with a trade for this long (market "
        "time), the position is sold at the first fresh price, with or without a gap event. A "
        "backtest shows two to four ticks per bar of its source, so choose more than one such "
        "bar. Null, or without the key: silence alone closes nothing.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    exit_policy: Annotated[
        str | None,
        one_of(LADDER, CAMPAIGN),
        "ladder: half of the original quantity is sold at the first rung, three tenths at the "
        "second, and the rest by stop, target or another exit. Parts are whole steps; a part too "
        "small to sell joins the one before, the first the one after. A bid beyond both rungs "
        "sells both parts at once. "
        "campaign: all entries and exits of a symbol from flat to flat share one limit of "
        "entries and one worst loss; rungs are optional.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    campaign_entries_max: Annotated[
        int | None,
        whole(1, 100),
        "For exit_policy campaign: entries per campaign. The first is sized as if all had its "
        "size. An allowed entry counts even if it buys nothing.",
    ] = field(default=None, metadata=OPTIONAL)
    campaign_loss_max: Annotated[
        str | None,
        DECIMAL_POSITIVE,
        "For exit_policy campaign: quote amount that one campaign may lose at its stop, with all "
        "fees. A fill at a worse price, or a price that gaps past the stop, loses more.",
    ] = field(default=None, metadata=OPTIONAL)
    campaign_entry_wait_market_ms: Annotated[
        int | None,
        whole(1, 604_800_000),
        "For exit_policy campaign: least time between two entries of a campaign; none without "
        "the key.",
    ] = field(default=None, metadata=OPTIONAL)
    recovery: Annotated[
        tuple[list[Any], ...] | None,
        RECOVERY,
        "For exit_policy campaign: losses of the bid against the average entry, rising, and what "
        "each triggers once. hold: no further entry at this loss or a larger one. de-risk: "
        "recovery_part_percent is sold, or everything if this part or the rest would be too small "
        "to sell. "
        "exit: everything is sold. If several rows are reached at once, the deepest applies. "
        "Without the key: none.",
    ] = field(default=None, metadata=OPTIONAL)
    recovery_part_percent: Annotated[
        int | None,
        whole(1, 99),
        "For a de-risk row of recovery: percentage of the holding that it sells.",
    ] = field(default=None, metadata=OPTIONAL)
    ladder_1_bps: Annotated[
        str | None,
        TARGET_BPS,
        "First rung: distance above the entry price, in basis points of it.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    ladder_1_atr_mult: Annotated[str | None, MULTIPLE, "The same distance in ATRs."] = field(
        default=None, metadata=OPTIONAL_OR_NULL
    )
    ladder_2_bps: Annotated[
        str | None,
        TARGET_BPS,
        "Second rung: distance above the entry price, in basis points of it.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    ladder_2_atr_mult: Annotated[str | None, MULTIPLE, "The same distance in ATRs."] = field(
        default=None, metadata=OPTIONAL_OR_NULL
    )
    exits_at: Annotated[
        str | None,
        one_of("role", AT_VENUE),
        "Who watches stop and target. role (the default): risk, by the bid. venue: the executor, "
        "with resting orders that the last trade triggers.",
    ] = field(default=None, metadata=OPTIONAL)
    stop_limit_bps: Annotated[
        str | None,
        STOP_BPS,
        "For exits_at venue: the stop rests as STOP_LOSS_LIMIT with its limit price this far "
        "below the stop, in basis points of it, rounded up to price steps, and the target rests "
        "beside it as a limit order. What a triggered order leaves unsold is sold at the market "
        "at once. Null, or without the key: both sell at the market.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    signal_exit: Annotated[bool, "Close on a SELL signal."]
    time_exit_ms: Annotated[
        int | None,
        whole(1000, 604_800_000),
        "Longest holding time (market time); null for none.",
    ]
    horizon_ms: Annotated[
        int | None,
        whole(1000, 604_800_000),
        "Horizon: how long a position is held at the usual volatility of its symbol (market "
        "time). With each closed bar this time is divided anew by the ratio of realised volatility "
        "over horizon_bars_short returns of strategy.bar_interval to that over horizon_bars_long; "
        "with too few returns, or none that moved, it is not divided. It needs the four keys "
        "below. Null, or without the key: no horizon.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    horizon_ms_min: Annotated[
        int | None, whole(1000, 604_800_000), "Shortest horizon, however volatile the symbol."
    ] = field(default=None, metadata=OPTIONAL)
    horizon_ms_max: Annotated[
        int | None, whole(1000, 604_800_000), "Longest horizon, however calm the symbol."
    ] = field(default=None, metadata=OPTIONAL)
    horizon_bars_short: Annotated[
        int | None, whole(1, 5_000), "Newest returns that give the current volatility."
    ] = field(default=None, metadata=OPTIONAL)
    horizon_bars_long: Annotated[
        int | None, whole(2, 5_000), "Newest returns that give the usual volatility."
    ] = field(default=None, metadata=OPTIONAL)
    horizon_thesis_bps: Annotated[
        str | None,
        TARGET_BPS,
        "An entry's thesis holds if, at the first judged tick after the horizon, the bid is this "
        "far above the entry price, in basis points of it; the position is then held up to "
        "horizon_ms_max. The answer is carried to the next run. Null, or without the key: no "
        "thesis.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    left_trading: Annotated[
        str,
        one_of("hold", "close"),
        "Position in a symbol that leaves TRADING. hold: it stays, with its exits. close: it is "
        "sold at the market as soon as the symbol trades again.",
    ] = field(default="hold", metadata=LATER)
    left_universe: Annotated[
        str,
        one_of("hold", "close"),
        "Position in a symbol that leaves the universe. hold: it stays, with its exits. close: "
        "it is sold at the market.",
    ] = field(default="hold", metadata=LATER)
    reference_deviation_bps_max: Annotated[
        int,
        whole(1, 10_000),
        "Largest distance of the mid from the close of the last bar of strategy.bar_interval "
        "(blocks).",
    ]
    entry_spread_bps_max: Annotated[
        int | None,
        whole(1, 10_000),
        "Widest spread at which an entry is allowed; any without the key.",
    ] = field(default=None, metadata=OPTIONAL)
    depth_min: Annotated[
        str | None,
        DECIMAL_POSITIVE,
        "Least quote value of the bids, and of the asks, within 2 % of the mid, by the venue's "
        "own last book, which may be as old as a tick (blocks); needs market.book_depth.",
    ] = field(default=None, metadata=OPTIONAL)
    night_notional_pace: Annotated[
        int | None,
        whole(1, 100),
        "Head start in percent. After a share of the planned night, entries may have used that "
        "share of night_notional_soft plus this head start, at most all of it. Null, or without "
        "the key: no pace.",
    ] = field(default=None, metadata=OPTIONAL_OR_NULL)
    sizing: Annotated[
        str | None,
        one_of(FIXED, SHARE, RISK, KELLY),
        "What an entry costs before caps and limits reduce it. fixed (the default): "
        "order_notional. share: the free budget divided by the free positions. risk: the amount "
        "that loses risk_per_trade_bps of equity at the stop, with the fees of both sides. "
        "kelly: a part of Kelly's share of the budget. The budget is exposure_ratio_max_bps of "
        "equity, or bucket_active_bps if that is less; free cash bounds it too. The risk_action "
        "shows every bound, and in size_bound the one that decided.",
    ] = field(default=None, metadata=OPTIONAL)
    risk_per_trade_bps: Annotated[
        int | None,
        whole(1, 10_000),
        "For sizing risk: part of equity that a position may lose when it is sold at its stop, "
        "with the fees of both sides. A price that gaps past the stop loses more.",
    ] = field(default=None, metadata=OPTIONAL)
    bucket_active_bps: Annotated[
        int | None,
        whole(1, 10_000),
        "Share of equity that entries may use; the three buckets add up to 10000.",
    ] = field(default=None, metadata=OPTIONAL)
    bucket_reserve_bps: Annotated[
        int | None,
        whole(0, 10_000),
        "Share of equity held back: no entry uses it.",
    ] = field(default=None, metadata=OPTIONAL)
    bucket_buffer_bps: Annotated[
        int | None,
        whole(0, 10_000),
        "Share of equity held for fees and slippage: no entry uses it.",
    ] = field(default=None, metadata=OPTIONAL)
    position_share_bps_min: Annotated[
        int | None,
        whole(1, 10_000),
        "For sizing kelly: the smallest entry, as a share of the budget; without an edge there is "
        "none. Limits and caps may leave less.",
    ] = field(default=None, metadata=OPTIONAL)
    position_share_bps_max: Annotated[
        int | None,
        whole(1, 10_000),
        "Largest position in a symbol, as a share of the budget.",
    ] = field(default=None, metadata=OPTIONAL)
    size_atr_bps_full: Annotated[
        int | None,
        whole(1, 10_000),
        "ATR, in basis points of the price, up to which an entry has its full size; at twice "
        "this ATR it has half. With sizing kelly it keeps at least position_share_bps_min.",
    ] = field(default=None, metadata=OPTIONAL)
    kelly_fraction_percent: Annotated[
        int | None,
        whole(1, 100),
        "For sizing kelly: percentage of Kelly's share that an entry costs; 25 without the key.",
    ] = field(default=None, metadata=OPTIONAL)
    kelly_window_market_ms: Annotated[
        int | None,
        whole(60_000, 31_536_000_000),
        "For sizing kelly: how long a closed trade counts. Losses that leave no edge stop "
        "entries until enough of them have aged out.",
    ] = field(default=None, metadata=OPTIONAL)
    kelly_trades_min: Annotated[
        int | None,
        whole(1, TRADES_CARRIED),
        "For sizing kelly: with fewer closed trades in the window an entry has its smallest "
        f"size. A run that carries on starts with at most the newest {TRADES_CARRIED:,}.",
    ] = field(default=None, metadata=OPTIONAL)
    symbol_notional_max: Annotated[
        JsonObject | None,
        SYMBOL_AMOUNTS,
        'Largest quote amount in single symbols, beside position_notional_max: {"DOGEUSDT": '
        '"200"}.',
    ] = field(default=None, metadata=OPTIONAL)
    benchmark_symbol: Annotated[
        str | None,
        string(most=40, pattern="^[A-Z0-9]{2,40}$", title="a symbol such as BTCUSDT"),
        "Market that volatility_ratio_max and benchmark_correlation_max refer to. This key and "
        "those from correlation_bars to drift_max use closed bars of strategy.bar_interval; while "
        "the bars of a limit are missing, more than two bars late or, except for drift_max, "
        "without movement, no entry is allowed. After a gap the window of a symbol starts again.",
    ] = field(default=None, metadata=OPTIONAL)
    correlation_bars: Annotated[
        int | None,
        whole(10, 5_000),
        "Returns over which the correlation of two symbols is computed.",
    ] = field(default=None, metadata=OPTIONAL)
    correlation_max: Annotated[
        str | None,
        CORRELATION_RULE,
        "Largest correlation of an entry's symbol with any other symbol that is held or being "
        "bought (blocks).",
    ] = field(default=None, metadata=OPTIONAL)
    benchmark_correlation_max: Annotated[
        str | None,
        CORRELATION_RULE,
        "Largest correlation of an entry's symbol with benchmark_symbol, which is itself exempt "
        "(blocks).",
    ] = field(default=None, metadata=OPTIONAL)
    cluster_correlation_min: Annotated[
        str | None,
        CORRELATION_RULE,
        "Correlation from which a held symbol belongs to the entry's cluster, directly or "
        "through another member. A symbol without bars belongs to every cluster.",
    ] = field(default=None, metadata=OPTIONAL)
    cluster_share_bps_max: Annotated[
        int | None,
        whole(1, 10_000),
        "Largest share of equity in a cluster, the entry included; a larger entry is reduced.",
    ] = field(default=None, metadata=OPTIONAL)
    volatility_bars_short: Annotated[
        int | None,
        whole(1, 5_000),
        "Newest returns of benchmark_symbol that give the current volatility.",
    ] = field(default=None, metadata=OPTIONAL)
    volatility_bars_long: Annotated[
        int | None,
        whole(2, 5_000),
        "Newest returns of benchmark_symbol that give the usual volatility.",
    ] = field(default=None, metadata=OPTIONAL)
    volatility_ratio_max: Annotated[
        str | None,
        RATIO_RULE,
        "Largest ratio of current to usual volatility (blocks).",
    ] = field(default=None, metadata=OPTIONAL)
    drift_bars: Annotated[
        int | None,
        whole(10, 5_000),
        "Newest returns of an entry's symbol whose distribution is compared with the reference.",
    ] = field(default=None, metadata=OPTIONAL)
    drift_reference_bars: Annotated[
        int | None,
        whole(10, 5_000),
        "Returns before those, which are the reference.",
    ] = field(default=None, metadata=OPTIONAL)
    drift_max: Annotated[
        str | None,
        CORRELATION_RULE,
        "Largest Kolmogorov-Smirnov distance between the two (blocks). A profile whose value "
        "chance alone exceeds one time in twenty is refused.",
    ] = field(default=None, metadata=OPTIONAL)
    late_fill_market_ms: Annotated[
        int | None,
        whole(1_000, 3_600_000),
        "Time from an entry's signal at which the unfilled rest of the entry ends (late_fill), "
        "except for an entry that rests at the strategy's own limit price.",
    ] = field(default=None, metadata=OPTIONAL)
    confidence_min: Annotated[
        int | None, whole(1, 100), "Least confidence of a signal that may enter (blocks)."
    ] = field(default=None, metadata=OPTIONAL)
    bars_late_max: Annotated[
        int | None,
        whole(0, 1_000),
        "How many bars late the newest closed bar of strategy.bar_interval may be at an entry "
        "(blocks, also without any bar).",
    ] = field(default=None, metadata=OPTIONAL)
    price_move_atr_max: Annotated[
        str | None,
        RATIO_RULE,
        "Largest move of the price since that bar closed, in ATRs (blocks).",
    ] = field(default=None, metadata=OPTIONAL)
    fatigue_bar_interval: Annotated[
        str | None,
        one_of(*FATIGUE_INTERVALS),
        "Interval of the fatigue gate's bars, one of market.bar_intervals. The gate blocks when "
        "the next two limits are exceeded, and when bars are missing or late.",
    ] = field(default=None, metadata=OPTIONAL)
    fatigue_change_bps_max: Annotated[
        int | None, whole(1, 1_000_000), "Largest rise over 24 hours of such bars."
    ] = field(default=None, metadata=OPTIONAL)
    fatigue_rsi_max: Annotated[
        int | None, whole(1, 100), f"Highest RSI over {FATIGUE_RSI_PERIOD} such bars."
    ] = field(default=None, metadata=OPTIONAL)
    fatigue_acceleration_bps_min: Annotated[
        int | None,
        whole(1, 1_000_000),
        "If the last such bar rose by this much more than the one before, a fatigued symbol may "
        "be entered anyway. Without the key: never.",
    ] = field(default=None, metadata=OPTIONAL)
    vadr_bar_interval: Annotated[
        str | None,
        INTERVAL,
        "Interval of the bars of VADR, one of market.bar_intervals that divides a day. VADR is "
        "the range of 24 hours over the close, times the root of their volume, relative to the "
        "median of its own last readings. Its three keys go together; market.warmup_bars has to "
        "cover 24 hours and the readings.",
    ] = field(default=None, metadata=OPTIONAL)
    vadr_bars: Annotated[
        int | None,
        whole(20, 1000),
        "Readings in that median, one per bar. With fewer, or with bars that are more than two "
        "lengths late or did not move, no entry is allowed.",
    ] = field(default=None, metadata=OPTIONAL)
    vadr_min: Annotated[
        str | None,
        RATIO_RULE,
        'Least VADR of an entry\'s symbol, such as "1.75" (blocks).',
    ] = field(default=None, metadata=OPTIONAL)
    entry_regimes: Annotated[
        tuple[str, ...] | None,
        listed(one_of("trending", "choppy", "highvol", MIXED), 1, 4),
        "Market regimes in which entries are allowed (blocks, also before the first scan). Needs "
        "the section scanner.",
    ] = field(default=None, metadata=OPTIONAL)
    protections: Annotated[
        tuple[ProtectionSection, ...] | None,
        {"minItems": 1, "maxItems": 32},
        "Protections, judged in this order at each closed trade; without the key none.",
    ] = field(default=None, metadata=listing(ProtectionSection))
    drawdown_tiers: Annotated[
        tuple[DrawdownTierSection, ...] | None,
        {"minItems": 1, "maxItems": 16},
        "Tiers of the account's drawdown, all below account_drawdown_bps_hard, which they need. "
        "Without the key the state stays ACTIVE.",
    ] = field(default=None, metadata=listing(DrawdownTierSection))
    account_drawdown_bps_hard: Annotated[
        int | None,
        whole(1, 10_000),
        "Fall from the account's high-water mark across carried runs (stops the run).",
    ] = field(default=None, metadata=OPTIONAL)
    week_notional_soft: Annotated[
        str | None,
        DECIMAL_POSITIVE,
        "Cost of a UTC week's entries, from Monday (blocks). A soft key of the week needs its "
        "hard one, and the reverse.",
    ] = field(default=None, metadata=OPTIONAL)
    week_notional_hard: Annotated[
        str | None, DECIMAL_POSITIVE, "Cost of a UTC week's entries (stops the run)."
    ] = field(default=None, metadata=OPTIONAL)
    week_loss_soft: Annotated[
        str | None, DECIMAL_POSITIVE, "Loss of a UTC week in quote (blocks)."
    ] = field(default=None, metadata=OPTIONAL)
    week_loss_hard: Annotated[
        str | None, DECIMAL_POSITIVE, "Loss of a UTC week in quote (stops the run)."
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSection:
    """The paper executor."""

    latency_market_ms: Annotated[
        int, whole(0, 60_000), "Modelled time of an order to the exchange and back."
    ]
    latency_drawn_market_ms: Annotated[
        tuple[int, ...] | None,
        {"minItems": 1, "maxItems": 10_000, "items": {"type": "integer", **whole(0, 60_000)}},
        "Measured times, of which each order draws one by the sha256 of the seed and the event id "
        "of its intent alone, instead of latency_market_ms; a time that was measured twice as "
        "often is listed twice.",
    ] = field(default=None, metadata=OPTIONAL)
    maker_fee_bps: Annotated[str, FEE_BPS, "Fee of a resting order."]
    taker_fee_bps: Annotated[str, FEE_BPS, "Fee of an order that takes liquidity."]
    tick_age_ms_max: Annotated[
        int, whole(1, 600_000), "Oldest tick that fills an order, market time."
    ]
    order_ttl_market_ms: Annotated[
        int,
        whole(1, 86_400_000),
        "Longest life of an order; one that rests until a trade triggers it does not expire.",
    ]
    left_trading: Annotated[
        str,
        one_of("hold", "cancel"),
        "Open orders of a symbol that leaves TRADING. hold: they stay, unfilled until it trades "
        "again or they expire. cancel: they are cancelled.",
    ] = field(default="hold", metadata=LATER)
    fee_asset: Annotated[
        str | None,
        one_of("quote", "base"),
        "What pays the fee of a purchase. quote: the quote asset, on top. base: the coins "
        "bought, as on Binance. A sale always pays in quote. With the key, free and reserved "
        "balances of every asset are listed, and a holding below the minimum order quantity is "
        "dust: it is listed, takes no slot, is not sold, and counts as worth nothing until the "
        "next purchase makes it sellable. Without the key: quote, and every holding is a "
        "position.",
    ] = field(default=None, metadata=OPTIONAL)
    order_counts: Annotated[
        bool | None,
        "Write the venue's bounds on trailing deltas and on a symbol's open orders, algo orders "
        "and order lists into `instrument`, and refuse what exceeds them. Without the key: "
        "neither.",
    ] = field(default=None, metadata=OPTIONAL)
    fill_model: Annotated[
        str,
        one_of("touch", "worse", "queue", "book"),
        "How orders are filled: docs/BACKTEST.md, Fill assumptions. `book` is `touch`, except "
        "that an order that takes goes on through the levels of the last recorded book, each at "
        "its price, and no deeper.",
    ] = field(default="touch", metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioSection:
    """Cash and positions."""

    quote_asset: Annotated[
        str,
        string(
            most=15,
            pattern="^[A-Z0-9]{2,15}$",
            title="2 to 15 upper-case letters and digits, such as USDT",
        ),
        "Asset that pays for purchases, and in which all amounts are counted.",
    ]
    cash: Annotated[str, DECIMAL_POSITIVE, "Quote amount at a fresh start."]
    at_end: Annotated[
        str,
        one_of("close", CARRY),
        "What happens to open positions at a planned end.",
    ]
    start_from: Annotated[str, one_of("fresh", CARRY), "What the run starts from."]
    close_market_ms: Annotated[
        int, whole(0, 3_600_000), "Time before the end in which positions are closed."
    ]

    @property
    def carries(self) -> bool:
        """True where positions go on from one run to the next."""
        return CARRY in (self.at_end, self.start_from)


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestSection:
    """Settings of backtests alone; a night refuses the section."""

    night_ms: Annotated[
        int | None,
        whole(60_000, 604_800_000),
        "How often the budgets of a night start again; verbs set it to duration_ms.",
    ] = field(default=None, metadata=OPTIONAL)
    spread_bps: Annotated[
        str | None,
        DECIMAL,
        "Spread of ask and bid, at least one price increment; 1 without the key.",
    ] = field(default=None, metadata=OPTIONAL)
    size_percent: Annotated[
        int | None,
        whole(1, 100),
        "Size on either side of the touch, as a percentage of one minute's volume of the bar "
        "before; 5 without the key.",
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSection:
    """Ranking of all symbols by the strategy role; without the section nothing is ranked."""

    bar_interval: Annotated[
        str,
        string(1, 4, pattern="^[1-9][0-9]?[smhd]$", title="the length of a bar, such as 15m"),
        "Interval of the bars that give the factors, one of market.bar_intervals; 15m by "
        "default. Without bars of 4h among those the regime is mixed.",
    ] = field(default="15m", metadata=OPTIONAL)
    mode: Annotated[
        str,
        one_of("time", "event"),
        "time: write each scan. event: write only a scan whose order has changed. time by default.",
    ] = field(default="time", metadata=OPTIONAL)
    every_market_ms: Annotated[
        int, whole(60_000, 86_400_000), "Time between two scans; 300000 by default."
    ] = field(default=300_000, metadata=OPTIONAL)
    watched_bars: Annotated[
        bool,
        "Request closed bars of the symbols that a dynamic universe watches, once per scan, and "
        "rank them too; entries stay within the traded symbols. false by default.",
    ] = field(default=False, metadata=OPTIONAL)
    score_min: Annotated[str, DECIMAL, "Least score of an opportunity; 60 by default."] = field(
        default="60", metadata=OPTIONAL
    )
    quote_volume_min: Annotated[
        str, DECIMAL, "Least quote volume over 96 bars; 100000 by default."
    ] = field(default="100000", metadata=OPTIONAL)
    range_bps_min: Annotated[str, DECIMAL, "Least mean range of a bar; 2 by default."] = field(
        default="2", metadata=OPTIONAL
    )
    range_bps_max: Annotated[str, DECIMAL, "Largest mean range of a bar; 500 by default."] = field(
        default="500", metadata=OPTIONAL
    )
    change_percent_max: Annotated[
        str, DECIMAL, "Largest rise over 96 bars of an opportunity; 12 by default."
    ] = field(default="12", metadata=OPTIONAL)
    bars_late_max: Annotated[
        int, whole(1, 96), "How many bars late the newest may be; 2 by default."
    ] = field(default=2, metadata=OPTIONAL)
    feed_age_market_ms_max: Annotated[
        int,
        whole(1_000, 604_800_000),
        "Largest age of a value from a local file; a day by default.",
    ] = field(default=86_400_000, metadata=OPTIONAL)
    regime_volatility_percent: Annotated[
        int,
        whole(0, 10_000),
        "Yearly volatility above which a market without a direction is highvol, else choppy; 25 by "
        "default.",
    ] = field(default=25, metadata=OPTIONAL)
    regime_above_percent: Annotated[
        int,
        whole(0, 100),
        "Share of symbols above their mean beyond which breadth is high; 60 by default.",
    ] = field(default=60, metadata=OPTIONAL)
    regime_thrust_percent: Annotated[
        int,
        whole(0, 100),
        "Share of rises in a day's bars beyond which thrust is high; 70 by default. With breadth "
        "it decides whether the market is trending, mixed or neither.",
    ] = field(default=70, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreProfile:
    """The sections that strategy, risk and executor read."""

    strategy: StrategySection
    risk: RiskSection
    execution: ExecutionSection
    portfolio: PortfolioSection
    backtest: BacktestSection
    scanner: ScannerSection | None

    @staticmethod
    def of(config: JsonObject) -> CoreProfile:
        """Return the sections of a resolved profile, as a manifest holds it."""
        scanner = config.get("scanner")
        return CoreProfile(
            strategy=section_of(StrategySection, config["strategy"]),
            risk=section_of(RiskSection, config["risk"]),
            execution=section_of(ExecutionSection, config["execution"]),
            portfolio=section_of(PortfolioSection, config["portfolio"]),
            backtest=section_of(BacktestSection, config.get("backtest") or {}),
            scanner=None if scanner is None else section_of(ScannerSection, scanner),
        )
