"""Account: its drawdown over carried runs, and the tier that follows from it.

The drawdown limit of a night counts from the night's own high-water mark; tiers count from the
account's, which a run that carries it only raises. ACTIVE leaves entries their size, REDUCING cuts
them to a share of it, HALTED refuses them; exits are always allowed. A tier begins above its first
bound and ends at or below its second, lower one; the distance between them keeps the state from
switching to and fro. If the drawdown passes several tiers at once, the last of them applies.
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
from minibot.risk.checks import SKIPPED
from minibot.risk.limits import DRAWDOWN_PLACES, OF_ACCOUNT_DRAWDOWN, UNBOUNDED, Limits

ACTIVE: Final = "ACTIVE"
WHOLE: Final[int] = BPS * 10**DRAWDOWN_PLACES
UNIT: Final[int] = 10**DRAWDOWN_PLACES


class Tier(NamedTuple):
    """Tier: a state, its bounds, and the share of an entry's size that it allows.

    It begins above the drawdown `begins` and ends at or below `ends`; both in ten-thousandths of a
    basis point.
    """

    state: str
    begins: int
    ends: int
    entry_percent: int


def tiers_of(sections: tuple[DrawdownTierSection, ...]) -> tuple[Tier, ...]:
    """Return the tiers of the profile, in order of drawdown; the first is ACTIVE."""
    rows = [Tier(ACTIVE, -1, -1, 100)]
    for tier in sections:
        share = 0 if tier.state == HALTED_TIER else tier.entry_percent or 0
        rows.append(Tier(tier.state, tier.drawdown_bps * UNIT, tier.back_bps * UNIT, share))
    return tuple(rows)


def tier_at(tiers: tuple[Tier, ...], tier: int, drawdown: int) -> int:
    """Return the index of the tier at a drawdown; `tier` is the index before."""
    while tier + 1 < len(tiers) and drawdown > tiers[tier + 1].begins:
        tier += 1
    while tier and drawdown <= tiers[tier].ends:
        tier -= 1
    return tier


@final
class Account:
    """High-water mark and tier of the account; amounts in hundred-millionths.

    Attributes:
        is_on: Whether the profile has tiers, or a hard limit on the drawdown of the account.
        tiers: All tiers, as `tiers_of` returns them.
        high_water_mark: The highest equity of all carried runs.
        tier: Index of the present tier.
        is_carried: Whether the high-water mark came from an earlier run.
        unpriced: Value that carried lots without a price yet would add to equity at the last prices
            of the run before; it counts only against a carried high-water mark.
        hard: The hard limit on drawdown; `UNBOUNDED` for none.
        low, high: Within these equities, both included, high-water mark and tier stay as they are
            and the hard limit is kept.
    """

    __slots__ = (
        *("hard", "high", "high_water_mark", "is_carried", "is_on", "low", "tier", "tiers"),
        "unpriced",
    )

    def __init__(self, limits: Limits) -> None:
        """Start without a high-water mark."""
        self.tiers: tuple[Tier, ...] = tiers_of(limits.drawdown_tiers)
        self.hard: int = limits.account_drawdown.hard
        self.is_on: bool = len(self.tiers) > 1 or self.hard < UNBOUNDED
        self.high_water_mark: int = 0
        self.tier: int = 0
        self.is_carried: bool = False
        self.unpriced: int = 0
        self.low: int = 0
        self.high: int = 0

    @property
    def state_name(self) -> str:
        """The state of the present tier."""
        return self.tiers[self.tier].state

    def open(self, high_water_mark: int, tier: int) -> None:
        """Set the high-water mark and the index of the tier, and compute the bounds."""
        self.high_water_mark, self.tier = high_water_mark, tier
        self._bound()

    def carry(self, carried: Mapping[str, Any]) -> None:
        """Take over the high-water mark and the tier of the run before.

        If this profile has fewer tiers, its deepest one applies until the first equity.

        Raises:
            InvariantError: The high-water mark is not above zero.
        """
        mark = parse_amount(carried["high_water_mark"])
        if mark <= 0:
            detail = f"run_opening: high_water_mark {carried['high_water_mark']}, expected above 0"
            raise InvariantError("risk", INVARIANT_BROKEN, detail)
        self.is_carried = True
        self.open(mark, min(carried["tier"], len(self.tiers) - 1))

    def rebase(self, difference: int) -> None:
        """Move the high-water mark when a carried lot gets its first price in this run.

        A carried high-water mark stays: it is an equity of an earlier run at that run's prices.
        """
        if not self.is_carried:
            self.open(self.high_water_mark + difference, self.tier)

    def set_unpriced(self, unpriced: int) -> None:
        """Set `unpriced`; a mark that is not carried moves with these lots instead."""
        if self.is_carried:
            self.unpriced = unpriced
            self._bound()

    def on_equity(self, equity: int) -> None:
        """Take the present equity, which may raise the high-water mark and change the tier."""
        if self.low <= equity <= self.high:
            return
        self.high_water_mark = max(self.high_water_mark, equity + self.unpriced)
        self.tier = tier_at(self.tiers, self.tier, self.drawdown(equity))
        self._bound()

    def drawdown(self, equity: int) -> int:
        """Return how far equity is below the high-water mark, in 10**-4 bps, rounded up."""
        equity += self.unpriced
        if self.high_water_mark <= 0 or equity >= self.high_water_mark:
            return 0
        return -((equity - self.high_water_mark) * WHOLE // self.high_water_mark)

    def halting(self) -> int:
        """Return the drawdown above which no entry is allowed now; `UNBOUNDED` for none.

        Without a HALTED tier it is the hard limit; a carried account may begin a run beyond it.
        """
        row = self.tiers[self.tier]
        if row.state == HALTED_TIER:
            return row.ends
        for tier in self.tiers:
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

        It is `SKIPPED` while only the hard limit stands and the drawdown is within it.
        """
        fallen, most = self.drawdown(equity), self.halting()
        return SKIPPED if most == self.hard and fallen <= most else fallen

    @property
    def entry_percent(self) -> int:
        """Percentage of an entry's amount that the present tier allows."""
        return self.tiers[self.tier].entry_percent

    def _bound(self) -> None:
        """Compute `low` and `high`."""
        mark, tier, tiers = self.high_water_mark, self.tier, self.tiers
        self.high = mark
        worst = self.hard
        if tier:
            back = mark - _share(mark, tiers[tier].ends)
            self.high = min(mark, back - 1)
        if tier + 1 < len(tiers):
            worst = min(worst, tiers[tier + 1].begins)
        self.high -= self.unpriced
        self.low = 0 if worst == UNBOUNDED else mark - _share(mark, worst) - self.unpriced

    # --- as text --------------------------------------------------------------------------------

    def texts(self, equity: int) -> JsonObject:
        """Return high-water mark and drawdown for health and screen; empty if neither is limited.

        Both count over carried runs: the night's own drawdown may be much smaller.
        """
        if not self.is_on:
            return {}
        return {
            "account_high_water_mark": amount_text(self.high_water_mark),
            "account_drawdown_bps": format_fixed(self.drawdown(equity), DRAWDOWN_PLACES),
        }

    def left_texts(self, equity: int) -> dict[str, str]:
        """Return headroom by the limit's name, as health and screen show it.

        Recorded actions leave it out, so that older runs replay unchanged.
        """
        left = self.left(equity)
        if left == UNBOUNDED:
            return {}
        return {OF_ACCOUNT_DRAWDOWN.name: format_fixed(left, DRAWDOWN_PLACES)}

    def state(self) -> JsonObject:
        """Return high-water mark and tier as canonical JSON values."""
        carried: JsonObject = {"is_carried": True} if self.is_carried else {}
        return {"mark": amount_text(self.high_water_mark), "place": self.tier, **carried}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.is_carried = state.get("is_carried", False)
        self.open(parse_amount(state["mark"]), state["place"])


def _share(mark: int, drawdown: int) -> int:
    """Return a drawdown as an amount of its high-water mark, rounded down."""
    return mul_div_down(mark, drawdown, WHOLE)
