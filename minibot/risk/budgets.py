"""Budgets and their use: notional and loss of night, day and week, drawdown, orders per minute.

The night is the run. A backtest longer than a night is a sequence of nights (`backtest.night_ms`),
each with its own budgets, like consecutive runs. The day is the UTC day of market time; the week
begins on Monday. `run_opening` brings the amounts that earlier runs used; a gain of theirs in the
day or week is a negative loss. Losses are measured on equity, so fees and open positions count. A
carried lot counts in the night from its first mark in this run, in day and week from the last mark
of the run before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from minibot.accounting.portfolio import Portfolio
from minibot.cores.scaled_tick import NO_BOUND, QuietRange
from minibot.events.decimals import mul_div_down, mul_div_up
from minibot.events.model import JsonObject
from minibot.events.money import UNIT, amount_text, parse_amount
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.unit_sizes import DAY_MS, MINUTE_MS
from minibot.kernel.errors import InvariantError
from minibot.risk.account import WHOLE, Account
from minibot.risk.checks import SKIPPED, Checklist, Row, exceeded
from minibot.risk.limits import Limits

BUDGETS: Final = (
    *("night_notional", "day_notional", "night_loss", "day_loss"),
    *("week_notional", "week_loss"),
)
LOSSES_OVER_RUNS: Final = ("day_loss", "week_loss")


@final
class Budgets:
    """Used budgets of one run; amounts in hundred-millionths of the quote asset.

    Attributes:
        limits: The limits of the profile.
        account: High-water mark and tier over carried runs.
        equity: Equity after the last price or fill.
        high_water_mark: The highest equity of the night.
        night_notional, day_notional, week_notional: Notional bought in the night, the UTC day and
            the week, without fees, including earlier runs.
        night_level, day_level, week_level: Equity at the start of night, UTC day or week, plus the
            loss of earlier runs in it: the used loss is the level less equity.
        midnight: When the next day or night begins; a step at or after it calls `roll`. It is 0
            before the first step of an open or restored run, and after a STOP, so that a step then
            checks whether the run is open and not stopped.
    """

    __slots__ = (
        "_bought_before",
        "_day",
        "_day_base",
        "_day_bought",
        "_day_loss_used",
        "_day_notional_used",
        "_floor",
        "_is_floor_known",
        "_night_base",
        "_night_bought",
        "_night_ends",
        "_night_from",
        "_night_loss_used",
        "_night_notional_used",
        "_opening_day",
        "_order_times",
        "_week_base",
        "_week_bought",
        "_week_bought_before",
        "_week_loss_used",
        "_week_notional_used",
        "account",
        "day_level",
        "day_notional",
        "equity",
        "high_water_mark",
        "limits",
        "midnight",
        "night_level",
        "night_notional",
        "week_level",
        "week_notional",
    )

    def __init__(self, limits: Limits) -> None:
        """Start with nothing used; `open` sets the amounts with which the run begins."""
        self.limits: Limits = limits
        self.account: Account = Account(limits)
        # Amounts that earlier runs used, in the order of `BUDGETS`.
        self._night_notional_used: int = 0
        self._day_notional_used: int = 0
        self._night_loss_used: int = 0
        self._day_loss_used: int = 0
        self._week_notional_used: int = 0
        self._week_loss_used: int = 0
        self._opening_day: int = 0
        self._day: int = 0
        self.midnight: int = 0
        # The lowest equity at which no hard limit is exceeded, all else unchanged.
        self._floor: int = 0
        self._is_floor_known: bool = False
        # End of this night, None if the run is one night; notional that earlier nights bought.
        self._night_ends: int | None = None
        self._bought_before: int = 0
        # Start of this night, for its pace.
        self._night_from: int = 0
        self._night_base: int = 0
        self._day_base: int = 0
        # Equity at the start of the week, notional bought in it, and by the run before it.
        self._week_base: int = 0
        self._week_bought: int = 0
        self._week_bought_before: int = 0
        self._night_bought: int = 0
        self._day_bought: int = 0
        self.high_water_mark: int = 0
        self.equity: int = 0
        self.night_notional: int = 0
        self.day_notional: int = 0
        self.night_level: int = 0
        self.day_level: int = 0
        self.week_notional: int = 0
        self.week_level: int = 0
        self._order_times: list[int] = []

    def open(self, used: Mapping[str, str], equity: int, now: int) -> None:
        """Start the run with the amounts of its budgets that earlier runs used.

        Raises:
            InvariantError: A budget is unknown, or its used amount is negative. Only the loss of
                day or week may be negative: a gain of earlier runs.
        """
        for name, text in used.items():
            is_negative = parse_amount(text) < 0
            if name not in BUDGETS or (is_negative and name not in LOSSES_OVER_RUNS):
                raise InvariantError(
                    "risk",
                    INVARIANT_BROKEN,
                    f"budgets_used {name} {text}: expected one of {', '.join(BUDGETS)},"
                    f" and only {' or '.join(LOSSES_OVER_RUNS)} negative",
                )
        self._carry(used)
        self._opening_day = self._day = now // DAY_MS
        self._night_from = now
        if self.limits.night_ms:
            self._night_ends = now + self.limits.night_ms
        self._night_base = self._day_base = self.high_water_mark = self.equity = equity
        self._week_base = equity
        if self.account.is_on:
            self.account.open(equity, 0)
        self._recompute()

    def _carry(self, used: Mapping[str, str]) -> None:
        """Take over the amounts that earlier runs used; a budget not named starts at 0."""
        amounts = [parse_amount(used.get(name, "0")) for name in BUDGETS]
        self._night_notional_used, self._day_notional_used = amounts[0], amounts[1]
        self._night_loss_used, self._day_loss_used = amounts[2], amounts[3]
        self._week_notional_used, self._week_loss_used = amounts[4], amounts[5]

    def _recompute(self) -> None:
        """Recompute used notional and levels after a base or an amount of earlier runs changed."""
        is_opening_day = self._day == self._opening_day
        self.night_notional = self._night_notional_used + self._night_bought
        self.day_notional = self._day_bought
        self.night_level = self._night_loss_used + self._night_base
        self.day_level = self._day_base
        if is_opening_day:
            self.day_notional += self._day_notional_used
            self.day_level += self._day_loss_used
        self.week_notional = self._week_bought
        self.week_level = self._week_base
        if week_of(self._day) == week_of(self._opening_day):
            self.week_notional += self._week_notional_used
            self.week_level += self._week_loss_used
        self._is_floor_known = False

    def roll(self, now: int) -> None:
        """Start a new day at midnight UTC of market time, a week on Monday, a night after its end.

        Used amounts of earlier runs end with the day, week or night in which this run began.

        Args:
            now: At or after `midnight`.
        """
        day = now // DAY_MS
        self.midnight = (day + 1) * DAY_MS
        if self._night_ends is not None:
            if now >= self._night_ends:
                self._begin_night(self._night_ends, now)
            self.midnight = min(self.midnight, self._night_ends)
        if day > self._day:
            if week_of(day) > week_of(self._day):
                self._week_base = self.equity
                self._week_bought_before += self._week_bought
                self._week_bought = 0
            self._day = day
            self._day_base = self.equity
            self._day_bought = 0
            self._recompute()

    def _begin_night(self, ended: int, now: int) -> None:
        """Start a night with nothing used, as a run that follows another one does."""
        length = self.limits.night_ms
        self._night_ends = ended + ((now - ended) // length + 1) * length
        self._night_from = self._night_ends - length
        self._night_notional_used = self._night_loss_used = 0
        self._bought_before += self._night_bought
        self._night_bought = 0
        self._night_base = self.high_water_mark = self.equity
        self._recompute()

    def _rebase(self, difference: int, moved: int) -> None:
        """Move all bases when the first price of a carried lot differs from its cost.

        The part `moved` since the run before stays a gain or loss of day and week.
        """
        self._night_base += difference
        self._day_base += difference - moved
        self._week_base += difference - moved
        self.high_water_mark += difference
        if self.account.is_on:
            self.account.rebase(difference)
        self._recompute()

    def on_bought(self, portfolio: Portfolio) -> None:
        """Update the used notional from the portfolio, which has booked a purchase.

        A fill of yesterday that is read today counts in the night and the present week, but not
        in the present day.
        """
        night = portfolio.bought - self._bought_before
        day = portfolio.day(self._day).entry_notional
        self.night_notional += night - self._night_bought
        self.day_notional += day - self._day_bought
        self._night_bought = night
        self._day_bought = day
        week = portfolio.bought - self._week_bought_before
        self.week_notional += week - self._week_bought
        self._week_bought = week
        if self._is_spent():
            self._is_floor_known = False

    def on_equity(
        self, equity: int, unpriced: int, rebased: int = 0, moved: int = 0
    ) -> Checklist | None:
        """Take a new equity; return a failed check for every hard limit exceeded, or None.

        Args:
            equity: Cash plus positions at their last prices.
            unpriced: Value that carried lots without a price would add, as in `Positions`.
            rebased: Value less cost of a carried lot that got its first price now: all bases move
                by it, so that it is no loss of this run.
            moved: The part of it since the run before, which day and week count.
        """
        if rebased or moved:
            self._rebase(rebased, moved)
        self.equity = equity
        account = self.account
        if account.is_carried and unpriced != account.unpriced:
            account.set_unpriced(unpriced)
        if account.is_on and not account.low <= equity <= account.high:
            account.on_equity(equity)
            self._is_floor_known = False
        if equity > self.high_water_mark:
            self.high_water_mark = equity
            self._is_floor_known = False
        if self._is_floor_known and equity >= self._floor:
            return None
        return self._breaches()

    def on_order(self, now: int, recent: int) -> None:
        """Count an order sent now; keep the last `recent` before it, the number from `orders`."""
        times = self._order_times
        over = len(times) - recent
        if over:
            del times[:over]
        times.append(now)

    # --- values -------------------------------------------------------------------------------

    def orders(self, now: int) -> int:
        """Return how many orders were sent less than a minute of market time ago."""
        over, since = 0, now - MINUTE_MS
        for ts in self._order_times:  # In rising order.
            if ts > since:
                break
            over += 1
        return len(self._order_times) - over

    def paced(self, now: int) -> int:
        """Return the notional that the night's pace allows by now, rounded down.

        It is `night_notional_soft` x min(1, head start + elapsed / planned time of the night); the
        head start is `night_notional_pace`. With 10 percent, a tenth may be used at once, and all
        of it after nine tenths of the night.
        """
        limits = self.limits
        planned, soft = limits.pace_ms, limits.night_notional.entry_max
        elapsed = now - self._night_from
        share, whole = limits.pace_percent * planned + 100 * elapsed, 100 * planned
        return mul_div_down(soft, share, whole) if share < whole else soft

    def _breaches(self) -> Checklist | None:
        """Return a failed check for every limit whose hard value is exceeded; None for none."""
        self._floor = self._equity_floor()
        self._is_floor_known = not self._is_spent()
        if self._is_floor_known and self.equity >= self._floor:
            return None
        return exceeded(self.hard_rows())

    def hard_rows(self) -> tuple[Row, ...]:
        """Return the hard limits on notional, loss and drawdown; any failure is a STOP."""
        limits, equity, account = self.limits, self.equity, self.account
        fallen = account.drawdown(equity) if account.is_on else SKIPPED
        week, week_loss, whole = limits.week_notional, limits.week_loss, limits.account_drawdown
        night, day = limits.night_notional, limits.day_notional
        night_loss, day_loss, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
        lost = self.week_level - equity
        return (
            (night.hard_gate, self.night_notional, night.hard),
            (day.hard_gate, self.day_notional, day.hard),
            (night_loss.hard_gate, self.night_level - equity, night_loss.hard),
            (day_loss.hard_gate, self.day_level - equity, day_loss.hard),
            (drawdown.hard_gate, drawdown_of(self.high_water_mark, equity), drawdown.hard),
            (week.hard_gate, week.hard_value(self.week_notional), week.hard),
            (week_loss.hard_gate, week_loss.hard_value(lost), week_loss.hard),
            (whole.hard_gate, fallen, whole.hard),
        )

    def _is_spent(self) -> bool:
        """Return whether the notional of night, day or week exceeds its hard value."""
        limits = self.limits
        return (
            self.night_notional > limits.night_notional.hard
            or self.day_notional > limits.day_notional.hard
            or self.week_notional > limits.week_notional.hard
        )

    def _equity_floor(self) -> int:
        """Return the lowest equity at which neither loss nor drawdown exceeds its hard value."""
        limits, high = self.limits, self.high_water_mark
        night = self.night_level - limits.night_loss.hard
        day = self.day_level - limits.day_loss.hard
        week = self.week_level - limits.week_loss.hard
        drawdown = high - mul_div_down(high, limits.drawdown.hard, WHOLE) if high > 0 else night
        floor = max(night, day, week, drawdown)
        if limits.account_drawdown.is_on:
            mark = self.account.high_water_mark
            account = mark - mul_div_down(mark, limits.account_drawdown.hard, WHOLE)
            floor = max(floor, account - self.account.unpriced)
        return floor

    def bound(self, rest: int, qty: int, quiet: QuietRange) -> bool:
        """Bound bid plus ask so that equity breaks no hard limit and sets no high-water mark.

        Args:
            rest: Equity without the position.
            qty: Quantity of the position, above zero.
            quiet: The range to narrow, which ends at `midnight` at the latest.

        Returns:
            Whether the bounds are known.
        """
        if not self._is_floor_known:
            return False
        # Equity is rest + qty x mid // UNIT, which is rising; a mid is (bid + ask) // 2.
        high, floor = self.high_water_mark, self._floor
        if self.account.is_on:
            high, floor = min(high, self.account.high), max(floor, self.account.low)
            if not floor <= self.equity <= high:
                return False
        most = 2 * mul_div_up(high - rest + 1, UNIT, qty) - 1
        quiet.least = 2 * mul_div_up(floor - rest, UNIT, qty) if floor > rest else 0
        quiet.most = most if most < NO_BOUND else NO_BOUND
        return True

    def room(self) -> tuple[int, int]:
        """Return how far equity may fall and rise before a hard limit or high-water mark is passed.

        Both are negative if that is unknown.
        """
        high, floor = self.high_water_mark, self._floor
        if self.account.is_on:
            high, floor = min(high, self.account.high), max(floor, self.account.low)
        if not self._is_floor_known or not floor <= self.equity <= high:
            return -1, -1
        return self.equity - floor, high - self.equity

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        nights: JsonObject = {}
        if self._night_ends is not None:
            bought = amount_text(self._bought_before)
            nights = {"night_ends": self._night_ends, "bought_before": bought}
        if self.limits.pace_percent:
            nights["night_from"] = self._night_from
        if self.limits.week_notional.is_on or self.limits.week_loss.is_on:
            nights["week"] = {
                "notional_used": amount_text(self._week_notional_used),
                "loss_used": amount_text(self._week_loss_used),
                "base": amount_text(self._week_base),
                "bought": amount_text(self._week_bought),
                "bought_before": amount_text(self._week_bought_before),
            }
        if self.account.is_on:
            nights["account"] = self.account.state()
        return {
            **nights,
            "used": {
                "night_notional": amount_text(self._night_notional_used),
                "day_notional": amount_text(self._day_notional_used),
                "night_loss": amount_text(self._night_loss_used),
                "day_loss": amount_text(self._day_loss_used),
            },
            "opening_day": self._opening_day,
            "day": self._day,
            "night_base": amount_text(self._night_base),
            "day_base": amount_text(self._day_base),
            "high_water_mark": amount_text(self.high_water_mark),
            "equity": amount_text(self.equity),
            "night_notional": amount_text(self._night_bought),
            "day_notional": amount_text(self._day_bought),
            "order_times": list(self._order_times),
        }

    @staticmethod
    def from_state(limits: Limits, state: Mapping[str, Any]) -> Budgets:
        """Return the budgets of `state`."""
        budgets = Budgets(limits)
        budgets._carry(state["used"])
        budgets._night_ends = state.get("night_ends")
        budgets._night_from = state.get("night_from", 0)
        budgets._bought_before = parse_amount(state.get("bought_before", "0"))
        budgets._opening_day = state["opening_day"]
        budgets._day = state["day"]
        budgets._night_base = parse_amount(state["night_base"])
        budgets._day_base = parse_amount(state["day_base"])
        budgets.high_water_mark = parse_amount(state["high_water_mark"])
        budgets.equity = parse_amount(state["equity"])
        budgets._night_bought = parse_amount(state["night_notional"])
        budgets._day_bought = parse_amount(state["day_notional"])
        budgets._order_times = list(state["order_times"])
        week = state.get("week")
        if week is not None:
            budgets._week_notional_used = parse_amount(week["notional_used"])
            budgets._week_loss_used = parse_amount(week["loss_used"])
            budgets._week_base = parse_amount(week["base"])
            budgets._week_bought = parse_amount(week["bought"])
            budgets._week_bought_before = parse_amount(week["bought_before"])
        if budgets.account.is_on:
            budgets.account.restore(state["account"])
        budgets._recompute()
        return budgets


def week_of(day: int) -> int:
    """Return the week of a UTC day, from Monday; both counted from 1970-01-01, a Thursday."""
    return (day + 3) // 7


def drawdown_of(high_water_mark: int, equity: int) -> int:
    """Return how far equity is below its high-water mark, in 10**-4 bps, rounded up."""
    if high_water_mark <= 0:
        return 0
    return mul_div_up(high_water_mark - equity, WHOLE, high_water_mark)
