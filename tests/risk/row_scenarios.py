"""Scenarios of risk's rows: each check at its limit, and one step beyond.

A scenario examines the check of its own row alone, whatever the other rows decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from minibot.cores.wish import Wish
from minibot.events.model import BUY, JsonObject
from minibot.events.money import UNIT, amount_text, parse_amount
from minibot.risk.exits import UNKNOWN
from minibot.risk.limits import Limits
from minibot.risk.positions import UNSEEN
from minibot.risk.quotes import Quote
from tests.risk.desk import OTHER, SYMBOL
from tests.risk.row_world import (
    ENDS,
    EQUITY,
    HARD_AT_ONCE,
    LIMITS,
    NOTIONAL,
    NOW,
    RESERVED,
    STOP_BID,
    TARGET_BID,
    Change,
    World,
    bounded,
    closing,
    drawn,
    fallen,
    held_at_end,
    nothing,
    orders,
    others,
    put,
    reducing,
    selling,
    small,
    status,
    step,
    unstopped,
    wished,
)


@dataclass(frozen=True, eq=False)
class Scenario:
    """Scenario of a check that passes at its limit and fails one step beyond.

    Attributes:
        row: Function of the row, and the source of its check.
        reason: Reason code of the failure, or of a reduced order.
        passes: Name, value and limit of the passing check; empty where none is written.
        fails: Name, value and limit of the failing check.
        passing, failing: Bring a world to either side of the limit.
        outcome: Action and reason of the whole decision on the failing side.
        limits: The configuration of the world.
        is_held: True if the symbol is held.
    """

    row: str
    reason: str
    passes: str
    fails: str
    passing: Change
    failing: Change
    outcome: tuple[str, str]
    limits: JsonObject
    is_held: bool

    @property
    def function(self) -> str:
        """Name of the row's function."""
        return self.row.partition(":")[0]

    @property
    def name(self) -> str:
        """Name of the check."""
        return self.fails.partition(" ")[0]

    def worlds(self) -> tuple[World, World]:
        """Return the world in which the check passes, and the one in which it fails."""
        found = World(self.limits), World(self.limits)
        for world, change in zip(found, (self.passing, self.failing), strict=True):
            if self.is_held:
                world.hold(10 * UNIT)
            change(world)
        return found


Pair = tuple[Change, Change]


def _scenarios(function: str, *, is_held: bool, soft: bool = True) -> Callable[..., Scenario]:
    """Return the maker of scenarios for a function's rows."""

    def scenario(
        gate: str,
        reason: str,
        texts: tuple[str, str],
        changes: Pair,
        outcome: tuple[str, str] | None = None,
    ) -> Scenario:
        row, limits = f"{function}:{gate}", LIMITS if soft else HARD_AT_ONCE
        pair = outcome or ("BLOCK", reason)
        return Scenario(row, reason, *texts, *changes, pair, limits, is_held)

    return scenario


def over(name: str, limit: str, beyond: str) -> tuple[str, str]:
    """Return the texts of a check with its value at the limit, and beyond it."""
    return f"{name} {limit} / {limit}", f"{name} {beyond} / {limit}"


def amount(name: str, limit: int) -> tuple[str, str]:
    """Return the texts of a check on money, at the limit and one smallest unit beyond."""
    return over(name, f"{limit}.00000000", f"{limit}.00000001")


def less(name: str, value: int | str) -> tuple[str, str]:
    """Return the texts of a check whose limit is its value, and one smallest unit less."""
    whole = f"{value}.00000000" if isinstance(value, int) else value
    return f"{name} {whole} / {whole}", f"{name} {whole} / {amount_text(parse_amount(whole) - 1)}"


def stopped(loss_max: int) -> Change:
    """Return a change to a stop two below 100, a fee of ten bps, and two coins held."""
    return put(
        sizes__loss_max=loss_max,
        sizes__loss_price=100 * UNIT,
        sizes__loss_distance=2 * UNIT,
        sizes__loss_rate=100_000,
        sizes__held=2 * UNIT,
    )


