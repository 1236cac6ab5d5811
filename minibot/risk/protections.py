"""Protections: locks of a symbol, or of all symbols, against entries, caused by closed trades.

Methods, parameters and their meaning are those of freqtrade 2026.9; `ProtectionSection` explains
them, and `tests/risk/freqtrade_locks.py` records the locks of freqtrade's own code. Differences:

* A trade's ratio is exact and rounded down at the eighth place (`accounting.round_trips`).
* Trades are judged at the time of the closing fill, which is the trade's close.
* Freqtrade locks a symbol until its bar ends after each exit; here that needs a CooldownPeriod.
* LossesInRow is an addition. Weekly bars begin on Monday, like the venue's.

Locks follow from closed trades only, so they can be recomputed from fills and exit reasons. No
command lifts a lock. Trades are judged in the order of their closes, whichever queue is read first:
a trade with a fill of a resting order waits for the result that reports the trigger of that order,
and later trades wait behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.portfolio import Portfolio
from minibot.accounting.round_trips import RATIO_UNIT, RoundTrip, RoundTrips
from minibot.cores.core_profile import TRADES_KEPT, CoreProfile, ProtectionSection
from minibot.cores.messages import FillMessage
from minibot.events.field_types import MS_MAX
from minibot.events.intervals import INTERVAL_MS, align
from minibot.events.model import ALL_SYMBOLS, JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.events.reasons import (
    BREAK_EVEN,
    COOLDOWN_PERIOD,
    HARD_STOP,
    INVARIANT_BROKEN,
    LOSSES_IN_ROW,
    LOW_PROFIT_PAIRS,
    MAX_DRAWDOWN,
    SIGNAL_STOP,
    STOP_LOSS,
    STOPLOSS_GUARD,
    TRAILING_STOP,
)
from minibot.events.unit_sizes import DAY_MS, MINUTE_MS
from minibot.kernel.canonical import encode
from minibot.kernel.errors import InvariantError
from minibot.risk.checks import SKIPPED, Gate

STOPS: Final = frozenset({BREAK_EVEN, HARD_STOP, SIGNAL_STOP, STOP_LOSS, TRAILING_STOP})
"""Reasons of exits that StoplossGuard counts: any stop."""

OF_STOPLOSS_GUARD: Final = Gate("stoploss_guard_ms", STOPLOSS_GUARD)
OF_COOLDOWN_PERIOD: Final = Gate("cooldown_period_ms", COOLDOWN_PERIOD)
OF_MAX_DRAWDOWN: Final = Gate("max_drawdown_ms", MAX_DRAWDOWN)
OF_LOW_PROFIT_PAIRS: Final = Gate("low_profit_pairs_ms", LOW_PROFIT_PAIRS)
OF_LOSSES_IN_ROW: Final = Gate("losses_in_row_ms", LOSSES_IN_ROW)

METHODS: Final[dict[str, str]] = {
    "StoplossGuard": STOPLOSS_GUARD,
    "CooldownPeriod": COOLDOWN_PERIOD,
    "MaxDrawdown": MAX_DRAWDOWN,
    "LowProfitPairs": LOW_PROFIT_PAIRS,
    "LossesInRow": LOSSES_IN_ROW,
}
"""The reason code of each method's locks."""

LINE_BYTES: Final = 248 * 1024
"""Bytes of a line for trades, locks, streaks and open trades: the shipped `queues.line_bytes_max`
less 8 KiB for the rest of the event."""

OPEN_BYTES: Final = 160
"""Bytes of an open trade in that line, with the reason of its exit."""

OPEN_MAX: Final = 400
"""Number of open trades that have room in it: so many symbols may be traded at a time."""

TRADE_BYTES: Final = 220
LOCK_BYTES: Final = 130
STREAK_BYTES: Final = 40
"""Most bytes of a closed trade, of a lock, which is written twice, and of a streak."""


