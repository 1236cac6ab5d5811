"""Selection of a profile's strategy: a shipped one by name, or the operator's own by source.

An own strategy comes as text in `strategy.source` of the resolved profile (`own_source` puts it
there), so that a run's manifest holds the exact code that decided, and replay needs no file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from minibot.cores.core_profile import CoreProfile, StrategySection, venue_name
from minibot.events.intervals import WarmupBars, warmup_raised
from minibot.events.model import JsonObject
from minibot.kernel.canonical import CanonicalError, decode, encode
from minibot.kernel.errors import ConfigError, RunStop
from minibot.strategies.declaration import (
    Needs,
    Settings,
    declaration_violations,
    parameter_violations,
    settings_of,
)
from minibot.strategies.examples.atr_trend import AtrTrend
from minibot.strategies.examples.bollinger import Bollinger
from minibot.strategies.examples.breakout import Breakout
from minibot.strategies.examples.dca import Dca
from minibot.strategies.examples.ema_cross import EmaCross
from minibot.strategies.examples.ma_cross import MaCross
from minibot.strategies.examples.maker_grid import MakerGrid
from minibot.strategies.examples.rsi_band import RsiBand
from minibot.strategies.examples.rsi_reversion import RsiReversion
from minibot.strategies.examples.trail_pullback import TrailPullback
from minibot.strategies.nore_strategy_v1 import NoreStrategyV1
from minibot.strategies.own import ANSWERING, failure, own_strategy
from minibot.strategies.parameters import invalid
from minibot.strategies.protocol import Strategy
from minibot.strategies.source_check import lost_answers
from minibot.strategies.source_state import changed_bars
from minibot.strategies.unread_keys import unread_violations

SHIPPED: Final[dict[str, type[Strategy]]] = {
    "atr_trend": AtrTrend,
    "bollinger": Bollinger,
    "breakout": Breakout,
    "dca": Dca,
    "ema_cross": EmaCross,
    "ma_cross": MaCross,
    "maker_grid": MakerGrid,
    "nore_strategy_v1": NoreStrategyV1,
    "rsi_band": RsiBand,
    "rsi_reversion": RsiReversion,
    "trail_pullback": TrailPullback,
}
REMEDY: Final = "Correct these; the strategy's file declares what it takes."


@dataclass(frozen=True, slots=True)
class ChosenStrategy:
    """A strategy with its parameter values; `make` returns its object for a symbol.

    Attributes:
        name: Name in the profile and in every signal.
        params_hash: sha256 of the section `strategy`, including an own strategy's source.
        cls: The strategy's class.
        settings: Values of its parameters.
        needs: The data that it declares to need.
        path: The file of an own strategy, else the name of a shipped one.
        is_own: Whether it is the operator's own.
        horizon_ms: Intended holding time of a signal, in ms of market time.
        bars_from_ticks: Whether live bars are made from trades instead of `bar` events.
    """

    name: str
    params_hash: str
    cls: type[Strategy]
    settings: Settings
    needs: Needs
    path: str
    is_own: bool
    horizon_ms: int
    bars_from_ticks: bool

    def make(self, symbol: str) -> Strategy:
        """Return the strategy object for a symbol; a silent one if it does not trade the symbol."""
        symbols = self.needs.symbols
        if symbols and symbol not in symbols:
            return Strategy(self.settings)
        try:
            return self.cls(self.settings)
        except Exception as error:  # Any error: nothing can be decided without it.
            raise failure(error, self.path) from error


def choose(config: JsonObject) -> ChosenStrategy:
    """Return the strategy of a resolved profile.

    Raises:
        RunStop: CONFIG_INVALID, if it does not exist, its own check refuses, or its
            parameters are not what it declares; else that of `own.failure`, if its `needs` fails.
    """
    section = CoreProfile.of(config).strategy
    cls = _class(section)
    path = section.name if section.source is None else section.source.path
    given = section.parameters
    wrong = parameter_violations(cls.PARAMETERS, given)
    if wrong:
        first = next(iter(wrong))
        raise invalid(f"strategy.parameters.{first} = {given[first]!r}: {wrong[first]}")
    settings = settings_of(cls.PARAMETERS, given, config)
    try:
        needs = cls.needs(settings)
    except Exception as error:  # Any error: nothing can be decided with it.
        raise failure(error, path) from error
    if not isinstance(needs, Needs):
        raise invalid(f"{path}: needs() returns {needs!r:.80}; expected Needs(...)")
    return ChosenStrategy(
        name=section.name,
        params_hash=params_hash(config["strategy"]),
        cls=cls,
        settings=settings,
        needs=needs,
        path=path,
        is_own=section.source is not None,
        horizon_ms=section.horizon_ms,
        bars_from_ticks=section.bars_from_ticks,
    )


def judge(config: JsonObject, given: Mapping[str, str] = MappingProxyType({})) -> None:
    """Refuse a profile whose strategy cannot run with it, before any start.

    Args:
        config: The resolved profile.
        given: Dotted keys set by a person, with their place; an unread one is refused.

    Raises:
        ConfigError: With every violation of the first step that finds one: the values, the set keys
            and the lines of the file; the declaration; its needs and methods. Code of the strategy
            that fails, or a state that cannot be kept, is told alone.
    """
    section = CoreProfile.of(config).strategy
    name, values = section.name, section.parameters
    try:
        cls = _class(section)
        found = [
            f"strategy.parameters.{key} = {values[key]!r}: {words}"
            for key, words in parameter_violations(cls.PARAMETERS, values).items()
        ]
        found += unread_violations(config["strategy"], cls.PARAMETERS, given)
        if (source := section.source) is not None:
            findings = [*lost_answers(source.text), *changed_bars(source.text)]
            found += [each.text(source.path) for each in findings]
        if not found:
            chosen = choose(config)
            found = declaration_violations(cls.PARAMETERS, chosen.needs)
        if not found:
            found = [*needs_violations(chosen.needs, config), *call_violations(cls, chosen.needs)]
            first = config[venue_name(config)]["symbols"][0]
            _require_kept(chosen, next(iter(chosen.needs.symbols), first))
    except RunStop as error:
        raise ConfigError(f"strategy {name} is refused.", error.detail.split("\n  ")) from error
    if found:
        count = f"{len(found)} violation{'s' if len(found) > 1 else ''}"
        raise ConfigError(f"strategy {name}: {count}.", found, REMEDY)


def sound_needs(config: JsonObject) -> Needs | None:
    """Return the needs that the profile's strategy declares; None if `judge` refuses them."""
    try:
        chosen = choose(config)
    except RunStop:
        return None
    return None if declaration_violations(chosen.cls.PARAMETERS, chosen.needs) else chosen.needs


