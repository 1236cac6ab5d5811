"""Sizing: the notional that an entry wants, and the bound that decides it.

Each mode of `risk.sizing` gives the notional of an entry: a fixed amount, a share of the free
budget, the amount that the loss at the stop allows, or a percentage of Kelly's share. Volatility
and the venue's largest order make it smaller. The result is the wanted amount; caps on bucket,
position, symbol and cluster, and the limits of `entry_decision`, then cut it. Amounts are rounded
down, costs up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.order_rules import Bounds
from minibot.accounting.portfolio import Portfolio
from minibot.accounting.round_trips import RoundTrips
from minibot.cores.core_profile import FIXED, KELLY, KELLY_PERCENT, RISK, SHARE, CoreProfile
from minibot.cores.messages import FillMessage
from minibot.cores.wish import Wish
from minibot.events.decimals import mul_div_down
from minibot.events.model import JsonObject
from minibot.events.money import (
    PLACES,
    RATE_UNIT,
    UNIT,
    amount_text,
    fee_up,
    notional_paid_by,
    parse_amount,
    proceeds_down,
)
from minibot.events.reasons import (
    BUCKET_LIMIT,
    CLUSTER_LIMIT,
    INVARIANT_BROKEN,
    NO_EDGE,
    NO_STOP,
    NOTIONAL_MAX,
    POSITION_SHARE,
    QTY_MAX,
    SIZE_KELLY,
    SIZE_RISK,
    SIZE_SHARE,
    SIZE_VOLATILITY,
    SIZE_WISH,
    SYMBOL_LIMIT,
)
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import InvariantError
from minibot.risk.campaign import ROUNDED
from minibot.risk.checks import SKIPPED, Gate, Row
from minibot.risk.distances import share_distance, whole_distance
from minibot.risk.exits import ExitRules, SymbolExits
from minibot.risk.headroom import Headroom
from minibot.risk.limits import Limits
from minibot.risk.positions import Market, Positions

# The wanted amount is the smallest of these, so none of them fails; `cuts` is the reason code if an
# order of that amount is too small.
BY_AMOUNT: Final = Gate("size_fixed", places=PLACES)
BY_SHARE: Final = Gate(SIZE_SHARE, places=PLACES, cuts=SIZE_SHARE)
BY_RISK: Final = Gate(SIZE_RISK, places=PLACES, cuts=SIZE_RISK)
BY_KELLY: Final = Gate(SIZE_KELLY, places=PLACES, cuts=SIZE_KELLY)
BY_VOLATILITY: Final = Gate(SIZE_VOLATILITY, places=PLACES, cuts=SIZE_VOLATILITY)
BY_QTY_MAX: Final = Gate("size_qty_max", places=PLACES, cuts=QTY_MAX)
BY_WISH: Final = Gate(SIZE_WISH, places=PLACES, cuts=SIZE_WISH)
BY_NOTIONAL_MAX: Final = Gate("size_notional_max", places=PLACES, cuts=NOTIONAL_MAX)
# Caps, which make an order smaller.
BUCKET: Final = Gate("bucket_active", places=PLACES, cuts=BUCKET_LIMIT)
SHARE_OF_BUCKET: Final = Gate(POSITION_SHARE, places=PLACES, cuts=POSITION_SHARE)
SYMBOL_CAP: Final = Gate("symbol_notional", places=PLACES, cuts=SYMBOL_LIMIT)
CLUSTER: Final = Gate("cluster_notional", places=PLACES, cuts=CLUSTER_LIMIT)
# The check of the loss at the stop, for sizing by risk.
LOSS_AT_STOP: Final = Gate("loss_at_stop", SIZE_RISK, PLACES)


@final
class Sizing:
    """The sizing of the profile, and the closed trades from which Kelly's share is computed.

    Attributes:
        mode: The value of `risk.sizing`.
        is_plain: Whether only the fixed amount and the limits size an entry.
        needs_atr: Whether an entry cannot be sized before the ATR is known.
        trades: The closed trades; None if the mode needs none.
    """

    __slots__ = (
        "active_bps",
        "full_atr_bps",
        "is_plain",
        "kelly_percent",
        "mode",
        "needs_atr",
        "risk_bps",
        "share_bps_max",
        "share_bps_min",
        "symbol_max",
        "trades",
        "trades_min",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the sizing of the whole resolved configuration."""
        risk = CoreProfile.of(config).risk
        self.mode: str = risk.sizing or FIXED
        self.risk_bps: int = risk.risk_per_trade_bps or 0
        # 0 for no buckets: then the whole allowed exposure is active.
        self.active_bps: int = risk.bucket_active_bps or 0
        self.share_bps_min: int = risk.position_share_bps_min or 0
        self.share_bps_max: int = risk.position_share_bps_max or 0
        self.full_atr_bps: int = risk.size_atr_bps_full or 0
        self.kelly_percent: int = risk.kelly_fraction_percent or KELLY_PERCENT
        self.trades_min: int = risk.kelly_trades_min or 0
        self.symbol_max: dict[str, int] = {
            symbol: parse_amount(text) for symbol, text in (risk.symbol_notional_max or {}).items()
        }
        self.needs_atr: bool = self.full_atr_bps > 0
        self.is_plain: bool = (
            self.mode == FIXED
            and not self.active_bps
            and not self.share_bps_max
            and not self.full_atr_bps
            and not self.symbol_max
            and not risk.cluster_share_bps_max
        )
        self.trades: ClosedTrades | None = None
        if self.mode == KELLY:
            self.trades = ClosedTrades(risk.kelly_window_market_ms or 0)

    def active(self, left: Headroom) -> int:
        """Return the largest exposure: the active bucket, at most the exposure limit."""
        most = left.exposure_max()
        if not self.active_bps:
            return most
        active = mul_div_down(left.equity, self.active_bps, BPS)
        return active if active < most else most