@final
class Protection:
    """One protection of the profile; times in ms, ratios in hundred-millionths.

    Attributes:
        code: The reason code of its locks.
        lookback_ms: How long a trade counts after its close; 0 for a method without a lookback.
        stop_ms: How long a lock lasts after the last counted trade; 0 with `unlock_ms`.
        unlock_ms: The UTC time of day until which a lock lasts; None with `stop_ms`.
        trade_limit: Number of counted trades from which it locks (losses in a row for LossesInRow);
            a CooldownPeriod locks after every trade.
        required: Ratio below which a trade counts, or below which the sum of a symbol's ratios
            locks.
        drawdown_max: The largest drawdown without a lock.
        is_equity: Whether drawdown is of equity; else of the sum of the trades' ratios.
        is_local: Whether each symbol is counted and locked separately.
    """

    __slots__ = (
        "code",
        "drawdown_max",
        "is_equity",
        "is_local",
        "lookback_ms",
        "required",
        "stop_ms",
        "trade_limit",
        "unlock_ms",
    )

    def __init__(self, section: ProtectionSection, bar_ms: int) -> None:
        """Take a protection of the profile; `bar_ms` is the length of the profile's bars."""
        self.code: str = METHODS[section.method]
        self.lookback_ms: int = _span(
            section.lookback_period_candles, section.lookback_period, bar_ms
        )
        self.stop_ms: int = _span(section.stop_duration_candles, section.stop_duration, bar_ms)
        self.unlock_ms: int | None = None
        if section.unlock_at is not None:
            hours, _, minutes = section.unlock_at.partition(":")
            self.unlock_ms = (int(hours) * 60 + int(minutes)) * MINUTE_MS
        self.trade_limit: int = section.trade_limit or 1
        self.required: int = parse_amount(section.required_profit or "0")
        self.drawdown_max: int = parse_amount(section.max_allowed_drawdown or "0")
        self.is_equity: bool = section.calculation_mode == "equity"
        is_of_symbol = self.code in (COOLDOWN_PERIOD, LOW_PROFIT_PAIRS)
        self.is_local: bool = is_of_symbol or bool(section.only_per_pair)

    def kept_ms(self, bar_ms: int) -> int:
        """Return how long a trade may matter after its close."""
        longest = self.stop_ms if self.unlock_ms is None else DAY_MS
        return max(self.lookback_ms, longest + bar_ms)

    def until(self, closed_ts: int, bar_ms: int) -> int:
        """Return the end of a lock whose last counted trade closed at `closed_ts`.

        The lock ends with the bar that contains the end of the duration, or the time of day. A bar
        contains its first moment, so a duration of whole bars that starts there lasts one bar more.
        A lock never ends later than the last time that an event can hold.
        """
        until = closed_ts + self.stop_ms
        if self.unlock_ms is not None:
            # Seconds stay as they are: freqtrade sets only hour and minute.
            until = closed_ts // DAY_MS * DAY_MS + self.unlock_ms + closed_ts % MINUTE_MS
            if until < closed_ts:
                until += DAY_MS
        return min(align(until, bar_ms) + bar_ms, MS_MAX)


def _span(bars: int | None, minutes: int | None, bar_ms: int) -> int:
    """Return a time given in bars or in minutes."""
    return bars * bar_ms if bars is not None else (minutes or 0) * MINUTE_MS