def resting_with(count: int) -> Change:
    """Return a change to exits that rest with the executor, after so many orders."""

    def change(world: World) -> None:
        world.state.exits.rules.rests = True
        orders(count)(world)

    return change


def lasting(limit: int) -> Change:
    """Return a change to a purchase at a limit, which an order of the profile outlasts."""
    return put(wish=Wish(limit=limit), limits__order_ttl_ms=60_000)


def limits_open(count: int) -> Change:
    """Return a change to so many limits that rest, of three, and another that is wanted."""

    def change(world: World) -> None:
        lasting(99 * UNIT)(world)
        for _ in range(count):
            world.state.quotes.add(Quote(world.signal(BUY), UNIT, 100 * UNIT, NOW, 1_000))

    return change


def unguarded(close: int, policy: int | None = None, has_plan: bool = False) -> Change:
    """Return a change to exits without ATRs, and a last close."""
    return put(
        exits__close=close,
        state__exits__rules__needs_atr=False,
        state__limits__policy_version=policy,
        state__exits__rules__plan__has_levels=has_plan,
    )


def trailed_after(bars: int) -> Change:
    """Return a change to a trail in ATRs, wanted after so many bars."""

    def change(world: World) -> None:
        wished(trail_atr=20_000)(world)
        world.exits.atr.count = bars

    return change


# From a profile with the key; without the key there is no check of the spread.
ONE_BPS: Final = Limits(
    {**LIMITS, "risk": {**LIMITS["risk"], "entry_spread_bps_max": 1}}
).entry_spread_max
# A tenth of the night is over and a tenth is the head start: a fifth of 30,000 may be used.
PACED: Final = {
    "state__limits__pace_percent": 10,
    "state__limits__pace_ms": 1_000_000,
    "budgets___night_from": NOW - 100_000,
}
PACED_MAX: Final = 6_000 * UNIT - RESERVED - NOTIONAL

REDUCED: Final = ("REDUCE", "reduced")
STOPPED: Final = ("STOP", "RISK_LIMIT")
CASH: Final = (1_001 + 11) * UNIT + 11 * UNIT // 1_000
"""The order with its fee, and the amount that the other symbol's order reserves with its own."""

_entry = _scenarios("entry_rows", is_held=False)
_level = _scenarios("level_rows", is_held=False)
_size = _scenarios("size_rows", is_held=False)
_order = _scenarios("size_entry", is_held=False)
_sizing = _scenarios("sizing_rows", is_held=False)
_wish = _scenarios("wish_rows", is_held=False)
_loss = _scenarios("loss_rows", is_held=False)
_hard = _scenarios("hard_rows", is_held=False, soft=False)
_sell = _scenarios("sell_rows", is_held=True)
_part = _scenarios("part_rows", is_held=True)
_sale = _scenarios("size_exit", is_held=True)
_request = _scenarios("request_rows", is_held=True)
_level = _scenarios("level_rows", is_held=True)
_asked = _scenarios("on_exit_position", is_held=True)
_leave = _scenarios("leave", is_held=True)
_exit = _scenarios("_exit", is_held=True)
_equity = _scenarios("hard_rows", is_held=False)

SHARED: Final[tuple[tuple[str, str, tuple[str, str], Pair], ...]] = (
    (
        "SIGNAL_AGE",
        "stale_signal",
        over("signal_age_ms", "3100", "3101"),
        step("signal_ts", NOW - 3_100, -1),
    ),
    (
        "SIGNAL_AGE",
        "stale_signal",
        ("signal_age_ms 7 / 7", "signal_age_ms 7 / 6"),
        step("horizon_ms", 7, -1),
    ),
    (
        "DECIDED_BEFORE",
        "duplicate",
        over("signal_decided_before", "no", "yes"),
        (nothing, World.decided),
    ),
    (
        "status_gate(rules)",
        "not_trading",
        over("instrument_status", "TRADING", "BREAK"),
        (nothing, status("BREAK")),
    ),
    (
        "status_gate(rules)",
        "no_instrument",
        over("instrument_status", "TRADING", "none"),
        (nothing, put(market__rules=None)),
    ),
    (
        "TICK_AGE",
        "stale_tick",
        over("tick_age_ms", "5200", "5201"),
        step("market__ts", NOW - 5_200, -1),
    ),
    (
        "mark_gate(market)",
        "no_mark",
        ("", "mark crossed / bid and ask"),
        (nothing, put(market__has_mid=False)),
    ),
    (
        "mark_gate(market)",
        "stale_tick",
        ("", "mark gap / bid and ask"),
        (nothing, put(market__is_fresh=False)),
    ),
    (
        "mark_gate(market)",
        "no_mark",
        ("", "mark none / bid and ask"),
        (nothing, put(market__ts=UNSEEN, market__is_fresh=False)),
    ),
)
"""Checks that entries and SELL signals share."""