# --- the wanted size ------------------------------------------------------------------------------


@final
class Sizes:
    """The bounds on one entry, in quote; `SKIPPED` is off.

    Attributes:
        share, risk, kelly: The amount by the mode of this name; the fixed amount is
            `order_notional` of the limits.
        volatility, qty_max, notional_max: Bounds that make the amount of the mode smaller.
        wish, allowed: The amount that the strategy wants, and the amount without a wish, which is
            bought, as a REDUCE, if the wish is larger.
        wanted: The smallest of the amount of the profile's mode and of these bounds.
        decided: The gate of that amount.
        reason: NO_STOP or NO_EDGE if nothing is wanted for that reason; else empty.
        active, share_max, symbol_max: The caps: notional of all positions, of this one by its share
            of the bucket, and of this symbol.
        cluster, cluster_max: Notional of the entry's cluster without the entry, and its cap.
        loss_max: The largest loss allowed at the stop.
        loss_price, loss_distance, loss_rate: Price of the purchase, distance of the stop and fee
            rate, from which a loss at the stop is computed.
        held: Quantity held, with any dust, plus the open quantity of entries.
    """

    __slots__ = (
        "active",
        "allowed",
        "cluster",
        "cluster_max",
        "decided",
        "held",
        "kelly",
        "loss_distance",
        "loss_max",
        "loss_price",
        "loss_rate",
        "notional_max",
        "qty_max",
        "reason",
        "risk",
        "share",
        "share_max",
        "symbol_max",
        "volatility",
        "wanted",
        "wish",
    )

    def __init__(self, wanted: int) -> None:
        """Start with a wanted amount and no bound."""
        self.share: int = SKIPPED
        self.risk: int = SKIPPED
        self.kelly: int = SKIPPED
        self.volatility: int = SKIPPED
        self.qty_max: int = SKIPPED
        self.notional_max: int = SKIPPED
        self.wish: int = SKIPPED
        self.allowed: int = SKIPPED
        self.wanted: int = wanted
        self.decided: Gate = BY_AMOUNT
        self.reason: str = ""
        self.active: int = SKIPPED
        self.share_max: int = SKIPPED
        self.symbol_max: int = SKIPPED
        self.cluster: int = 0
        self.cluster_max: int = SKIPPED
        self.loss_max: int = SKIPPED
        self.loss_price: int = 0
        self.loss_distance: int = 0
        self.loss_rate: int = 0
        self.held: int = 0

    def loss(self, qty: int) -> int:
        """Return the loss, with both fees, if the position and `qty` more are sold at the stop."""
        per_unit = _loss_per_unit(self.loss_price, self.loss_distance, self.loss_rate)
        return -(-(self.held + qty) * per_unit // (UNIT * RATE_UNIT)) + ROUNDED

    def take_wish(self, wish: Wish, active: int) -> None:
        """Cut the wanted amount to the strategy's wish; `active` is the largest exposure."""
        self.allowed = self.wanted
        if not wish.has_size:
            return
        self.wish = wish.notional or SKIPPED
        if wish.share_bps:
            share = mul_div_down(active, wish.share_bps, BPS)
            self.wish = share if not wish.notional else min(share, wish.notional)
        self._take(BY_WISH, self.wish)

    def _take(self, gate: Gate, amount: int) -> None:
        """Apply a bound to the wanted amount; the first of equal bounds decides."""
        if amount < self.wanted:
            self.wanted, self.decided = amount, gate


def sizes_of(
    sizing: Sizing,
    market: Market,
    bounds: Bounds,
    price_step: int,
    limits: Limits,
    positions: Positions,
    exits: SymbolExits,
    rules: ExitRules,
    left: Headroom,
    now: int,
) -> Sizes:
    """Return the size that an entry wants, and its caps.

    Args:
        sizing: The sizing of the profile.
        market: The market of the entry, with a touch.
        bounds: The venue's bounds on an order at the market.
        price_step: The venue's price step.
        limits: The limits of the profile.
        positions: All positions.
        exits: The exit state of the market.
        rules: The exit rules of the profile.
        left: Use and headroom of each limit.
        now: Market time.
    """
    active, mode = sizing.active(left), sizing.mode
    sizes = Sizes(limits.order_notional)
    if mode == SHARE:
        sizes.share = _share(active, limits, positions, market, left)
        sizes.wanted, sizes.decided = sizes.share, BY_SHARE
    elif mode == RISK:
        _size_by_risk(sizes, sizing, market, price_step, limits, positions, exits, rules, left)
    elif sizing.trades is not None:
        _size_by_kelly(sizes, sizing, sizing.trades, active, now)
    if sizing.full_atr_bps:
        _shrink_by_volatility(sizes, sizing, active, market, exits)
    if bounds.qty_max is not None:
        sizes.qty_max = proceeds_down(bounds.qty_max, market.ask)
        sizes._take(BY_QTY_MAX, sizes.qty_max)
    if bounds.notional_max is not None:
        sizes.notional_max = bounds.notional_max
        sizes._take(BY_NOTIONAL_MAX, sizes.notional_max)
    if sizing.active_bps:
        sizes.active = mul_div_down(left.equity, sizing.active_bps, BPS)
    if sizing.share_bps_max:
        sizes.share_max = mul_div_down(active, sizing.share_bps_max, BPS)
    sizes.symbol_max = sizing.symbol_max.get(market.symbol, SKIPPED)
    return sizes


def _share(
    active: int, limits: Limits, positions: Positions, market: Market, left: Headroom
) -> int:
    """Return the smaller of free budget and free cash, divided by the free slots.

    Free budget is `active` less exposure; free cash leaves room for the fee. The slot of this entry
    counts as free.
    """
    free, cash = active - left.exposure, notional_paid_by(left.cash_free, limits.taker_rate)
    free = free if free < cash else cash
    slots = limits.positions_max - positions.count_beside(market.symbol)
    return free // slots if free > 0 and slots > 0 else 0


def _size_by_risk(
    sizes: Sizes,
    sizing: Sizing,
    market: Market,
    price_step: int,
    limits: Limits,
    positions: Positions,
    exits: SymbolExits,
    rules: ExitRules,
    left: Headroom,
) -> None:
    """Set the size that, with position and open entries, loses `risk_bps` of equity at the stop.

    The loss is computed from the higher of ask and average entry down to a stop that is not yet
    rounded up: the real loss is no larger, unless the price jumps past the stop. Without a stop the
    size is 0, with NO_STOP.
    """
    price, holding = market.ask, market.holding
    if holding is not None and holding.qty:
        entry = holding.price_avg()
        price = max(price, entry)
    distance = stop_distance(exits, rules, price, price_step, positions.atr_of_entries(market))
    sizes.decided = BY_RISK
    if distance is None:
        sizes.risk = sizes.wanted = 0
        sizes.reason = NO_STOP
        return
    sizes.loss_price, sizes.loss_rate = price, limits.taker_rate
    sizes.loss_distance = distance
    sizes.held = positions.qty_with_orders(market)
    sizes.loss_max = mul_div_down(max(0, left.equity), sizing.risk_bps, BPS)
    per_unit = _loss_per_unit(price, distance, limits.taker_rate)
    qty = (sizes.loss_max - ROUNDED) * UNIT * RATE_UNIT // per_unit - sizes.held
    sizes.risk = sizes.wanted = proceeds_down(max(0, qty), market.ask)


def _loss_per_unit(price: int, distance: int, rate: int) -> int:
    """Return the loss of one coin at a stop with both fees, in units of 1 / `RATE_UNIT`."""
    return distance * RATE_UNIT + (2 * price - distance) * rate


def stop_distance(
    exits: SymbolExits, rules: ExitRules, price: int, price_step: int, atr_open: int | None = None
) -> int | None:
    """Return the distance of the stop below a purchase; None without a stop or without the ATR.

    A position and an open entry keep their distances in ATRs, so the largest one counts.

    Args:
        exits: The exit state of the market.
        rules: The exit rules of the profile.
        price: Price of the purchase.
        price_step: The venue's price step.
        atr_open: The largest ATR by which an open entry of the market was sized; None for none.
    """
    distance = exits.stop_distance if exits.is_guarded else None
    found = None
    if rules.stop_share is not None:
        found = share_distance(price, rules.stop_share, price_step)
    elif rules.stop_multiple is not None:
        atr = exits.last_atr()
        if atr is None:
            return None
        found = whole_distance(max(atr, atr_open or 0), rules.stop_multiple, price_step)
    if found is None or distance is None:
        return found
    return max(distance, found)


def _size_by_kelly(
    sizes: Sizes, sizing: Sizing, trades: ClosedTrades, active: int, now: int
) -> None:
    """Set `kelly_percent` of Kelly's share of the active bucket, within the bounds on the share.

    With fewer than `trades_min` trades it is the smallest share; without an edge it is 0, with
    NO_EDGE.
    """
    sizes.decided = BY_KELLY
    least = sizing.share_bps_min
    trades.expire(now)
    if trades.count < sizing.trades_min:
        share = least
    else:
        if trades.gained <= trades.lost:
            sizes.kelly = sizes.wanted = 0
            sizes.reason = NO_EDGE
            return
        share = trades.kelly_bps(sizing.kelly_percent)
        share = max(least, min(share, sizing.share_bps_max))
    sizes.kelly = sizes.wanted = mul_div_down(active, share, BPS)


def _shrink_by_volatility(
    sizes: Sizes, sizing: Sizing, active: int, market: Market, exits: SymbolExits
) -> None:
    """Cut the size if the ATR is above `full_atr_bps` of the price; without the ATR it is 0.

    An ATR of twice that halves the size. Kelly's smallest share remains the lower bound.
    """
    atr = exits.last_atr()
    if atr is None:
        sizes.volatility = 0
        sizes._take(BY_VOLATILITY, 0)
        return
    full = mul_div_down(market.price, sizing.full_atr_bps, BPS)
    if atr <= full:
        return
    room = mul_div_down(sizes.wanted, full, atr)
    if sizing.mode == KELLY and sizes.wanted > 0:
        room = max(room, mul_div_down(active, sizing.share_bps_min, BPS))
    sizes.volatility = room
    sizes._take(BY_VOLATILITY, room)


# --- rows -----------------------------------------------------------------------------------------


def sizing_rows(sizes: Sizes, left: Headroom, notional: int) -> tuple[Row, ...]:
    """Return the bounds of sizing on an order of this notional: wanted amounts, then caps."""
    held = left.position + notional
    return (
        (BY_SHARE, _if_asked(notional, sizes.share), sizes.share),
        (BY_RISK, _if_asked(notional, sizes.risk), sizes.risk),
        (BY_KELLY, _if_asked(notional, sizes.kelly), sizes.kelly),
        (BY_VOLATILITY, _if_asked(notional, sizes.volatility), sizes.volatility),
        (BY_QTY_MAX, _if_asked(notional, sizes.qty_max), sizes.qty_max),
        (BY_NOTIONAL_MAX, _if_asked(notional, sizes.notional_max), sizes.notional_max),
        (BUCKET, _if_asked(left.exposure + notional, sizes.active), sizes.active),
        (SHARE_OF_BUCKET, _if_asked(held, sizes.share_max), sizes.share_max),
        (SYMBOL_CAP, _if_asked(held, sizes.symbol_max), sizes.symbol_max),
        (CLUSTER, _if_asked(sizes.cluster + notional, sizes.cluster_max), sizes.cluster_max),
    )


def wish_rows(sizes: Sizes) -> tuple[Row, ...]:
    """Return the check of a strategy's wish; a failure refuses nothing, see `Sizes.allowed`."""
    return ((BY_WISH, sizes.wish, sizes.allowed),)


def loss_rows(sizes: Sizes, qty: int) -> tuple[Row, ...]:
    """Return the check of the loss at the stop with `qty` more; only for sizing by risk."""
    is_asked = qty and sizes.loss_max != SKIPPED
    return ((LOSS_AT_STOP, sizes.loss(qty) if is_asked else SKIPPED, sizes.loss_max),)


def bound_row(gate: Gate, amount: int) -> Row:
    """Return the row that names the deciding bound and the notional that it leaves."""
    return Gate("size_bound", words=(gate.name, amount_text(amount))), 0, 1


def _if_asked(value: int, limit: int) -> int:
    return SKIPPED if limit == SKIPPED else value


# --- closed trades --------------------------------------------------------------------------------


@final
class ClosedTrades:
    """Net returns of the round trips that ended within a window of market time.

    A return is the ratio of `accounting.round_trips`. Trades of earlier runs count if `run_opening`
    lists them; else a carried position counts from its cost plus a fee.

    Attributes:
        window_ms: How long a trade counts.
        count, wins: Number of trades within the window, and of those with a gain.
        gained, lost: Sums of their gains and of their losses, ratios in hundred-millionths.
    """

    __slots__ = ("_ended", "_returns", "_trips", "count", "gained", "lost", "window_ms", "wins")

    def __init__(self, window_ms: int) -> None:
        """Start without a trade."""
        self.window_ms: int = window_ms
        self._ended: list[int] = []
        self._returns: list[int] = []
        self._trips: RoundTrips = RoundTrips()
        self.count: int = 0
        self.wins: int = 0
        self.gained: int = 0
        self.lost: int = 0

    def open(self, portfolio: Portfolio, rate: int, carried: Mapping[str, Any] | None) -> None:
        """Start with the positions of a portfolio and the trades of earlier runs.

        Args:
            portfolio: The portfolio at the start of the run.
            rate: The fee rate of a purchase without a listed trade.
            carried: The field `trades` of `run_opening`; what is held without a trade of it is the
                dust of a closed one.

        Raises:
            InvariantError: The trades are damaged, or one is open in a symbol that is not held.
        """
        if carried is not None:
            try:
                self.restore(carried)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                detail = f"run_opening: trades: {type(error).__name__}: {error}"
                raise InvariantError("risk", INVARIANT_BROKEN, detail) from error
        for symbol in [one for one in self._trips.open if not portfolio.has_lots(one)]:
            detail = f"run_opening: an open trade of {symbol}, expected a held symbol"
            raise InvariantError("risk", INVARIANT_BROKEN, detail)
        for symbol in portfolio.symbols() if carried is None else ():
            cost = portfolio.position_cost(symbol)
            self._trips.carry(symbol, 0, cost + fee_up(cost, rate))

    def on_fill(self, fill: FillMessage, is_flat: bool) -> None:
        """Take a fill; a fill that leaves its symbol flat ends a trade."""
        trip = self._trips.on_fill(fill, is_flat, "")
        if trip is not None and trip.spent > 0:  # Else dust of an earlier trade was sold.
            self._add(trip.closed_ts, trip.ratio)

    def _add(self, ts: int, gain: int) -> None:
        # The clock of an earlier run may have been ahead of this run's.
        place = bisect_right(self._ended, ts)
        self._ended.insert(place, ts)
        self._returns.insert(place, gain)
        self._count(gain, 1)

    def _count(self, gain: int, by: int) -> None:
        self.count += by
        if gain > 0:
            self.wins += by
            self.gained += by * gain
        else:
            self.lost -= by * gain

    def expire(self, now: int) -> None:
        """Forget the trades that ended outside the window."""
        over = bisect_right(self._ended, now - self.window_ms)
        for gain in self._returns[:over]:
            self._count(gain, -1)
        del self._ended[:over]
        del self._returns[:over]

    def kelly_bps(self, percent: int) -> int:
        """Return a percentage of Kelly's share in basis points, rounded down; below 0 is 0.

        With p the share of trades won and R the mean gain over the mean loss, Kelly's share is
        p - (1 - p) / R, which is p x (gained - lost) / gained.
        """
        if self.gained <= self.lost:
            return 0
        edge = self.wins * (self.gained - self.lost) * percent * BPS
        return edge // (self.count * self.gained * 100)

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "closed": [
                [ts, amount_text(gain)] for ts, gain in zip(self._ended, self._returns, strict=True)
            ],
            "open": self._trips.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        for ts, gain in state["closed"]:
            self._add(ts, parse_amount(gain))
        self._trips = RoundTrips.from_state(state["open"])
