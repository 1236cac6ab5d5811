"""Checks of `minibot doctor` on a profile that would not buy, or whose exits would not act.

Each is a warning: a profile may be meant so, but seven hours without a trade should not be a
surprise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from minibot.accounting.order_rules import TRADING, OrderRules
from minibot.cores.core_profile import CARRY, FIXED, MAKER, MIXED, TAKE
from minibot.events.decimals import unpadded
from minibot.events.intervals import INTERVAL_MS, REGIME_INTERVAL, warmup_of
from minibot.events.model import Instrument
from minibot.events.money import amount_text, parse_amount
from minibot.report.figures import duration, listed
from minibot.runtime.configuration.config import Config, value_of
from minibot.strategies import nore_strategy_v1
from minibot.strategies.bar_indicators import BarIndicators
from minibot.strategies.nore_evaluation import ENTRY_POINTS, QUALITY_POINTS, TREND_POINTS
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.rules import RSI_POINTS, STRENGTH_POINTS
from minibot.strategies.scanner.regime import REGIME_BARS_MIN
from minibot.watchdog.preflight import WARN, CheckResult

ENTRIES, EXITS, MARKETS = "entries", "exits", "markets"
WARMUP_MAX: Final = 1_000
_CONFIDENCE_KINDS: Final = 5
_AGES: Final = ("strategy.tick_age_ms_max", "risk.tick_age_ms_max", "risk.signal_age_ms_max")
_AGE_MS_MIN: Final = 100
# Gains in the same unit, of which one at or beyond the target is never reached.
_GAINS: Final = ("trail_from_{}", "break_even_{}", "ladder_1_{}", "ladder_2_{}")


def entry_checks(config: Config) -> Iterator[CheckResult]:
    """Yield what keeps a profile from buying, and the exits that cannot act; needs no exchange."""
    found = [*_bars(config), *_benchmark(config), *_thresholds(config), *_ages(config)]
    yield from found or [CheckResult(ENTRIES, True, "the profile allows them")]
    yield from _sizes(config)
    yield from _exits(config)
    yield from _end(config)


def warned_lines(config: Config) -> list[str]:
    """Return a line for each of these checks that warns, for a start."""
    checks = [each for each in entry_checks(config) if each.level == WARN]
    return [f"warning: {each.name}: {each.found}. {each.remedy}" for each in checks]


def _bars(config: Config) -> Iterator[CheckResult]:
    """Yield how long nothing is bought, as bars are missing that no start fetches."""
    warmup, waits = config.market.warmup_bars, []
    for needed, interval, key in _needed(config):
        has = warmup_of(warmup, interval)
        waits.append(((needed - has) * INTERVAL_MS[interval], needed, has, interval, key))
    wait_ms, needed, has, interval, key = max(waits)
    if wait_ms <= 0:
        return
    until = "this whole run" if wait_ms >= config.duration_ms else f"the first {duration(wait_ms)}"
    text = f"none in {until}: {key} needs {needed} bars of {interval}, a start fetches {has}"
    remedy = f"Raise market.warmup_bars to {needed} for {interval}."
    remedy = remedy if needed <= WARMUP_MAX else f"Lower {key}."
    yield CheckResult(ENTRIES, True, text, remedy)


def _needed(config: Config) -> Iterator[tuple[int, str, str]]:
    """Yield how many bars of which length an entry needs, each with the key that asks them."""
    strategy, risk = config.strategy, config.risk
    interval = strategy.bar_interval
    if strategy.name == nore_strategy_v1.NAME:
        parameters = StrategyParameters.from_config(config.raw)
        bars = BarIndicators(interval, parameters)
        yield bars.rsi.warmup, interval, "strategy.rsi_period"
        yield bars.slow.warmup, interval, "strategy.ema_slow"
        yield bars.atr.warmup, interval, "strategy.atr_period"
        yield bars.momentum.warmup, interval, "strategy.return_bars"
    if any("_atr_" in key and value is not None for key, value in config.raw["risk"].items()):
        yield strategy.atr_period, interval, "strategy.atr_period"
    # As many returns as these keys say come from one bar more.
    yield (risk.correlation_bars or 0) + 1, interval, "risk.correlation_bars"
    yield (risk.volatility_bars_long or 0) + 1, interval, "risk.volatility_bars_long"
    compared = (risk.drift_bars or 0) + (risk.drift_reference_bars or 0)
    yield compared + 1, interval, "risk.drift_reference_bars"
    if MIXED not in (risk.entry_regimes or (MIXED,)):
        yield REGIME_BARS_MIN, REGIME_INTERVAL, "risk.entry_regimes"


def _benchmark(config: Config) -> Iterator[CheckResult]:
    """Yield that the benchmark, without whose bars nothing is bought, is not followed."""
    benchmark, symbols = config.risk.benchmark_symbol, config.exchange.symbols
    is_fixed = config.universe is None or config.universe.mode == "static"
    if benchmark is None or benchmark in symbols or config.embedded is not None or not is_fixed:
        return
    text = f"none: the bars of risk.benchmark_symbol {benchmark} never come"
    yield CheckResult(ENTRIES, True, text, f"Add {benchmark} to {config.venue}.symbols.")


def _thresholds(config: Config) -> Iterator[CheckResult]:
    """Yield thresholds above what the night's own strategy can say of any market."""
    if config.strategy.name != nore_strategy_v1.NAME:
        return
    # A confidence is the sum of equal points; all of one kind come without a spread alone.
    score = ENTRY_POINTS + STRENGTH_POINTS + RSI_POINTS + TREND_POINTS
    confidence = _CONFIDENCE_KINDS * QUALITY_POINTS - 1
    for key, least, most in (
        ("strategy.score_min", config.strategy.score_min, score),
        ("strategy.confidence_min", config.strategy.confidence_min, confidence),
        ("risk.confidence_min", config.risk.confidence_min or 0, confidence),
    ):
        if least > most:
            text = f"none: {key} ({least}) is above the best there is ({most})"
            yield CheckResult(ENTRIES, True, text, f"Lower {key}.")


