"""Campaign: the entries and exits of a symbol from flat to flat, with one worst loss for all.

It begins with an allowed entry while no position and no open order exists, and ends when that is so
again; dust is no position. The number of entries and the worst loss at the stop are fixed at the
first entry. Each entry that risk allows counts, even one that buys nothing. The first entry may use
an equal share of the worst loss; a later one may use all that is left, so that averaging down adds
no risk.

Amounts are hundred-millionths. Losses are computed with the taker's fees, a purchase at the ask of
its decision and a sale at the stop. A worse fill, or a gap through the stop, loses more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final

from minibot.accounting.order_rules import Bounds
from minibot.cores.core_profile import CAMPAIGN, DE_RISK, HOLD, LEAVE, CoreProfile
from minibot.cores.event_id import EventId, named
from minibot.cores.messages import FillMessage
from minibot.events.decimals import mul_div_down
from minibot.events.model import BUY, JsonObject
from minibot.events.money import (
    PLACES,
    RATE_UNIT,
    UNIT,
    amount_text,
    cost_up,
    fee_up,
    parse_amount,
    parse_rate,
    proceeds_down,
)
from minibot.events.reasons import (
    CAMPAIGN_COOLDOWN,
    CAMPAIGN_FULL,
    CAMPAIGN_RESERVE,
    RECOVERY_HOLD,
    RECOVERY_PART,
)
from minibot.risk.checks import ABOVE, AT_LEAST, BELOW, SKIPPED, Gate, Row
from minibot.risk.distances import SHARE_UNIT, share_distance
from minibot.risk.ladder import WHOLE_PERCENT, is_too_small

ALL: Final = -1
"""Value of `Campaign.keep` while no part is to be sold."""

NO_LEVEL: Final = 0
"""The price of a recovery row that does not exist: every bid is above it."""

ROUNDED: Final = 4
"""The most by which rounding raises a loss, in hundred-millionths: cost, proceeds and both fees are
each rounded once."""

ENTRIES: Final = Gate("campaign_entries", CAMPAIGN_FULL)
ENTRY_WAIT: Final = Gate("campaign_wait_ms", CAMPAIGN_COOLDOWN, passes=AT_LEAST)
AT_RISK: Final = Gate("campaign_at_risk", CAMPAIGN_RESERVE, PLACES, passes=BELOW)
RECOVERY_PRICE: Final = Gate("recovery_price", RECOVERY_HOLD, PLACES, passes=ABOVE)
# A limit that makes the order smaller, and the check of the loss that remains.
CAMPAIGN_NOTIONAL: Final = Gate("campaign_notional", places=PLACES, cuts=CAMPAIGN_RESERVE)
CAMPAIGN_LOSS: Final = Gate("campaign_loss_at_stop", CAMPAIGN_RESERVE, PLACES)
# A failure reduces the position.
RECOVERY_QTY: Final = Gate("recovery_qty", RECOVERY_PART, PLACES)


class RecoveryRow(NamedTuple):
    """Row of `risk.recovery`: a loss in ten-thousandths of a basis point, and the choice at it."""

    share: int
    choice: str


@final
class CampaignRules:
    """The campaign of the profile.

    Attributes:
        is_on: Whether the exit policy is a campaign.
        entries_max: Most entries of one campaign.
        loss_max: The worst loss of one campaign.
        wait_ms: Least time between two entries of a campaign; 0 for none.
        rows: The choices by loss from the average entry; losses rise.
        part_percent: Share of the position that a de-risk sells.
        hard_share: Distance of the hard stop, as in `PlanRules`.
        fee: The taker's rate.
    """

    __slots__ = (
        "entries_max",
        "fee",
        "hard_share",
        "is_on",
        "loss_max",
        "part_percent",
        "rows",
        "wait_ms",
    )

    def __init__(self, profile: CoreProfile) -> None:
        risk = profile.risk
        self.is_on: bool = risk.exit_policy == CAMPAIGN
        self.entries_max: int = risk.campaign_entries_max or 1
        self.loss_max: int = parse_amount(risk.campaign_loss_max or "0")
        self.wait_ms: int = risk.campaign_entry_wait_market_ms or 0
        self.rows: list[RecoveryRow] = [
            RecoveryRow(parse_rate(bps), choice) for bps, choice in risk.recovery or ()
        ]
        self.part_percent: int = risk.recovery_part_percent or 0
        self.hard_share: int = parse_rate(risk.hard_stop_bps or "0")
        self.fee: int = parse_rate(profile.execution.taker_fee_bps)

    def level(self, place: int, entry: int, step: int) -> int:
        """Return the bid at or below which a row is reached, in whole price steps.

        Args:
            place: Index of the row; past the last row the level is `NO_LEVEL`.
            entry: The average entry price.
            step: The venue's price step.
        """
        if place >= len(self.rows):
            return NO_LEVEL
        return entry * (SHARE_UNIT - self.rows[place].share) // SHARE_UNIT // step * step

    def held_below(self, entry: int, step: int) -> int:
        """Return the bid at or below which no entry is allowed: the level of the first HOLD row."""
        for place, row in enumerate(self.rows):
            if row.choice == HOLD:
                return self.level(place, entry, step)
        return NO_LEVEL


@final
class Campaign:
    """The campaign of a symbol.

    Attributes:
        ref: Its id, the event id of the action that allowed its first entry; None without a
            campaign. A position that neither an entry of this run nor a carried campaign opened
            has an id of its own.
        entries, entries_max: Entries so far, and the most that are allowed.
        loss_max: Its worst loss.
        entered_ts: Market time of the last entry.
        spent, received: Cost of purchases and proceeds of sales so far, with fees.
        qty: Quantity bought and still held, without the dust of a former position.
        stop: The stop by which its last entry was sized; 0 if nothing was held then, as the fill
            sets the stop.
        row: Most rows of `risk.recovery` reached so far.
        keep: The quantity to which a de-risk reduces the position; `ALL` while none does.
    """

    __slots__ = (
        "entered_ts",
        "entries",
        "entries_max",
        "keep",
        "loss_max",
        "qty",
        "received",
        "ref",
        "row",
        "spent",
        "stop",
    )

    def __init__(self) -> None:
        """Start without a campaign."""
        self.end()

    def end(self) -> None:
        """Forget everything: neither a position nor an open order is left."""
        self.ref: EventId | None = None
        self.entries: int = 0
        self.entries_max: int = 0
        self.loss_max: int = 0
        self.entered_ts: int = 0
        self.spent: int = 0
        self.received: int = 0
        self.qty: int = 0
        self.stop: int = 0
        self.row: int = 0
        self.keep: int = ALL

    @property
    def is_open(self) -> bool:
        """True from the first allowed entry to the end."""
        return self.ref is not None

    @property
    def is_reducing(self) -> bool:
        """True while a de-risk still has a quantity to sell."""
        return self.keep != ALL

    def begin(self, ref: EventId, rules: CampaignRules) -> None:
        """Begin, and fix the number of entries and the worst loss."""
        self.end()
        self.ref = ref
        self.entries_max, self.loss_max = rules.entries_max, rules.loss_max

    def enter(self, now: int, stop: int) -> None:
        """Count an allowed entry, and keep the stop that sized it; 0 if its fill sets the stop."""
        self.entries += 1
        self.entered_ts, self.stop = now, stop

    def adopt(self, ref: EventId, rules: CampaignRules, qty: int, cost: int, now: int) -> None:
        """Begin with a position that no campaign opened; its purchase counts as the first entry.

        Args:
            ref: The id of the campaign.
            rules: The campaign of the profile.
            qty: Quantity held.
            cost: Its cost without fees.
            now: Market time.
        """
        self.begin(ref, rules)
        self.enter(now, 0)
        self.add(rules, qty, cost)

    def add(self, rules: CampaignRules, qty: int, cost: int) -> None:
        """Add coins bought before this run, and their cost without fees."""
        self.qty += qty
        self.spent += cost + fee_up(cost, rules.fee)
        if self.keep != ALL:
            self.keep += qty

    def on_fill(self, fill: FillMessage) -> None:
        """Take a fill of the symbol; the part of a sale beyond `qty` is dust and does not count."""
        qty, fee = fill.qty, 0 if fill.pays_in_base else fill.fee
        if fill.side == BUY:
            got = qty - fill.fee if fill.pays_in_base else qty
            self.qty += got
            self.spent += cost_up(qty, fill.price) + fee
            if self.keep != ALL:
                self.keep += got
            return
        own = qty if qty < self.qty else self.qty
        self.qty -= own
        self.received += mul_div_down(proceeds_down(qty, fill.price) - fee, own, qty)

    def keep_all(self) -> None:
        """End a de-risk: nothing is held."""
        self.keep = ALL

    def on_held(self, qty: int) -> None:
        """Take the quantity held after a fill; a de-risk ends at `keep` or less."""
        if qty <= self.keep:
            self.keep = ALL

    def at_risk(self, stop: int, fee: int) -> int:
        """Return the loss of the whole campaign, with fees, if its coins are sold at a stop.

        It includes the gains and losses of its sales so far; a gain is negative.
        """
        proceeds = proceeds_down(self.qty, stop)
        return self.spent - self.received - proceeds + fee_up(proceeds, fee)

    def reached(self, rules: CampaignRules, entry: int, step: int, bid: int) -> int:
        """Return the number of rows reached at this bid or earlier."""
        place = self.row
        while place < len(rules.rows) and bid <= rules.level(place, entry, step):
            place += 1
        return place

    def next_level(self, rules: CampaignRules, entry: int, step: int) -> int:
        """Return the bid at which the next row is reached; `NO_LEVEL` without one."""
        return rules.level(self.row, entry, step)

    def leaves(self, rules: CampaignRules) -> bool:
        """Return whether the deepest row reached closes the position."""
        rows = rules.rows[: self.row]
        return bool(rows) and rows[-1].choice == LEAVE

    def reach(
        self, rules: CampaignRules, row: int, qty: int, bounds: Bounds, price: int, stop: int
    ) -> str:
        """Apply the deepest row that is reached now; return its choice.

        Args:
            rules: The campaign of the profile.
            row: Number of rows reached.
            qty: Quantity held.
            bounds: The venue's bounds on an order at the market.
            price: The price at which the venue values a sale.
            stop: The hard stop; the quantity kept must still be large enough to sell there.
        """
        self.row = row
        choice = rules.rows[row - 1].choice
        if choice == DE_RISK:
            self.keep = qty - part_of(qty, rules.part_percent, bounds, price, stop)
        return choice

    # --- as text ------------------------------------------------------------------------------

    def carried(self) -> JsonObject:
        """Return the campaign for the next run, without its id."""
        kept: JsonObject = {} if self.keep == ALL else {"keep_qty": amount_text(self.keep)}
        stop: JsonObject = {"stop": amount_text(self.stop)} if self.stop else {}
        return {
            "entries": self.entries,
            "entries_max": self.entries_max,
            "loss_max": amount_text(self.loss_max),
            "entered_ts": self.entered_ts,
            "spent": amount_text(self.spent),
            "received": amount_text(self.received),
            "qty": amount_text(self.qty),
            "row": self.row,
            **stop,
            **kept,
        }

    def carry(self, ref: EventId, rules: CampaignRules, plan: Mapping[str, Any], held: int) -> None:
        """Take over the campaign of a position that another run opened.

        Args:
            ref: Its id.
            rules: The campaign of this run's profile; rows that it lacks count as not reached.
            plan: The campaign as `carried` returned it.
            held: Quantity held.
        """
        self.ref = ref
        self.entries, self.entries_max = plan["entries"], plan["entries_max"]
        self.loss_max, self.entered_ts = parse_amount(plan["loss_max"]), plan["entered_ts"]
        self.spent, self.received = parse_amount(plan["spent"]), parse_amount(plan["received"])
        self.qty = min(parse_amount(plan["qty"]), held)
        self.stop = parse_amount(plan.get("stop", "0"))
        self.row = min(plan["row"], len(rules.rows))
        self.keep = parse_amount(plan["keep_qty"]) if "keep_qty" in plan else ALL

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values; empty without a campaign."""
        return {} if self.ref is None else {"id": self.ref.text, **self.carried()}

    def restore(self, rules: CampaignRules, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        if state:
            self.carry(named(state["id"]), rules, state, parse_amount(state["qty"]))


@final
class Reserve:
    """Loss that an entry may add to its campaign.

    Args:
        at_risk: The loss of the campaign if the present position is sold at the stop.
        most: The largest loss allowed with the entry.
        ask: The price of the entry.
        stop: The price of the stop.
        fee: The taker's rate.
    """

    __slots__ = ("_per_unit", "ask", "at_risk", "most", "stop")

    def __init__(self, at_risk: int, most: int, ask: int, stop: int, fee: int) -> None:
        self.at_risk: int = at_risk
        self.most: int = most
        self.ask: int = ask
        self.stop: int = stop
        # Loss of one coin at the stop with both fees, in units of 1 / `RATE_UNIT`.
        self._per_unit: int = (ask - stop) * RATE_UNIT + (ask + stop) * fee

    def room(self) -> int:
        """Return the notional that an entry may have, rounded down."""
        left = (self.most - self.at_risk - ROUNDED) * UNIT * RATE_UNIT
        if left <= 0:
            return 0
        # Without fees a stop at the ask loses nothing.
        return proceeds_down(left // max(self._per_unit, 1), self.ask)

    def loss(self, qty: int) -> int:
        """Return the loss if the position and `qty` more are sold at the stop."""
        return self.at_risk - (-qty * self._per_unit // (UNIT * RATE_UNIT)) + ROUNDED


def first_stop(rules: CampaignRules, price: int, step: int) -> int:
    """Return the hard stop of a first purchase at a price, not yet rounded up to whole steps."""
    return price - share_distance(price, rules.hard_share, step)


def part_of(qty: int, percent: int, bounds: Bounds, price: int, stop: int) -> int:
    """Return the part of a quantity that a de-risk sells, in whole steps, rounded down.

    It is the whole quantity if the part is too small to sell now, or the rest at the stop.
    """
    part = qty * percent // WHOLE_PERCENT // bounds.qty_step * bounds.qty_step
    if is_too_small(part, bounds, price) or is_too_small(qty - part, bounds, stop):
        return qty
    return part


# --- rows -----------------------------------------------------------------------------------------


def campaign_rows(
    rules: CampaignRules, campaign: Campaign, at_risk: int, bid: int, level: int, now: int
) -> tuple[Row, ...]:
    """Return the checks that an entry has to pass within its campaign before it is sized.

    Args:
        rules: The campaign of the profile.
        campaign: The campaign of the symbol, which may not have begun.
        at_risk: The loss of the campaign if its position is sold at the stop; `SKIPPED` without
            a position.
        bid: The price of a sale; `SKIPPED` without a position.
        level: The bid at or below which no entry is allowed.
        now: Market time.
    """
    is_next = campaign.is_open
    entries_max = campaign.entries_max if is_next else rules.entries_max
    waited = now - campaign.entered_ts if is_next and rules.wait_ms else SKIPPED
    return (
        (ENTRIES, campaign.entries + 1, entries_max),
        (ENTRY_WAIT, waited, rules.wait_ms),
        (AT_RISK, at_risk, campaign.loss_max),
        (RECOVERY_PRICE, bid, level),
    )


def reserve_rows(reserve: Reserve, notional: int) -> tuple[Row, ...]:
    """Return the limit on the notional of an entry by the worst loss of its campaign."""
    return ((CAMPAIGN_NOTIONAL, notional, reserve.room()),)


def reserve_loss_rows(reserve: Reserve, qty: int) -> tuple[Row, ...]:
    """Return the check of the campaign's loss at its stop if `qty` more is bought."""
    return ((CAMPAIGN_LOSS, reserve.loss(qty) if qty else SKIPPED, reserve.most),)


def recovery_rows(campaign: Campaign, qty: int) -> tuple[Row, ...]:
    """Return the check that no more is held than a de-risk keeps; a failure sells the rest.

    Args:
        campaign: The campaign of the symbol.
        qty: Quantity held and not being sold; `SKIPPED` if no part can be sold now.
    """
    return ((RECOVERY_QTY, qty, campaign.keep),)
