"""Plan of a position: the levels that move while it is held.

Positions have a plan if the profile has `risk.hard_stop_bps`, which every other key of a plan
needs, or if it carries positions, so that the next run knows the entry's stop and a pending exit.
A plan has five stops: the entry's stop, the hard stop, the break-even stop, the trailing stop and
the strategy's stop. No stop falls while the position is held, and the highest one is in force; but
a purchase beside what is too little to sell begins a new plan. It has three targets: the entry's,
the one by age and the strategy's; the lowest one is in force. A ladder adds two rungs, at which
parts are sold. A run that takes over a position continues with the stops reported last, those that
its profile has.

Prices are hundred-millionths. Levels move only with the bid of a judged tick, a fill, new filters,
the first ATR or market time, so the same inputs give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.lots import Holding
from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import CAMPAIGN, LADDER, CoreProfile
from minibot.events.decimals import div_up, format_fixed, round_up
from minibot.events.model import JsonObject
from minibot.events.money import RATE_PLACES, RATE_UNIT, amount_text, parse_amount, parse_rate
from minibot.events.reasons import (
    AGE_TARGET,
    BREAK_EVEN,
    HARD_STOP,
    SIGNAL_STOP,
    SIGNAL_TARGET,
    STOP_LOSS,
    TAKE_PROFIT,
    TRAILING_STOP,
)
from minibot.events.unit_sizes import MINUTE_MS
from minibot.risk.distances import NEVER, Distance, share_distance
from minibot.risk.ladder import Parts, is_too_small, parts_of

NONE: Final = 0
"""The price of a stop that is off."""
NO_GAP: Final = -1

Rungs = tuple[int, int]
"""Prices of the two rungs of a ladder; `NEVER` for a missing one."""
NO_RUNGS: Final[Rungs] = (NEVER, NEVER)

Wished = tuple[int, int, int, int, int]
"""Levels that a strategy wants: stop, target, distance of a trail in quote, the same in
ten-thousandths of a basis point, and the bid from which it follows; 0 for each unwanted one."""
NOTHING_WISHED: Final[Wished] = (0, 0, 0, 0, 0)


@final
class PlanRules:
    """The keys of a plan.

    Attributes:
        is_on: Whether positions have a plan: the profile has one of these keys, or carries.
        has_levels: Whether the profile has one of these keys.
        needs_atr: Whether a distance waits for the ATR.
        hard_share: Distance of the hard stop in ten-thousandths of a basis point of the entry.
        trail: Distance of the trailing stop below the peak.
        trail_from: Gain over the entry price from which it trails; if off, from the purchase on.
        even_from: Gain from which the break-even stop is set: the price, rounded up, at which a
            sale pays for the entry and both fees.
        first_rung, second_rung: Gains at which the ladder sells its parts.
        ages: Pairs of time held in ms and net gain in ten-thousandths of a basis point; times rise,
            gains fall.
        is_ladder: Whether a position is sold in parts at two rungs.
        sells_parts: Whether any part of a position may be sold alone, so that a second sale may be
            open at the same time.
        stale_ms: Length of a data gap from which the position is closed, at the first tick after
            it; None for off.
        silent_ms: The same for a time without a tick or a bar with a trade, even if no gap is
            reported.
        fee: The taker's rate.
        pays_in_base: Whether a purchase pays its fee in the coins bought.
    """

    __slots__ = (
        "ages",
        "even_from",
        "fee",
        "first_rung",
        "hard_share",
        "has_levels",
        "is_ladder",
        "is_on",
        "needs_atr",
        "pays_in_base",
        "second_rung",
        "sells_parts",
        "silent_ms",
        "stale_ms",
        "trail",
        "trail_from",
    )

    def __init__(self, profile: CoreProfile) -> None:
        risk = profile.risk
        hard = risk.hard_stop_bps
        self.hard_share: int | None = None if hard is None else parse_rate(hard)
        self.trail: Distance = Distance(risk.trail_bps, risk.trail_atr_mult)
        self.trail_from: Distance = Distance(risk.trail_from_bps, risk.trail_from_atr_mult)
        self.even_from: Distance = Distance(risk.break_even_bps, risk.break_even_atr_mult)
        self.ages: list[tuple[int, int]] = [
            (minutes * MINUTE_MS, parse_rate(bps)) for minutes, bps in risk.targets_by_age or ()
        ]
        self.first_rung: Distance = Distance(risk.ladder_1_bps, risk.ladder_1_atr_mult)
        self.second_rung: Distance = Distance(risk.ladder_2_bps, risk.ladder_2_atr_mult)
        is_campaign = risk.exit_policy == CAMPAIGN
        self.is_ladder: bool = risk.exit_policy == LADDER or (
            is_campaign and self.first_rung.is_set
        )
        self.sells_parts: bool = self.is_ladder or is_campaign
        self.stale_ms: int | None = risk.stale_exit_ms
        self.silent_ms: int | None = risk.silent_exit_ms
        self.fee: int = parse_rate(profile.execution.taker_fee_bps)
        self.pays_in_base: bool = profile.execution.fee_asset == "base"
        distances = [self.trail, self.trail_from, self.even_from]
        if self.is_ladder:
            distances += [self.first_rung, self.second_rung]
        self.needs_atr: bool = any([one.multiple is not None for one in distances])
        self.has_levels: bool = (
            self.hard_share is not None
            or any([one.is_set for one in distances])
            or bool(self.ages)
            or self.stale_ms is not None
            or self.silent_ms is not None
        )
        # A STOP leaves positions open too, whatever `at_end` says.
        self.is_on: bool = self.has_levels or profile.portfolio.carries

    def has_room(self, price: int, price_step: int) -> bool:
        """Return whether the hard stop of a purchase at a price is above 0; True without one."""
        share = self.hard_share
        return share is None or share_distance(price, share, price_step) < price

    def price_for(self, entry: int, gain: int, price_step: int) -> int:
        """Return the lowest price at which a sale brings a gain after both fees, in whole steps.

        Args:
            entry: The average entry price, before fees.
            gain: In ten-thousandths of a basis point of the cost of the purchase.
            price_step: The venue's price step.
        """
        kept, paid = RATE_UNIT - self.fee, entry * (RATE_UNIT + gain)
        if self.pays_in_base:  # More coins were paid for than are held.
            return round_up(div_up(paid * RATE_UNIT, kept * kept), price_step)
        return round_up(div_up(paid * (RATE_UNIT + self.fee), kept * RATE_UNIT), price_step)


@final
class Plan:
    """The plan of one position; it ends with the position.

    Attributes:
        has_levels: Whether the profile has a key of a plan, so that a strategy may set levels.
        opened_ts: When the position was opened.
        qty, entry: Quantity held, and average entry price as of the last purchase.
        original: Total quantity bought.
        atr: The ATR when the position was first guarded, or the carried one; None while unknown.
        peak: The highest bid since the trailing stop began, and at least the entry price if it
            begins with the purchase; 0 before.
        hard, stop, even, trail, own: The five stops; `stop` is the entry's and `own` the
            strategy's; 0 for off.
        own_gap, own_share, own_peak: Distance of `own` below the highest bid, in quote or as a
            share of it, and that bid; 0 if it does not follow.
        target, age, own_target: Targets of the entry, by age and of the strategy; `NEVER` for off.
        age_until: When the target by age changes next; `NEVER` if it does not.
        moved_ts: When an order with these levels was last sent to rest.
        rungs_left: The rungs at which something is left to sell, as of the last `settle`; the lower
            one first, `NEVER` for a missing one.
        gap_ts: Start of a data gap, until a fresh price shows that it was short; -1 for no gap.
        silent_ts: Time of the last data before a silence that closes the position; -1 for none.
        fresh_ts: Time of the first fresh price after such a gap or silence; 0 before.
        has_thesis: Whether the thesis held at the end of the horizon; None before it was judged.
    """

    __slots__ = (
        "_age",
        "_even_at",
        "_even_price",
        "_is_guarded",
        "_order_rules",
        "_parts",
        "_rungs",
        "_step",
        "_trail_at",
        "age",
        "age_until",
        "atr",
        "entry",
        "even",
        "fresh_ts",
        "gap_ts",
        "hard",
        "has_levels",
        "has_thesis",
        "moved_ts",
        "opened_ts",
        "original",
        "own",
        "own_gap",
        "own_peak",
        "own_share",
        "own_target",
        "peak",
        "qty",
        "rungs_left",
        "silent_ts",
        "stop",
        "target",
        "trail",
    )

    def __init__(self, has_levels: bool = True) -> None:
        """Start without a position."""
        self.has_levels: bool = has_levels
        self.forget()

    def forget(self) -> None:
        """Forget everything: the position is closed."""
        self.opened_ts: int = 0
        self.qty: int = 0
        self.original: int = 0
        self.entry: int = 0
        self.atr: int | None = None
        self.peak: int = 0
        self.hard: int = NONE
        self.stop: int = NONE
        self.even: int = NONE
        self.trail: int = NONE
        self.own: int = NONE
        self.own_gap: int = 0
        self.own_share: int = 0
        self.own_peak: int = 0
        self.own_target: int = NEVER
        self.target: int = NEVER
        self.age: int = NEVER
        self.gap_ts: int = NO_GAP
        self.silent_ts: int = NO_GAP
        self.fresh_ts: int = 0
        self.has_thesis: bool | None = None
        self.moved_ts: int = 0
        # Derived from the above, from rules and steps; computed again when any of them changes.
        self.age_until: int = 0
        self._age: int = -1
        self._even_at: int = NEVER
        self._even_price: int = NEVER
        self._trail_at: int = NEVER
        self._step: int = 0
        self._rungs: Rungs = NO_RUNGS
        self._parts: Parts = (0, 0, 0)
        self.rungs_left: Rungs = NO_RUNGS
        self._order_rules: OrderRules | None = None
        self._is_guarded: bool = False

    # --- moving levels ------------------------------------------------------------------------

    def count(self, holding: Holding, opened_ts: int) -> None:
        """Take the quantity held; a purchase changes the entry price, a sale does not."""
        qty = holding.qty
        if qty == self.qty:
            return
        if not self.qty:
            self.opened_ts = opened_ts
        if qty > self.qty:
            self.entry = holding.price_avg()
            self.original += qty - self.qty
        self.qty = qty
        self._order_rules = None

    def settle(
        self,
        rules: PlanRules,
        order_rules: OrderRules,
        is_guarded: bool,
        stop: int | None,
        target: int | None,
        wished: Wished = NOTHING_WISHED,
    ) -> None:
        """Set all levels from the entry price after a fill, new filters or the first ATR.

        Otherwise nothing changes. The five stops only rise; targets and rungs are recomputed. A
        purchase raises a trail that begins with it, if the entry price is above the peak.

        Args:
            rules: The keys.
            order_rules: The venue's filters.
            is_guarded: Whether the distances in ATRs are set.
            stop: Distance of the stop of the entry; None for none.
            target: Distance of the target of the entry; None for none.
            wished: The levels that the strategy wants.
        """
        if order_rules is self._order_rules and is_guarded == self._is_guarded:
            return
        self._order_rules, self._is_guarded = order_rules, is_guarded
        step = self._step = order_rules.price_step
        entry = self.entry
        if rules.hard_share is not None:
            distance = share_distance(entry, rules.hard_share, step)
            self.hard = raised(self.hard, entry - distance, step)
        self.stop = raised(self.stop, NONE if stop is None else entry - stop, step)
        # Rounded down, so that it can be reached.
        self.target = NEVER if target is None else (entry + target) // step * step
        self.wish(wished)
        if rules.even_from.is_set:
            price = rules.price_for(entry, 0, step)
            begins = rules.even_from.of(entry, self.atr, step)
            self._even_price = price
            # A stop at or above the bid would sell at once.
            self._even_at = NEVER if begins is None else max(entry + begins, price + step)
            self.even = raised(self.even, NONE, step)
        if rules.trail.is_set:
            begins = rules.trail_from.of(entry, self.atr, step)
            self._trail_at = NEVER if begins is None else entry + begins
            if not rules.trail_from.is_set and entry > self.peak:
                self.peak = entry
            self._raise_trail(rules, step)
        self._set_age(rules, step)
        if rules.is_ladder:
            first = rules.first_rung.of(entry, self.atr, step)
            second = rules.second_rung.of(entry, self.atr, step)
            # Rounded down, so that they can be reached.
            lower = NEVER if first is None else (entry + first) // step * step
            upper = NEVER if second is None else (entry + second) // step * step
            self._rungs = lower, upper
            prices = lower, upper, self.hard
            self._parts = parts_of(self.original, order_rules.market_bounds, prices)
            self.rungs_left = self._left_of_rungs()

    def wish(self, wished: Wished) -> None:
        """Take the levels that a strategy wants: the stop only rises, the tighter trail counts.

        A tighter trail follows from its own peak, so that a bid from before an entry does not sell
        it. The stop that the former trail had reached remains.
        """
        stop, target, gap, share, peak = wished
        step = self._step
        self.own = raised(self.own, stop, step)
        self.own_target = target // step * step or NEVER
        if gap or share:
            nearest = trail_distance(gap, share, max(peak, self.own_peak), step)
            if not self.has_trail or self.own_distance() > nearest:
                self.own_gap, self.own_share, self.own_peak = gap, share, peak
            elif peak > self.own_peak:
                self.own_peak = peak
        if self.has_trail:  # New filters may allow a stop nearer to its peak.
            self._raise_own()

    @property
    def has_trail(self) -> bool:
        """True if the strategy's stop follows the bid."""
        return self.own_gap > 0 or self.own_share > 0

    def own_distance(self) -> int:
        """Return the distance of the strategy's trailing stop below its peak, in whole steps."""
        return trail_distance(self.own_gap, self.own_share, self.own_peak, self._step)

    def _raise_own(self) -> None:
        self.own = raised(self.own, self.own_peak - self.own_distance(), self._step)

    def is_settled(self, order_rules: OrderRules | None) -> bool:
        """Return whether `settle` was called with these filters since the last fill."""
        return self._order_rules is not None and self._order_rules is order_rules

    def advance(self, rules: PlanRules, bid: int, now: int) -> None:
        """Raise trailing and break-even stops by a judged bid; set the target by age."""
        step = self._step
        if rules.trail.is_set and bid > self.peak and (self.peak or bid >= self._trail_at):
            self.peak = bid
            self._raise_trail(rules, step)
        if self.has_trail and bid > self.own_peak:
            self.own_peak = bid
            self._raise_own()
        # After a purchase the stop stays until the bid is far enough above the new entry price.
        if bid >= self._even_at and self.even < self._even_price:
            self.even = raised(self.even, self._even_price, step)
        if now >= self.age_until:
            self._set_age(rules, step, now)

    def end_gap(self, rules: PlanRules, now: int) -> None:
        """Forget a data gap that a fresh price ends in time; note when it ends a longer one."""
        if rules.stale_ms is not None and now - self.gap_ts < rules.stale_ms:
            self.gap_ts = NO_GAP
        if not self.fresh_ts and (self.gap_ts != NO_GAP or self.silent_ts != NO_GAP):
            self.fresh_ts = now

    def _raise_trail(self, rules: PlanRules, step: int) -> None:
        if not self.peak:
            return
        distance = rules.trail.of(self.peak, self.atr, step)
        if distance is not None:
            self.trail = raised(self.trail, self.peak - distance, step)

    def _set_age(self, rules: PlanRules, step: int, now: int | None = None) -> None:
        """Set the target by age: a sale there brings at least its gain after both fees.

        With `now`, the row of `ages` is found first; else it stays as it was, but a first row of no
        minutes holds from the fill on.
        """
        if now is not None:
            held = now - self.opened_ts
            self._age = sum([held >= ms for ms, _ in rules.ages]) - 1
        elif self._age < 0 and rules.ages and not rules.ages[0][0]:
            self._age = 0
        following = self._age + 1
        self.age_until = NEVER
        if following < len(rules.ages):
            self.age_until = self.opened_ts + rules.ages[following][0]
        self.age = NEVER
        if self._age >= 0:
            self.age = rules.price_for(self.entry, rules.ages[self._age][1], step)

    # --- from one run to the next -------------------------------------------------------------

    def carried(self) -> JsonObject:
        """Return the plan for the next run, as fields of `position_plan`."""
        return {
            "original_qty": amount_text(self.original),
            "entry_price": amount_text(self.entry),
            "opened_ts": self.opened_ts,
            "age_row": self._age + 1,
            "stop_hard": _price(self.hard),
            "stop_entry": _price(self.stop),
            "stop_break_even": _price(self.even),
            "stop_trailing": _price(self.trail),
            "stop_signal": _price(self.own),
            "target_signal": _price(self.own_target if self.own_target < NEVER else 0),
            "trail_signal": _price(self.own_gap),
            "trail_signal_bps": format_fixed(self.own_share, RATE_PLACES)
            if self.own_share
            else None,
            "peak_signal": _price(self.own_peak),
            "peak": _price(self.peak),
            "atr": _price(self.atr or 0),
            "has_thesis": self.has_thesis,
        }

    def carry(self, rules: PlanRules, has_entry_stop: bool, plan: Mapping[str, Any]) -> None:
        """Take over the plan of a position that another run opened.

        Targets and rungs are computed again from its entry price. The row of `risk.targets_by_age`
        follows from the time held, at the first tick, as the rows of this run may differ.

        Args:
            rules: The keys of this run; a stop whose key is off now is dropped.
            has_entry_stop: Whether this run's profile sets a stop at an entry.
            plan: The quantity and the fields of `carried`, as `run_opening` has them.
        """
        self.qty, self.original = parse_amount(plan["qty"]), parse_amount(plan["original_qty"])
        self.entry, self.opened_ts = parse_amount(plan["entry_price"]), plan["opened_ts"]
        if "atr" in plan:
            self.atr = parse_amount(plan["atr"])
        if rules.has_levels:
            self.own = parse_amount(plan.get("stop_signal", "0"))
            self.own_gap = parse_amount(plan.get("trail_signal", "0"))
            self.own_share = parse_rate(plan.get("trail_signal_bps", "0"))
            self.own_peak = parse_amount(plan.get("peak_signal", "0"))
        if rules.hard_share is not None:
            self.hard = parse_amount(plan.get("stop_hard", "0"))
        if has_entry_stop:
            self.stop = parse_amount(plan.get("stop_entry", "0"))
        if rules.even_from.is_set:
            self.even = parse_amount(plan.get("stop_break_even", "0"))
        if rules.trail.is_set:
            self.trail = parse_amount(plan.get("stop_trailing", "0"))
            self.peak = parse_amount(plan.get("peak", "0"))

    # --- levels in force ----------------------------------------------------------------------

    @property
    def price_step(self) -> int:
        """The venue's price step, as of the last `settle`."""
        return self._step

    def floor(self) -> int:
        """Return the highest stop, at or below which a bid closes the position; 0 for none."""
        # In pairs: only these become plain comparisons when compiled.
        return max(max(self.hard, self.stop), max(self.even, max(self.trail, self.own)))

    def ceiling(self) -> int:
        """Return the lowest target, at or above which a bid closes the position; or `NEVER`."""
        return min(self.age, min(self.target, self.own_target))

    def _left_of_rungs(self) -> Rungs:
        """Return the rungs at which something is left to sell, the lower one first."""
        first, second = self._rungs
        lower, upper = min(first, second), max(first, second)
        if lower < NEVER and not self.part(lower, 0, lower):
            lower = NEVER
        if upper < NEVER and not self.part(upper, 0, upper):
            upper = NEVER
        return (lower, upper) if lower < NEVER else (upper, NEVER)

    def part(self, bid: int, pending: int, price: int) -> int:
        """Return the quantity that the ladder sells at a bid; 0 if it is too small to sell.

        It is the parts of all rungs reached, less the quantity sold or being sold.

        Args:
            bid: The price of a sale.
            pending: The quantity of open sales.
            price: The price at which the venue values a sale.
        """
        lower, upper = self._rungs
        wanted = 0
        if bid >= lower:
            wanted += self._parts[0]
        if bid >= upper:
            wanted += self._parts[1]
        wanted -= self.original - self.qty + pending
        rules = self._order_rules
        if rules is None or is_too_small(wanted, rules.market_bounds, price):
            return 0
        return rules.market_bounds.sale_down(wanted, price)

    def floor_reason(self) -> str:
        """Return the reason code of the stop in force; of equal stops the entry's comes first.

        The hard one, the strategy's and break-even follow. An exit at the bid has its reason from
        `plan_rows`, where the strategy's is the last.
        """
        floor = self.floor()
        if floor == self.stop:
            return STOP_LOSS
        if floor == self.hard:
            return HARD_STOP
        if floor == self.own:
            return SIGNAL_STOP
        return BREAK_EVEN if floor == self.even else TRAILING_STOP

    def ceiling_reason(self) -> str:
        """Return the reason code of the lowest target; of equal targets the entry's comes first."""
        ceiling = self.ceiling()
        if ceiling == self.target:
            return TAKE_PROFIT
        return AGE_TARGET if ceiling == self.age else SIGNAL_TARGET

    def moves_at(self, rules: PlanRules) -> int:
        """Return the lowest bid that would raise a stop."""
        at = NEVER
        if rules.trail.is_set:
            at = self.peak + 1 if self.peak else self._trail_at
        if self.even < self._even_price and self._even_at < at:
            at = self._even_at
        if self.has_trail and self.own_peak < at:
            at = self.own_peak + 1
        return at

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "opened_ts": self.opened_ts,
            "qty": amount_text(self.qty),
            "original": amount_text(self.original),
            "entry": amount_text(self.entry),
            "atr": None if self.atr is None else amount_text(self.atr),
            "peak": amount_text(self.peak),
            "hard": amount_text(self.hard),
            "stop": amount_text(self.stop),
            "even": amount_text(self.even),
            "trail": amount_text(self.trail),
            **({"own": amount_text(self.own)} if self.own else {}),
            **({"own_trail": self._own_trail()} if self.has_trail else {}),
            "age": self._age,
            "gap_ts": self.gap_ts,
            **({} if self.silent_ts == NO_GAP else {"silent_ts": self.silent_ts}),
            **({"fresh_ts": self.fresh_ts} if self.fresh_ts else {}),
            **({} if self.has_thesis is None else {"has_thesis": self.has_thesis}),
            "moved_ts": self.moved_ts,
        }

    def _own_trail(self) -> list[str]:
        return [amount_text(each) for each in (self.own_gap, self.own_share, self.own_peak)]

    @staticmethod
    def from_state(state: Mapping[str, Any], has_levels: bool) -> Plan:
        """Return the plan of `state`; the next `settle` computes targets, rungs and parts."""
        plan = Plan(has_levels)
        plan.opened_ts = state["opened_ts"]
        plan.qty, plan.entry = parse_amount(state["qty"]), parse_amount(state["entry"])
        plan.atr = None if state["atr"] is None else parse_amount(state["atr"])
        plan.original = parse_amount(state["original"])
        plan.peak = parse_amount(state["peak"])
        plan.hard, plan.stop = parse_amount(state["hard"]), parse_amount(state["stop"])
        plan.even, plan.trail = parse_amount(state["even"]), parse_amount(state["trail"])
        plan.own = parse_amount(state.get("own", "0"))
        plan.own_gap, plan.own_share, plan.own_peak = [
            parse_amount(text) for text in state.get("own_trail", ("0", "0", "0"))
        ]
        plan._age = state["age"]
        plan.gap_ts, plan.moved_ts = state["gap_ts"], state["moved_ts"]
        plan.silent_ts = state.get("silent_ts", NO_GAP)
        plan.fresh_ts = state.get("fresh_ts", 0)
        plan.has_thesis = state.get("has_thesis")
        return plan


def _price(price: int) -> str | None:
    return amount_text(price) if price > 0 else None


def trail_distance(gap: int, share: int, peak: int, step: int) -> int:
    """Return the distance of a strategy's stop below a peak, in whole steps, at least one.

    Args:
        gap: Distance in quote; 0 if `share` counts.
        share: In ten-thousandths of a basis point of the peak.
        peak: The highest bid.
        step: The venue's price step.
    """
    if share:
        return share_distance(peak, share, step)
    return max(step, gap // step * step)


def raised(level: int, price: int, step: int) -> int:
    """Return the higher of a stop and a new price for it, rounded up to whole steps.

    Args:
        level: The stop so far; 0 for none.
        price: The new price; 0 or less for none.
        step: The venue's price step.
    """
    return max(NONE, round_up(max(price, level), step))