ENTRIES: Final = (
    _entry(
        "_ending_gate(until)",
        "run_ending",
        over("run_ending", "none", str(ENDS)),
        (nothing, put(state__exits__ending_until=ENDS)),
    ),
    _level(
        "KEEPS_LEVELS",
        "no_plan",
        over("keeps_levels", "yes", "no"),
        (wished(stop=UNIT), wished(stop=UNIT, plan=False)),
    ),
    _level(
        "TRAIL_BARS",
        "warmup",
        over("trail_atr_bars", "14", "13"),
        (trailed_after(14), trailed_after(13)),
    ),
    _level(
        "WISHED_LIMIT",
        "limit_crosses",
        ("wished_limit 99.99999999 / 100.00000000", "wished_limit 100.00000000 / 100.00000000"),
        (lasting(100 * UNIT - 1), lasting(100 * UNIT)),
    ),
    _level(
        "WISHED_STOP",
        "wish_reached",
        (
            "wished_stop 99.98000000 / 99.99000000",
            "wished_stop 99.99000000 / 99.99000000",
        ),
        (wished(stop=9_998_000_000), wished(stop=9_999_000_000)),
    ),
    _level(
        "WISHED_TARGET",
        "wish_reached",
        (
            "wished_target 100.01000000 / 100.00000000",
            "wished_target 100.00000000 / 100.00000000",
        ),
        (wished(target=100 * UNIT + UNIT // 100), wished(target=100 * UNIT)),
    ),
    _entry(
        "IS_HALTED",
        "halted",
        over("halted", "no", "yes"),
        (nothing, put(state__halts__is_halted=True)),
    ),
    _entry(
        "IS_LOCKED",
        "symbol_locked",
        over("symbol_locked", "no", "yes"),
        (put(state__halts__until={SYMBOL: NOW}), put(state__halts__until={SYMBOL: NOW + 1})),
    ),
    *(
        _entry(
            f"OF_{code.upper()}",
            code,
            over(f"{code}_ms", "0", "1"),
            (
                put(state__protections__locks={code: {scope: NOW}}),
                put(state__protections__locks={code: {scope: NOW + 1}}),
            ),
        )
        for code, scope in (
            ("stoploss_guard", "*"),
            ("cooldown_period", SYMBOL),
            ("max_drawdown", "*"),
            ("low_profit_pairs", SYMBOL),
            ("losses_in_row", "*"),
        )
    ),
    _entry(
        "IN_UNIVERSE",
        "not_in_universe",
        over("in_universe", "yes", "no"),
        (nothing, put(state__universe=frozenset((OTHER,)))),
    ),
    _entry(
        "IN_UNIVERSE",
        "not_in_universe",
        ("", "in_universe no / yes"),
        (put(state__universe=None), put(state__universe=frozenset())),
    ),
    _entry(
        "NO_EXIT_REQUEST",
        "operator_exit",
        ("", "exit_position asked / none"),
        (nothing, put(exits__is_exit_requested=True)),
    ),
    _entry(
        "policy_gate(exits.policy_exit)",
        "left_trading",
        ("", "policy close / hold"),
        (nothing, put(exits__policy_exit="left_trading")),
    ),
    *(_entry(*row) for row in SHARED),
    _entry(
        "ORDER_PENDING", "pending_order", over("order_pending", "no", "yes"), (nothing, selling(1))
    ),
    _entry(
        "LIMIT_ENTRIES",
        "limit_entries_max",
        over("limit_entries", "3", "4"),
        (limits_open(2), limits_open(3)),
    ),
    _entry("POSITIONS", "positions_max", over("positions", "6", "7"), (others(4), others(5))),
    _entry(
        "DEVIATION",
        "reference_deviation",
        over("reference_deviation_bps", "130.0000", "130.0001"),
        step("market__price", 10_130 * UNIT // 100),
    ),
    _entry(
        "DEVIATION",
        "reference_deviation",
        ("", "reference_deviation_bps 130.0001 / 130.0000"),
        (put(exits__close=UNKNOWN), put(market__price=9_870 * UNIT // 100 - 1)),
    ),
    _entry(
        "SPREAD",
        "spread_limit",
        over("spread_bps", "1.0000", "1.0001"),
        (
            put(state__limits__entry_spread_max=ONE_BPS, market__ask=10_000_002_500),
            put(state__limits__entry_spread_max=ONE_BPS, market__ask=10_000_002_501),
        ),
    ),
    _entry(
        "SPREAD",
        "spread_limit",
        ("", "spread_bps 1.0001 / 1.0000"),
        (
            put(market__ask=10_000_002_501),
            put(state__limits__entry_spread_max=ONE_BPS, market__ask=10_000_002_501),
        ),
    ),
    _entry(
        "STOP_AT_ASK",
        "spread_limit",
        ("", "stop_at_ask 94.00000000 / 94.00000000"),
        (put(market__bid=94 * UNIT + 1), put(market__bid=94 * UNIT)),
    ),
    _entry(
        "REFERENCE_BARS",
        "warmup",
        ("", "reference_bars 0 / 1"),
        (unguarded(100 * UNIT, policy=1), unguarded(UNKNOWN, policy=1)),
    ),
    _entry(
        "REFERENCE_BARS",
        "warmup",
        ("", "reference_bars 0 / 1"),
        (unguarded(UNKNOWN), unguarded(UNKNOWN, has_plan=True)),
    ),
    _entry("ATR_BARS", "warmup", over("atr_bars", "14", "13"), step("exits__atr__count", 14, -1)),
    _entry(
        "ATR_BARS",
        "warmup",
        ("", "atr_bars 0 / 14"),
        (put(exits__atr__count=0, state__exits__rules__needs_atr=False), put(exits__atr__count=0)),
    ),
    _entry(
        "state.regimes.gate()",
        "regime_excluded",
        ("market_regime choppy / choppy", "market_regime trending / choppy, highvol"),
        (nothing, put(state__regimes__regime="trending")),
    ),
    _entry(
        "state.regimes.gate()",
        "regime_excluded",
        ("market_regime highvol / highvol", "market_regime none / choppy, highvol"),
        (put(state__regimes__regime="highvol"), put(state__regimes__regime="")),
    ),
    _entry(
        "OF_NIGHT_LOSS",
        "night_loss",
        amount("night_loss", 101),
        step("budgets__night_level", EQUITY + 101 * UNIT),
    ),
    _entry(
        "OF_DAY_LOSS",
        "day_loss",
        amount("day_loss", 202),
        step("budgets__day_level", EQUITY + 202 * UNIT),
    ),
    _entry(
        "OF_WEEK_LOSS",
        "week_loss",
        amount("week_loss", 303),
        step("budgets__week_level", EQUITY + 303 * UNIT),
    ),
    _entry(
        "OF_ACCOUNT_DRAWDOWN",
        "account_drawdown",
        over("account_drawdown_bps", "1414.0000", "1414.0001"),
        (fallen(51_516 * UNIT), fallen(51_516 * UNIT - 1)),
    ),
    _entry(
        "OF_DRAWDOWN",
        "drawdown",
        over("drawdown_bps", "101.0000", "101.0001"),
        (drawn(59_394 * UNIT), drawn(59_394 * UNIT - 1)),
    ),
    _entry(
        "OF_ORDER_RATE",
        "order_rate",
        over("orders_per_minute", "17", "18"),
        (orders(16), orders(17)),
    ),
    _entry(
        "PACE",
        "night_notional_pace",
        amount("night_notional_paced", 6_000),
        (
            put(budgets__night_notional=PACED_MAX, **PACED),
            put(budgets__night_notional=PACED_MAX + 1, **PACED),
        ),
    ),
    _entry(
        "PACE",
        "night_notional_pace",
        ("", "night_notional_paced 6000.00000001 / 6000.00000000"),
        (
            put(budgets__night_notional=PACED_MAX + 1),
            put(budgets__night_notional=PACED_MAX + 1, **PACED),
        ),
    ),
    _size(
        "POSITION_NOTIONAL",
        "position_limit",
        amount("position_notional", 40_000),
        step("market__value", 39_000 * UNIT),
        REDUCED,
    ),
    _size(
        "CASH_WITH_FEE",
        "insufficient_cash",
        (
            "cash_with_fee 1000.00000000 / 1000.00000000",
            "cash_with_fee 1000.00000000 / 999.99999999",
        ),
        step("positions__cash", CASH, -1),
        REDUCED,
    ),
    _size(
        "EXPOSURE",
        "exposure_limit",
        amount("exposure", 60_000),
        step("positions__worth", EQUITY - RESERVED - NOTIONAL),
        REDUCED,
    ),
    _size(
        "OF_NIGHT_NOTIONAL",
        "night_notional",
        amount("night_notional", 30_000),
        step("budgets__night_notional", 30_000 * UNIT - RESERVED - NOTIONAL),
        REDUCED,
    ),
    _size(
        "OF_DAY_NOTIONAL",
        "day_notional",
        amount("day_notional", 20_000),
        step("budgets__day_notional", 20_000 * UNIT - RESERVED - NOTIONAL),
        REDUCED,
    ),
    _size(
        "OF_WEEK_NOTIONAL",
        "week_notional",
        amount("week_notional", 25_000),
        step("budgets__week_notional", 25_000 * UNIT - RESERVED - NOTIONAL),
        REDUCED,
    ),
    _size(
        "TIER_NOTIONAL",
        "drawdown_tier",
        (
            "tier_notional 1000.00000000 / 1000.00000000",
            "tier_notional 1000.00000000 / 990.00000000",
        ),
        (reducing(100), reducing(99)),
        REDUCED,
    ),
    _order(
        "POSITION_QTY",
        "position_max",
        amount("position_qty", 30),
        (bounded(20 * UNIT), bounded(20 * UNIT + 1)),
        REDUCED,
    ),
    _order(
        "POSITION_QTY",
        "position_max",
        ("", "position_qty 30.00000001 / 30.00000000"),
        (put(market__qty=20 * UNIT + 1), bounded(20 * UNIT + 1)),
        REDUCED,
    ),
    _order(
        "ORDER_NOTIONAL",
        "min_notional",
        (
            "order_notional 1000.00000000 / 1000.00000000",
            "order_notional 1000.00000000 / 1000.00000001",
        ),
        (unstopped("1000"), unstopped("1000.00000001")),
    ),
    _hard(
        "night.hard_gate",
        "",
        amount("night_notional_hard", 31_000),
        step("budgets__night_notional", 31_000 * UNIT - RESERVED - NOTIONAL),
        STOPPED,
    ),
    _hard(
        "day.hard_gate",
        "",
        amount("day_notional_hard", 21_000),
        step("budgets__day_notional", 21_000 * UNIT - RESERVED - NOTIONAL),
        STOPPED,
    ),
    _hard(
        "week.hard_gate",
        "",
        amount("week_notional_hard", 26_000),
        step("budgets__week_notional", 26_000 * UNIT - RESERVED - NOTIONAL),
        STOPPED,
    ),
    _hard(
        "rate.hard_gate",
        "",
        over("orders_per_minute_hard", "23", "24"),
        (orders(22), orders(23)),
        STOPPED,
    ),
)

SIZES: Final = (
    *(
        _sizing(gate, gate_name, texts, step(f"sizes__{bound}", limit, -1))
        for gate, gate_name, texts, bound, limit in (
            ("BY_SHARE", "size_share", less("size_share", 1_000), "share", NOTIONAL),
            ("BY_RISK", "size_risk", less("size_risk", 1_000), "risk", NOTIONAL),
            ("BY_KELLY", "size_kelly", less("size_kelly", 1_000), "kelly", NOTIONAL),
            (
                "BY_VOLATILITY",
                "size_volatility",
                less("size_volatility", 1_000),
                "volatility",
                NOTIONAL,
            ),
            ("BY_QTY_MAX", "qty_max", less("size_qty_max", 1_000), "qty_max", NOTIONAL),
            (
                "BY_NOTIONAL_MAX",
                "notional_max",
                less("size_notional_max", 1_000),
                "notional_max",
                NOTIONAL,
            ),
            # 5 held and 11 reserved in all; 3 held of the symbol.
            (
                "BUCKET",
                "bucket_limit",
                less("bucket_active", 1_016),
                "active",
                NOTIONAL + 16 * UNIT,
            ),
            (
                "SHARE_OF_BUCKET",
                "position_share",
                less("position_share", 1_003),
                "share_max",
                NOTIONAL + 3 * UNIT,
            ),
            (
                "SYMBOL_CAP",
                "symbol_limit",
                less("symbol_notional", 1_003),
                "symbol_max",
                NOTIONAL + 3 * UNIT,
            ),
            (
                "CLUSTER",
                "cluster_limit",
                less("cluster_notional", 1_000),
                "cluster_max",
                NOTIONAL,
            ),
        )
    ),
    # A strategy wants as much as it may, and a smallest unit more: risk cuts that.
    _wish(
        "BY_WISH",
        "size_wish",
        amount("size_wish", 900),
        step("sizes__wish", 900 * UNIT),
    ),
    # Ten coins and two that are held: a stop at 98 loses 24, a turnover of 198 a coin costs 2.376.
    _loss(
        "LOSS_AT_STOP",
        "size_risk",
        less("loss_at_stop", "26.37600004"),
        (stopped(2_637_600_004), stopped(2_637_600_003)),
    ),
)
"""Bounds of sizing: each passes at its limit, and fails once the limit is a step lower."""

EXITS: Final = (
    *(_sell(*row) for row in SHARED),
    _sell(
        "LEAVES_ON_SIGNAL",
        "signal_exit",
        over("signal_exit", "yes", "no"),
        (nothing, put(state__exits__rules__signal_exit=False)),
    ),
    _sell(
        "LOTS",
        "no_position",
        over("position_lots", "1", "0"),
        (lambda world: world.hold(10 * UNIT, lots=1), put(market__holding=None)),
    ),
    _part("PART_QTY", "", amount("part_qty", 10), step("qty", 10 * UNIT)),
    _part(
        "PART_RATE",
        "order_rate",
        over("part_orders_per_minute", "22", "23"),
        (orders(21), orders(22)),
    ),
    _part(
        "PART_RATE",
        "order_rate",
        over("part_orders_per_minute", "22", "23"),
        (resting_with(20), resting_with(21)),
    ),
    _sale(
        "EXIT_PENDING", "pending_order", over("exit_pending", "no", "yes"), (nothing, selling(UNIT))
    ),
    _sale(
        "EXIT_QTY", "qty_min", over("exit_qty", "0.00200000", "0.00100000"), (small(2), small(1))
    ),
    _request(
        "NO_EXIT_REQUEST",
        "operator_exit",
        over("exit_position", "none", "asked"),
        (nothing, put(exits__is_exit_requested=True)),
    ),
    _request(
        "policy_gate(exits.policy_exit)",
        "universe_exit",
        over("policy", "hold", "close"),
        (held_at_end, closing("universe_exit")),
    ),
    _request(
        "NOT_ENDING",
        "end_exit",
        over("run_ending", str(ENDS), str(ENDS - 1)),
        (
            put(state__exits__ending_until=ENDS, state__now=ENDS),
            put(state__exits__ending_until=ENDS, state__now=ENDS - 1),
        ),
    ),
    _request(
        "NOT_ENDING",
        "end_exit",
        ("", f"run_ending {NOW} / {ENDS}"),
        (
            put(state__exits__ending_until=ENDS, state__exits__rules__closes_at_end=False),
            put(state__exits__ending_until=ENDS),
        ),
    ),
    _level(
        "STOP_PRICE",
        "stop_loss",
        ("stop_price 61.00000001 / 61.00000000", "stop_price 61.00000000 / 61.00000000"),
        (put(exits__stop_distance=1, bid=STOP_BID + 1), put(exits__stop_distance=1, bid=STOP_BID)),
    ),
    _level(
        "STOP_PRICE",
        "stop_loss",
        ("", "stop_price 60.99999999 / 61.00000000"),
        (put(bid=STOP_BID - 1), put(exits__stop_distance=1, bid=STOP_BID - 1)),
    ),
    _level(
        "TARGET_PRICE",
        "take_profit",
        ("target_price 166.99999999 / 167.00000000", "target_price 167.00000000 / 167.00000000"),
        (
            put(exits__target_distance=1, bid=TARGET_BID - 1),
            put(exits__target_distance=1, bid=TARGET_BID),
        ),
    ),
    _level(
        "TARGET_PRICE",
        "take_profit",
        ("", "target_price 167.00000001 / 167.00000000"),
        (put(bid=TARGET_BID + 1), put(exits__target_distance=1, bid=TARGET_BID + 1)),
    ),
    _level(
        "HELD_MS",
        "time_exit",
        ("held_ms 90999 / 91000", "held_ms 91000 / 91000"),
        step("now", ENDS - 1),
    ),
    _asked(
        "LOTS",
        "no_position",
        ("", "position_lots 0 / 1"),
        (nothing, lambda world: world.positions.held.pop(SYMBOL)),
    ),
    _leave(
        "status_gate(rules)",
        "not_trading",
        over("instrument_status", "TRADING", "BREAK"),
        (nothing, status("BREAK")),
    ),
    _exit(
        "rate.hard_gate",
        "",
        ("", "orders_per_minute_hard 24 / 23"),
        (orders(22), orders(23)),
        STOPPED,
    ),
)

EQUITY_LIMITS: Final = (
    _equity(
        "night.hard_gate",
        "",
        amount("night_notional_hard", 31_000),
        step("budgets__night_notional", 31_000 * UNIT),
    ),
    _equity(
        "day.hard_gate",
        "",
        amount("day_notional_hard", 21_000),
        step("budgets__day_notional", 21_000 * UNIT),
    ),
    _equity(
        "night_loss.hard_gate",
        "",
        amount("night_loss_hard", 1_001),
        step("budgets__night_level", EQUITY + 1_001 * UNIT),
    ),
    _equity(
        "day_loss.hard_gate",
        "",
        amount("day_loss_hard", 2_002),
        step("budgets__day_level", EQUITY + 2_002 * UNIT),
    ),
    _equity(
        "week.hard_gate",
        "",
        amount("week_notional_hard", 26_000),
        step("budgets__week_notional", 26_000 * UNIT),
    ),
    _equity(
        "week_loss.hard_gate",
        "",
        amount("week_loss_hard", 3_003),
        step("budgets__week_level", EQUITY + 3_003 * UNIT),
    ),
    _equity(
        "whole.hard_gate",
        "",
        over("account_drawdown_bps_hard", "1515.0000", "1515.0001"),
        (fallen(50_910 * UNIT), fallen(50_910 * UNIT - 1)),
    ),
    _equity(
        "drawdown.hard_gate",
        "",
        over("drawdown_bps_hard", "1010.0000", "1010.0001"),
        (drawn(53_940 * UNIT), drawn(53_940 * UNIT - 1)),
    ),
)
