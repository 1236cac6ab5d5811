"""Account: equity against its high-water mark over carried runs, and the state that follows.

The drawdown limit of a night counts from the night's own mark; tiers count from the account's,
which no run lowers. In ACTIVE entries keep their size, in REDUCING they are cut to a share of it,
in HALTED they are refused; exits are never held back. The tiers are one table, a row each, from
ACTIVE down. A row begins once the drawdown is above its first bound and ends once it is at most its
second, lower one, so that no state flutters. Where drawdown falls or rises past several rows at
once, the last of them holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final

from minibot.cores.core_profile import HALTED_TIER, DrawdownTierSection
from minibot.events.decimals import format_fixed, mul_div_down
from minibot.events.model import JsonObject
from minibot.events.money import amount_text, parse_amount
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import InvariantError
from minibot.risk.checks import NOT_ASKED
from minibot.risk.limits import DRAWDOWN_PLACES, OF_ACCOUNT_DRAWDOWN, UNBOUNDED, Limits

ACTIVE: Final = "ACTIVE"
WHOLE: Final[int] = BPS * 10**DRAWDOWN_PLACES
UNIT: Final[int] = 10**DRAWDOWN_PLACES


class Tier(NamedTuple):
    """Row of the table: a state, its bounds, and the share of an entry's amount that may enter.

    It holds once drawdown is above `begins`, until drawdown is at most `ends`; both in
    ten-thousandths of a basis point.
    """

    state: str
    begins: int
    ends: int
    entry_percent: int


def table_of(sections: tuple[DrawdownTierSection, ...]) -> tuple[Tier, ...]:
    """Return the table of the profile's tiers; its first row is ACTIVE."""
    rows = [Tier(ACTIVE, -1, -1, 100)]
    for tier in sections:
        share = 0 if tier.state == HALTED_TIER else tier.entry_percent or 0
        rows.append(Tier(tier.state, tier.drawdown_bps * UNIT, tier.back_bps * UNIT, share))
    return tuple(rows)


def tier_at(table: tuple[Tier, ...], place: int, drawdown: int) -> int:
    """Return the index of the row that holds at a drawdown, if `place` held before."""
    while place + 1 < len(table) and drawdown > table[place + 1].begins:
        place += 1
    while place and drawdown <= table[place].ends:
        place -= 1
    return place


