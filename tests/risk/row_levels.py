"""Scenarios of levels: rows of a plan, of an order that rests and of its triggers."""

from __future__ import annotations

from typing import Final

from minibot.events.money import UNIT
from tests.risk.row_scenarios import _scenarios, over
from tests.risk.row_world import (
    ENDS,
    HORIZON,
    NOW,
    STOP_BID,
    TARGET_BID,
    nothing,
    orders,
    put,
    rung,
    step,
)

_plan = _scenarios("plan_rows", is_held=True)
_trigger = _scenarios("trigger_rows", is_held=True)
_unsold = _scenarios("unsold_rows", is_held=True)
_return = _scenarios("return_rows", is_held=False)
_depth = _scenarios("depth_rows", is_held=False)
_vadr = _scenarios("vadr_rows", is_held=False)
_rest = _scenarios("rest_rows", is_held=True)

FLOOR: Final = ("61.00000001 / 61.00000000", "61.00000000 / 61.00000000")
CEILING: Final = ("166.99999999 / 167.00000000", "167.00000000 / 167.00000000")


def _texts(name: str, numbers: tuple[str, str]) -> tuple[str, str]:
    return f"{name} {numbers[0]}", f"{name} {numbers[1]}"


PLANS: Final = (
    *(
        _plan(
            gate,
            reason,
            _texts(name, FLOOR),
            (
                put(**{f"plan__{level}": STOP_BID, "bid": STOP_BID + 1}),
                put(**{f"plan__{level}": STOP_BID, "bid": STOP_BID}),
            ),
        )
        for gate, reason, name, level in (
            ("STOP_PRICE", "stop_loss", "stop_price", "stop"),
            ("HARD_PRICE", "hard_stop", "hard_stop_price", "hard"),
            ("EVEN_PRICE", "break_even", "break_even_price", "even"),
            ("TRAIL_PRICE", "trailing_stop", "trail_price", "trail"),
            ("OWN_PRICE", "signal_stop", "signal_stop_price", "own"),
        )
    ),
    *(
        # A level behind the one in force is not asked.
        _plan(
            gate,
            reason,
            ("", f"{name} 60.00000000 / 61.00000000"),
            (
                put(**{f"plan__{level}": STOP_BID - 1, front: STOP_BID, "bid": 60 * UNIT}),
                put(**{f"plan__{level}": STOP_BID, "bid": 60 * UNIT}),
            ),
        )
        for gate, reason, name, level, front in (
            ("STOP_PRICE", "stop_loss", "stop_price", "stop", "plan__trail"),
            ("HARD_PRICE", "hard_stop", "hard_stop_price", "hard", "plan__stop"),
            ("EVEN_PRICE", "break_even", "break_even_price", "even", "plan__trail"),
            ("TRAIL_PRICE", "trailing_stop", "trail_price", "trail", "plan__even"),
            ("OWN_PRICE", "signal_stop", "signal_stop_price", "own", "plan__hard"),
        )
    ),
    *(
        _plan(
            gate,
            reason,
            _texts(name, CEILING),
            (
                put(**{f"plan__{level}": TARGET_BID, "bid": TARGET_BID - 1}),
                put(**{f"plan__{level}": TARGET_BID, "bid": TARGET_BID}),
            ),
        )
        for gate, reason, name, level in (
            ("TARGET_PRICE", "take_profit", "target_price", "target"),
            ("AGE_PRICE", "age_target", "age_target_price", "age"),
            ("OWN_TARGET", "signal_target", "signal_target_price", "own_target"),
        )
    ),
    _plan(
        "LADDER_PRICE",
        "ladder_target",
        _texts("ladder_price", CEILING),
        (rung(TARGET_BID - 1), rung(TARGET_BID)),
    ),
    _plan(
        "DATA_GAP_MS",
        "stale_exit",
        ("data_gap_ms 6999 / 7000", "data_gap_ms 7000 / 7000"),
        step("plan__gap_ts", NOW - 6_999, -1),
    ),
    _plan(
        "DATA_GAP_MS",
        "stale_exit",
        ("", "data_gap_ms 7000 / 7000"),
        (
            put(plan__gap_ts=NOW - 7_000, plan_rules__stale_ms=None),
            put(plan__gap_ts=NOW - 7_000),
        ),
    ),
    _plan(
        "SILENT_MS",
        "stale_exit",
        ("silent_ms 7999 / 8000", "silent_ms 8000 / 8000"),
        step("plan__silent_ts", NOW - 7_999, -1),
    ),
    _plan(
        "SILENT_MS",
        "stale_exit",
        ("", "silent_ms 8000 / 8000"),
        (
            put(plan__silent_ts=NOW - 8_000, plan_rules__silent_ms=None),
            put(plan__silent_ts=NOW - 8_000),
        ),
    ),
    _plan(
        "HORIZON_MS",
        "horizon_exit",
        ("horizon_ms 79999 / 80000", "horizon_ms 80000 / 80000"),
        (
            put(plan__opened_ts=NOW - HORIZON + 1, horizon=HORIZON),
            put(plan__opened_ts=NOW - HORIZON, horizon=HORIZON),
        ),
    ),
    _plan(
        "HORIZON_MS",
        "horizon_exit",
        ("", "horizon_ms 80000 / 80000"),
        (
            put(plan__opened_ts=NOW - HORIZON),
            put(plan__opened_ts=NOW - HORIZON, horizon=HORIZON),
        ),
    ),
    _plan(
        "HELD_MS",
        "time_exit",
        ("held_ms 90999 / 91000", "held_ms 91000 / 91000"),
        step("now", ENDS - 1),
    ),
)

