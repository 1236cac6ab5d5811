"""Holdings of a run at a market time: positions with value, sector, beta, horizon and exits.

Levels come from the last plan that risk reported, together with the exit orders that rest.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from minibot.accounting.market_projection import MarketProjection
from minibot.accounting.performance import Performance
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import PROGRESS_EVERY
from minibot.events.model import (
    EXIT,
    Event,
    Incident,
    JsonObject,
    MarketTick,
    OrderIntent,
    OrderResult,
    PositionPlan,
    StopJournal,
)
from minibot.events.money import amount_text, proceeds_down
from minibot.events.names import (
    FILLS,
    INCIDENTS,
    ORDER_INTENTS,
    ORDER_RESULTS,
    RISK_ACTIONS,
    STOP_JOURNAL,
    TICKS,
)
from minibot.replay.explain.checks import price_text
from minibot.replay.explain.lines import levels_text, plain
from minibot.replay.explain.snapshot_at import OPEN_RESULTS
from minibot.replay.partial_run import PartialRun
from minibot.report.figures import NONE, date_clock
from minibot.report.minute_returns import MinuteReturns
from minibot.report.recount import Progress
from minibot.report.run_kind import is_expected
from minibot.runtime.configuration.config_files import parse
from minibot.runtime.manifest import Manifest
from minibot.runtime.stop import STOP_KIND

BENCHMARK: Final = "BTCUSDT"
AT_THE_MARKET: Final = "MARKET"
"""The order type that waits for no price."""
SECTORS_FILE: Final = Path(__file__).resolve().parent / "sectors.v1.json"
STOPS_OF_PLAN: Final = {
    "stop_hard": "hard stop",
    "stop_entry": "entry stop",
    "stop_break_even": "break-even",
    "stop_trailing": "trailing stop",
    "stop_signal": "stop of the strategy",
    "target_signal": "target of the strategy",
}
WORD: Final = re.compile(r"[A-Z0-9]+")


class Alert(NamedTuple):
    """Incident or STOP of a run, with its market time."""

    ts: int
    component: str
    kind: str
    detail: str
    times: int

    def to_json(self) -> JsonObject:
        """Return the alert as one JSON object."""
        return self._asdict()


class HeldPosition(NamedTuple):
    """Open position with the figures that a holder needs; None for unknown ones.

    Amounts are hundred-millionths; `value` is the cost where there is no mark. `share` is the share
    of equity, `until_ts` the time of its exit at any price.
    """

    symbol: str
    qty: int
    entry: int
    mark: int | None
    value: int
    cost: int
    share: Decimal | None
    sector: str
    beta: Decimal | None
    correlation: Decimal | None
    until_ts: int | None
    alerts: tuple[str, ...]
    exit_status: str


class Holdings(NamedTuple):
    """Holdings at a time: positions, cash and equity, and alerts up to then.

    `moves` has the returns of all symbols of the run.
    """

    at_ts: int
    positions: tuple[HeldPosition, ...]
    cash: int
    equity: int
    alerts: tuple[Alert, ...]
    moves: MinuteReturns

    def sectors(self) -> dict[str, int]:
        """Return the value of each sector that is held, the largest first."""
        found: dict[str, int] = {}
        for each in self.positions:
            found[each.sector] = found.get(each.sector, 0) + each.value
        return dict(sorted(found.items(), key=lambda one: (-one[1], one[0])))


@cache
def sectors_known() -> dict[str, str]:
    """Return the shipped map from base asset to sector."""
    found: dict[str, str] = parse(SECTORS_FILE.read_text(encoding="utf-8"))["sectors"]
    return found


def sector_of(symbol: str, quote_asset: str) -> str:
    """Return the sector of a symbol's base asset; a dash for one that the map does not know."""
    return sectors_known().get(symbol.removesuffix(quote_asset), NONE)