@final
class Waiting:
    """Closed trade that waits to be judged.

    Attributes:
        trade: The trade, with the reason that risk gave last.
        orders: The resting orders that sold part of it and whose trigger is not reported yet.
    """

    __slots__ = ("orders", "trade")

    def __init__(self, trade: RoundTrip, orders: list[str]) -> None:
        """Take a trade and the orders for which it waits."""
        self.trade: RoundTrip = trade
        self.orders: list[str] = orders

    def to_json(self) -> JsonObject:
        """Return trade and orders as canonical JSON values."""
        return {"trade": self.trade.to_json(), "orders": list(self.orders)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Waiting:
        """Return the waiting trade of `to_json`."""
        return Waiting(RoundTrip.from_json(data["trade"]), list(data["orders"]))


@final
class Protections:
    """The protections of a run, the trades that they count, and their locks.

    Attributes:
        is_on: Whether the profile has any.
        rules: The protections in the order of the profile.
        trips: The open round trips.
        trades: The closed trades that may still count, in the order of their closes, `TRADES_KEPT`
            at most and no more than fit in a line, and also the last trade behind each lock.
        closed: The profit of all closed trades, in hundred-millionths of quote.
        start: The equity with which the first of the carried runs began.
        locks: The end of each lock by reason code and scope (a symbol or all), also of past ones.
        streaks: The losses in a row by scope; a gain ends a streak. Each closed trade replaces
            locks and streaks, so that reports and snapshots can share what they were.
        waiting: Closed trades that are not judged yet.
    """

    __slots__ = (
        "_bar_ms",
        "_bytes_max",
        "_exit_reasons",
        "_kept_ms",
        "_unreported",
        "closed",
        "is_on",
        "locks",
        "rules",
        "start",
        "streaks",
        "trades",
        "trips",
        "waiting",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the protections of the whole resolved configuration; nothing is locked."""
        profile = CoreProfile.of(config)
        sections = profile.risk.protections or ()
        self.is_on: bool = len(sections) > 0
        self._bar_ms: int = INTERVAL_MS[profile.strategy.bar_interval] if self.is_on else 0
        self.rules: list[Protection] = [Protection(item, self._bar_ms) for item in sections]
        # A trade is kept while it counts, or while a lock that it caused lasts.
        self._kept_ms: int = max([rule.kept_ms(self._bar_ms) for rule in self.rules], default=0)
        open_max = min(profile.risk.positions_max, OPEN_MAX)
        self._bytes_max: int = LINE_BYTES - open_max * OPEN_BYTES
        self.trips: RoundTrips = RoundTrips()
        self.trades: list[RoundTrip] = []
        self.closed: int = 0
        self.start: int = 0
        self.locks: dict[str, dict[str, int]] = {rule.code: {} for rule in self.rules}
        self.streaks: dict[str, int] = {}
        # Reason of the last exit of each symbol.
        self._exit_reasons: dict[str, str] = {}
        # Orders that sold part of each open trip and whose trigger is not reported yet.
        self._unreported: dict[str, list[str]] = {}
        self.waiting: list[Waiting] = []

    def open(
        self, portfolio: Portfolio, equity: int, memory: Mapping[str, Any] | None, now: int
    ) -> None:
        """Start the run with its portfolio, its equity, and the memory of the last run.

        With a memory the equity of the first run stays, and what is held without an open trade is
        the dust of a closed one. Locks of methods that the profile no longer has are dropped.
        Waiting trades of the last run are judged now, by the times of their closes.

        Raises:
            InvariantError: The memory is damaged, its locks contradict its trades, or it has an
                open trade of a symbol that is not held.
        """
        self.start = equity
        if memory is not None:
            try:
                self._restore(memory)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                detail = f"run_opening: memory: {type(error).__name__}: {error}"
                raise InvariantError("risk", INVARIANT_BROKEN, detail) from error
            self._check(now)
            # No order outlives its run: no result will report these triggers.
            self._unreported = {}
            for waiting in self.waiting:
                waiting.orders.clear()
            self._judge()
        for symbol in portfolio.symbols() if memory is None else ():
            self.trips.carry(symbol, portfolio.lots(symbol)[0].ts, portfolio.position_cost(symbol))
        for symbol in [one for one in self.trips.open if not portfolio.has_lots(one)]:
            raise _contradiction(f"an open trade of {symbol}, expected a held symbol")

    def _check(self, now: int) -> None:
        """Check the memory.

        Raises:
            InvariantError: A time, count or name is none, a trade has no cost, or no trade can have
                caused a lasting lock.
        """
        closed = self.trades + [waiting.trade for waiting in self.waiting]
        numbers, names = list(self.streaks.values()), list(self._exit_reasons.values())
        for scopes in self.locks.values():
            numbers += scopes.values()
        for trip in closed + list(self.trips.open.values()):
            numbers += (trip.opened_ts, trip.closed_ts)
            names += (trip.symbol, trip.reason)
        if not all([type(each) is int and each >= 0 for each in numbers]):
            raise _contradiction("a time or count, expected a whole number")
        if not all([type(each) is str for each in names]):
            raise _contradiction("a symbol or reason, expected a text")
        for trade in closed:
            if trade.spent <= 0 or trade.received < 0:
                raise _contradiction(f"a trade of {trade.symbol} closed at {trade.closed_ts}")
        for lock in self.listed(now):
            if not _causes(self.trades, lock):
                raise _contradiction(
                    f"{lock['reason_code']} locks {lock['scope']}, without a trade"
                )

    def on_exit(self, symbol: str, reason: str) -> None:
        """Take the reason code of an exit; a later one replaces it."""
        self._exit_reasons[symbol] = reason

    def on_trigger(self, symbol: str, order: str, reason: str) -> None:
        """Take the reason code of a triggered resting order, before its fills or after them."""
        for waiting in self.waiting:
            if order in waiting.orders:
                waiting.orders.remove(order)
                waiting.trade.reason = reason
                self._judge()
                return
        unreported = self._unreported.get(symbol)
        if unreported is not None and order in unreported:
            unreported.remove(order)
        self._exit_reasons[symbol] = reason

    def on_fill(self, fill: FillMessage, is_flat: bool, unreported: str = "") -> None:
        """Take a fill; if it closes the trade of its symbol, the trade is judged or waits.

        Args:
            fill: The fill.
            is_flat: Whether nothing of the symbol is held after it.
            unreported: The fill's order, if it rested and its trigger is not reported yet; else "".
        """
        symbol = fill.symbol
        if unreported:
            orders = self._unreported.setdefault(symbol, [])
            if unreported not in orders:
                orders.append(unreported)
        trade = self.trips.on_fill(fill, is_flat, self._exit_reasons.get(symbol, ""))
        if trade is not None:
            self._exit_reasons.pop(symbol, None)
            orders = self._unreported.pop(symbol, [])
            if trade.spent > 0:  # Else dust of an earlier trade was sold, which does not count.
                self.waiting.append(Waiting(trade, orders))
                self._judge()

    def _judge(self) -> None:
        """Judge closed trades in their order, up to one whose reason is not known yet."""
        while self.waiting and not self.waiting[0].orders:
            self.on_trade(self.waiting.pop(0).trade)

    def on_trade(self, trade: RoundTrip) -> None:
        """Add a closed trade, judge all that count at the time of its close, and lock."""
        now = trade.closed_ts
        self._forget(now)
        self.trades.append(trade)
        self.closed += trade.profit
        self._count_losses(trade)
        self.locks = {
            code: {scope: until for scope, until in scopes.items() if until > now}
            for code, scopes in self.locks.items()
        }
        for rule in self.rules:
            last_ts = self._last_counted(rule, trade)
            if last_ts is not None:
                scope, scopes = (
                    trade.symbol if rule.is_local else ALL_SYMBOLS,
                    self.locks[rule.code],
                )
                scopes[scope] = max(scopes.get(scope, 0), rule.until(last_ts, self._bar_ms))
        self._fit(now)

    def _forget(self, now: int) -> None:
        """Forget trades that no longer count, except the last one behind each lasting lock.

        A lock of an earlier profile may last longer than any trade counts in this one. Of the
        trades that count, the newest are kept, with room for the one that is judged now.
        """
        since = now - self._kept_ms
        counting = [one for one in self.trades if one.closed_ts > since]
        kept = counting[1 - TRADES_KEPT :]
        if len(kept) == len(self.trades):
            return
        old = [one for one in self.trades if one.closed_ts <= since]
        old += counting[: len(counting) - len(kept)]
        newest = {one.symbol: one for one in old}
        caused = {one.symbol for one in kept}
        causes: set[RoundTrip] = set()
        for lock in self.listed(now):
            scope = lock["scope"]
            if scope == ALL_SYMBOLS and not caused:
                causes.add(old[-1])
                caused.add(old[-1].symbol)
            elif scope in newest and scope not in caused:
                causes.add(newest[scope])
                caused.add(scope)
        self.trades = [one for one in old if one in causes] + kept

    def _fit(self, now: int) -> None:
        """Forget the oldest trades until the others and the locks fit in a line.

        The newest trade stays, and so does the last one behind each lasting lock.
        """
        locks = sum([len(scopes) for scopes in self.locks.values()])
        most = len(self.trades) * TRADE_BYTES + locks * LOCK_BYTES
        if most + len(self.streaks) * STREAK_BYTES <= self._bytes_max:
            return
        listed = self.listed(now)
        trades = [one.to_json() for one in self.trades]
        memory = {"told": listed, "locks": self.locks, "streaks": self.streaks, "trades": trades}
        over = len(encode(memory)) - self._bytes_max
        newest = {one.symbol: one for one in self.trades}
        stay = {newest[lock["scope"]] for lock in listed if lock["scope"] in newest}
        stay.add(self.trades[-1])
        kept: list[RoundTrip] = []
        for one in self.trades:
            if over > 0 and one not in stay:
                over -= len(encode(one.to_json())) + 1
            else:
                kept.append(one)
        self.trades = kept

    def left(self, code: str, symbol: str, now: int) -> int:
        """Return how many ms a method still locks a symbol or all; 0 for no lock.

        It is `SKIPPED` for a method that is not in the profile.
        """
        if not self.is_on:
            return SKIPPED
        scopes = self.locks.get(code)
        if scopes is None:
            return SKIPPED
        until = max(scopes.get(ALL_SYMBOLS, 0), scopes.get(symbol, 0))
        return max(0, until - now)

    def listed(self, now: int) -> list[JsonObject]:
        """Return the locks in force at `now`, in the order of reason code and scope."""
        return listed_locks(self.locks, now)

    # --- counting -------------------------------------------------------------------------------

    def _count_losses(self, trade: RoundTrip) -> None:
        """Count the losses in a row; a trade that breaks even changes nothing."""
        streaks = self.streaks = self.streaks.copy()
        for scope in (ALL_SYMBOLS, trade.symbol):
            if trade.profit < 0:
                streaks[scope] = streaks.get(scope, 0) + 1
            elif trade.profit > 0:
                streaks.pop(scope, None)

    def _last_counted(self, rule: Protection, trade: RoundTrip) -> int | None:
        """Return the close of the last counted trade if a protection locks now; else None."""
        now, code = trade.closed_ts, rule.code
        if code == COOLDOWN_PERIOD:
            return now
        if code == LOSSES_IN_ROW:
            streak = self.streaks.get(trade.symbol if rule.is_local else ALL_SYMBOLS, 0)
            return now if trade.profit < 0 and streak >= rule.trade_limit else None
        counted = [one for one in self.trades if one.closed_ts > now - rule.lookback_ms]
        if rule.is_local:
            counted = [one for one in counted if one.symbol == trade.symbol]
        if code == STOPLOSS_GUARD:
            # A trade without profit or loss never counts, whatever is required.
            counted = [
                one for one in counted if one.reason in STOPS and 0 != one.ratio < rule.required
            ]
        if len(counted) < rule.trade_limit:
            return None
        if code == MAX_DRAWDOWN and not self._is_drawn(rule, counted):
            return None
        if code == LOW_PROFIT_PAIRS and sum([one.ratio for one in counted]) >= rule.required:
            return None
        return counted[-1].closed_ts

    def _is_drawn(self, rule: Protection, trades: list[RoundTrip]) -> bool:
        """Return whether the drawdown over the trades, in order, is larger than allowed."""
        total = high = 0
        base = RATIO_UNIT
        if rule.is_equity:
            base = self.start + self.closed - sum([one.profit for one in trades])
        for one in trades:
            total += one.profit if rule.is_equity else one.ratio
            high = max(high, total)
            whole = base + high if rule.is_equity else base
            if (high - total) * RATIO_UNIT > rule.drawdown_max * whole:
                return True
        return False

    # --- as text --------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "closed": amount_text(self.closed),
            "left": dict(self._exit_reasons),
            "locks": self.locks,
            "start": amount_text(self.start),
            "streaks": self.streaks,
            "trades": [trade.to_json() for trade in self.trades],
            "trips": self.trips.state(),
            **self._unjudged(),
        }

    def _unjudged(self) -> JsonObject:
        """Return the sales and trades that wait for results; empty if none waits."""
        found: JsonObject = {}
        unreported = {symbol: list(orders) for symbol, orders in self._unreported.items() if orders}
        if unreported:
            found["untold"] = unreported
        if self.waiting:
            found["waiting"] = [waiting.to_json() for waiting in self.waiting]
        return found

    @staticmethod
    def from_state(config: JsonObject, state: Mapping[str, Any] | None) -> Protections:
        """Return the protections of `state`; None is the state of a profile without any."""
        restored = Protections(config)
        if state is not None:
            restored._restore(state)
        return restored

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.trips = RoundTrips.from_state(state["trips"])
        self.trades = [RoundTrip.from_json(trade) for trade in state["trades"]]
        self.closed = parse_amount(state["closed"])
        self.start = parse_amount(state["start"])
        self.locks = {code: dict(state["locks"].get(code, {})) for code in self.locks}
        self.streaks = dict(state["streaks"])
        self._exit_reasons = dict(state["left"])
        unreported = state.get("untold", {})
        self._unreported = {symbol: list(orders) for symbol, orders in unreported.items()}
        self.waiting = [Waiting.from_json(item) for item in state.get("waiting", ())]


def listed_locks(locks: Mapping[str, Mapping[str, int]], now: int) -> list[JsonObject]:
    """Return those of the locks that are in force at `now`, in the order of code and scope."""
    return [
        {"reason_code": code, "scope": scope, "until_ts": until}
        for code in sorted(locks)
        for scope, until in sorted([each for each in locks[code].items() if each[1] > now])
    ]


def _causes(trades: list[RoundTrip], lock: JsonObject) -> list[RoundTrip]:
    """Return the trades that may have caused a lock."""
    scope, until = lock["scope"], lock["until_ts"]
    return [one for one in trades if one.closed_ts < until and scope in (ALL_SYMBOLS, one.symbol)]


def _contradiction(detail: str) -> InvariantError:
    return InvariantError("risk", INVARIANT_BROKEN, f"run_opening: memory: {detail}")