TRIGGERS: Final = (
    *(
        _trigger(
            "STOP_TRADES[stop_why]",
            reason,
            _texts(name, FLOOR),
            (
                put(levels=(STOP_BID, None), reasons=(reason, "take_profit"), bid=STOP_BID + 1),
                put(levels=(STOP_BID, None), reasons=(reason, "take_profit"), bid=STOP_BID),
            ),
        )
        for reason, name in (
            ("stop_loss", "stop_trade"),
            ("hard_stop", "hard_stop_trade"),
            ("break_even", "break_even_trade"),
            ("trailing_stop", "trail_trade"),
            ("signal_stop", "signal_stop_trade"),
        )
    ),
    *(
        _trigger(
            "TARGET_TRADES[target_why]",
            reason,
            _texts(name, CEILING),
            (
                put(levels=(None, TARGET_BID), reasons=("stop_loss", reason), bid=TARGET_BID - 1),
                put(levels=(None, TARGET_BID), reasons=("stop_loss", reason), bid=TARGET_BID),
            ),
        )
        for reason, name in (
            ("take_profit", "target_trade"),
            ("age_target", "age_target_trade"),
            ("signal_target", "signal_target_trade"),
        )
    ),
    _trigger(
        "STOP_TRADES[stop_why]",
        "stop_loss",
        ("", "stop_trade 61.00000000 / 61.00000000"),
        (put(levels=(STOP_BID, None), bid=0), put(levels=(STOP_BID, None), bid=STOP_BID)),
    ),
    _trigger(
        "TARGET_TRADES[target_why]",
        "take_profit",
        ("", "target_trade 167.00000000 / 167.00000000"),
        (put(bid=TARGET_BID), put(levels=(None, TARGET_BID), bid=TARGET_BID)),
    ),
    *(
        _unsold(
            "UNSOLD[why]",
            reason,
            ("unsold_qty 0.00000000 / 0.00000000", "unsold_qty 0.00000001 / 0.00000000"),
            (put(qty=0, reasons=(reason, "")), put(qty=1, reasons=(reason, ""))),
        )
        for reason in ("stop_loss", "hard_stop", "trailing_stop", "take_profit", "age_target")
    ),
)

RETURN_ROWS: Final = (
    *(
        _return(
            gate,
            "warmup",
            over(bars, str(needed), str(needed - 1)),
            step(f"reading__{bars}", needed, -1),
        )
        for gate, bars, needed in (
            ("CORRELATION_BARS", "correlation_bars", 31),
            ("BENCHMARK_BARS", "benchmark_bars", 31),
            ("VOLATILITY_BARS", "volatility_bars", 37),
            ("DRIFT_BARS", "drift_bars", 23),
        )
    ),
    *(
        _return(
            gate,
            reason,
            over(
                reason,
                f"{most // 10_000}.{most % 10_000:04}",
                f"{most // 10_000}.{most % 10_000 + 1:04}",
            ),
            step(f"reading__{figure}", most),
        )
        for gate, reason, figure, most in (
            ("OF_CORRELATION", "correlation", "with_held", 7_100),
            ("OF_BENCHMARK", "benchmark_correlation", "with_benchmark", 7_200),
            ("OF_VOLATILITY", "volatility_ratio", "ratio", 18_000),
            ("OF_DRIFT", "drift", "shift", 6_100),
        )
    ),
)
"""Checks by closed bars."""

DEPTH_ROWS: Final = (
    _depth(
        "venue_gate(reading)",
        "no_book",
        over("book_venue", "binance", "none"),
        (nothing, put(depth__venue="")),
    ),
    _depth(
        "venue_gate(reading)",
        "foreign_venue",
        over("book_venue", "binance", "coingecko"),
        (nothing, put(depth__venue="coingecko")),
    ),
    _depth(
        "BOOK_AGE",
        "stale_book",
        over("book_age_ms", "5200", "5201"),
        step("depth__age_ms", 5_200),
    ),
    *(
        _depth(
            "depth_gate(reading)",
            reason,
            (
                "depth_notional 61.00000000 / 61.00000000",
                "depth_notional 60.99999999 / 61.00000000",
            ),
            (
                put(depth__notional=61 * UNIT, depth__is_whole=is_whole),
                put(depth__notional=61 * UNIT - 1, depth__is_whole=is_whole),
            ),
        )
        for reason, is_whole in (("thin_book", True), ("short_book", False))
    ),
)
"""Checks of the book."""

VADR_ROWS: Final = (
    _vadr(
        "READINGS",
        "vadr_frozen",
        over("vadr_readings", "27", "26"),
        step("vadr__count", 27, -1),
    ),
    _vadr(
        "OF_VADR",
        "vadr_low",
        over("vadr_ratio", "1.7500", "1.7499"),
        step("vadr__ratio", 17_500, -1),
    ),
)
"""Checks of VADR."""

RESTS: Final = (
    _rest(
        "status_gate(rules)",
        "not_trading",
        over("instrument_status", "TRADING", "BREAK"),
        (nothing, lambda world: world.rules(status="BREAK")),
    ),
    _rest(
        "REST_RATE",
        "order_rate",
        over("rest_orders_per_minute", "22", "23"),
        (orders(21), orders(22)),
    ),
    _rest(
        "EXIT_QTY",
        "",
        ("exit_qty 0.00100000 / 0.00100000", "exit_qty 0.00099999 / 0.00100000"),
        step("qty", UNIT // 1_000, -1),
    ),
)