def holdings_at(
    recorded: Recorded,
    from_ts: int,
    to_ts: int,
    progress: Progress = lambda lines: None,
) -> Holdings:
    """Return the holdings of a run at the end of a span; returns and alerts are of the span.

    Args:
        recorded: The run.
        from_ts: Beginning of the span, Unix ms.
        to_ts: Its last millisecond.
        progress: Called with the lines read so far.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    _, opening = recorded.opening()
    performance, moves = Performance(opening, recorded.quote_asset), MinuteReturns()
    fills = (event for _, event in recorded.events(FILLS) if event.ts <= to_ts)
    market = MarketProjection(performance, lambda: next(fills, None))
    for seq, event in recorded.events(TICKS):
        if event.ts > to_ts:
            break
        market.take(seq, event)
        if isinstance(event.payload, MarketTick) and event.ts >= from_ts:
            moves.on_tick(event.payload, event.ts)
        if seq % PROGRESS_EVERY == 0:
            progress(seq)
    market.book_before(None)
    plans: dict[str, JsonObject] = {plan["symbol"]: dict(plan) for plan in opening.plans or ()}
    for _, event in recorded.events(RISK_ACTIONS):
        plan = event.payload
        if isinstance(plan, PositionPlan) and event.ts <= to_ts:
            plans[plan.symbol] = plan.to_json()
    alerts = tuple(_alerts(recorded, from_ts, to_ts))
    resting = _resting_exits(recorded, to_ts)
    at_ts = min(to_ts, market.last_ts) if market.last_ts else to_ts
    positions = tuple(
        _position(performance, symbol, plans.get(symbol), resting.get(symbol, []), alerts, moves)
        for symbol in performance.portfolio.symbols()
    )
    cash = performance.portfolio.cash(recorded.quote_asset)
    return Holdings(at_ts, positions, cash, performance.equity, alerts, moves)


def _position(
    performance: Performance,
    symbol: str,
    plan: JsonObject | None,
    resting: list[OrderIntent],
    alerts: tuple[Alert, ...],
    moves: MinuteReturns,
) -> HeldPosition:
    portfolio = performance.portfolio
    qty, cost, mark = (
        portfolio.position_qty(symbol),
        portfolio.position_cost(symbol),
        performance.mark(symbol),
    )
    value = cost if mark is None else proceeds_down(qty, mark)
    has_benchmark = BENCHMARK in moves.symbols()
    return HeldPosition(
        symbol,
        qty,
        portfolio.entry_price_avg(symbol),
        mark,
        value,
        cost,
        Decimal(value) / performance.equity if performance.equity > 0 else None,
        sector_of(symbol, performance.quote_asset),
        moves.beta(symbol, BENCHMARK) if has_benchmark else None,
        moves.correlation(symbol, BENCHMARK) if has_benchmark else None,
        None if plan is None else plan.get("until_ts"),
        tuple(dict.fromkeys(each.kind for each in alerts if symbol in WORD.findall(each.detail))),
        _exit_status(plan, resting),
    )


def _exit_status(plan: JsonObject | None, resting: list[OrderIntent]) -> str:
    """Return where a position is left, which levels are armed, and which orders rest for it."""
    parts = []
    if plan is not None:
        parts.append(levels_text(plan))
        armed = [words for name, words in STOPS_OF_PLAN.items() if plan.get(name) is not None]
        parts += [f"armed: {', '.join(armed)}"] if armed else []
    for order in resting:
        prices = [price_text(each) for each in (order.stop_price, order.target_price) if each]
        prices += [price_text(order.limit_price)] if order.limit_price and not prices else []
        where = "on its way" if order.order_type == AT_THE_MARKET else "rests"
        parts.append(f"{where}: {order.order_type} {' and '.join(prices)}".rstrip())
    return "; ".join(parts) or "no plan"


def _resting_exits(recorded: Recorded, to_ts: int) -> dict[str, list[OrderIntent]]:
    """Return the orders that rest to leave a position at a time, by symbol."""
    orders: dict[str, OrderIntent] = {}
    for _, event in recorded.events(ORDER_INTENTS):
        order = event.payload
        if isinstance(order, OrderIntent) and order.purpose == EXIT and event.ts <= to_ts:
            orders[order.client_order_id] = order
    last: dict[str, str] = {}
    for _, event in recorded.events(ORDER_RESULTS):
        payload = event.payload
        if isinstance(payload, OrderResult) and event.ts <= to_ts:
            last[payload.client_order_id] = payload.result
    found: dict[str, list[OrderIntent]] = {}
    for name, order in orders.items():
        if last.get(name) in OPEN_RESULTS:
            found.setdefault(order.symbol, []).append(order)
    return found


def _alerts(recorded: Recorded, from_ts: int, to_ts: int) -> list[Alert]:
    """Return the incidents and STOPs of a span, oldest first, but none that its profile causes.

    Those count too that only a role's part holds yet, as after a killed launcher.
    """
    queues = PartialRun(recorded)
    found = [
        alert
        for _, _, event in chain(queues.merged(INCIDENTS), queues.merged(STOP_JOURNAL))
        if from_ts <= event.ts <= to_ts and (alert := _alert(event, recorded.manifest)) is not None
    ]
    queues.require_whole()
    return sorted(found, key=lambda each: each.ts)


def _alert(event: Event, manifest: Manifest) -> Alert | None:
    payload = event.payload
    if isinstance(payload, Incident) and not is_expected(payload, manifest):
        times = payload.count or 1
        return Alert(event.ts, payload.component, payload.kind, plain(payload.detail), times)
    if isinstance(payload, StopJournal) and payload.kind == STOP_KIND:
        return Alert(
            event.ts, payload.component, f"STOP {payload.reason_code}", plain(payload.detail), 1
        )
    return None


def position_json(each: HeldPosition) -> JsonObject:
    """Return a position as one JSON object: amounts and ratios as decimal strings."""
    return {
        "symbol": each.symbol,
        "quantity": amount_text(each.qty),
        "entry_price": amount_text(each.entry),
        "mark": None if each.mark is None else amount_text(each.mark),
        "value": amount_text(each.value),
        "unrealised": amount_text(each.value - each.cost),
        "share": ratio(each.share),
        "sector": each.sector,
        "beta": ratio(each.beta),
        "correlation_to_benchmark": ratio(each.correlation),
        "horizon": None if each.until_ts is None else date_clock(each.until_ts),
        "alerts": list(each.alerts),
        "exit_status": each.exit_status,
    }


def ratio(value: Decimal | None) -> str | None:
    """Return a ratio with four decimals, None for none."""
    return None if value is None else f"{round(value, 4) + 0:f}"
