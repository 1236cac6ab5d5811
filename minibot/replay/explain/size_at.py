"""Size at a time of a run: its risk core is fed the recorded inputs, then asked for a size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from minibot.accounting.portfolio import Portfolio
from minibot.cores.core_profile import KELLY, CoreProfile
from minibot.cores.input_order import LoggedStep
from minibot.cores.messages import FillMessage
from minibot.cores.protocol import Core
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import Counting, RoleReplay, Window, replay_role
from minibot.events.model import Bar, Event, Fill, JsonObject, RunOpening
from minibot.events.money import parse_amount, parse_rate
from minibot.events.names import RISK_ROLE
from minibot.kernel.errors import Refusal
from minibot.replay.explain.size_question import SizeAnswer, size_now
from minibot.risk.core import RiskCore
from minibot.risk.market_returns import MarketReturns
from minibot.risk.sizing import ClosedTrades

CLOSED_TRADES = "closed_trades"
RETURNS = "returns"


def size_at(
    recorded: Recorded,
    config: JsonObject,
    symbol: str,
    to_ms: int,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> SizeAnswer:
    """Return the cost that an entry would have had at a time of a run.

    Args:
        recorded: The run, which may still be going.
        config: The run's configuration, or a changed one: its sizing and limits are asked.
        symbol: The market.
        to_ms: The time, Unix ms; the state is that at its end.
        progress: Called now and then with the inputs processed and their total.

    Raises:
        Refusal: The run has no market for the symbol by then.
    """
    kept: list[RiskCore] = []

    def keep(step: LoggedStep, core: Core, events: Sequence[tuple[str, Event]]) -> None:
        if not kept and isinstance(core, RiskCore):
            kept.append(core)

    replay_role(
        recorded,
        RISK_ROLE,
        on_step=keep,
        on_taken=Counting(recorded, (RISK_ROLE,), progress),
        window=Window(to_ms=to_ms),
        result=RoleReplay(RISK_ROLE),
        is_compared=False,
    )
    if not kept:
        raise Refusal("risk had read nothing by then.", "Name a later time, or wait a moment.")
    state = kept[0].state()
    profile = CoreProfile.of(config)
    if profile.risk.sizing == KELLY and CLOSED_TRADES not in state:
        rate = parse_rate(profile.execution.taker_fee_bps)
        window = profile.risk.kelly_window_market_ms or 0
        state[CLOSED_TRADES] = _trades(recorded, to_ms, window, rate).state()
    if MarketReturns(config).is_on and config != recorded.manifest.config:
        told = (event for _, event in recorded.events("market_ticks"))
        state[RETURNS] = returns_at(told, config, to_ms).state()
    return size_now(config, state, symbol)


def returns_at(events: Iterable[Event], config: JsonObject, to_ms: int) -> MarketReturns:
    """Return the market returns of a profile by closed bars up to a time, Unix ms."""
    returns, interval = MarketReturns(config), config["strategy"]["bar_interval"]
    for event in events:
        bar = event.payload
        if isinstance(bar, Bar) and bar.interval == interval and event.ts <= to_ms:
            returns.on_bar(bar.symbol, bar.open_ts, parse_amount(bar.close))
    return returns


def _trades(recorded: Recorded, to_ms: int, window_ms: int, rate: int) -> ClosedTrades:
    """Return the closed trades of a run whose own sizing did not ask for them."""
    trades = ClosedTrades(window_ms)
    opening = next(recorded.events("control"))[1].payload
    if not isinstance(opening, RunOpening):
        return trades
    portfolio = Portfolio.from_opening(opening)
    trades.open(portfolio, rate, opening.trades)
    for _, event in recorded.events("fills"):
        if isinstance(event.payload, Fill) and event.ts <= to_ms:
            portfolio.apply(event.payload, event.ts)
            fill = FillMessage.of(event.payload, event)
            trades.on_fill(fill, not portfolio.has_lots(fill.symbol))
    return trades
