"""Quotes: entries that rest at the best bid as LIMIT_MAKER, with `risk.entry: maker`.

An entry has one quote at a time. A quote that has to move is cancelled; the next one is sent for
the rest, once the executor has reported the end and every fill of the first is booked. An
`order_replace` would not do, as a fill still to arrive would be bought twice. `risk.quoting` places
quotes and `risk.requoting` moves and ends them; this module holds their state.

| while a quote rests | risk's answer |
| --- | --- |
| the best bid is above it after `maker_patience_market_ms` | cancels it and quotes again |
| it would have traded at once | quotes again, which counts |
| it is rejected | quotes again after `maker_patience_market_ms`, which counts as well |
| re-quotes are used up | leaves it at its price until its time is over |
| its time is over, or the last is refused | gives up, or buys the rest at the market: `maker_end` |
| a signal to buy the symbol | refuses it: `pending_order` |
| a sale of the symbol, also by its resting stop | cancels it for good, in the same step |
| a halt, a lock, a loss or drawdown limit, the announced end | the same |
| a bid at or below a HOLD row of recovery, with a position | the same |
| the symbol leaves TRADING or the universe | the same |
| a signal to sell, or an operator's request to exit | the same; the quantity bought is sold |
| a fill that comes before its cancel | keeps it, with its exits |
| STOP | nothing more: the quote stays as it is, and no fill follows |
| planned end, also under `carry` | cancelled at the announcement; no run begins with a quote |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.cores.core_profile import MAKER, TAKE, CoreProfile
from minibot.cores.event_id import NOBODY, EventId, named
from minibot.cores.messages import SIGNALS, SignalMessage
from minibot.cores.wish import Wish
from minibot.events.model import BUY, JsonObject
from minibot.events.money import amount_json, amount_text, cost_up, parse_amount
from minibot.risk.positions import WorkingOrder


@final
class QuoteRules:
    """Keys of `risk.entry: maker`.

    Attributes:
        is_on: Whether entries are quoted.
        patience_ms: How long a quote waits before it follows the best bid.
        requotes_max: Most times that an entry is quoted again.
        takes: Whether the quantity unfilled at the end is bought at the market.
    """

    __slots__ = ("is_on", "patience_ms", "requotes_max", "takes")

    def __init__(self, config: JsonObject) -> None:
        """Take the keys of the whole resolved configuration."""
        risk = CoreProfile.of(config).risk
        self.is_on: bool = risk.entry == MAKER
        self.patience_ms: int = risk.maker_patience_market_ms or 0
        self.requotes_max: int = risk.maker_requotes or 0
        self.takes: bool = risk.maker_end == TAKE

    @property
    def life_ms(self) -> int:
        """The longest life of an entry, from its first quote on."""
        return self.patience_ms * (self.requotes_max + 1)


@final
class Quote:
    """One quoted entry, from its first quote until no order of it is open.

    Attributes:
        signal: The signal to buy.
        started_ts, until_ts: Market time of the first quote, and from which no quote is sent.
        qty: Total quantity to buy.
        cost: Most that it may cost: its whole quantity at the ask of the first quote. The rest is
            sized by the ask of its decision, so a worse fill at the market costs more.
        filled, spent: Quantity that its ended quotes bought, and the cost of it.
        requotes: How often it was quoted again.
        client: The order of the present quote.
        limit: Price of the present quote.
        patient_until: Market time until which the quote waits at its price.
        is_cancelling: Whether its cancel was sent.
        is_over: Whether the entry ends with the present quote.
        is_waiting: Whether there is no quote now, because the last one was refused.
        is_pinned: Whether it rests at the strategy's own limit, and is never quoted again.
    """

    __slots__ = (
        "client",
        "cost",
        "filled",
        "is_cancelling",
        "is_over",
        "is_pinned",
        "is_waiting",
        "limit",
        "patient_until",
        "qty",
        "requotes",
        "signal",
        "spent",
        "started_ts",
        "until_ts",
    )

    def __init__(self, signal: SignalMessage, qty: int, cost: int, now: int, life_ms: int) -> None:
        """Start before the first quote is placed."""
        self.signal: SignalMessage = signal
        self.qty: int = qty
        self.cost: int = cost
        self.started_ts: int = now
        self.until_ts: int = now + life_ms
        self.filled: int = 0
        self.spent: int = 0
        self.requotes: int = 0
        self.client: EventId = signal.ref()
        self.limit: int = 0
        self.patient_until: int = now
        self.is_cancelling: bool = False
        self.is_over: bool = False
        self.is_waiting: bool = False
        self.is_pinned: bool = signal.wish is not None and signal.wish.limit > 0

    @property
    def rest(self) -> int:
        """The quantity that its ended quotes did not buy."""
        return self.qty - self.filled

    def place(self, client: EventId, limit: int, patient_until: int) -> None:
        """Set the order and price of a quote that was sent."""
        self.client = client
        self.limit = limit
        self.patient_until = patient_until
        self.is_cancelling = self.is_waiting = False

    def end(self, qty: int) -> None:
        """Add the quantity that its ended quote bought, at its price."""
        self.filled += qty
        self.spent += cost_up(qty, self.limit)

    def to_json(self) -> JsonObject:
        """Return the entry as canonical JSON values."""
        signal = self.signal
        return {
            "signal": [
                signal.ref().text,
                signal.ts,
                signal.symbol,
                signal.horizon_ms,
                signal.confidence,
                *(map(amount_json, signal.wish.values()) if signal.wish else ()),
            ],
            "tick_seq": signal.tick_seq,
            "started_ts": self.started_ts,
            "until_ts": self.until_ts,
            "qty": amount_text(self.qty),
            "cost": amount_text(self.cost),
            "filled": amount_text(self.filled),
            "spent": amount_text(self.spent),
            "requotes": self.requotes,
            "client": self.client.text,
            "limit": amount_text(self.limit),
            "patient_until": self.patient_until,
            "is_leaving": self.is_cancelling,
            "is_over": self.is_over,
            "is_waiting": self.is_waiting,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Quote:
        """Return the entry of `to_json`."""
        signal = SignalMessage()
        name, signal.ts, signal.symbol, signal.horizon_ms, signal.confidence, *wish = data["signal"]
        signal.wish = Wish(*map(int, wish)) if wish else None
        signal.place, signal.side = SIGNALS, BUY
        signal.cause, signal._ref = NOBODY, named(name)
        signal.tick_seq = data["tick_seq"]
        qty, cost = parse_amount(data["qty"]), parse_amount(data["cost"])
        quote = Quote(signal, qty, cost, data["started_ts"], 0)
        quote.until_ts, quote.spent = data["until_ts"], parse_amount(data["spent"])
        quote.filled, quote.requotes = parse_amount(data["filled"]), data["requotes"]
        quote.place(named(data["client"]), parse_amount(data["limit"]), data["patient_until"])
        quote.is_cancelling, quote.is_over = data["is_leaving"], data["is_over"]
        quote.is_waiting = data["is_waiting"]
        return quote


@final
class Quotes:
    """The resting entries of a run: at most one quote per symbol, or limits of its strategy.

    Attributes:
        rules: The keys.
        open: By symbol, oldest first; a symbol without quotes has no key.
    """

    __slots__ = ("open", "rules")

    def __init__(self, rules: QuoteRules) -> None:
        """Start without any."""
        self.rules: QuoteRules = rules
        self.open: dict[str, list[Quote]] = {}

    def add(self, quote: Quote) -> None:
        """Add an entry whose first quote is to be placed."""
        self.open.setdefault(quote.signal.symbol, []).append(quote)

    def remove(self, quote: Quote) -> None:
        """Forget an entry."""
        symbol = quote.signal.symbol
        left = [other for other in self.open[symbol] if other is not quote]
        if left:
            self.open[symbol] = left
        else:
            del self.open[symbol]

    def of(self, order: WorkingOrder) -> Quote | None:
        """Return the entry to which the order of a quote belongs; None for any other order."""
        for quote in self.open.get(order.market.symbol, ()):
            if not quote.is_waiting and quote.client.is_same(order.client):
                return quote
        return None

    def end_all(self, symbol: str, entries: list[WorkingOrder]) -> list[WorkingOrder]:
        """End the quoted entries of a symbol; return the open orders that still need a cancel."""
        needed = list(entries)
        for quote in list(self.open.get(symbol, ())):
            if quote.is_waiting:
                self.remove(quote)
                continue
            if quote.is_cancelling:
                needed = [order for order in needed if not quote.client.is_same(order.client)]
            quote.is_cancelling = quote.is_over = True
        return needed

    def listed(self) -> JsonObject:
        """Return each quote by its symbol: price, quantities, re-quotes and end.

        The second and later quotes of a symbol have their number after its name.
        """
        return {
            symbol if not number else f"{symbol} {number + 1}": {
                "limit": amount_text(quote.limit),
                "qty": amount_text(quote.qty),
                "filled": amount_text(quote.filled),
                "requotes": quote.requotes,
                "until_ts": quote.until_ts,
            }
            for symbol, quotes in self.open.items()
            for number, quote in enumerate(quotes)
        }

    def state(self) -> list[JsonObject]:
        """Return the quoted entries as canonical JSON values."""
        return [quote.to_json() for quotes in self.open.values() for quote in quotes]

    def restore(self, state: list[JsonObject]) -> None:
        """Take over what `state` returned."""
        for data in state:
            self.add(Quote.from_json(data))
