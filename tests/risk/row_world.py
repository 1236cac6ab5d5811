"""World for risk's rows: a state in which every check passes, and changes to it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from minibot.accounting.lots import Holding, lot_of
from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import CoreProfile
from minibot.cores.event_id import NOBODY, named
from minibot.cores.messages import SignalMessage
from minibot.cores.wish import Wish
from minibot.events.model import BUY, SELL, Event, JsonObject, Payload, Signal
from minibot.events.money import UNIT
from minibot.risk.account import Tier
from minibot.risk.book_depth import DepthReading
from minibot.risk.campaign import Campaign, CampaignRules, Reserve
from minibot.risk.checks import SKIPPED
from minibot.risk.distances import NEVER
from minibot.risk.late_entries import LateReading, LateRules
from minibot.risk.market_returns import Reading, ReturnRules
from minibot.risk.plan import Plan, PlanRules
from minibot.risk.positions import Market, WorkingOrder
from minibot.risk.quotes import Quote
from minibot.risk.risk_state import RiskState
from minibot.risk.sizing import Sizes
from minibot.risk.vadr_gate import VadrReading
from tests.risk.desk import HASH, OTHER, RUN_ID, START, SYMBOL, config, instrument

NOW: Final = START + 1_000_000
ENDS: Final = NOW + 90_000
HORIZON: Final = 80_000
STOP_BID: Final = 61 * UNIT
TARGET_BID: Final = 167 * UNIT
NOTIONAL: Final = 1_000 * UNIT
"""The cost of the order that the profile wants."""
RESERVED: Final = 11 * UNIT
"""The cost of the order that is being filled in the other symbol."""
EQUITY: Final = 60_000 * UNIT

LIMITS: Final[JsonObject] = config(
    # No two limits are equal, and none binds until a scenario makes it.
    risk__signal_age_ms_max=3_100,
    risk__tick_age_ms_max=5_200,
    risk__positions_max=6,
    risk__reference_deviation_bps_max=130,
    risk__stop_atr_mult="3.0",
    risk__take_profit_atr_mult="5.0",
    strategy__atr_period=14,
    risk__night_loss_soft="101",
    risk__night_loss_hard="1001",
    risk__day_loss_soft="202",
    risk__day_loss_hard="2002",
    risk__drawdown_bps_soft=101,
    risk__drawdown_bps_hard=1010,
    risk__orders_per_minute_soft=17,
    risk__orders_per_minute_hard=23,
    risk__position_notional_max="40000",
    risk__night_notional_soft="30000",
    risk__night_notional_hard="31000",
    risk__day_notional_soft="20000",
    risk__day_notional_hard="21000",
    execution__taker_fee_bps="10",
    risk__week_notional_soft="25000",
    risk__week_notional_hard="26000",
    risk__week_loss_soft="303",
    risk__week_loss_hard="3003",
    risk__account_drawdown_bps_hard=1515,
    risk__entry_regimes=["choppy", "highvol"],
    risk__drawdown_tiers=[
        {"state": "REDUCING", "drawdown_bps": 1212, "back_bps": 1111, "entry_percent": 50},
        {"state": "HALTED", "drawdown_bps": 1414, "back_bps": 1313},
    ],
    risk__protections=[
        {"method": "CooldownPeriod", "stop_duration": 1},
        {"method": "LossesInRow", "trade_limit": 1, "stop_duration": 1},
        *(
            {"method": method, "trade_limit": 1, "lookback_period": 1, "stop_duration": 1}
            for method in ("StoplossGuard", "MaxDrawdown", "LowProfitPairs")
        ),
    ],
)
PLANNED: Final = copy.deepcopy(LIMITS)
PLANNED["risk"] |= {"hard_stop_bps": "1000", "stale_exit_ms": 7_000, "silent_exit_ms": 8_000}
CAMPAIGNING: Final = copy.deepcopy(PLANNED)
CAMPAIGNING["risk"] |= {
    "exit_policy": "campaign",
    "campaign_entries_max": 4,
    "campaign_loss_max": "600",
    "campaign_entry_wait_market_ms": 8_500,
}
RETURNS: Final = copy.deepcopy(LIMITS)
RETURNS["risk"] |= {
    "benchmark_symbol": OTHER,
    "correlation_bars": 31,
    "correlation_max": "0.71",
    "benchmark_correlation_max": "0.72",
    "cluster_correlation_min": "0.73",
    "cluster_share_bps_max": 800,
    "volatility_bars_short": 7,
    "volatility_bars_long": 37,
    "volatility_ratio_max": "1.8",
    "drift_bars": 11,
    "drift_reference_bars": 12,
    "drift_max": "0.61",
}
LATE: Final = copy.deepcopy(LIMITS)
LATE["risk"] |= {
    "confidence_min": 67,
    "bars_late_max": 3,
    "price_move_atr_max": "1.3",
    "fatigue_bar_interval": "4h",
    "fatigue_change_bps_max": 1_234,
    "fatigue_rsi_max": 69,
    "fatigue_acceleration_bps_min": 210,
}
HARD_AT_ONCE: Final = copy.deepcopy(LIMITS)
for _name in ("night_notional", "day_notional", "week_notional", "orders_per_minute"):
    HARD_AT_ONCE["risk"][f"{_name}_soft"] = HARD_AT_ONCE["risk"][f"{_name}_hard"]


class World:
    """State in which an entry is allowed and a position can be sold; all values differ."""

    def __init__(self, limits: JsonObject = LIMITS) -> None:
        state = self.state = RiskState(limits)
        state.now = NOW
        state.universe = frozenset((SYMBOL, OTHER))
        state.regimes.regime = "choppy"
        self.positions, self.budgets, self.limits = state.positions, state.budgets, state.limits
        market = self.market = self.positions.of(SYMBOL)
        self.rules()
        market.bid, market.ask, market.price = 9_999 * UNIT // 100, 100 * UNIT, 10_025 * UNIT // 100
        market.ts, market.seq, market.is_fresh, market.has_mid = NOW - 11, 5, True, True
        market.value = 3 * UNIT
        self.exits = state.exits_of(market)
        self.exits.close, self.exits.atr.count = 100 * UNIT, 19
        self.exits.atr._mean = 2.0
        self.others(2)
        self.order(BUY, UNIT // 10, self.positions.of(OTHER))
        self.positions.worth, self.positions.cash = 5 * UNIT, 50_000 * UNIT
        self.equity(EQUITY)
        self.budgets.night_notional, self.budgets.day_notional = 7 * UNIT, 9 * UNIT
        self.budgets.night_level = self.budgets.equity + 13 * UNIT
        self.budgets.day_level = self.budgets.equity + 17 * UNIT
        self.budgets.high_water_mark = self.budgets.equity + 19 * UNIT
        self.budgets.week_notional = 8 * UNIT
        self.budgets.week_level = self.budgets.equity + 15 * UNIT
        self.budgets.account.open(self.budgets.equity + 23 * UNIT, 0)
        self.orders(2)
        self.signal_ts, self.horizon_ms = NOW - 7, 60_000
        self.limits.limit_entries_max = 3
        # What the strategy wants beside the entry.
        self.wish: Wish | None = None
        # Stop, target and distance of a trail that it wants to move.
        self.wanted: tuple[int, int, int] = (0, 0, 0)
        # The bounds of an entry's sizing: a scenario sets the one that it tests.
        self.sizes = Sizes(NOTIONAL)
        self.sizes.allowed = 900 * UNIT
        # What closed bars say: nothing is known, and all limits differ.
        self.reading, self.return_rules = Reading(), ReturnRules(RETURNS)
        # What speaks of a late entry: a bar has just closed, and all figures are of a fresh symbol.
        self.late, self.late_rules = LateReading(), LateRules(LATE)
        self.late.confidence, self.late.bars_late, self.late.move = 68, 0, 1
        self.late.fatigue_bars = self.late.warmup = 15
        # A deep book of the profile's venue, as young as the tick.
        self.depth = DepthReading("binance")
        self.depth.venue, self.depth.age_ms, self.depth.notional = "binance", 11, EQUITY
        # A market that is livelier than usual.
        self.vadr = VadrReading()
        self.vadr.count, self.vadr.ratio = 29, 31_000
        self.bid, self.now, self.opened_ts = 100 * UNIT, NOW, NOW - 1_000
        # Levels of a plan, none of which is reached, and what rests with the executor.
        self.plan, self.plan_rules = Plan(), PlanRules(CoreProfile.of(PLANNED))
        self.plan.opened_ts, self.rung_bid = self.opened_ts, SKIPPED
        self.horizon = NEVER
        self.levels: tuple[int | None, int | None] = (None, None)
        self.reasons, self.qty = ("stop_loss", "take_profit"), UNIT
        # A quoted entry, of which half is bought, within its time and its number.
        self.quote = Quote(self.signal(BUY), 4 * UNIT, 401 * UNIT, NOW - 500, 3_000)
        self.quote.filled, self.quote.spent = 2 * UNIT, 198 * UNIT
        self.quote.limit, self.quote.requotes = 10_000 * UNIT // 100, 1
        state.quotes.rules.requotes_max = 2
        # A campaign with one entry behind it, and what it may lose; nothing of it binds.
        self.campaign, self.campaign_rules = Campaign(), CampaignRules(CoreProfile.of(CAMPAIGNING))
        self.campaign.begin(NOBODY, self.campaign_rules)
        self.campaign.entries_max, self.campaign.loss_max = 3, 500 * UNIT
        self.campaign.enter(NOW - 9_000, 0)
        self.campaign.keep, self.at_risk = 6 * UNIT, 2 * UNIT
        self.held_bid, self.hold_level = 71 * UNIT, 41 * UNIT
        self.reserve = Reserve(0, 900 * UNIT, 100 * UNIT, 90 * UNIT, 0)

    # --- changes ------------------------------------------------------------------------------

    def rules(self, **changes: Any) -> None:
        """Let the venue have these rules for the symbol."""
        self.market.rules = OrderRules.of(instrument(**changes))

    def others(self, count: int) -> None:
        """Hold a number of other symbols."""
        self.positions.held = {f"COIN{n}": Market(f"COIN{n}") for n in range(count)}

    def order(self, side: str, qty: int, market: Market | None = None) -> None:
        """Send an order at 110, by default in the symbol."""
        order = WorkingOrder(named(f"order {qty}"), market or self.market, side, qty, 110 * UNIT)
        self.positions.orders.append(order)

    def orders(self, count: int) -> None:
        """Record a number of orders within the minute."""
        while (sent := self.budgets.orders(NOW)) < count:
            self.budgets.on_order(NOW - 1, sent)

    def equity(self, equity: int) -> None:
        """Have this equity."""
        self.budgets.equity = self.positions.equity = equity

    def hold(self, qty: int, lots: int = 2) -> None:
        """Hold a quantity of the symbol in so many lots."""
        holding = self.market.holding = Holding()
        holding.lots = [lot_of(SYMBOL, qty, 1, 1, self.opened_ts, 0, NOBODY)] * lots
        holding.qty = self.market.qty = qty
        self.positions.held[SYMBOL] = self.market

    # --- what the decisions are given -----------------------------------------------------------

    def signal(self, side: str) -> SignalMessage:
        """Return a signal of the symbol."""
        said = Signal(SYMBOL, side, 80, 80, self.horizon_ms, "a test", "momentum_up", ())
        message = SignalMessage.of(said, self.event(said, self.signal_ts))
        message.wish = self.wish
        return message

    def event(self, payload: Payload, ts: int = NOW) -> Event:
        """Return an event of this payload."""
        return Event(ts, "0" * 32, "nobody", RUN_ID, HASH, payload, ("1" * 32,), 5)

    def decided(self) -> None:
        """Record that the signal was already acted on."""
        self.state.decided.note(self.signal(BUY).ref(), NOW, NOW - 1)


Change = Callable[[World], object]


def nothing(world: World) -> None:
    """Change nothing."""


def put(**values: Any) -> Change:
    """Return the change that sets attributes; `market__ts` is `world.market.ts`."""

    def change(world: World) -> None:
        for path, value in values.items():
            *owners, name = path.split("__")
            owner: Any = world
            for part in owners:
                owner = getattr(owner, part)
            setattr(owner, name, value)

    return change


def step(path: str, limit: int, by: int = 1) -> tuple[Change, Change]:
    """Return the changes that put an attribute at its limit and beyond it."""
    return put(**{path: limit}), put(**{path: limit + by})


def wished(plan: bool = True, **wanted: int) -> Change:
    """Return a change to a signal with levels of the strategy's own, and a plan to keep them."""
    return put(wish=Wish(**wanted), exits__plan=Plan() if plan else None)


