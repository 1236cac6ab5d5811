"""Watch over a storm: a book of its own, kept from inputs and messages, and what must never happen.

Nothing here is taken from the cores but their states, at samples, so that a book which both cores
keep wrongly is found too. Amounts are hundred-millionths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from minibot.accounting.order_rules import OrderRules, mid_down
from minibot.accounting.references import References
from minibot.cores.messages import (
    ActionMessage,
    CancelMessage,
    FillMessage,
    IntentMessage,
    Message,
    ReportMessage,
    ResultMessage,
    SignalMessage,
    stop_in,
)
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import (
    BUY,
    SELL,
    AveragePrice,
    Event,
    Gap,
    Halt,
    Instrument,
    JsonObject,
    LockSymbol,
    PositionPlan,
    PriceMark,
    RecoveryIntent,
    Resume,
    RiskAction,
    RunEnding,
    RunOpening,
)
from minibot.events.money import (
    UNIT,
    cost_up,
    fee_up,
    parse_amount,
    parse_rate,
    proceeds_down,
)
from minibot.events.names import EXECUTION_ROLE
from minibot.events.reasons import ALLOWED, NOTIONAL_MAX, QTY_MAX, REDUCED
from minibot.events.unit_sizes import BPS
from minibot.risk.checks import Gate
from minibot.risk.entry_decision import SPREAD
from minibot.risk.exit_decision import EXIT_QTY
from minibot.risk.ladder import is_too_small
from minibot.risk.late_entries import (
    ACCELERATION,
    BARS_LATE,
    CONFIDENCE,
    DAY_CHANGE,
    DAY_RSI,
    FATIGUE_BARS,
    MOVED,
)
from minibot.risk.vadr_gate import OF_VADR, READINGS

SAMPLE: Final = 25
ASKED: Final[dict[str, tuple[Gate, ...]]] = {
    "confidence_min": (CONFIDENCE,),
    "bars_late_max": (BARS_LATE,),
    "price_move_atr_max": (MOVED,),
    "fatigue_bar_interval": (FATIGUE_BARS,),
    "vadr_min": (READINGS, OF_VADR),
    "entry_spread_bps_max": (SPREAD,),
}
"""Checks that stand in each entry that is allowed, by the keys that ask for them."""
TIRED: Final = (DAY_CHANGE, DAY_RSI, ACCELERATION)
"""Of these one passes where fatigue is asked."""
ENTERED: Final = frozenset({ALLOWED, REDUCED})
STOPS: Final = ("hard", "stop", "even", "trail", "own")
TERMINAL: Final = frozenset({"FILLED", "CANCELLED", "EXPIRED", "REJECTED"})
ALLOWING: Final = frozenset({"ALLOW", "REDUCE", "EXIT", "PROTECT", "WITHDRAW"})
TOO_LARGE: Final = frozenset({QTY_MAX, NOTIONAL_MAX})
QUOTE: Final = "USDT"
WHOLE: Final = 10**8
"""All of a price, in ten-thousandths of a basis point."""

LINEAGE = "an intent without the action that allows it"
AFTER_STOP = "something was said after STOP"
CASH = "free cash below zero"
HOLDING = "more sold than held"
CAP = "a cap was passed"
QTY = "a quantity that is no whole step of its bounds"
NO_HARD_STOP = "a unit held without a hard stop"
LOOSER = "a stop became looser"
TOLD = "a plan told otherwise than it stands"
NOT_LEFT = "a bid at the stop, and no sale"
UNCOVERED = "a unit held without a hard stop behind a triggered limit"
LIMIT_ABOVE = "a stop whose limit is above it"
UNCUT = "a sale refused for its size instead of cut"
BOOKS = "books that differ"
OPEN_TRADE = "an open trade of which nothing is held"
RESTART = "a restart changed what followed"
ENTRY_REFUSED = "an entry while entries were refused"
LEFT_STANDING = "a quote left standing while entries were refused"
TWICE = "more purchases of a symbol at a time than may be"
OVERBOUGHT = "an entry bought more than it was allowed"
RESERVED = "a campaign that may lose more than its worst loss"
TOO_MANY = "more entries than a campaign may have"
TOO_SOON = "two entries of a campaign without the wait between them"
HELD_BACK = "an entry at a loss at which the campaign holds"
TOLD_TWICE = "a recovery row told twice"
WIDENED = "an order beyond what its strategy wanted"
TOO_LATE = "an entry filled when its signal was too old"
UNASKED = "an entry allowed without a check that its profile asks for"
NOT_FOLLOWED = "a strategy's stop farther from its peak than it wanted"


@dataclass(slots=True)
class Entry:
    """Entry of one signal: quantity and cost of its first order, and what was sent and bought."""

    qty: int
    cost: int
    orders: int = 0
    bought: int = 0
    spent: int = 0


@dataclass(slots=True)
class Working:
    """An order that was sent, until its end and all fills of it were taken by risk."""

    symbol: str
    side: str
    qty: int
    cost: int
    replaces: str
    rests: bool
    is_quote: bool = False
    stop: int = 0
    limit: int = 0
    is_cancelling: bool = False
    is_triggered: bool = False
    filled: int = 0
    ends_at: int | None = None

    @property
    def left(self) -> int:
        """The quantity that may still fill, as far as risk knows."""
        return (self.qty if self.ends_at is None else self.ends_at) - self.filled


@dataclass(slots=True)
class Campaign:
    """Campaign of a symbol by its fills: entries, cash and coins; what it cost may be unknown."""

    entries: int = 0
    entered_ts: int = 0
    spent: int = 0
    received: int = 0
    qty: int = 0
    row: int = 0
    is_known: bool = True


class Watch:
    """The book of a night, and the violations that it found.

    Args:
        config: The night's profile.

    Attributes:
        found: Violations: which, and the figures.
        seen: How often each thing happened that a storm is there for.
    """

    def __init__(self, config: JsonObject) -> None:
        risk = config["risk"]
        self._position_max = parse_amount(risk["position_notional_max"])
        self._positions_max: int = risk["positions_max"]
        self._notional_max = parse_amount(risk["night_notional_hard"])
        buckets = risk.get("bucket_active_bps") or BPS
        self._active_bps: int = min(risk["exposure_ratio_max_bps"], buckets)
        self._rate_max: int = risk["orders_per_minute_hard"]
        self._tick_age_ms_max: int = risk["tick_age_ms_max"]
        self._taker = parse_rate(config["execution"]["taker_fee_bps"])
        # Whether a holding below the least quantity of an order takes no slot.
        self._has_dust = config["execution"].get("fee_asset") is not None
        # Whether a sale may be sent beside another one, for a part.
        self._is_ladder = risk.get("exit_policy") in ("ladder", "campaign")
        self._has_campaigns = risk.get("exit_policy") == "campaign"
        self._hard_bps = parse_rate(risk["hard_stop_bps"])
        self._campaign_max: int = risk.get("campaign_entries_max", 0)
        self._campaign_loss = parse_amount(risk.get("campaign_loss_max", "0"))
        self._campaign_wait: int = risk.get("campaign_entry_wait_market_ms", 0)
        holds = [bps for bps, choice in risk.get("recovery") or () if choice == "hold"]
        self._hold_bps = parse_rate(holds[0]) if holds else None
        self._asked = [gate for key in ASKED if risk.get(key) is not None for gate in ASKED[key]]
        self._campaigns: dict[str, Campaign] = {}
        self._core: Core | None = None
        self.found: list[str] = []
        self.seen: dict[str, int] = {}
        self._steps = 0
        # The books: cash and coins by the fills that execution made, coins by those risk took.
        self._cash = 0
        self._coins: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._known_cash = 0
        self._ordered: dict[str, tuple[IntentMessage, int]] = {}
        self._working: dict[str, Working] = {}
        self._bought = 0
        self._orders_ts: list[int] = []
        # The world as risk took it.
        self._touch: dict[str, tuple[int, int, int]] = {}
        self._fresh: set[str] = set()
        self._prices: dict[str, int] = {}
        self._rules: dict[str, OrderRules] = {}
        self._references = References()
        self._is_halted = self._is_ending = self._is_stopped = False
        self._locks: dict[str, int | None] = {}
        # The longest way of an entry: its quotes, and a purchase at the market.
        self._orders_max: int = risk.get("maker_requotes", 0) + 2
        self._entries: dict[str, Entry] = {}
        self._levels: dict[str, tuple[int, dict[str, int]]] = {}
        self._told: dict[str, tuple[int | None, int]] = {}
        # What strategies wanted, by their signals; how many of their limits may rest.
        self._signals: dict[str, SignalMessage] = {}
        self._limits_max: int = risk.get("limit_entries_max") or 1

    def on_step(
        self, role: str, core: Core, item: Input, said: Sequence[Message], now: int
    ) -> None:
        """Take one step of a role; see `Watcher`."""
        if role == EXECUTION_ROLE:
            self._on_execution(said)
            return
        self._steps += 1
        self._core = core
        if self._is_stopped and said:
            self._fail(AFTER_STOP, f"{len(said)} messages")
        is_fill = self._take(item)
        self._on_risk(said, now)
        if isinstance(item, ScaledTick):
            self._require_left(core, item, said, now)
        if not self._is_stopped:
            self._require_withdrawn(now)
            if isinstance(item, ScaledTick | FillMessage):
                self._require_covered(core, item, now)
        if (is_fill or self._steps % SAMPLE == 0) and not self._is_stopped:
            self._look(core, is_fill)

    def require_books(self, risk: Core, execution: Any) -> None:
        """Compare the books of both cores with this one, once nothing is on its way."""
        ours = {name: qty for name, qty in self._coins.items() if qty}
        theirs = {
            symbol: execution.portfolio.position_qty(symbol)
            for symbol in execution.portfolio.symbols()
        }
        if theirs != ours:
            self._fail(BOOKS, f"execution holds {theirs}, its fills say {ours}")
        if self._is_stopped:
            return  # Risk takes nothing more.
        cash = execution.portfolio.cash(QUOTE)
        told = parse_amount(risk.facts()["cash"])
        if not cash == told == self._cash:
            self._fail(BOOKS, f"cash {cash} of execution, {told} of risk, {self._cash} by fills")
        for trade in risk.state().get("protections", {}).get("trips", ()):
            if trade["symbol"] not in ours:
                self._fail(OPEN_TRADE, str(trade))

    # --- risk ---------------------------------------------------------------------------------

    def _take(self, item: Input) -> bool:
        """Take an input of risk into the book; return whether it was a fill."""
        if isinstance(item, ScaledTick):
            self._touch[item.symbol] = (item.bid, item.ask, item.ts)
            self._fresh.add(item.symbol)
            if 0 < item.bid <= item.ask:
                self._prices[item.symbol] = mid_down(item.bid, item.ask)
        elif isinstance(item, FillMessage):
            self._on_fill(item)
            return True
        elif isinstance(item, ResultMessage):
            order = self._working.get(item.client.text)
            if order is not None and item.result in TERMINAL:
                order.ends_at = item.filled
            if order is not None and item.trigger and order.limit:
                self._on_limit(order, item.trigger)
            self._forget_ended()
        elif isinstance(item, SignalMessage):
            self._signals[item.ref().text] = item
        elif isinstance(item, Event):
            if isinstance(item.payload, AveragePrice):
                self._references.take(item.payload, item.ts)
            self._on_event(item.payload)
        return False

    def _on_event(self, payload: object) -> None:
        if isinstance(payload, Instrument):
            self._on_rules(payload)
        elif isinstance(payload, Gap):
            self._fresh.discard(payload.symbol)
        elif isinstance(payload, PriceMark):
            self._fresh.discard(payload.symbol)
            self._touch.pop(payload.symbol, None)
            self._prices[payload.symbol] = parse_amount(payload.price)
        elif isinstance(payload, Halt | Resume):
            self._is_halted = isinstance(payload, Halt)
        elif isinstance(payload, LockSymbol):
            self._locks[payload.symbol] = payload.until_ts
        elif isinstance(payload, RunEnding):
            self._is_ending = True
        elif isinstance(payload, RunOpening):
            self._cash = self._known_cash = parse_amount(payload.cash[QUOTE])

    def _on_rules(self, payload: Instrument) -> None:
        """Take new rules, by which a position may be dust, or dust a position."""
        symbol = payload.symbol
        was_alive = self._is_alive(symbol)
        self._rules[symbol] = OrderRules.of(payload)
        self._end(symbol)
        if not self._is_alive(symbol):
            self._campaigns.pop(symbol, None)
        elif not was_alive:
            self._campaigns[symbol] = Campaign(1, is_known=False)

    def _is_alive(self, symbol: str) -> bool:
        """Return whether a symbol is held, or an order of it is on its way."""
        is_sent = any(each.symbol == symbol for each in self._working.values())
        return bool(self._held(symbol)) or is_sent

    def _on_fill(self, fill: FillMessage) -> None:
        sign = 1 if fill.side == BUY else -1
        qty = fill.qty - (fill.fee if fill.pays_in_base else 0)
        self._known[fill.symbol] = self._known.get(fill.symbol, 0) + sign * qty
        self._known_cash += cash_of(fill)
        if fill.side == BUY:
            self._bought += cost_up(fill.qty, fill.price)
        campaign = self._campaigns.get(fill.symbol)
        if campaign is not None and fill.side == BUY:
            campaign.qty += qty
            campaign.spent -= cash_of(fill)
        elif campaign is not None:
            own = min(campaign.qty, fill.qty)
            campaign.qty -= own
            campaign.received += cash_of(fill) * own // fill.qty
        order = self._working[fill.client.text]
        order.filled += fill.qty
        if fill.side == BUY:
            entry = self._entries[self._ordered[fill.client.text][0].cause.text]
            entry.bought += fill.qty
            if order.is_quote:
                entry.spent += cost_up(fill.qty, fill.price)
        self._forget_ended()
        self._end(fill.symbol)

    def _held(self, symbol: str) -> int:
        """Return how much of a position there is; too little to sell is none."""
        known = self._known.get(symbol, 0)
        return known if known >= self._least(symbol) else 0

    def _end(self, symbol: str) -> None:
        """Forget the levels of a position that is none any more."""
        if not self._held(symbol):
            self._levels.pop(symbol, None)
            self._told.pop(symbol, None)

    def _forget_ended(self) -> None:
        ended = [name for name, order in self._working.items() if order.ends_at == order.filled]
        for name in ended:
            del self._working[name]

    def _on_risk(self, said: Sequence[Message], now: int) -> None:
        for message in said:
            if stop_in(message):
                self._is_stopped = True
                self._see("STOP")
                if len(said) > 1:
                    self._fail(AFTER_STOP, "a STOP that does not stand alone")
            elif isinstance(message, ActionMessage):
                self._see(f"{message.action} {message.reason_code}")
                if message.reason_code in TOO_LARGE:
                    self._on_too_large(message)
                elif message.reason_code in ENTERED and self._asked:
                    self._on_entered(message)
            elif isinstance(message, IntentMessage | CancelMessage):
                behind = message.behind
                if not isinstance(behind, ActionMessage) or behind not in said:
                    self._fail(LINEAGE, str(message.payload()))
                elif behind.action not in ALLOWING:
                    self._fail(LINEAGE, f"{behind.action}: {message.payload()}")
                if isinstance(message, IntentMessage):
                    self._on_intent(message, now)
                elif message.client.text in self._working:
                    self._working[message.client.text].is_cancelling = True
            elif isinstance(message, ReportMessage) and isinstance(message.report, PositionPlan):
                self._on_plan(message.report)
            elif isinstance(message, ReportMessage) and isinstance(message.report, RecoveryIntent):
                self._on_recovery(message.report)

    def _on_too_large(self, message: ActionMessage) -> None:
        """Judge a refusal for size: a purchase may be refused so, a sale has to be cut."""
        told = message.payload()
        assert isinstance(told, RiskAction)
        if any(check.name == EXIT_QTY.name for check in told.checks or ()):
            self._fail(UNCUT, f"{told.symbol} {told.reason_code}")

    def _on_entered(self, message: ActionMessage) -> None:
        """Require that an allowed entry was asked what its profile asks for, and passed."""
        told = message.payload()
        assert isinstance(told, RiskAction)
        passed = {check.name for check in told.checks or () if check.passed}
        missing = [gate.name for gate in self._asked if gate.name not in passed]
        if FATIGUE_BARS in self._asked and not any(gate.name in passed for gate in TIRED):
            missing.append("one of " + ", ".join(gate.name for gate in TIRED))
        if missing:
            self._fail(UNASKED, f"{told.symbol} {missing}")

    def _on_recovery(self, intent: RecoveryIntent) -> None:
        """Judge a recovery intent by those of the same campaign before it."""
        self._see(f"recovery {intent.choice}")
        campaign = self._campaigns.get(intent.symbol)
        if campaign is None or intent.row <= campaign.row:
            self._fail(TOLD_TWICE, str(intent))
        else:
            campaign.row = intent.row

    def _on_plan(self, plan: PositionPlan) -> None:
        """Judge a plan that risk told by what it told before, and by what is held."""
        symbol, held, stop = plan.symbol, self._held(plan.symbol), parse_amount(plan.stop or "0")
        self._see("plan closed" if plan.moved == ("closed",) else "plan")
        opened_ts, former = self._told.pop(symbol, (None, 0))
        if bool(parse_amount(plan.qty)) != bool(held) or parse_amount(plan.qty) > held:
            self._fail(TOLD, f"{plan.qty} {symbol}, and {held} is held")
        if not held:
            return
        if opened_ts == plan.opened_ts and stop < former:
            self._fail(LOOSER, f"{symbol} told {former}, then {stop}")
        stops = (
            *(plan.stop_hard, plan.stop_entry, plan.stop_break_even, plan.stop_trailing),
            plan.stop_signal,
        )
        if stop != max(parse_amount(each or "0") for each in stops):
            self._fail(TOLD, f"{symbol} {plan.stop} of {stops}")
        self._told[symbol] = (plan.opened_ts, stop)

    def _on_intent(self, intent: IntentMessage, now: int) -> None:
        symbol, rules = intent.symbol, self._rules[intent.symbol]
        bid, ask, _ = self._touch.get(symbol, (0, 0, 0))
        bounds, qty = rules.market_bounds, intent.qty
        is_large = bounds.qty_max is not None and qty > bounds.qty_max
        if intent.side == SELL and intent.stop is None and intent.target is None:
            # The venue judges the value of an order at the market by its average price.
            value_price = self._references.price(symbol, now, bid)
            is_large = is_large or qty > bounds.sale_down(qty, value_price)
        if qty <= 0 or qty % bounds.qty_step or qty < bounds.qty_min or is_large:
            self._fail(QTY, f"{qty} {symbol}, whose step is {bounds.qty_step}")
        price = ask if intent.limit is None else intent.limit
        cost = cost_up(intent.qty, price) if intent.side == BUY else 0
        if intent.side == SELL and intent.limit is not None and intent.limit > (intent.stop or 0):
            self._fail(LIMIT_ABOVE, f"{symbol} {intent.limit} above {intent.stop}")
        if intent.side == BUY and intent.limit is not None and not intent.limit < ask:
            self._fail(CAP, f"a quote of {symbol} at {intent.limit} under an ask of {ask}")
        replaces = "" if intent.replaces is None else intent.replaces.text
        order = Working(
            *(symbol, intent.side, intent.qty, cost, replaces),
            rests=intent.stop is not None or intent.target is not None,
            is_quote=intent.side == BUY and intent.limit is not None,
            stop=intent.stop or 0,
            limit=(intent.limit or 0) if intent.side == SELL else 0,
        )
        if order.limit:
            self._see(f"{intent.order_type} with a limit")
        if replaces in self._working and self._working[replaces].is_triggered:
            self._see("SELL of what a limit left")
        if not order.rests:
            self._require_narrowed(intent, bid, ask, now)
        if intent.side == BUY:
            if self._has_campaigns:
                is_new = intent.cause.text not in self._entries
                self._on_campaign(symbol, intent.qty, is_new=is_new, now=now)
            self._on_entry(order, bid, ask, now)
            self._on_purchase(intent, ask)
        self._working[intent.client.text] = order
        self._ordered[intent.client.text] = (intent, 0)
        if intent.side == SELL and self._selling(symbol) > self._known.get(symbol, 0):
            self._fail(HOLDING, f"{self._selling(symbol)} of {self._known.get(symbol, 0)} {symbol}")
        self._orders_ts = [ts for ts in self._orders_ts if ts > now - 60_000] + [now]
        if len(self._orders_ts) > self._rate_max:
            self._fail(CAP, f"{len(self._orders_ts)} orders within a minute")

    def _require_narrowed(self, intent: IntentMessage, bid: int, ask: int, now: int) -> None:
        """Require that an order is within what its strategy wanted."""
        signal = self._signals.get(intent.cause.text)
        wish = None if signal is None else signal.wish
        if signal is None or wish is None:
            return
        symbol, qty = intent.symbol, intent.qty
        if intent.side == BUY:
            self._see("BUY with a wish" if not wish.limit else "BUY at a limit")
            if wish.notional and cost_up(qty, ask) > wish.notional:
                self._fail(WIDENED, f"{qty} {symbol} at {ask} for {wish.notional}")
            if wish.share_bps and intent.cause.text not in self._entries:
                self._require_share(symbol, cost_up(qty, ask), wish.share_bps)
            if wish.limit and (intent.limit is None or intent.limit > wish.limit):
                self._fail(WIDENED, f"{symbol} at {intent.limit}, wanted at {wish.limit}")
            if wish.limit and (intent.expires_ts or now) > max(now, signal.ts + signal.horizon_ms):
                self._fail(WIDENED, f"{symbol} until {intent.expires_ts}")
            return
        held = self._known.get(symbol, 0)
        free = held - self._selling(symbol)
        wanted = [held * wish.share_bps // 10_000] if wish.share_bps else []
        wanted += [wish.qty] if wish.qty else []
        wanted += [wish.notional * UNIT // bid] if wish.notional else []
        most = min(wanted)
        self._see("SELL of a part" if qty < free else "SELL of all")
        rests = any(each.rests and each.symbol == symbol for each in self._working.values())
        if qty <= most or rests or self._core is None:
            return
        plan = self._core.state()["exits"]["symbols"][symbol]["plan"]
        bounds, price = self._rules[symbol].market_bounds, parse_amount(plan["hard"])
        if not is_too_small(free - most, bounds, price):
            self._fail(WIDENED, f"{qty} {symbol} sold, {most} wanted of {free}")

    def _require_share(self, symbol: str, cost: int, share_bps: int) -> None:
        """Require that an entry costs no more than its share of what may be in positions."""
        held = {name: qty for name in self._known if (qty := self._held(name))}
        if not held.keys() <= self._prices.keys():
            return
        self._see("BUY of a share")
        worth = sum(proceeds_down(qty, self._prices[name]) for name, qty in held.items())
        most = (self._known_cash + worth) * self._active_bps // BPS * share_bps // BPS
        if cost > most:
            self._fail(WIDENED, f"{symbol} for {cost}, {share_bps} bps are {most}")

    def _on_campaign(self, symbol: str, qty: int, *, is_new: bool, now: int) -> None:
        """Judge an allowed entry by what its campaign may still lose, and by its entries."""
        bid, ask, _ = self._touch[symbol]
        if not self._is_alive(symbol) and is_new:
            self._campaigns.pop(symbol, None)
        campaign = self._campaigns.setdefault(symbol, Campaign())
        if is_new and campaign.entries and now - campaign.entered_ts < self._campaign_wait:
            self._fail(TOO_SOON, f"{symbol} {now - campaign.entered_ts} ms after the last")
        if is_new:
            self._see("campaign" if not campaign.entries else "campaign re-entry")
            campaign.entries, campaign.entered_ts = campaign.entries + 1, now
        if campaign.entries > self._campaign_max:
            self._fail(TOO_MANY, f"{campaign.entries} of {symbol}")
        if not campaign.is_known or self._core is None:
            return
        distance = -(-ask * self._hard_bps // WHOLE)
        step = self._rules[symbol].price_step
        stop = ask - max(step, -(-distance // step) * step)
        if self._held(symbol):
            plan = self._core.state()["exits"]["symbols"][symbol]["plan"]
            stop = min(bid, max(parse_amount(plan.get(name, "0")) for name in STOPS))
            entry = parse_amount(plan["entry"])
            if (
                self._hold_bps is not None
                and (entry - bid) * WHOLE >= entry * self._hold_bps + step * WHOLE
            ):
                self._fail(HELD_BACK, f"{symbol} bid {bid}, bought at {entry}")
        cost = cost_up(qty, ask)
        back = proceeds_down(campaign.qty + qty, stop)
        loss = campaign.spent + cost + fee_up(cost, self._taker) - campaign.received
        loss += fee_up(back, self._taker) - back
        loss += self._resting_loss(symbol, stop, step)
        most = self._campaign_loss
        if campaign.entries == 1:
            most //= self._campaign_max
        if loss > most:
            self._fail(RESERVED, f"{symbol} {loss} of {most} at {stop}, entry {campaign.entries}")

    def _resting_loss(self, symbol: str, stop: int, step: int) -> int:
        """Return the loss of purchases that rest, were they bought and stopped out."""
        loss = 0
        for each in self._working.values():
            if each.symbol == symbol and each.side == BUY and each.left:
                cost = -(-each.cost * each.left // each.qty)
                price = each.cost * 10**8 // each.qty
                distance = -(-price * self._hard_bps // WHOLE)
                distance = -(-distance // step) * step
                back = proceeds_down(each.left, min(stop, price - max(step, distance)))
                loss += cost + fee_up(cost, self._taker) + fee_up(back, self._taker) - back
        return loss

    def _on_purchase(self, intent: IntentMessage, ask: int) -> None:
        """Judge an order to buy by what its signal was allowed first."""
        beside = [e for e in self._working.values() if e.symbol == intent.symbol and e.side == BUY]
        are_limits = intent.limit is not None and all(each.is_quote for each in beside)
        if beside and (not are_limits or len(beside) >= self._limits_max):
            self._fail(TWICE, f"{intent.qty} {intent.symbol} beside {len(beside)}")
        first = Entry(intent.qty, cost_up(intent.qty, ask))
        entry = self._entries.setdefault(intent.cause.text, first)
        entry.orders += 1
        if entry.orders > 1:
            self._see("REQUOTE" if intent.limit is not None else "QUOTE TAKEN")
        if entry.orders > self._orders_max or entry.bought + intent.qty > entry.qty:
            self._fail(OVERBOUGHT, f"{entry}, then {intent.qty}")
        price = ask if intent.limit is None else intent.limit
        if entry.spent + cost_up(intent.qty, price) > entry.cost + entry.orders:
            self._fail(OVERBOUGHT, f"{entry}, then {intent.qty} at {price}")

    def _require_withdrawn(self, now: int) -> None:
        """Require that no quote stands, and none is left to itself, where entries are refused."""
        for order in self._working.values():
            if not order.is_quote or order.is_cancelling or order.ends_at is not None:
                continue
            if self._is_halted or self._is_ending or self._is_locked(order.symbol, now):
                self._fail(LEFT_STANDING, f"{order.left} {order.symbol}")

    def _is_locked(self, symbol: str, now: int) -> bool:
        until = self._locks.get(symbol, 0)
        return until is None or now < until

    def _on_entry(self, order: Working, bid: int, ask: int, now: int) -> None:
        """Judge an entry by what risk knows."""
        symbol = order.symbol
        if self._is_halted or self._is_ending or self._is_locked(symbol, now):
            self._fail(ENTRY_REFUSED, f"{symbol}, halted, ending or locked")
        held = proceeds_down(self._held(symbol), (bid + ask) // 2)
        pending = self._buying(symbol)
        if held + pending + order.cost > self._position_max:
            self._fail(CAP, f"position {held} + {pending} + {order.cost} > {self._position_max}")
        symbols = {symbol} | {e.symbol for e in self._working.values() if e.side == BUY}
        symbols |= {name for name in self._known if self._takes_slot(name)}
        if len(symbols) > self._positions_max:
            self._fail(CAP, f"{sorted(symbols)} held of {self._positions_max}")
        if self._bought + self._buying() + order.cost > self._notional_max:
            self._fail(CAP, f"notional {self._bought} + {order.cost} > {self._notional_max}")
        reserved = self._buying() + order.cost
        if self._known_cash - reserved - fee_up(reserved, self._taker) < -len(self._working) - 1:
            self._fail(CASH, f"{self._known_cash} for {reserved} with fee")

    def _takes_slot(self, symbol: str) -> bool:
        """Return whether a position is worth as much as the venue sells."""
        rules, price = self._rules.get(symbol), self._prices.get(symbol)
        held = self._held(symbol)
        if not held or rules is None or price is None:
            return bool(held)
        return proceeds_down(held, price) >= rules.market_bounds.notional_min

    def _least(self, symbol: str) -> int:
        """Return the least holding that is a position."""
        rules = self._rules.get(symbol)
        return rules.market_bounds.qty_least if rules is not None and self._has_dust else 1

    def _buying(self, symbol: str = "") -> int:
        """Return the cost of what may still be bought, of a symbol or of all."""
        return sum(
            -(-each.cost * each.left // each.qty)
            for each in self._working.values()
            if each.side == BUY and symbol in ("", each.symbol)
        )

    def _selling(self, symbol: str) -> int:
        """Return how much of a symbol is being sold; an order gives its place to its successor."""
        sells = [e for e in self._working.values() if e.symbol == symbol and e.side == SELL]
        replaced = {each.replaces for each in sells}
        return sum(
            order.left
            for name, order in self._working.items()
            if order in sells and name not in replaced
        )

    # --- exits --------------------------------------------------------------------------------

    def _require_left(
        self, core: Core, tick: ScaledTick, said: Sequence[Message], now: int
    ) -> None:
        """Require that a position whose stop the bid has reached is left, or why it is not."""
        symbol, known = tick.symbol, self._levels.get(tick.symbol)
        held = self._known.get(symbol, 0)
        if known is None or not held or said or self._is_stopped:
            return
        floor = max(known[1].values())
        if not 0 < tick.bid <= floor or tick.bid > tick.ask or symbol not in self._rules:
            return
        rules = self._rules[symbol]
        bounds, price = rules.market_bounds, self._references.price(symbol, now, tick.bid)
        qty = bounds.sale_down(held - self._selling(symbol), price)
        is_small = bounds.qty_refusal(qty) or bounds.value_refusal(cost_up(qty, price))
        rests = any(each.rests and each.symbol == symbol for each in self._working.values())
        if is_small or rests or not rules.is_trading or now - tick.ts > self._tick_age_ms_max:
            return
        exits = core.state()["exits"]["symbols"][symbol]
        if now < exits["retry_ts"] or exits["told"]:
            return
        if exits["plan"]["opened_ts"] != known[0]:
            return
        sales = [e for e in self._working.values() if e.symbol == symbol and e.side == SELL]
        if sales and not self._is_ladder:
            return  # What is bought beside a sale waits for the end of that to be told.
        self._fail(NOT_LEFT, f"{symbol} bid {tick.bid} <= {floor}, {qty} free to sell")

    def _on_limit(self, order: Working, trigger: int) -> None:
        """Take the trigger of an order with a limit; no gap jumps past the quote of a target."""
        order.is_triggered = True
        if trigger > order.stop:
            order.limit = 0
        self._see("gap of a limit" if self._is_past(order) else "limit triggered")

    def _is_past(self, order: Working) -> bool:
        """Return whether the bid that risk took last is below the limit of a triggered stop."""
        bid, ask, _ = self._touch.get(order.symbol, (0, 0, 0))
        return order.symbol in self._fresh and 0 < bid <= ask and bid < order.limit

    def _require_covered(self, core: Core, item: ScaledTick | FillMessage, now: int) -> None:
        """Require a sale at the market for what a triggered limit left, or why there is none.

        Each fill and each tick behind the told trigger ask whether a part was sold, or the bid is
        below the limit.
        """
        symbol, held = item.symbol, self._held(item.symbol)
        if not held or symbol not in self._fresh:
            return
        replaced = {each.replaces for each in self._working.values()}
        for name, order in self._working.items():
            if order.symbol != symbol or not order.is_triggered or not order.left:
                continue
            if order.ends_at is not None or name in replaced:
                continue
            bid, ask, ts = self._touch[symbol]
            if not 0 < bid <= ask or not (order.filled or self._is_past(order)):
                continue
            rules, exits = self._rules[symbol], core.state()["exits"]["symbols"][symbol]
            is_late = now - ts > self._tick_age_ms_max or now < exits["retry_ts"]
            if is_late or exits["told"] or not rules.is_trading:
                continue
            bounds, free = rules.market_bounds, held - self._selling(symbol) + order.left
            price = self._references.price(symbol, now, bid)
            qty = bounds.sale_down(free, price)
            if bounds.qty_refusal(qty) or bounds.value_refusal(cost_up(qty, price)):
                continue
            self._fail(UNCOVERED, f"{order.left} of {held} {symbol}, bid {bid}, {order.limit}")

    def _look(self, core: Core, is_fill: bool) -> None:
        """Look at the levels in a state of risk."""
        symbols: dict[str, Any] = core.state()["exits"]["symbols"]
        for symbol in self._known:
            held = self._held(symbol)
            plan = symbols.get(symbol, {}).get("plan")
            if not held or plan is None or symbol not in self._rules:
                self._levels.pop(symbol, None)
                continue
            levels = {name: parse_amount(plan.get(name, "0")) for name in STOPS}
            self._require_followed(symbol, plan, levels["own"])
            is_settled = 0 < parse_amount(plan["qty"]) <= held
            if is_fill and is_settled and not levels["hard"]:
                self._fail(NO_HARD_STOP, f"{held} {symbol}")
            opened_ts, former = self._levels.get(symbol, (-1, {}))
            if opened_ts == plan["opened_ts"]:
                for name, level in former.items():
                    if levels[name] < level:
                        self._fail(LOOSER, f"{symbol} {name} {level} to {levels[name]}")
            if is_settled:
                self._levels[symbol] = (plan["opened_ts"], levels)

    def _require_followed(self, symbol: str, plan: dict[str, Any], own: int) -> None:
        """Require that a strategy's stop is no farther from its peak than it wanted."""
        gap, share, peak = map(parse_amount, plan.get("own_trail", ("0", "0", "0")))
        if not gap and not share:
            return
        self._see("own trail")
        step = self._rules[symbol].price_step
        if own < peak - max(gap, peak * share // WHOLE) - 2 * step:
            self._fail(NOT_FOLLOWED, f"{symbol} {own} of {peak}, {gap} or {share}")

    # --- execution ----------------------------------------------------------------------------

    def _on_execution(self, said: Sequence[Message]) -> None:
        for message in said:
            if isinstance(message, FillMessage):
                self._see(f"fill {message.side}")
                self._book(message)
            elif isinstance(message, ResultMessage):
                self._see(message.result)

    def _book(self, fill: FillMessage) -> None:
        intent, filled = self._ordered[fill.client.text]
        self._ordered[fill.client.text] = (intent, filled + fill.qty)
        if filled + fill.qty > intent.qty or fill.qty <= 0:
            self._fail(QTY, f"{filled} and {fill.qty} filled of {intent.qty}")
        if intent.late_ts is not None and fill.ts >= intent.late_ts:
            self._fail(TOO_LATE, f"filled at {fill.ts}, late from {intent.late_ts} on")
        symbol, held = fill.symbol, self._coins.get(fill.symbol, 0)
        if fill.side == BUY:
            self._coins[symbol] = held + fill.qty - (fill.fee if fill.pays_in_base else 0)
        else:
            self._coins[symbol] = held - fill.qty
        self._cash += cash_of(fill)
        if self._coins[symbol] < 0:
            self._fail(HOLDING, f"{self._coins[symbol]} {symbol} left")
        if self._cash < 0:
            self._fail(CASH, f"{self._cash} after a fill of {symbol}")

    # --- telling ------------------------------------------------------------------------------

    def _see(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def _fail(self, what: str, figures: str) -> None:
        self.found.append(f"{what}: {figures}")


def cash_of(fill: FillMessage) -> int:
    """Return by how much a fill changes the cash."""
    if fill.side == BUY:
        return -cost_up(fill.qty, fill.price) - (0 if fill.pays_in_base else fill.fee)
    return proceeds_down(fill.qty, fill.price) - fill.fee
