"""Trading desk for tests: risk and execution in lockstep, with crafted ticks and signals.

Every event passes the run's codec both ways, as on disk, so a broken contract or a forbidden writer
fails here too, and so does a mark for no level or limit that is told as if it were one. Order: a
tick; then results and fills; then signals and intents. With `first` a queue is read before all
others, as a backtest reads fills before results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from minibot.cores.finalize import finalize_drafts
from minibot.cores.messages import Message, drafts_of
from minibot.events.codec import Codec
from minibot.events.ids import position_id
from minibot.events.model import (
    Bar,
    Beat,
    Check,
    Event,
    Fill,
    Instrument,
    JsonObject,
    MarketTick,
    OrderIntent,
    OrderResult,
    Payload,
    RiskAction,
    RunOpening,
    Signal,
)
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.execution.core import core_from_config as execution_from_config
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.kernel.canonical import decode, encode
from minibot.risk.core import RiskCore
from minibot.risk.core import core_from_config as risk_from_config
from minibot.risk.distances import NEVER
from minibot.runtime.configuration.config import load_config
from tests.instruments import instrument as rules_of

PROJECT = Path(__file__).resolve().parents[2]
RUN_ID = "20231114_221320"
START = 1_700_000_000_000
SYMBOL = "BTCUSDT"
OTHER = "ETHUSDT"
HASH = "0" * 64
MARK = str(NEVER).encode()
"""`NEVER`, `UNBOUNDED` and `SKIPPED` as they would be told, whatever their places and sign."""

WRITERS = {
    "control": "watchdog_role",
    "market_ticks": "market_role",
    "signals": "strategy_role",
    "risk_actions": "risk_role",
    "order_intents": "risk_role",
    "order_results": "execution_role",
    "fills": "execution_role",
}
RISK_INPUTS = {"control", "fills", "order_results", "signals", "market_ticks"}
EXECUTION_INPUTS = {"control", "order_intents", "market_ticks"}

PLAIN: dict[str, Any] = {
    # Round sizes for hand computation; each test sets the limits that it tests.
    "risk.order_notional": "1000",
    "risk.position_notional_max": "100000",
    "risk.positions_max": 5,
    "risk.exposure_ratio_max_bps": 10000,
    "risk.night_notional_soft": "1000000",
    "risk.night_notional_hard": "2000000",
    "risk.day_notional_soft": "1000000",
    "risk.day_notional_hard": "2000000",
    "risk.night_loss_soft": "100000",
    "risk.night_loss_hard": "200000",
    "risk.day_loss_soft": "100000",
    "risk.day_loss_hard": "200000",
    "risk.drawdown_bps_soft": 9000,
    "risk.drawdown_bps_hard": 9500,
    "risk.orders_per_minute_soft": 100,
    "risk.orders_per_minute_hard": 200,
    "risk.signal_age_ms_max": 3000,
    "risk.tick_age_ms_max": 5000,
    "risk.intent_ttl_ms": 5000,
    "risk.stop_atr_mult": None,
    "risk.take_profit_atr_mult": None,
    "risk.signal_exit": True,
    "risk.time_exit_ms": None,
    "risk.reference_deviation_bps_max": 10000,
    "execution.latency_market_ms": 50,
    "execution.maker_fee_bps": "0",
    "execution.taker_fee_bps": "0",
    "execution.tick_age_ms_max": 5000,
    "execution.order_ttl_market_ms": 5000,
    "portfolio.quote_asset": "USDT",
    "portfolio.cash": "10000",
    "portfolio.at_end": "close",
    "strategy.bar_interval": "1s",
    "strategy.atr_period": 2,
}


def config(**changes: Any) -> JsonObject:
    """Return the demo profile with plain values and `section__key` changes."""
    profile = decode(encode(demo_profile()))
    for name, value in PLAIN.items():
        section, key = name.split(".")
        profile[section][key] = value
    for name, value in changes.items():
        section, key = name.split("__")
        profile[section][key] = value
    return profile


@cache
def demo_profile() -> JsonObject:
    """Return the shipped demo profile, resolved."""
    return load_config(PROJECT / "config" / "nore-demo.v1.json").raw


@cache
def codec() -> Codec:
    """Return the codec of the tests' run."""
    contracts = Contracts.of_project()
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    return Codec(contracts, roles, RUN_ID, {name: {HASH} for name in WRITERS.values()})


def instrument(symbol: str = SYMBOL, **changes: Any) -> Instrument:
    """Return a symbol's rules: a cent, a thousandth of a coin, ten USDT at least."""
    ours = {"qty_increment": "0.001", "qty_min": "0.001", "notional_min": "10", "origin": "table"}
    return rules_of(symbol, **(ours | changes))


