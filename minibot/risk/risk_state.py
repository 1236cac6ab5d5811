"""Risk state: limits, positions, budgets, exits, halts, and the time of the present step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.accounting.entry_stops import EntryStops
from minibot.accounting.references import References
from minibot.cores.core_profile import RISK
from minibot.cores.event_id import RecentIds
from minibot.events.model import JsonObject
from minibot.events.money import amount_text
from minibot.risk.book_depth import BookDepth
from minibot.risk.budgets import Budgets
from minibot.risk.campaign import Campaign
from minibot.risk.distances import NEVER
from minibot.risk.exits import ExitRules, Exits, SymbolExits
from minibot.risk.headroom import Headroom
from minibot.risk.late_entries import LateEntries
from minibot.risk.limits import Limits
from minibot.risk.market_returns import MarketReturns
from minibot.risk.positions import Market, Positions
from minibot.risk.protections import Protections
from minibot.risk.quotes import QuoteRules, Quotes
from minibot.risk.regime_gate import RegimeGate
from minibot.risk.sizing import Sizing
from minibot.risk.trading_halts import TradingHalts
from minibot.risk.vadr_gate import VadrGate


@final
class RiskState:
    """The state of the risk core, shared by its decisions."""

    __slots__ = (
        "budgets",
        "decided",
        "depth",
        "exits",
        "halts",
        "is_stopped",
        "late",
        "limits",
        "now",
        "positions",
        "protections",
        "quotes",
        "reason",
        "references",
        "regimes",
        "returns",
        "sizing",
        "stops",
        "universe",
        "vadr",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take limits and exits from the resolved configuration; the run is not open yet."""
        self.limits: Limits = Limits(config)
        self.exits: Exits = Exits(ExitRules(config))
        self.budgets: Budgets = Budgets(self.limits)
        self.sizing: Sizing = Sizing(config)
        self.positions: Positions = Positions(
            self.limits.quote_asset, self.limits.taker_rate, self.limits.leaves_dust
        )
        self.halts: TradingHalts = TradingHalts()
        self.returns: MarketReturns = MarketReturns(config)
        self.late: LateEntries = LateEntries(config)
        self.depth: BookDepth = BookDepth(config)
        self.vadr: VadrGate = VadrGate(config)
        self.regimes: RegimeGate = RegimeGate(config)
        self.protections: Protections = Protections(config)
        self.quotes: Quotes = Quotes(QuoteRules(config))
        self.references: References = References()
        # Signals that led to an order or an adjustment, kept until they are stale anyway.
        self.decided: RecentIds = RecentIds()
        # Market time of this step; the reason code of the last action.
        self.now: int = 0
        self.reason: str = ""
        # Time and number of refusals for a used-up budget or a halt.
        self.stops: EntryStops = EntryStops()
        self.is_stopped: bool = False
        # The symbols in which entries are allowed; None before the first `universe` event.
        self.universe: frozenset[str] | None = None

    def exits_of(self, market: Market) -> SymbolExits:
        """Return the exit state of a market; `market.exits` keeps it."""
        exits = market.exits
        if exits is None:
            exits = market.exits = self.exits.of(market.symbol)
        return exits

    def campaign_of(self, market: Market) -> Campaign | None:
        """Return the campaign of a market; None without one.

        A campaign without a position and without an open order ends here.
        """
        exits = self.exits_of(market)
        campaign = exits.campaign
        if campaign is None or not campaign.is_open:
            return None
        if market.holding is not None or market.symbol in self.quotes.open:
            return campaign
        if any([order.market is market for order in self.positions.orders]):
            return campaign
        campaign.end()
        exits.forget()  # Its stop and its pending exit outlasted the position.
        return None

    def sized_atr(self, market: Market) -> int | None:
        """Return the ATR by which an entry is sized now, if its stop is in ATRs; else None.

        The stop keeps this distance whatever bars come before the fill: a wider stop would lose
        more than the size allows.
        """
        if self.sizing.mode != RISK or self.exits.rules.stop_multiple is None:
            return None
        return self.exits_of(market).last_atr()

    def sale_price(self, market: Market) -> int:
        """Return the price at which the venue values a sale at the market now.

        It is the average of the last minutes, or the bid without a valid average.
        """
        return self.references.price(market.symbol, self.now, market.bid)

    def part_orders(self) -> int:
        """Return how many orders a partial sale takes: two if an order rests for the position."""
        return 2 if self.exits.rules.rests else 1

    def has_part_room(self) -> bool:
        """Return whether a partial sale leaves one order of the hard rate for a full sale."""
        orders = self.budgets.orders(self.now) + self.part_orders()
        return orders < self.limits.order_rate.hard

    def headroom(self, symbol: str | None) -> Headroom:
        """Return the use of each limit now, for a symbol or, with None, the whole account."""
        market = None if symbol is None else self.positions.of(symbol)
        return Headroom(market, self.positions, self.budgets, self.now)

    def exit_levels(self) -> JsonObject:
        """Return stop, target and closing time of each open position, by symbol; None for off.

        A position with a pending exit also has its reason. A position without a tick yet may be
        missing. The call changes nothing, as heartbeats, which come by wall-clock time, use it.
        """
        found: JsonObject = {}
        for symbol, market in self.positions.held.items():
            exits, holding, rules = self.exits.find(symbol), market.holding, market.rules
            if exits is None or holding is None or rules is None:
                continue
            stop, target, until = self.exits.bounds_set(exits, holding, rules.price_step)
            leaving = exits.leaving()
            found[symbol] = {
                "stop": amount_text(stop) if exits.has_stop(stop) else None,
                "target": amount_text(target) if exits.has_target(target) else None,
                "until_ts": until if until < NEVER else None,
                **({"leaving": leaving} if leaving else {}),
            }
        return found

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        trades = self.sizing.trades
        protected: JsonObject = {}
        if self.protections.is_on:
            protected = {"protections": self.protections.state()}
        if self.returns.is_on:
            protected["returns"] = self.returns.state()
        if self.late.is_on:
            protected["late_entries"] = self.late.state()
        if self.depth.is_on:
            protected["book_depth"] = self.depth.state()
        if self.vadr.is_on:
            protected["vadr"] = self.vadr.state()
        if self.regimes.is_on:
            protected["regime"] = self.regimes.regime
        if not self.references.is_empty:
            protected["references"] = self.references.to_json()
        return {
            **({} if trades is None else {"closed_trades": trades.state()}),
            **protected,
            **(
                {"quotes": self.quotes.state()}
                if self.quotes.rules.is_on or self.quotes.open
                else {}
            ),
            "positions": self.positions.state(),
            "budgets": self.budgets.state(),
            "exits": self.exits.state(),
            "locks": self.halts.state(),
            "decided": self.decided.state(),
            "now": self.now,
            "reason": self.reason,
            "entry_stops": self.stops.to_json(),
            "is_stopped": self.is_stopped,
            "universe": None if self.universe is None else sorted(self.universe),
        }

    @staticmethod
    def from_state(config: JsonObject, state: Mapping[str, Any]) -> RiskState:
        """Return the risk state that `state` described."""
        restored = RiskState(config)
        restored.restore(config, state)
        return restored

    def restore(self, config: JsonObject, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned, into a fresh state."""
        limits = self.limits
        self.positions = Positions.from_state(
            limits.quote_asset, limits.taker_rate, limits.leaves_dust, state["positions"]
        )
        self.budgets = Budgets.from_state(limits, state["budgets"])
        self.budgets.account.set_unpriced(self.positions.unpriced)
        self.exits = Exits.from_state(self.exits.rules, state["exits"])
        if self.sizing.trades is not None:
            self.sizing.trades.restore(state["closed_trades"])
        self.halts = TradingHalts.from_state(state["locks"])
        if self.returns.is_on:
            self.returns.restore(state.get("returns") or {})
        self.late.restore(state.get("late_entries") or {})
        if self.depth.is_on:
            self.depth.restore(state.get("book_depth") or {})
        if self.vadr.is_on:
            self.vadr.restore(state.get("vadr") or {})
        self.regimes.regime = state.get("regime", "")
        self.references = References.from_json(state.get("references", {}))
        self.protections = Protections.from_state(config, state.get("protections"))
        self.quotes.restore(state.get("quotes", []))
        self.decided = RecentIds.from_state(state["decided"])
        self.now = state["now"]
        self.reason = state["reason"]
        self.stops = EntryStops.from_json(state.get("entry_stops"))
        self.is_stopped = state["is_stopped"]
        universe = state.get("universe")
        self.universe = None if universe is None else frozenset(universe)
