"""Trial of a strategy on made-up prices, without a market, for its tests.

It uses the same core as a night: the same check of the file, the same views, the same rules about
journaled decisions. Risk and executor have no part in it: each BUY buys one coin again, or more of
a cheap one, whatever size it wishes, and a SELL sells what it wishes. An order is filled whole at
the price of the next trade, quote or bar; a limit at its own price, by the first of these at or
below it within its validity. Stops, targets and trails do nothing, and the view has no plan, no
headroom and no action of risk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from minibot.cores.closed_bar import BarInput, ClosedBar
from minibot.cores.core_profile import venue_name
from minibot.cores.wish import Wish
from minibot.events.decimals import div_up, round_down
from minibot.events.intervals import (
    INTERVAL_MS,
    align,
    longest_first,
    warmup_of,
    warmup_raised,
)
from minibot.events.model import (
    BUY,
    SELL,
    Event,
    FeedValue,
    Fill,
    Gap,
    Instrument,
    JsonObject,
    Payload,
    RunOpening,
)
from minibot.events.money import PLACES, UNIT, amount_text, cost_up, parse_amount
from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import ConfigError, MinibotError
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from minibot.strategies.bars import interval_ms
from minibot.strategies.core import core_from_config, core_from_state
from minibot.strategies.decision import Decision
from minibot.strategies.declaration import Needs
from minibot.strategies.plots import Plots
from minibot.strategies.selection import judge, sound_needs
from minibot.strategies.signals import DecidedSignal
from minibot.strategies.source_check import source_findings
from minibot.strategies.tick import Tick
from minibot.strategies.view import View

PROFILE: Final = PROJECT / "config" / "nore-demo.v1.json"
SYMBOL: Final = "BTCUSDT"
START_MS: Final = 1_700_000_000_000
# The bars of a strategy that declares none.
SECOND: Final = "1s"
QTY_STEP: Final = UNIT // 100_000
NOTIONAL_MIN: Final = 5 * UNIT
# Twice the minimum value, so that half of it may be lost before it can no longer be sold.
COST_MIN: Final = 2 * NOTIONAL_MIN
# A fall and a rise, twice; long enough for a hundred ticks of warm-up.
WAVE: Final = [100.0 + ((n * 7) % 11) / 50 - abs(n % 200 - 100) / 20 for n in range(600)]
CUT: Final = 317
TORN: Final = 211
"""Where trades are missing."""


def findings(path: Path) -> list[str]:
    """Return the static findings in a strategy's file, one line each; empty for none.

    The test that `minibot new-strategy` writes imports it.
    """
    text = path.read_text(encoding="utf-8-sig")
    return [finding.text(path.name) for finding in source_findings(text)]


def wave_fault(make: Callable[[], Trial], path: str) -> str:
    """Run a strategy over a synthetic wave, whole and with a restart; return the failure.

    Args:
        make: Returns a new trial of the strategy.
        path: The strategy's file, for the message.
    """
    try:
        whole, parted = make(), make()
        for trial in (whole, parted):
            trial.warm_up(WAVE)
        for n, price in enumerate(WAVE):
            if n == CUT:
                parted.restart()
            for trial in (whole, parted):
                if n == TORN:
                    trial.gap()
                trial.trade(price)
                trial.quote(price)
                trial.declared_bars(price)
        parted.restart()
    except ConfigError as error:
        return "\n".join([str(error), *error.violations])
    except MinibotError as error:
        return str(error)
    if whole.decisions != parted.decisions:
        return (
            f"{path}: decides otherwise after a restart: something that it needs is kept neither "
            "in attributes of self nor by its state()"
        )
    return ""


class Trial:
    """One strategy, one symbol, and made-up prices.

    Attributes:
        decisions: All decisions so far that a night would journal.
        now: Market time in ms; each trade or quote takes a tenth of a second, each `bar` its own
            length, each `declared_bars` that of the shortest interval, and `warm_up` no time.
    """

    def __init__(self, path: Path, **parameters: int | str | bool) -> None:
        """Load a strategy's file with some parameters.

        Raises:
            ConfigError: The check refuses the file, or a parameter is not declared.
        """
        sets = [f"strategy.name={path.stem}", f"strategy.folder={path.parent}"]
        sets += [f"strategy.parameters.{key}={_json(v)}" for key, v in parameters.items()]
        config = load_config(PROFILE, sets).raw
        if (needs := sound_needs(config)) is not None:
            # The demo's history, bars and markets are not the strategy's.
            if lacked := _lacked_sets(needs, config):
                config = _config_with(path, [*sets, *lacked])
            if needs.feeds:
                config["market"]["feeds"] = dict.fromkeys(needs.feeds, "made up")
        judge(config)
        self._begin(config)

    @classmethod
    def of(cls, config: JsonObject) -> Trial:
        """Return a trial of the strategy that a resolved profile chooses, with its values.

        Raises:
            RunStop: As `selection.choose` does; `judge` is left to the caller.
        """
        trial = cls.__new__(cls)
        trial._begin(config)
        return trial

    def _begin(self, config: JsonObject) -> None:
        self._config = config
        self._core = core_from_config(config)
        self._plots = Plots()
        self._core.keep_plots(self._plots)
        self._symbol = next(iter(self._core.chosen.needs.symbols), SYMBOL)
        self._n = 0
        self._wish: Decision | None = None
        self._wish_until = 0
        self.now = START_MS
        self.decisions: list[Decision] = []
        self._take(RunOpening(cash={"USDT": "10000"}, lots=(), budgets_used={}))
        self._take(_instrument(self._symbol))

    @property
    def plotted(self) -> dict[str, Sequence[tuple[int, float]]]:
        """Lines that the strategy plotted, by name: its values with their times."""
        return self._plots.lines().get(self._symbol, {})

    @property
    def view(self) -> View:
        """View of the strategy."""
        return self._core.view(self._symbol)

    def trade(self, price: float, qty: float = 1.0) -> Decision | None:
        """Play a trade, with the touch around it; return the decision on it.

        Bid and ask are a cent away from it, or one percent for a coin below one.
        """
        self.now += 100
        tick = self._at(price, qty)
        self._fill(price)
        return self._show(tick)

    def quote(self, price: float) -> Decision | None:
        """Let the touch move to around a price; return the decision on it."""
        self.now += 100
        traded = self.view.price
        tick = self._at(price, 0.0)
        tick.price, tick.is_trade = traded, False
        self._fill(price)
        return self._show(tick)

    def trades(self, prices: Iterable[float]) -> list[Decision]:
        """Play trades one after another; return all decisions on them."""
        return [decision for price in prices if (decision := self.trade(price)) is not None]

    def bar(self, close: float, interval: str = "", *, is_live: bool = True) -> Decision | None:
        """Close a bar of one price, with the touch around it; return the decision on it.

        Its interval is the first that the strategy declares, unless another is given.

        Raises:
            ValueError: The strategy does not declare the interval, so it would not get the bar.
        """
        declared = self._core.chosen.needs.intervals
        interval = interval or next(iter(declared), SECOND)
        if declared and interval not in declared:
            raise ValueError(f"a bar of {interval}: the strategy declares {', '.join(declared)}")
        self.now += interval_ms(interval)
        return self._close_bar(close, interval, is_live=is_live)

    def bars(self, closes: Iterable[float], interval: str = "") -> list[Decision]:
        """Close bars one after another, each like `bar`; return all decisions on them."""
        decisions = [self.bar(close, interval) for close in closes]
        return [decision for decision in decisions if decision is not None]

    def declared_bars(self, close: float) -> None:
        """Close a bar of the shortest declared interval, and each longer bar that ends with it.

        For a strategy that uses only ticks, a minute passes.
        """
        lengths = {name: interval_ms(name) for name in self._core.chosen.needs.intervals}
        before = self.now
        self.now += min(lengths.values(), default=MINUTE_MS)
        for name in longest_first(lengths):
            if align(self.now, lengths[name]) > before:
                self._close_bar(close, name)

    def warm_up(self, closes: Sequence[float]) -> None:
        """Pass as many closed bars of each declared interval as at the start of a run."""
        for interval in longest_first(self._core.chosen.needs.intervals):
            count = warmup_of(self._config["market"]["warmup_bars"], interval)
            for n in range(count):
                close = closes[n % len(closes)]
                self._close_bar(close, interval, ago=count - 1 - n, is_live=False)

    def gap(self, length_ms: int = 5_000) -> None:
        """Play a gap without trades."""
        self.now += length_ms
        gap = Gap(self._symbol, "trade", self.now - length_ms, self.now, "reconnect")
        self._take(gap)

    def feed(self, name: str, value: str, *, age_ms: int = 0) -> None:
        """Publish a value from outside the market, which has been valid for some time."""
        self._take(FeedValue(name, value, self.now - age_ms))

    def restart(self) -> None:
        """End the process and restore it from its snapshot."""
        state = decode(encode(self._core.state()))
        self._core = core_from_state(self._config, state)
        self._core.keep_plots(self._plots)

    def _close_bar(
        self, close: float, interval: str, *, ago: int = 0, is_live: bool = True
    ) -> Decision | None:
        """Close the last bar of an interval, or the one `ago` bars before it."""
        length_ms = interval_ms(interval)
        open_ts = align(self.now, length_ms) - length_ms * (ago + 1)
        self._at(close, 1.0)
        self._fill(close)
        bar = ClosedBar(interval, open_ts, close, close, close, close, 1.0, is_live)
        return self._show(BarInput(self._symbol, bar, 0, self.now))

    def _at(self, price: float, qty: float) -> Tick:
        tick = self.view.tick
        tick.ts = tick.exchange_ts = self.now
        tick.price, tick.qty, tick.is_trade = price, qty, True
        half = min(0.01, price / 100.0)
        tick.bid, tick.ask, tick.bid_qty, tick.ask_qty = price - half, price + half, 10.0, 10.0
        return tick

    def _show(self, item: Tick | BarInput) -> Decision | None:
        decision: Decision | None = None
        for message in self._core.process(item, self._n, self.now) or ():
            if isinstance(message, DecidedSignal):  # Events of a scan come before it.
                decision = message.decision
        if decision is not None:
            self.decisions.append(decision)
            if decision.side == BUY or (decision.side == SELL and self.view.is_long):
                self._wish = decision
                self._wish_until = self.now + (decision.valid_ms or self._core.chosen.horizon_ms)
            elif decision.side == SELL:
                self._wish = None  # A purchase that rests is withdrawn.
        return decision

    def _fill(self, price: float) -> None:
        decision = self._wish
        if decision is None:
            return
        side, wish = decision.side, decision.wish
        text = f"{price:.{PLACES}f}"
        booked = parse_amount(text)
        if wish is not None and wish.limit:
            if self.now >= self._wish_until:
                self._wish = None
            if self._wish is None or booked > wish.limit:
                return
            # Whoever rests is paid its own price, also by a trade below it.
            booked, text = wish.limit, amount_text(wish.limit)
        self._wish = None
        qty = _bought(booked) if side == BUY else self._sold(wish, booked)
        if qty:
            name, filled = f"trial-{self._n}", amount_text(qty)
            fill = Fill(name, name, self._symbol, side, filled, text, "0", "USDT", "TAKER")
            self._take(fill)

    def _sold(self, wish: Wish | None, price: int) -> int:
        """Return the quantity of a sale: all, or the wanted part in whole steps, or 0.

        As in a night, a rest too small to be sold is sold with the part, and a part too small is 0.
        """
        held = parse_amount(self.view.held.text)
        if wish is None:
            return held
        part = min(held, wish.qty_of(held, price))
        if _is_too_small(held - part, price):
            return held
        part = round_down(part, QTY_STEP)
        return 0 if _is_too_small(part, price) else part

    def _take(self, payload: Payload) -> None:
        self._n += 1
        name = f"{self._n:08x}-0000-4000-8000-000000000000"
        event = Event(self.now, name, "trial", "trial", "0" * 64, payload)
        self._core.process(event, self._n, self.now)


def _lacked_sets(needs: Needs, config: JsonObject) -> list[str]:
    """Return the `--set` values that add missing bars, history and markets to a profile."""
    market, venue = config["market"], venue_name(config)
    built, warmup = market["bar_intervals"], market["warmup_bars"]
    symbols = config[venue]["symbols"]
    sets = []
    # Intervals that cannot be built are left to `judge`.
    if lacked := [name for name in needs.intervals if name in INTERVAL_MS and name not in built]:
        sets.append(f"market.bar_intervals={_list([*built, *dict.fromkeys(lacked)])}")
    if warmup_raised(warmup, needs.intervals, needs.history) != warmup:
        sets.append(f"market.warmup_bars={needs.history}")
    if lacked := [symbol for symbol in needs.symbols if symbol not in symbols]:
        sets.append(f"{venue}.symbols={_list([*symbols, *dict.fromkeys(lacked)])}")
    return sets


def _config_with(path: Path, sets: Sequence[str]) -> JsonObject:
    """Return the trial's profile with a strategy's needs, judged like any other profile."""
    try:
        return load_config(PROFILE, sets).raw
    except ConfigError as error:
        text = f"strategy {path.stem}: it needs what the trial's profile cannot give."
        raise ConfigError(text, error.violations) from error


def _bought(price: int) -> int:
    """Return the quantity of a purchase: one coin, or more of a cheap one, worth `COST_MIN`."""
    return UNIT * max(1, div_up(COST_MIN, max(price, 1)))


def _is_too_small(qty: int, price: int) -> bool:
    """Return whether the trial's venue refuses a quantity at a price."""
    return qty < QTY_STEP or cost_up(qty, price) < NOTIONAL_MIN


def _json(value: int | str | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _list(names: Iterable[str]) -> str:
    return f"[{','.join(map(_json, names))}]"


def _instrument(symbol: str) -> Instrument:
    return Instrument(
        symbol=symbol,
        base_asset="BTC",
        quote_asset="USDT",
        status="TRADING",
        price_increment="0.01",
        qty_increment=amount_text(QTY_STEP),
        qty_min=amount_text(QTY_STEP),
        qty_max="9000",
        notional_min=amount_text(NOTIONAL_MIN),
        origin="table",
    )