def is_written(cls: type[Strategy], method: str) -> bool:
    """Return whether a strategy defines a method of the protocol itself."""
    return getattr(cls, method) is not getattr(Strategy, method)


def call_violations(cls: type[Strategy], needs: Needs) -> list[str]:
    """Return the methods of a strategy that would never be called."""
    is_by_tick, is_by_price, is_by_bar = (is_written(cls, name) for name in ANSWERING)
    found = []
    if not (is_by_tick or is_by_price or is_by_bar):
        found.append(f"it never answers: write one of {', '.join(ANSWERING)}")
    if is_by_tick and is_by_price:
        found.append("on_tick and on_price: of both on_tick alone is called; keep one")
    if is_by_price and not (is_by_tick or needs.trades):
        found.append("on_price is never called: needs() asks for no trades; leave out trades=False")
    if is_by_bar and not needs.intervals:
        found.append(
            "on_bar is never called: needs() names no bars; return Needs(intervals="
            "(settings.interval,))"
        )
    return found


def needs_violations(needs: Needs, config: JsonObject) -> list[str]:
    """Return the declared needs of a strategy that the profile does not meet."""
    market, venue = config["market"], venue_name(config)
    found = []
    for interval in needs.intervals:
        if interval not in market["bar_intervals"]:
            built = ", ".join(market["bar_intervals"])
            found.append(
                f"it needs bars of {interval}; market.bar_intervals has {built}: add {interval}"
            )
    warmup = market["warmup_bars"]
    raised = warmup_raised(warmup, needs.intervals, needs.history)
    if raised != warmup:
        found.append(
            f"it needs {needs.history} bars of history; market.warmup_bars is "
            f"{_warmup_text(warmup)}: set market.warmup_bars={_warmup_text(raised)}"
        )
    known = market.get("feeds") or {}
    found += [
        f"it reads the feed {name}, which market.feeds does not name: set market.feeds.{name} to "
        "its file"
        for name in needs.feeds
        if name not in known
    ]
    return found + [
        f"it trades {symbol}, which is not among {venue}.symbols: add it"
        for symbol in needs.symbols
        if symbol not in config[venue]["symbols"]
    ]


def _warmup_text(warmup: WarmupBars) -> str:
    return str(warmup) if isinstance(warmup, int) else encode(dict(warmup)).decode()


def params_hash(section: JsonObject) -> str:
    """Return the sha256 (hex) of the strategy section as canonical JSON."""
    return hashlib.sha256(encode(section)).hexdigest()


def state_of(strategy: Strategy, path: str) -> JsonObject:
    """Return the state of a strategy for a snapshot.

    Raises:
        RunStop: It contains something that no snapshot can keep, or its own `state` fails.
    """
    try:
        state = strategy.state()
        _require_canonical(state)
        return state
    except Exception as error:  # Any error: the snapshot would be incomplete.
        raise failure(error, path) from error


def _require_canonical(state: JsonObject) -> None:
    """Refuse a state without a canonical form at its place in a snapshot."""
    what = "state() gives what no snapshot can keep"
    if type(state) is not dict:
        raise invalid(f"{what}: a {type(state).__name__}, no dict")
    for name, value in state.items():
        try:
            encode({"core": {"symbols": {"": {"strategy": {name: value}}}}})
        except CanonicalError as error:
            raise invalid(f"{what} in {name!r}: {error}") from error


def give_back(strategy: Strategy, state: JsonObject, path: str) -> None:
    """Restore the state of a strategy.

    Raises:
        RunStop: Its own `restore` fails.
    """
    try:
        strategy.restore(state)
    except Exception as error:  # Any error: the strategy would be incomplete.
        raise failure(error, path) from error


def _require_kept(chosen: ChosenStrategy, symbol: str) -> None:
    """Refuse a strategy whose state no snapshot can keep, before the night instead of during it."""
    state = state_of(chosen.make(symbol), chosen.path)
    give_back(chosen.make(symbol), decode(encode(state)), chosen.path)


def _class(section: StrategySection) -> type[Strategy]:
    source = section.source
    if source is not None:
        api = 1 if source.api is None else source.api
        return own_strategy(source.path, source.text, source.sha256, api)
    cls = SHIPPED.get(section.name)
    if cls is None:
        known = ", ".join(SHIPPED)
        raise invalid(f"strategy.name: expected one of {known}, found {section.name}")
    return cls