def drawn(equity: int) -> Change:
    """Return a change to an equity below the high-water mark, without a loss."""
    return put(
        budgets__equity=equity,
        budgets__high_water_mark=EQUITY,
        budgets__night_level=equity,
        budgets__day_level=equity,
        budgets__week_level=equity,
    )


def fallen(equity: int) -> Change:
    """Return a change to an equity below the account's mark, in a night that lost nothing."""
    change = drawn(equity)

    def both(world: World) -> None:
        change(world)
        world.budgets.high_water_mark = equity
        world.budgets.account.high_water_mark = EQUITY

    return both


def reducing(percent: int) -> Change:
    """Return a change to a tier that lets a share of an order enter."""

    def change(world: World) -> None:
        account = world.budgets.account
        account.tiers = (account.tiers[0], Tier("REDUCING", 1, 0, percent))
        account.tier = 1

    return change


def bounded(held: int) -> Change:
    """Return a change to a maximum position of 30 at the venue, of which some is held."""

    def change(world: World) -> None:
        world.rules(position_max="30")
        world.market.qty = held

    return change


def small(thousandths: int) -> Change:
    """Return a change to a position below the venue's least sale of two thousandths."""

    def change(world: World) -> None:
        world.rules(qty_min="0.002", notional_min="0.01")
        world.hold(thousandths * UNIT // 1_000)

    return change


def status(word: str) -> Change:
    """Return a change of the venue's status of the symbol."""
    return lambda world: world.rules(status=word)


def least(notional: str) -> Change:
    """Return a change of the venue's minimum notional."""
    return lambda world: world.rules(notional_min=notional)


def unstopped(notional: str) -> Change:
    """Return the same change, without a stop at which an entry has to be worth it."""

    def change(world: World) -> None:
        least(notional)(world)
        world.state.exits.rules.stop_multiple = None

    return change


def others(count: int) -> Change:
    """Return a change of the number of other symbols held."""
    return lambda world: world.others(count)


def orders(count: int) -> Change:
    """Return a change of the number of orders within the minute."""
    return lambda world: world.orders(count)


def selling(qty: int) -> Change:
    """Return a change to an open exit of this quantity."""
    return lambda world: world.order(SELL, qty)


def rung(bid: int) -> Change:
    """Return a change to a bid beside a ladder whose first rung is the target's price."""

    def change(world: World) -> None:
        world.plan._order_rules, world.plan.original = world.market.rules, 10 * UNIT
        world.plan.qty, world.plan._parts = 10 * UNIT, (5 * UNIT, 3 * UNIT, 2 * UNIT)
        world.plan._rungs = world.plan.rungs_left = (TARGET_BID, 2 * TARGET_BID)
        world.rung_bid = bid

    return change


def held_at_end(world: World) -> None:
    """Let the run end with open positions carried."""
    world.state.exits.ending_until = ENDS
    world.state.exits.rules.closes_at_end = False


def closing(reason: str) -> Change:
    """Return a change to a position that the policy closes before the end."""

    def change(world: World) -> None:
        held_at_end(world)
        world.exits.policy_exit = reason

    return change