def _ages(config: Config) -> Iterator[CheckResult]:
    """Yield ages in milliseconds that look like seconds: prices and messages are older at once."""
    for key in _AGES:
        age_ms = value_of(config.raw, key)
        if age_ms < _AGE_MS_MIN:
            text = f"hardly any: {key} is {age_ms} ms, which prices and messages soon exceed"
            yield CheckResult(ENTRIES, True, text, "Give milliseconds: a second is 1000.")


def _sizes(config: Config) -> Iterator[CheckResult]:
    """Yield that an amount which a person chose sizes no entry."""
    mode, amount = config.risk.sizing or FIXED, config.risk.order_notional
    if mode != FIXED and "risk.order_notional" in config.given:
        text = f"sized by risk.sizing {mode}: risk.order_notional ({amount}) has no effect"
        remedy = "Bound them by risk.position_notional_max. See: minibot size SYMBOL --explain"
        yield CheckResult(ENTRIES, True, text, remedy)


def _exits(config: Config) -> Iterator[CheckResult]:
    """Yield gains that are taken only behind the target, and exits that cost whatever happens."""
    for unit in ("bps", "atr_mult"):
        target = getattr(config.risk, f"take_profit_{unit}")
        keys = [name.format(unit) for name in _GAINS]
        given = [(key, getattr(config.risk, key)) for key in keys]
        idle = [f"risk.{key}" for key, gain in given if gain and _is_at_least(gain, target)]
        if idle:
            text = f"risk.take_profit_{unit} ({target}) closes a position before {listed(idle)}"
            yield CheckResult(EXITS, True, text, "Raise the target, or set it to null.")
    risk, execution = config.risk, config.execution
    maker, taker = Decimal(execution.maker_fee_bps), Decimal(execution.taker_fee_bps)
    fees = maker if risk.entry == MAKER else taker
    # A target rests as a limit order only beside the limit of its stop.
    fees += maker if risk.stop_limit_bps is not None else taker
    target = risk.take_profit_bps
    if target is not None and Decimal(target) <= fees:
        text = f"each sale at risk.take_profit_bps ({target}) loses: fees both ways take {fees}"
        yield CheckResult(EXITS, True, text, "Raise the target above the fees.")
    widest = _widest_spread(config)
    for key in ("stop_bps", "hard_stop_bps"):
        stop = getattr(risk, key)
        if stop is not None and widest is not None and Decimal(stop) <= widest:
            text = f"risk.{key} ({stop}) may lie within the spread of an entry ({widest} at most)"
            yield CheckResult(EXITS, True, f"{text}, which is then refused", "Widen the stop.")


def _widest_spread(config: Config) -> Decimal | None:
    """Return the widest spread in basis points at which an entry is bought at the ask.

    It is None without a bound, and if all entries are bought at the bid.
    """
    if config.risk.entry == MAKER and config.risk.maker_end != TAKE:
        return None
    widest = config.risk.entry_spread_bps_max
    bounds = [] if widest is None else [Decimal(widest)]
    if config.strategy.name == nore_strategy_v1.NAME:
        bounds.append(Decimal(config.strategy.spread_bps_max))
    return min(bounds, default=None)


def _end(config: Config) -> Iterator[CheckResult]:
    """Warn of an end too short for its sales: they start with a beat, and orders take time."""
    portfolio, execution = config.portfolio, config.execution
    ways = execution.latency_drawn_market_ms or (execution.latency_market_ms,)
    least = max(config.market.beat_interval_market_ms, max(ways) + 1)
    if portfolio.at_end != CARRY and portfolio.close_market_ms < least:
        text = f"portfolio.close_market_ms ({portfolio.close_market_ms}) is too short to close"
        remedy = f"Raise it to {least} or more; else positions stay open at the end."
        yield CheckResult(EXITS, True, text, remedy)


def _is_at_least(gain: str, target: str | None) -> bool:
    return target is not None and Decimal(gain) >= Decimal(target)


def market_check(config: Config, rules: Sequence[Instrument]) -> CheckResult:
    """Return whether each symbol is traded now, and the dearest entry reaches its least order.

    Args:
        config: The profile.
        rules: Rules of its symbols, as the exchange told them.
    """
    # Imported here because a start, which asks no rules, needs none of it.
    from minibot.replay.explain.size_question import largest_entry

    found = []
    for each in rules:
        if each.status != TRADING:
            found.append(f"{each.symbol} is not traded now: {each.status}")
        most = largest_entry(config.raw, each.symbol).leaves or "0"
        least = OrderRules.of(each).market_bounds.notional_min
        if parse_amount(most) < least:
            amounts = f"{unpadded(most)} at most, the least order is {unpadded(amount_text(least))}"
            found.append(f"{each.symbol}: an entry costs {amounts}")
    text = "; ".join(found) or "each is traded now, and an entry reaches its least order"
    remedy = "Choose other symbols, or see: minibot size SYMBOL --explain" if found else ""
    return CheckResult(MARKETS, True, text, remedy)