@final
class Account:
    """High-water mark and tier of the account; amounts in hundred-millionths.

    Attributes:
        is_on: Whether the profile has tiers, or a hard limit on the drawdown of the account.
        table: The rows of `table_of`.
        mark: The highest equity of all carried runs.
        place: The index of the row that holds.
        is_carried: Whether the mark came from an earlier run.
        unseen: The worth less the value in equity of carried lots that wait for their first price,
            at the last prices of the run before; a carried mark alone counts it.
        hard: The hard limit on drawdown; `UNBOUNDED` for none.
        low, high: Between these equities, both included, mark and tier stay and the hard limit
            holds.
    """

    __slots__ = (
        *("hard", "high", "is_carried", "is_on", "low", "mark", "place", "table", "unseen"),
    )

    def __init__(self, limits: Limits) -> None:
        """Start without a mark."""
        self.table: tuple[Tier, ...] = table_of(limits.drawdown_tiers)
        self.hard: int = limits.account_drawdown.hard
        self.is_on: bool = len(self.table) > 1 or self.hard < UNBOUNDED
        self.mark: int = 0
        self.place: int = 0
        self.is_carried: bool = False
        self.unseen: int = 0
        self.low: int = 0
        self.high: int = 0

    @property
    def state_name(self) -> str:
        """The state of the tier that holds."""
        return self.table[self.place].state

    def open(self, mark: int, place: int) -> None:
        """Set the high-water mark and the index of the row that holds, and find the bounds."""
        self.mark, self.place = mark, place
        self._bound()

    def carry(self, carried: Mapping[str, Any]) -> None:
        """Take over the mark and the tier that the last run left.

        Where this profile has fewer tiers than the carried index, its deepest one holds until the
        first equity.

        Raises:
            InvariantError: The mark is not above zero.
        """
        mark = parse_amount(carried["high_water_mark"])
        if mark <= 0:
            detail = f"run_opening: high_water_mark {carried['high_water_mark']}, expected above 0"
            raise InvariantError("risk", INVARIANT_BROKEN, detail)
        self.is_carried = True
        self.open(mark, min(carried["tier"], len(self.table) - 1))

    def rebase(self, difference: int) -> None:
        """Move the high-water mark, as a carried lot met its first price in this run.

        A carried mark stays: it is an equity of an earlier run, at the prices of then.
        """
        if not self.is_carried:
            self.open(self.mark + difference, self.place)

    def value_unseen(self, unseen: int) -> None:
        """Take the `unseen` of now; a mark that is not carried moves with these lots instead."""
        if self.is_carried:
            self.unseen = unseen
            self._bound()

    def on_equity(self, equity: int) -> None:
        """Take the equity of now, which may raise the mark and change the tier."""
        if self.low <= equity <= self.high:
            return
        if equity + self.unseen > self.mark:
            self.mark = equity + self.unseen
        self.place = tier_at(self.table, self.place, self.drawdown(equity))
        self._bound()

    def drawdown(self, equity: int) -> int:
        """Return how far equity is below the mark, in 10**-4 bps, rounded up."""
        equity += self.unseen
        if self.mark <= 0 or equity >= self.mark:
            return 0
        return -((equity - self.mark) * WHOLE // self.mark)

    def halting(self) -> int:
        """Return the drawdown above which no entry is allowed now; `UNBOUNDED` for none.

        Without a HALTED tier it is the hard limit, beyond which a carried account may begin a run.
        """
        row = self.table[self.place]
        if row.state == HALTED_TIER:
            return row.ends
        for tier in self.table:
            if tier.state == HALTED_TIER:
                return tier.begins
        return self.hard

    def left(self, equity: int) -> int:
        """Return how much further drawdown may rise before entries are refused or the run ends.

        In 10**-4 bps, negative where it has risen further; `UNBOUNDED` where nothing limits it.
        """
        most = self.halting()
        return UNBOUNDED if most == UNBOUNDED else most - self.drawdown(equity)

    def entry_drawdown(self, equity: int) -> int:
        """Return the drawdown that an entry's check compares.

        Within a hard limit that no HALTED tier stands before it is `NOT_ASKED`.
        """
        fallen, most = self.drawdown(equity), self.halting()
        return NOT_ASKED if most == self.hard and fallen <= most else fallen

    @property
    def entry_percent(self) -> int:
        """Share of an entry's amount that may enter now, in percent."""
        return self.table[self.place].entry_percent

    def _bound(self) -> None:
        """Find `low` and `high`."""
        mark, place, table = self.mark, self.place, self.table
        self.high = mark
        worst = self.hard
        if place:
            back = mark - _share(mark, table[place].ends)
            self.high = min(mark, back - 1)
        if place + 1 < len(table):
            worst = min(worst, table[place + 1].begins)
        self.high -= self.unseen
        self.low = 0 if worst == UNBOUNDED else mark - _share(mark, worst) - self.unseen

    # --- as text --------------------------------------------------------------------------------

    def texts(self, equity: int) -> JsonObject:
        """Return mark and drawdown for health and screen; empty in a profile that limits neither.

        Both count over carried runs: the night's own drawdown may be small beside them.
        """
        if not self.is_on:
            return {}
        return {
            "account_high_water_mark": amount_text(self.mark),
            "account_drawdown_bps": format_fixed(self.drawdown(equity), DRAWDOWN_PLACES),
        }

    def left_texts(self, equity: int) -> dict[str, str]:
        """Return headroom by the limit's name, as health and screen show it.

        The headroom of recorded actions has no such room, so that runs of before stay the same.
        """
        left = self.left(equity)
        if left == UNBOUNDED:
            return {}
        return {OF_ACCOUNT_DRAWDOWN.name: format_fixed(left, DRAWDOWN_PLACES)}

    def state(self) -> JsonObject:
        """Return mark and tier as canonical JSON values."""
        carried: JsonObject = {"is_carried": True} if self.is_carried else {}
        return {"mark": amount_text(self.mark), "place": self.place, **carried}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.is_carried = state.get("is_carried", False)
        self.open(parse_amount(state["mark"]), state["place"])


def _share(mark: int, drawdown: int) -> int:
    """Return a drawdown as an amount of its mark, rounded down; 0 without a mark."""
    return mul_div_down(mark, drawdown, WHOLE) if mark > 0 else 0
