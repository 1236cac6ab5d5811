"""Steps of a campaign: judging and counting its entries, and acting on its recovery rows.

A row of `risk.recovery` is reached when the bid of a judged tick falls to its level while still
above the stop in force; at the stop, the stop itself closes the position. The deepest row that a
tick reaches is reported once, as `recovery_intent`, before the action that it causes: EXIT with
RECOVERY_PART for a de-risk, EXIT with RECOVERY_EXIT for an exit. Rows that the tick skipped are not
reported. A HOLD row refuses entries and withdraws their quotes while the bid is at or below its
level. A sale that is not possible yet is made as soon as it is.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import LEAVE
from minibot.cores.event_id import EventId, derived
from minibot.cores.messages import Message, ReportMessage
from minibot.events.decimals import format_fixed, mul_div_down
from minibot.events.model import BUY, RecoveryIntent
from minibot.events.money import amount_text, cost_up, fee_up, proceeds_down
from minibot.events.reasons import RECOVERY_EXIT
from minibot.risk.campaign import (
    NO_LEVEL,
    Campaign,
    CampaignRules,
    Reserve,
    campaign_rows,
    first_stop,
)
from minibot.risk.checks import SKIPPED, Row
from minibot.risk.distances import MULTIPLE_PLACES, SHARE_UNIT
from minibot.risk.ladder import is_too_small
from minibot.risk.plan import Plan
from minibot.risk.positions import Market
from minibot.risk.risk_state import RiskState

CAMPAIGN_ROLE: Final = "risk_role/campaign"
"""Takes the place of a role in the id of a campaign that no action began."""


# --- entries --------------------------------------------------------------------------------------


def rows_of(state: RiskState, market: Market) -> tuple[Row, ...]:
    """Return the checks of a campaign that an entry has to pass; empty without campaigns."""
    exits, rules = state.exits_of(market), state.exits.rules.campaign
    campaign, order_rules = exits.campaign, market.rules
    if campaign is None or order_rules is None:
        return ()
    plan = _plan_of(state, market, order_rules)
    bid = at_risk = SKIPPED
    level = NO_LEVEL
    if plan is not None and campaign.is_open and market.is_fresh and market.has_mid:
        bid = market.bid
        level = rules.held_below(plan.entry, order_rules.price_step)
        at_risk = campaign.at_risk(min(plan.floor(), bid), rules.fee)
    return campaign_rows(rules, campaign, at_risk, bid if level else SKIPPED, level, state.now)


def reserve_of(state: RiskState, market: Market, rules: OrderRules) -> Reserve | None:
    """Return the loss that an entry may add to its campaign; None without campaigns.

    A first entry, with all its quotes, may use its share of the worst loss, at the hard stop. A
    later one may use the rest of it, at the stop in force, and nothing once the bid is there.
    """
    exits, campaign_rules = state.exits_of(market), state.exits.rules.campaign
    campaign = exits.campaign
    if campaign is None:
        return None
    at_risk, fee, ask = 0, campaign_rules.fee, market.ask
    stop = first_stop(campaign_rules, ask, rules.price_step)
    plan = _plan_of(state, market, rules)
    if campaign.is_open:
        if plan is not None:
            stop = min(plan.floor(), market.bid)
        at_risk = campaign.at_risk(stop, fee)
        at_risk += _resting_loss(state, market, campaign_rules, stop, rules.price_step)
    is_first = not campaign.is_open or (campaign.entries == 1 and _is_quoted(state, market))
    most = campaign.loss_max if campaign.is_open else campaign_rules.loss_max
    if is_first:
        count = campaign.entries_max if campaign.is_open else campaign_rules.entries_max
        most //= count
    if plan is not None and market.bid <= plan.floor():
        most = min(most, at_risk)
    return Reserve(at_risk, most, ask, stop, fee)


def _is_quoted(state: RiskState, market: Market) -> bool:
    """Return whether the entry of a market is quoted, so that its rest is sized again."""
    return any([not quote.is_pinned for quote in state.quotes.open.get(market.symbol, ())])


def _resting_loss(
    state: RiskState, market: Market, rules: CampaignRules, stop: int, step: int
) -> int:
    """Return the loss, with both fees, if the open entries are filled and then stopped out.

    An entry far below the stop in force is stopped out at the hard stop of its own price.
    """
    loss = 0
    for order in state.positions.orders:
        if order.market is market and order.side == BUY:
            cost = cost_up(order.pending, order.price)
            left = min(stop, first_stop(rules, order.price, step))
            back = proceeds_down(order.pending, left)
            loss += cost + fee_up(cost, rules.fee) - back + fee_up(back, rules.fee)
    return loss


def enter(state: RiskState, market: Market, rules: OrderRules, ref: EventId) -> EventId | None:
    """Count an entry that is allowed now; return the id of its campaign, None without campaigns.

    Args:
        state: The state.
        market: The market of the entry.
        rules: The venue's rules for the symbol.
        ref: The id of the action that allows the entry; it begins a campaign if none is open.
    """
    exits = state.exits_of(market)
    campaign = exits.campaign
    if campaign is None:
        return None
    plan = _plan_of(state, market, rules)
    if not campaign.is_open:
        campaign.begin(ref, state.exits.rules.campaign)
    stop = 0 if plan is None else min(plan.floor(), market.bid)
    campaign.enter(state.now, stop)
    return campaign.ref


def enter_again(state: RiskState, market: Market, rules: OrderRules) -> None:
    """Note the stop by which the rest of a quoted entry was sized; the entry is counted already."""
    campaign = state.campaign_of(market)
    plan = None if campaign is None else _plan_of(state, market, rules)
    if campaign is not None and plan is not None:
        campaign.stop = max(campaign.stop, min(plan.floor(), market.bid))


def _plan_of(state: RiskState, market: Market, rules: OrderRules) -> Plan | None:
    """Return the plan of a position, brought up to date; None without a position."""
    exits, holding = state.exits_of(market), market.holding
    if exits.plan is None or holding is None:
        return None
    if not exits.is_guarded:
        state.exits.guard(exits, rules.price_step)
    state.exits.bounds(exits, holding, rules)
    return exits.plan


def adopt(state: RiskState, market: Market, cause: EventId, ordinal: int) -> None:
    """Begin a campaign for a position that none opened, because it was carried or was dust.

    Args:
        state: The state.
        market: The market of the position.
        cause: The event that makes it a position.
        ordinal: Number of the position among those of this event.
    """
    exits, holding = state.exits_of(market), market.holding
    campaign = exits.campaign
    if campaign is None or holding is None or campaign.is_open:
        return
    ref = derived(CAMPAIGN_ROLE, cause, ordinal)
    rules = state.exits.rules.campaign
    campaign.adopt(ref, rules, holding.qty, holding.cost, state.now)
    exits.quiet_until = 0


def on_flat(state: RiskState, market: Market) -> None:
    """Keep stop and pending exit of a campaign that an open entry keeps alive while flat."""
    campaign = state.campaign_of(market)
    exits = state.exits_of(market)
    if campaign is None or exits.plan is None:
        return
    campaign.keep_all()
    exits.plan.hard = campaign.stop
    if campaign.leaves(state.exits.rules.campaign):
        exits.policy_exit = RECOVERY_EXIT


# --- recovery -------------------------------------------------------------------------------------


def recover(
    state: RiskState, market: Market, cause: EventId, ts: int, tick_seq: int
) -> Message | None:
    """Return the report of the deepest recovery row that a tick reaches, and apply its choice.

    There is none while an open sale leaves nothing but dust.

    Args:
        state: The state, after the tick.
        market: The market of an open position.
        cause: The tick.
        ts: Time of the tick.
        tick_seq: Line of the tick.
    """
    exits, rules = state.exits_of(market), market.rules
    campaign, table = exits.campaign, state.exits.rules.campaign
    if campaign is None or campaign.ref is None or rules is None or not table.rows:
        return None
    if not market.is_fresh or not market.has_mid or exits.is_exit_requested or exits.policy_exit:
        return None
    if state.now - market.ts > state.limits.tick_age_ms_max:
        return None
    if state.positions.free_qty(market) <= state.positions.dust_max(market):
        return None
    plan, bid = _plan_of(state, market, rules), market.bid
    if plan is None or bid <= plan.floor():
        return None
    row = campaign.reached(table, plan.entry, rules.price_step, bid)
    if row <= campaign.row:
        return None
    price = state.sale_price(market)
    choice = campaign.reach(table, row, market.qty, rules.market_bounds, price, plan.hard)
    if choice == LEAVE:
        state.exits.mark_for_exit(market.symbol, RECOVERY_EXIT)
    exits.quiet_until = 0
    loss = mul_div_down(plan.entry - bid, SHARE_UNIT, plan.entry)
    intent = RecoveryIntent(
        symbol=market.symbol,
        campaign_id=campaign.ref.text,
        choice=choice,
        row=row,
        loss_bps=format_fixed(loss, MULTIPLE_PLACES),
        row_bps=format_fixed(table.rows[row - 1].share, MULTIPLE_PLACES),
        entry_price=amount_text(plan.entry),
        bid=amount_text(bid),
    )
    return ReportMessage.caused_by(cause, ts, tick_seq, 0, intent)


def part_left(state: RiskState, market: Market, rules: OrderRules, campaign: Campaign) -> int:
    """Return the quantity that a de-risk sells now; 0 while the hard order rate has no room.

    A partial sale may wait: it never ends the run.
    """
    part = state.positions.free_qty(market) - campaign.keep
    if is_too_small(part, rules.market_bounds, state.sale_price(market)):
        return 0
    return part if state.has_part_room() else 0