def opening(cash: str = "10000", lots: Iterable[Mapping[str, Any]] = (), **used: str) -> RunOpening:
    """Return the opening of a run."""
    return RunOpening(cash={"USDT": cash}, lots=tuple(lots), budgets_used=used)


class Desk:
    """Risk and execution in lockstep; every method returns the events that it caused."""

    def __init__(
        self,
        profile: JsonObject | None = None,
        *,
        first: RunOpening | None = None,
        with_risk: bool = True,
        ts: int = START,
    ) -> None:
        self.profile = profile or config()
        self.with_risk = with_risk
        self.risk: RiskCore = risk_from_config(self.profile)
        self.execution: PaperExecutorNoreV1 = execution_from_config(self.profile)
        self.ts = ts
        self.lag_ms = 0
        self.tells_marks = False
        self.first = ""
        self.seqs: dict[str, int] = {}
        self.log: list[tuple[str, Event]] = []
        self.bid, self.ask = "99.99", "100.01"
        # The last trade's price, before the first trade the bid.
        self.last, self.is_traded = self.bid, False
        self.put("control", first or opening())

    # --- feeding ------------------------------------------------------------------------------

    def put(
        self,
        queue: str,
        payload: Payload,
        *,
        cause_ids: tuple[str, ...] | None = None,
        tick_seq: int | None = None,
        event_id: str | None = None,
        ts: int | None = None,
    ) -> list[Event]:
        """Write an outside event into a queue and let both cores process the consequences."""
        event = Event(
            ts=self.ts if ts is None else ts,
            id=event_id or position_id(RUN_ID, WRITERS[queue], queue, self.seqs.get(queue, 0) + 1),
            source=WRITERS[queue],
            run_id=RUN_ID,
            cmdline_hash=HASH,
            payload=payload,
            cause_ids=cause_ids,
            tick_seq=tick_seq,
        )
        return self.take(queue, event)

    def take(self, queue: str, event: Event) -> list[Event]:
        """Let both cores process an event and its consequences, effects in order."""
        waiting, gathered = [(queue, event)], []
        while waiting:
            at = next((n for n, (queue, _) in enumerate(waiting) if queue == self.first), 0)
            name, given = waiting.pop(at)
            seq = self.seqs[name] = self.seqs.get(name, 0) + 1
            line = codec().encode(name, given)
            taken = codec().decode(name, line)
            assert self.tells_marks or MARK not in line.replace(b".", b""), line
            self.log.append((name, taken))
            now = max(self.ts, taken.ts) + self.lag_ms
            answers: list[tuple[str, Event]] = []
            if name in EXECUTION_INPUTS:
                messages = self.execution.process(taken, seq, now) or []
                answers += finished(messages, taken, "execution_role")
            if name in RISK_INPUTS and self.with_risk:
                messages = self.risk.process(taken, seq, now) or []
                answers += finished(messages, taken, "risk_role")
            gathered += [answer for _, answer in answers]
            waiting += answers
        return gathered

    def instrument(self, symbol: str = SYMBOL, **changes: Any) -> list[Event]:
        return self.put("market_ticks", instrument(symbol, **changes))

    def tick(
        self,
        bid: str | None = None,
        ask: str | None = None,
        *,
        bid_qty: str = "1000",
        ask_qty: str = "1000",
        symbol: str = SYMBOL,
        after_ms: int = 100,
        trade: str | None = None,
    ) -> list[Event]:
        """Advance market time, then change the touch, by a trade where a price is given."""
        self.ts += after_ms
        self.bid, self.ask = bid or self.bid, ask or self.ask
        self.last = trade or (self.last if self.is_traded else self.bid)
        self.is_traded = self.is_traded or trade is not None
        tick = MarketTick(
            symbol=symbol,
            price=trade or self.last,
            kind="quote" if trade is None else "trade",
            qty=None if trade is None else "1",
            bid=self.bid,
            bid_qty=bid_qty,
            ask=self.ask,
            ask_qty=ask_qty,
            recv_mono_ns=self.ts,
        )
        return self.put("market_ticks", tick)

    def beat(self, after_ms: int = 1000) -> list[Event]:
        self.ts += after_ms
        return self.put("market_ticks", Beat(n=1, data_age_ms={SYMBOL: 0}))

    def bar(
        self, open_: str, high: str, low: str, close: str, *, symbol: str = SYMBOL
    ) -> list[Event]:
        """Advance a second and close its bar."""
        self.ts += 1000
        return self.put(
            "market_ticks",
            Bar(
                symbol=symbol,
                interval="1s",
                open_ts=self.ts - 1000,
                close_ts=self.ts - 1,
                open=open_,
                high=high,
                low=low,
                close=close,
                volume="1",
                is_history=False,
            ),
        )

    def signal(
        self,
        side: str,
        *,
        symbol: str = SYMBOL,
        age_ms: int = 0,
        horizon_ms: int = 60_000,
        confidence: int = 80,
        event_id: str | None = None,
        **wish: Any,
    ) -> list[Event]:
        """Send a signal of the strategy about the last tick; `wish` are its optional fields."""
        seq = self.seqs["market_ticks"]
        payload = Signal(
            symbol=symbol,
            side=side,
            score=80,
            confidence=confidence,
            horizon_ms=horizon_ms,
            reason="a test said so",
            reason_code="momentum_up",
            checks=(Check("momentum_bps", "2", "1", True),),
            **wish,
        )
        cause = position_id(RUN_ID, "market_role", "market_ticks", seq)
        return self.put(
            "signals",
            payload,
            cause_ids=(cause,),
            tick_seq=seq,
            event_id=event_id,
            ts=self.ts - age_ms,
        )

    def intent(
        self, side: str, qty: str, *, order_type: str = "MARKET", after_ms: int = 0, **changes: Any
    ) -> list[Event]:
        """Send an intent in place of risk's; for a desk without risk."""
        self.ts += after_ms
        number = self.seqs.get("order_intents", 0) + 1
        values: dict[str, Any] = {
            "symbol": SYMBOL,
            "side": side,
            "qty": qty,
            "order_type": order_type,
            "client_order_id": position_id(RUN_ID, "client_order", "order_intents", number),
            "purpose": "ENTRY" if side == "BUY" else "EXIT",
        }
        action_id = position_id(RUN_ID, "risk_role", "risk_actions", number)
        signal_id = position_id(RUN_ID, "strategy_role", "signals", number)
        return self.put(
            "order_intents",
            OrderIntent(**(values | changes)),
            cause_ids=(action_id, signal_id),
            tick_seq=self.seqs["market_ticks"],
        )

    def ready(self) -> Desk:
        """Make rules and a first touch known, beside a hard stop a first close as well."""
        self.instrument()
        if self.profile["risk"].get("hard_stop_bps"):
            self.bar("100", "100", "100", "100")
        self.tick()
        return self

    def buy(self) -> list[Event]:
        """Send a BUY signal and the tick that fills it."""
        return self.signal("BUY") + self.tick()

    # --- reading ------------------------------------------------------------------------------

    def events(self, queue: str) -> list[Event]:
        """Return everything written into a queue so far."""
        return [event for name, event in self.log if name == queue]

    def log_bytes(self) -> bytes:
        """Return all queues in order, as bytes on disk."""
        return b"\n".join(encode({"queue": n, "event": e.to_json()}) for n, e in self.log)

    def restarted(self) -> None:
        """Replace both cores by new ones with their states, through canonical JSON."""
        from minibot.execution.core import core_from_state as execution_from_state
        from minibot.risk.core import core_from_state as risk_from_state

        self.risk = risk_from_state(self.profile, decode(encode(self.risk.state())))
        self.execution = execution_from_state(self.profile, decode(encode(self.execution.state())))


