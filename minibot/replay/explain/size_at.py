"""Size at a time of a run: its risk core gets the recorded inputs, then computes a size."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minibot.accounting.lots import is_dust_left
from minibot.accounting.portfolio import Portfolio
from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import KELLY, CoreProfile
from minibot.cores.messages import FillMessage
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Bar, Event, Fill, JsonObject, RunOpening
from minibot.events.money import parse_amount, parse_rate
from minibot.kernel.errors import Refusal
from minibot.replay.explain.size_question import SizeAnswer, size_now
from minibot.replay.risk_at import risk_at
from minibot.risk.exits import ExitRules, Exits
from minibot.risk.limits import Limits
from minibot.risk.market_returns import MarketReturns
from minibot.risk.risk_state import RiskState
from minibot.risk.sizing import ClosedTrades

CLOSED_TRADES = "closed_trades"
RETURNS = "returns"
# The state of a symbol's exits that comes from its bars.
BARS = ("atr", "bar_open_ts", "close")


def size_at(
    recorded: Recorded,
    config: JsonObject,
    symbol: str,
    to_ms: int,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> SizeAnswer:
    """Return the size that an entry would have had at a time of a run, with every bound on it.

    It is zero, with a reason code, where risk would have refused any entry then, whatever its size.
    What the run's own risk did not keep is made here: closed trades from the fills, returns and the
    bars of the ATR from the market, the drawdown tier of a changed table from the equity.

    Args:
        recorded: The run, which may still be going.
        config: The run's configuration, or a changed one, with sizing and limits.
        symbol: The market.
        to_ms: The time, Unix ms; the state is that at its end.
        progress: Called now and then with the inputs processed and their total.

    Raises:
        Refusal: Risk had read nothing by then, or has no rules and touch of the symbol.
        IntegrityError: The record is damaged before that time.
    """
    core = risk_at(recorded, to_ms, progress)
    if "headroom" not in core.facts():
        raise Refusal("risk had read nothing by then.", "Name a later time, or wait a moment.")
    state = core.state()
    profile = CoreProfile.of(config)
    if profile.risk.sizing == KELLY and CLOSED_TRADES not in state:
        rate = parse_rate(profile.execution.taker_fee_bps)
        window = profile.risk.kelly_window_market_ms or 0
        state[CLOSED_TRADES] = trades_at(recorded, to_ms, window, rate).state()
    if config != recorded.manifest.config:
        if MarketReturns(config).is_on:
            state[RETURNS] = returns_at(_market(recorded), config, to_ms).state()
        # Where the run's profile had no account, its mark is the night's.
        mark = state["budgets"]["high_water_mark"]
        state["budgets"].setdefault("account", {"mark": mark, "place": 0})
        is_other = _bars_of_atr(config) != _bars_of_atr(recorded.manifest.config)
        exits = exits_at(_market(recorded) if is_other else (), config, to_ms)
        _add_exits(state["exits"]["symbols"], exits, takes_atr=is_other)
        if Limits(config).drawdown_tiers != Limits(recorded.manifest.config).drawdown_tiers:
            _find_tier(config, state)
    return size_now(config, state, symbol)


def _market(recorded: Recorded) -> Iterable[Event]:
    return (event for _, event in recorded.events("market_ticks"))


def _bars_of_atr(config: JsonObject) -> tuple[str, int]:
    """Return interval and number of the bars of the ATR."""
    rules = ExitRules(config)
    return rules.bar_interval, rules.atr_period


def _find_tier(config: JsonObject, state: JsonObject) -> None:
    """Move the account to the tier that a changed table gives its drawdown, beginning at ACTIVE."""
    state["budgets"]["account"]["place"] = 0  # The row of the former table may be none of this one.
    budgets = RiskState.from_state(config, state).budgets
    budgets.account.on_equity(budgets.equity)
    state["budgets"]["account"] = budgets.account.state()


def _add_exits(symbols: JsonObject, exits: Exits, *, takes_atr: bool) -> None:
    """Give each symbol the parts of its exits that the run's profile had none of.

    Args:
        symbols: The state of the exits by symbol; it is changed.
        exits: Exits by the changed profile, which have read only bars.
        takes_atr: Whether those bars replace the run's own.
    """
    for symbol in symbols:
        exits.of(symbol)
    for symbol, fresh in exits.state()["symbols"].items():
        bars = {name: fresh[name] for name in BARS} if takes_atr else {}
        symbols[symbol] = {**fresh, **symbols.get(symbol, {}), **bars}


def exits_at(events: Iterable[Event], config: JsonObject, to_ms: int) -> Exits:
    """Return the exits of a profile by closed bars up to a time, Unix ms."""
    exits = Exits(ExitRules(config))
    for event in events:
        bar = event.payload
        if isinstance(bar, Bar) and bar.interval == exits.rules.bar_interval and event.ts <= to_ms:
            closed = ClosedBar.of_event(bar)
            prices = closed.high, closed.low, closed.close
            exits.on_bar(bar.symbol, bar.open_ts, *prices, parse_amount(bar.close))
    return exits


def returns_at(events: Iterable[Event], config: JsonObject, to_ms: int) -> MarketReturns:
    """Return the market returns of a profile by closed bars up to a time, Unix ms."""
    returns, interval = MarketReturns(config), config["strategy"]["bar_interval"]
    for event in events:
        bar = event.payload
        if isinstance(bar, Bar) and bar.interval == interval and event.ts <= to_ms:
            returns.on_bar(bar.symbol, bar.open_ts, parse_amount(bar.close))
    return returns


def trades_at(recorded: Recorded, to_ms: int, window_ms: int, rate: int) -> ClosedTrades:
    """Return the closed trades, at a time, of a run whose own sizing did not ask for them.

    They are counted from the opening and the recorded fills.

    Args:
        recorded: The run.
        to_ms: The time, Unix ms.
        window_ms: How long a trade counts.
        rate: The fee rate of a carried purchase without a listed trade.
    """
    trades = ClosedTrades(window_ms)
    leaves_dust = Limits(recorded.manifest.config).leaves_dust
    opening = next(recorded.events("control"))[1].payload
    if not isinstance(opening, RunOpening):
        return trades
    portfolio = Portfolio.from_opening(opening)
    trades.open(portfolio, rate, opening.trades)
    for _, event in recorded.events("fills"):
        if isinstance(event.payload, Fill) and event.ts <= to_ms:
            portfolio.apply(event.payload, event.ts)
            fill = FillMessage.of(event.payload, event)
            left = portfolio.position_qty(fill.symbol)
            trades.on_fill(fill, not left or (leaves_dust and is_dust_left(event.payload, left)))
    return trades
