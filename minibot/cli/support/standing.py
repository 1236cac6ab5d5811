"""Positions of a running night and its operator's prohibitions, read from its own queues.

A night in the background has no table on a screen; its trader looks at `minibot status` instead.
Positions and realised gains come from the opening and the fills, exact to the last unit; a halt
and locks come from `control`, as risk reads them. Prices are those of the last ticks of held
symbols; there is no equity, which would need every mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minibot.engine.lookup import last_event, last_events
from minibot.engine.portfolio_at import portfolio_at
from minibot.engine.recorded_run import Recorded
from minibot.engine.recorded_stops import entry_stops_of
from minibot.events.model import (
    Event,
    Halt,
    JsonObject,
    LockSymbol,
    MarketTick,
    Resume,
    Signal,
)
from minibot.events.money import amount_text, parse_amount
from minibot.events.names import TICKS
from minibot.report.entry_notices import entry_notice
from minibot.report.figures import clock, counted, money, plain_text, price
from minibot.report.summary import Row


@dataclass(frozen=True, slots=True)
class Standing:
    """Standing of a run, with positions as `{symbol, qty, entry_price_avg}`.

    Amounts are decimal strings in quote. `filled_ts` is the market time of the last fill, up to
    which the positions are current; `decision` is the last one on record, as `{ts, symbol, side,
    reason, reason_code}`.
    """

    run_id: str
    filled_ts: int | None
    decision: JsonObject | None
    positions: list[dict[str, str]]
    prices: dict[str, JsonObject]
    realised_pnl: str
    fees: str
    fills: int
    halted: JsonObject | None
    locks: dict[str, JsonObject]
    entry_stops: JsonObject | None

    def to_json(self) -> JsonObject:
        """Return the standing as one JSON object."""
        return {
            "run_id": self.run_id,
            "filled_ts": self.filled_ts,
            "decision": self.decision,
            "decision_is_current": self.decision_is_current,
            "positions": self.positions,
            "prices": self.prices,
            "realised_pnl": self.realised_pnl,
            "fees": self.fees,
            "fills": self.fills,
            "halted": self.halted,
            "locks": self.locks,
            "entry_stops": self.entry_stops,
        }

    @property
    def net_pnl(self) -> str:
        """Realised P&L after fees, in quote."""
        return amount_text(parse_amount(self.realised_pnl) - parse_amount(self.fees))

    @property
    def decision_is_current(self) -> bool:
        """True when nothing was bought or sold since the last decision."""
        if self.decision is None:
            return False
        return self.filled_ts is None or int(self.decision["ts"]) >= self.filled_ts


def standing_of(recorded: Recorded, now_ms: int) -> Standing:
    """Return the standing of a run at a market time.

    Args:
        recorded: The run, running or ended.
        now_ms: Market time, Unix ms: a lock that has expired by then is left out.

    Raises:
        RunStop: A queue cannot be read.
    """
    portfolio = portfolio_at(recorded)
    filled = last_event(recorded, "fills")
    signals = last_events(recorded, "signals")  # A scan may follow the last decision.
    decided = next((event for event in signals if isinstance(event.payload, Signal)), None)
    halted: JsonObject | None = None
    locks: dict[str, JsonObject] = {}
    for _, event in recorded.events("control"):
        payload = event.payload
        if isinstance(payload, Halt):
            halted = {"ts": event.ts, "who": payload.who, "why": payload.why}
        elif isinstance(payload, Resume):
            halted = None
        elif isinstance(payload, LockSymbol):
            locks[payload.symbol] = {
                "until_ts": payload.until_ts,
                "who": payload.who,
                "why": payload.why,
            }
    return Standing(
        run_id=recorded.manifest.run_id,
        filled_ts=None if filled is None else filled.ts,
        decision=None if decided is None else _decision(decided),
        positions=portfolio.open_positions(),
        prices=prices_of(recorded, portfolio.symbols()),
        realised_pnl=amount_text(portfolio.realised_pnl),
        fees=amount_text(portfolio.fees),
        fills=portfolio.fills,
        halted=halted,
        locks={name: lock for name, lock in locks.items() if _holds(lock, now_ms)},
        entry_stops=entry_stops_of(recorded).to_json(),
    )


def prices_of(recorded: Recorded, symbols: Sequence[str]) -> dict[str, JsonObject]:
    """Return last price, mark (the mid of the touch) and time of each symbol with a recent tick."""
    found: dict[str, JsonObject] = {}
    if not symbols:
        return found
    for event in last_events(recorded, TICKS):
        tick = event.payload
        if isinstance(tick, MarketTick) and tick.symbol in symbols and tick.symbol not in found:
            mid = (parse_amount(tick.bid) + parse_amount(tick.ask)) // 2
            found[tick.symbol] = {"ts": event.ts, "price": tick.price, "mark": amount_text(mid)}
            if len(found) == len(symbols):
                break
    return found


def _decision(event: Event) -> JsonObject:
    signal = event.payload.to_json()
    names = ("symbol", "side", "reason", "reason_code")
    return {"ts": event.ts, **{name: signal[name] for name in names}}


def _holds(lock: JsonObject, now_ms: int) -> bool:
    return lock["until_ts"] is None or now_ms < int(lock["until_ts"])


def standing_rows(standing: Standing, quote_asset: str) -> list[Row]:
    """Return the standing in words."""
    held = [_position(standing, item) for item in standing.positions] or ["no position"]
    fills = counted(standing.fills, "fill")
    if standing.filled_ts is not None:
        fills = f"{fills}, the last at {clock(standing.filled_ts)} UTC"
    rows = [
        Row("decision", decision_text(standing)),
        *(Row("" if number else "open", text) for number, text in enumerate(held)),
        Row(
            "money",
            f"realised P&L {money(standing.net_pnl)} {quote_asset} "
            f"(gross {money(standing.realised_pnl)}, fees {money(standing.fees)}), {fills}",
        ),
    ]
    if standing.halted is not None:
        rows.append(Row("halted", f"no new entries since {_words(standing.halted)}", "bad"))
    if notice := entry_notice(standing.entry_stops):
        rows.append(Row("entries", notice, "bad"))
    for symbol, lock in sorted(standing.locks.items()):
        until = lock["until_ts"]
        end = "to the run's end" if until is None else f"until {clock(int(until))} UTC"
        why = f"{plain_text(lock['who'])}: {plain_text(lock['why'])}"
        rows.append(Row("locked", f"no entries in {symbol} {end}, by {why}", "bad"))
    return rows


def _position(standing: Standing, item: Mapping[str, str]) -> str:
    """Return a position with its mark and the market's last price, if there is a recent one."""
    text = f"{money(item['qty'], 8)} {item['symbol']} bought at {price(item['entry_price_avg'])}"
    seen = standing.prices.get(item["symbol"])
    if seen is None:
        return text
    last = "" if seen["price"] is None else f", last price {price(seen['price'])}"
    return f"{text}; mark {price(seen['mark'])}{last}, {clock(seen['ts'])} UTC"


def decision_text(standing: Standing) -> str:
    """Return the last decision on record with its time, and whether a fill came after it."""
    decision = standing.decision
    if decision is None:
        return "none yet"
    symbol, reason = decision["symbol"], plain_text(str(decision["reason"]))
    text = f"{clock(int(decision['ts']))} UTC, {symbol}: {reason}"
    if standing.decision_is_current:
        return text
    return f"none since the last fill; before it, {text}"


def _words(halted: JsonObject) -> str:
    who, why = plain_text(halted["who"]), plain_text(halted["why"])
    return f"{clock(halted['ts'])} UTC, by {who}: {why}. On again: minibot resume"