def finished(messages: list[Message], cause: Event, role: str) -> list[tuple[str, Event]]:
    """Return a step's messages as events, as the shell makes them."""
    made = finalize_drafts(drafts_of(messages), cause, run_id=RUN_ID, role=role, cmdline_hash=HASH)
    assert [event for _, event in made] == [message.event(HASH) for message in messages]
    return made


def of(events: Iterable[Event], kind: type[Payload]) -> list[Any]:
    """Return the payloads of one class among events."""
    return [event.payload for event in events if isinstance(event.payload, kind)]


def actions(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Return risk's decisions: action and reason."""
    return [(payload.action, payload.reason_code) for payload in of(events, RiskAction)]


def intents(events: Iterable[Event]) -> list[OrderIntent]:
    """Return risk's intents."""
    return of(events, OrderIntent)


def results(events: Iterable[Event]) -> list[tuple[str, str | None]]:
    """Return order results: result and reason."""
    return [(payload.result, payload.reason_code) for payload in of(events, OrderResult)]


def fills(events: Iterable[Event]) -> list[Fill]:
    """Return the fills."""
    return of(events, Fill)


def check_of(event: Event, name: str) -> Mapping[str, Any]:
    """Return one check of a risk_action, in its form on disk."""
    checks: list[dict[str, Any]] = event.to_json()["payload"]["checks"]
    (found,) = [check for check in checks if check["name"] == name]
    return found


def check_text(event: Event, name: str) -> str:
    """Return value and limit of one check of a risk_action."""
    check = check_of(event, name)
    return f"{check['value']} / {check['threshold']}"
