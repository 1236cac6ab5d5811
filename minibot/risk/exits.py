"""Exits: levels of stop and target, requests to leave, and the ranges in which no exit is due.

Stop and target stand at a distance from the average entry price: basis points of it, or a multiple
of the ATR. The ATR at the entry, or the first one known after it in the run, counts until the
position is closed, so that a stop does not wander with the market; of an entry that is sized by
its stop it is the ATR of that size. The ATR comes from bars as
float64 by one fixed order of operations (`features.atr`); it becomes a price in
`distances.exact_atr` alone, as decimal text. `exit_decision` judges stop and target at the bid, the
price of a sale. Levels that move are in `risk.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from minibot.accounting.lots import Holding
from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import AT_VENUE, CoreProfile
from minibot.cores.scaled_tick import NO_BOUND, QuietRange
from minibot.cores.wish import Wish
from minibot.events.decimals import div_down, parse_fixed
from minibot.events.model import JsonObject
from minibot.events.money import amount_json, amount_text, parse_amount, parse_rate
from minibot.events.reasons import (
    LEFT_TRADING,
    OPERATOR_EXIT,
    RECOVERY_EXIT,
    STOP_LOSS,
    TAKE_PROFIT,
)
from minibot.features.atr import WilderAtr
from minibot.risk.campaign import NO_LEVEL, Campaign, CampaignRules
from minibot.risk.distances import (
    MULTIPLE_PLACES,
    MULTIPLE_UNIT,
    NEVER,
    exact_atr,
    share_distance,
    whole_distance,
)
from minibot.risk.horizon import HorizonRules
from minibot.risk.plan import NO_GAP, NOTHING_WISHED, Plan, PlanRules, Wished

UNKNOWN: Final = -1
RETRY_MS_MIN: Final = 1_000
RETRY_MS_MAX: Final = 30_000

LASTING: Final = (LEFT_TRADING, RECOVERY_EXIT)
"""The reasons to leave a symbol that nothing takes back but the end of its position."""

CARRIED_EXITS: Final = (OPERATOR_EXIT, LEFT_TRADING)
"""The reasons to leave a symbol that the next run cannot find by itself."""


@final
class ExitRules:
    """Exit rules of the profile; a multiple, a share or a time that is None is off.

    A share is in ten-thousandths of a basis point of the entry price; beside it no multiple counts.
    """

    __slots__ = (
        "atr_period",
        "bar_interval",
        "campaign",
        "closes_at_end",
        "follows_entry",
        "has_entry_stop",
        "horizon",
        "leaves_dropped",
        "leaves_halted",
        "needs_atr",
        "plan",
        "rests",
        "signal_exit",
        "stop_limit_share",
        "stop_multiple",
        "stop_share",
        "target_multiple",
        "target_share",
        "time_exit_ms",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the exits of the whole resolved configuration."""
        profile = CoreProfile.of(config)
        risk, strategy = profile.risk, profile.strategy
        self.bar_interval: str = strategy.bar_interval
        self.atr_period: int = strategy.atr_period
        stop, target = risk.stop_bps, risk.take_profit_bps
        self.stop_share: int | None = None if stop is None else parse_rate(stop)
        self.target_share: int | None = None if target is None else parse_rate(target)
        self.stop_multiple: int | None = None
        if stop is None:
            self.stop_multiple = _multiple(risk.stop_atr_mult)
        self.has_entry_stop: bool = stop is not None or risk.stop_atr_mult is not None
        self.target_multiple: int | None = None
        if target is None:
            self.target_multiple = _multiple(risk.take_profit_atr_mult)
        # Whether stop and target rest with the executor.
        self.rests: bool = risk.exits_at == AT_VENUE
        # How far below a resting stop its limit stands; None for a stop without a limit.
        limit = risk.stop_limit_bps
        self.stop_limit_share: int | None = None if limit is None else parse_rate(limit)
        self.signal_exit: bool = risk.signal_exit
        self.time_exit_ms: int | None = risk.time_exit_ms
        self.closes_at_end: bool = profile.portfolio.at_end == "close"
        self.leaves_halted: bool = risk.left_trading == "close"
        self.leaves_dropped: bool = risk.left_universe == "close"
        # Whether a distance changes with the average entry price.
        self.follows_entry: bool = stop is not None or target is not None
        # Whether a position cannot be guarded before the ATR is known.
        self.needs_atr: bool = self.stop_multiple is not None or self.target_multiple is not None
        # The keys of levels that move.
        self.plan: PlanRules = PlanRules(profile)
        if self.plan.needs_atr:
            self.needs_atr = True
        self.campaign: CampaignRules = CampaignRules(profile)
        self.horizon: HorizonRules = HorizonRules(risk)

    def limit_of(self, stop: int | None, price_step: int) -> int | None:
        """Return the limit of a resting stop, at least one step; None where it has none."""
        share = self.stop_limit_share
        if stop is None or share is None:
            return None
        return max(price_step, stop - share_distance(stop, share, price_step))


@final
class SymbolExits:
    """Exit state of one symbol.

    While the bid is between `quiet_above` and `quiet_below` and time before `quiet_until`, no exit
    is due. `quiet_until` is 0 where this range has to be found anew: after a fill, a request to
    leave, an exit that was due, the announced end of the run or new rules, and after a bar while
    the position still waits for the ATR.

    `refusals` counts the refused exits in a row, `retry_ts` is the time of the next attempt, `told`
    the reason of the refusal told last; `rest_refusals`, `rest_retry_ts` and `rest_told` are the
    same of orders that were to rest.
    """

    __slots__ = (
        "_atr_exact",
        "_atr_read",
        "asked",
        "atr",
        "atr_step",
        "atr_stop",
        "atr_target",
        "bar_open_ts",
        "campaign",
        "close",
        "entry",
        "heard_ts",
        "horizon_ms",
        "is_asked",
        "is_guarded",
        "is_taken",
        "left",
        "opened_ts",
        "plan",
        "quiet_above",
        "quiet_below",
        "quiet_until",
        "refusals",
        "rest_refusals",
        "rest_retry_ts",
        "rest_told",
        "retry_ts",
        "stop_distance",
        "target_distance",
        "told",
        "wished",
    )

    def __init__(
        self, atr: WilderAtr, plan: Plan | None = None, campaign: Campaign | None = None
    ) -> None:
        self.atr: WilderAtr = atr
        # The value of the ATR that was converted last, and what it is exactly.
        self._atr_read: float = -1.0
        self._atr_exact: int = 0
        # The levels that move; None where the profile has no such.
        self.plan: Plan | None = plan
        # Entries and exits of the symbol from flat to flat; None where the profile has no such. It
        # outlasts the position while an order is on its way.
        self.campaign: Campaign | None = campaign
        # The distances that the ATR gives at a price step; 0 until it is asked after a bar.
        self.atr_step: int = 0
        self.atr_stop: int | None = None
        self.atr_target: int | None = None
        self.bar_open_ts: int = -1
        self.close: int = UNKNOWN
        # When data other than a tick came last, or the run opened; kept for a silence alone.
        self.heard_ts: int = 0
        # How long a position may be held by the volatility of the newest bars.
        self.horizon_ms: int = NEVER
        self.stop_distance: int | None = None
        self.target_distance: int | None = None
        self.is_guarded: bool = False
        self.is_asked: bool = False
        # Of a position without a plan that was sold in part, and the time of one that began beside
        # what was too little to sell; 0 while its lots tell them.
        self.entry: int = 0
        self.opened_ts: int = 0
        # What the strategy wants of the plan.
        self.wished: Wished = NOTHING_WISHED
        # The same of the last entry at the market, or at the best bid, and whether a fill took it.
        self.asked: Wished = NOTHING_WISHED
        self.is_taken: bool = False
        # Why the symbol is to be left by the profile's policy, a reason code; empty for no.
        self.left: str = ""
        self.refusals: int = 0
        self.retry_ts: int = 0
        self.told: str = ""
        # The same of orders that are to rest: none of them delays a sale at the market.
        self.rest_refusals: int = 0
        self.rest_retry_ts: int = 0
        self.rest_told: str = ""
        self.quiet_above: int = 0
        self.quiet_below: int = 0
        self.quiet_until: int = 0

    def bound(self, now: int, quiet: QuietRange) -> bool:
        """Set bids and time of `quiet` to the range without an exit; False if none is known."""
        above, below, until = self.quiet_above, self.quiet_below, self.quiet_until
        if now >= until:
            return False
        quiet.above = above if above > 0 else 0
        quiet.below = below if below < NO_BOUND else NO_BOUND
        quiet.until = until
        quiet.is_lasting = self.is_guarded
        return True

    def set_quiet_range(self, bounds: tuple[int, int, int]) -> None:
        """Remember the bids between which, and the time before which, no exit is due."""
        self.quiet_above, self.quiet_below, self.quiet_until = bounds

    def before_sale(self, holding: Holding) -> None:
        """Keep entry price and opening time of a position that has no plan: a sale moves neither.

        The lots that a sale leaves are the newest.
        """
        if self.plan is None and not self.opened_ts:
            self.entry, self.opened_ts = holding.price_avg(), holding.opened_ts

    def behind_purchase(self, holding: Holding) -> None:
        """Take the entry price of a position behind a purchase, if a part was sold before."""
        if self.opened_ts:
            self.entry = holding.price_avg()

    def entry_of(self, holding: Holding) -> int:
        """Return the entry price from which a position without a plan has its levels."""
        return self.entry or holding.price_avg()

    def opened_of(self, holding: Holding) -> int:
        """Return when a position was opened, Unix ms; a plan remembers it."""
        return self.opened_ts or holding.opened_ts

    def on_order_ended(self, was_refused: bool, now: int) -> None:
        """Take the end of an exit order; each refusal in a row makes the next attempt wait longer.

        The first new attempt comes with the next tick, then after 1 s, 2 s, 4 s up to 30 s of
        market time: a venue that says no ten times a second is not asked ten times a second. Any
        other end sets the count back to 0.
        """
        self.refusals = self.refusals + 1 if was_refused else 0
        self.retry_ts = _retry_ts(self.refusals, now)

    def on_rest_ended(self, was_refused: bool, now: int) -> None:
        """Take acceptance or end of an order that was to rest; waits are as of `on_order_ended`."""
        self.rest_refusals = self.rest_refusals + 1 if was_refused else 0
        self.rest_retry_ts = _retry_ts(self.rest_refusals, now)
        self.quiet_until = 0

    @property
    def keeps_levels(self) -> bool:
        """True where a strategy may want levels of its position."""
        return self.plan is not None and self.plan.has_levels

    def has_stop(self, stop: int) -> bool:
        """Return whether `stop`, as `Exits.bounds` gave it, is a stop that is set."""
        return self.stop_distance is not None if self.plan is None else stop > 0

    def has_target(self, target: int) -> bool:
        """Return whether `target`, as `Exits.bounds` gave it, is a target that is set."""
        return self.target_distance is not None if self.plan is None else target < NEVER

    def reasons(self) -> tuple[str, str]:
        """Return the reason codes of the stop and the target in force."""
        plan = self.plan
        if plan is None:
            return STOP_LOSS, TAKE_PROFIT
        return plan.floor_reason(), plan.ceiling_reason()

    def rest_state(self) -> JsonObject:
        """Return the state of refused orders that were to rest; empty where none was refused."""
        if not self.rest_refusals and not self.rest_told:
            return {}
        return {"rest": [self.rest_refusals, self.rest_retry_ts, self.rest_told]}

    def ask(self, wish: Wish | None, peak: int) -> None:
        """Keep the levels that an allowed entry's strategy wants, until the next entry.

        Args:
            wish: The strategy's.
            peak: The price from which a trail follows the bid.
        """
        self.asked = NOTHING_WISHED if wish is None else self.wished_by(wish, NOTHING_WISHED, peak)
        self.is_taken = False

    def take_asked(self, *, is_flat: bool) -> None:
        """Want the asked levels with the first fill of their entry, and with any while flat."""
        if is_flat or not self.is_taken:
            self.on_bought(self.asked)
            self.is_taken = True

    def on_bought(self, asked: Wished) -> None:
        """Want the levels of an entry that is filled; one that it names none of stays."""
        former = self.wished
        trail = asked[2:] if asked[2] or asked[3] else former[2:]
        self.wished = (asked[0] or former[0], asked[1] or former[1], *trail)

    def wished_by(self, wish: Wish, former: Wished, peak: int) -> Wished:
        """Return the levels of a wish, and of a former one where the wish names none.

        A multiple of the ATR becomes a distance here, by the ATR of the position if there is one.
        It is never 0, which would mean no trail: in whole price steps it becomes one step.
        """
        stop, target = wish.stop or former[0], wish.target or former[1]
        if not wish.has_trail:
            return (stop, target, *former[2:])
        gap = wish.trail
        if wish.trail_atr:
            gap = max(1, div_down(self.atr_now() * wish.trail_atr, MULTIPLE_UNIT))
        return stop, target, gap, wish.trail_bps, peak

    def begin_anew(self, ts: int) -> None:
        """Forget the levels of what is too little to sell: a purchase opens a position, at `ts`."""
        is_asked, left = self.is_asked, self.left
        self.forget()
        self.is_asked, self.left, self.opened_ts = is_asked, left, ts

    def drop_requests(self) -> None:
        """Forget the requests of `CARRIED_EXITS`, which else end with the position alone."""
        self.is_asked = False
        if self.left == LEFT_TRADING:
            self.left = ""

    def leaving(self) -> str:
        """Return why the symbol is to be left once it can be sold, a code; empty to hold it."""
        return OPERATOR_EXIT if self.is_asked else self.left

    def last_atr(self) -> int | None:
        """Return the ATR of the last bar in hundred-millionths; None while it is not known."""
        value = self.atr.value
        if value is None:
            return None
        # Entries between two bars ask for the same one, and its text takes time.
        if value != self._atr_read:
            self._atr_read, self._atr_exact = value, exact_atr(value)
        return self._atr_exact

    def atr_now(self) -> int:
        """Return the ATR of the position, else that of the last bar; 0 while none is known."""
        if self.plan is not None and self.plan.atr is not None:
            return self.plan.atr
        return self.last_atr() or 0

    def forget(self) -> None:
        """Forget levels, requests and refusals, as the position is closed; the ATR stays."""
        self.wished = NOTHING_WISHED
        self.entry = self.opened_ts = 0
        self.stop_distance = self.target_distance = None
        self.is_guarded = self.is_asked = False
        self.left = ""
        self.quiet_until = 0
        self.refusals, self.retry_ts, self.told = 0, 0, ""
        self.rest_refusals, self.rest_retry_ts, self.rest_told = 0, 0, ""
        if self.plan is not None:
            self.plan.forget()


@final
class Exits:
    """The exits of all symbols of one run.

    Attributes:
        rules: The exit rules of the profile.
        ending_until: Market time of the run's announced end; None before `run_ending`.
    """

    __slots__ = ("_found", "_symbol", "_symbols", "ending_until", "rules")

    def __init__(self, rules: ExitRules) -> None:
        """Start without bars and without requests."""
        self.rules: ExitRules = rules
        self._symbols: dict[str, SymbolExits] = {}
        # Bars and ticks of one symbol come in rows: the one found last is most often the next one.
        self._symbol: str = ""
        self._found: SymbolExits | None = None
        self.ending_until: int | None = None

    def of(self, symbol: str) -> SymbolExits:
        """Return the exit state of a symbol, made at the first call."""
        found = self._found
        if found is not None and symbol == self._symbol:
            return found
        exits = self._symbols.get(symbol)
        if exits is None:
            plan = Plan(self.rules.plan.has_levels) if self.rules.plan.is_on else None
            campaign = Campaign() if self.rules.campaign.is_on else None
            exits = SymbolExits(WilderAtr(self.rules.atr_period), plan, campaign)
            exits.horizon_ms = self.rules.horizon.usual
            self._symbols[symbol] = exits
        self._symbol, self._found = symbol, exits
        return exits

    def find(self, symbol: str) -> SymbolExits | None:
        """Return the exit state of a symbol, None before it has one."""
        return self._symbols.get(symbol)

    def on_bar(
        self, symbol: str, open_ts: int, high: float, low: float, close: float, units: int
    ) -> None:
        """Take a closed bar of the ATR's interval; ignore one that is no newer than the last.

        Args:
            symbol: The market.
            open_ts: When it opened, Unix ms.
            high: Its highest price, as indicators take prices.
            low: Its lowest price.
            close: Its last price.
            units: The close in hundred-millionths.
        """
        exits = self._found
        if exits is None or symbol != self._symbol:
            # One look-up: among bars of many symbols this one is not the next one either.
            exits = self._symbols.get(symbol) or self.of(symbol)
        if open_ts <= exits.bar_open_ts:
            return
        exits.bar_open_ts = open_ts
        exits.close = units
        if not exits.is_guarded:
            # Stop and target wait for the ATR; where they stand, no bar moves them.
            exits.quiet_until = 0
        exits.atr.update(high, low, close)
        exits.atr_step = 0

    def carry(self, symbol: str, said: Mapping[str, Any]) -> None:
        """Take over plan and exit of a position that another run opened; see `Plan.carry`.

        A policy that is off now leaves nothing.
        """
        exits, rules, leaving = self.of(symbol), self.rules, said.get("leaving")
        exits.is_asked = leaving == OPERATOR_EXIT
        if leaving == LEFT_TRADING and rules.leaves_halted:
            exits.left = LEFT_TRADING
        if exits.plan is not None:
            exits.plan.carry(rules.plan, rules.has_entry_stop, said)
            exits.plan.has_thesis = rules.horizon.thesis.is_set and said.get("has_thesis", False)
            if rules.plan.has_levels:
                names = ("stop_signal", "target_signal")
                stop, target = [parse_amount(said.get(name, "0")) for name in names]
                exits.wished = stop, target, 0, 0, 0  # Its trail is in the plan.

    def request_exit(self, symbol: str) -> None:
        """Note an operator's request to leave a symbol; refusals so far count no longer."""
        exits = self.of(symbol)
        exits.is_asked = True
        exits.quiet_until = 0
        exits.refusals, exits.retry_ts, exits.told = 0, 0, ""

    def mark_for_exit(self, symbol: str, reason: str) -> None:
        """Note that the profile's policy leaves a symbol once it can be sold.

        It replaces a mark, but for one of `LASTING`, which nothing takes back.
        """
        exits = self.of(symbol)
        if exits.left in LASTING:
            return
        exits.left = reason
        exits.quiet_until = 0

    def clear_exit(self, symbol: str, reason: str) -> None:
        """Take back the mark for exit if the last one was set for this reason."""
        exits = self.of(symbol)
        if exits.left == reason:
            exits.left = ""

    def on_fill(self, exits: SymbolExits, holding: Holding, rules: OrderRules) -> None:
        """Guard an open position, and find the range in which no exit is due.

        No range is set with a request, a mark for exit, a refusal told or an announced end.
        """
        exits.quiet_until = 0
        if not exits.is_guarded:
            self.guard(exits, rules.price_step)
        bounds = self.bounds(exits, holding, rules)
        if exits.told or exits.is_asked or exits.left or self.ending_until is not None:
            return
        if exits.campaign is not None and exits.campaign.is_parting:
            return
        exits.set_quiet_range(self.quiet_bounds(exits, bounds))

    def quiet_bounds(
        self, exits: SymbolExits, bounds: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Narrow `bounds` to bids and a time within which no level is reached or moves either."""
        plan, campaign = exits.plan, exits.campaign
        if plan is None:
            return bounds
        is_parting = campaign is not None and campaign.is_parting
        if is_parting or plan.gap_ts != NO_GAP or plan.silent_ts != NO_GAP:
            return 0, 0, 0
        stop, target, ends = bounds
        moves = plan.moves_at(self.rules.plan)
        if campaign is not None:
            stop = max(stop, self.next_recovery(exits))
        return stop, min(target, moves, plan.rung()), min(ends, plan.age_until)

    def next_recovery(self, exits: SymbolExits) -> int:
        """Return the bid at which a campaign reaches its next recovery row; `NO_LEVEL` for none.

        The plan has been brought up to date before.
        """
        plan, campaign = exits.plan, exits.campaign
        if plan is None or campaign is None or not campaign.is_open:
            return NO_LEVEL
        return campaign.next_level(self.rules.campaign, plan.entry, plan.price_step)

    def on_gap(self, symbol: str, from_ts: int) -> None:
        """Note since when data of a held symbol is missing, if `stale_exit_ms` is set."""
        exits = self.find(symbol)
        if exits is None or exits.plan is None or not exits.plan.qty:
            return
        if self.rules.plan.stale_ms is not None and exits.plan.gap_ts == NO_GAP:
            exits.plan.gap_ts = from_ts
            exits.quiet_until = 0

    def on_data(self, symbol: str, ts: int) -> None:
        """Note that data of a symbol came that is no tick, or that the run opened with it."""
        exits = self.of(symbol)
        if ts > exits.heard_ts:
            exits.heard_ts = ts

    def on_ratio(self, symbol: str, ratio: int | None) -> None:
        """Set the horizon of a symbol by the volatility ratio of its newest bars, if it is on."""
        exits, length = self.of(symbol), self.rules.horizon.length(ratio)
        if length != exits.horizon_ms:
            exits.horizon_ms = length
            exits.quiet_until = 0

    def horizon_of(self, exits: SymbolExits) -> int:
        """Return how long the position of a symbol may be held; `NEVER` for no horizon."""
        plan = exits.plan
        return self.rules.horizon.most if plan is not None and plan.has_thesis else exits.horizon_ms

    def held_max(self, exits: SymbolExits) -> int:
        """Return how long a position with a plan may be held at most; `NEVER` without a limit."""
        horizon, longest = self.horizon_of(exits), self.rules.time_exit_ms
        return horizon if longest is None or horizon < longest else longest

    def judge_thesis(self, exits: SymbolExits, bid: int, now: int) -> None:
        """Ask at a judged tick behind the horizon whether the thesis holds; once it does, it did.

        The plan has been brought up to date before.
        """
        plan = exits.plan
        if plan is None or plan.has_thesis or now < plan.opened_ts + exits.horizon_ms:
            return
        gain = self.rules.horizon.thesis.of(plan.entry, None, plan.price_step)
        plan.has_thesis = gain is not None and bid >= plan.entry + gain

    def heard_ts(self, exits: SymbolExits, tick_ts: int) -> int:
        """Return since when nothing came of a held symbol, whose last tick came at `tick_ts`."""
        return max(tick_ts, exits.heard_ts)

    def on_held_tick(self, exits: SymbolExits, before: int, ts: int) -> None:
        """Note a silence that a tick of a held symbol ends, if it was too long.

        Args:
            exits: The exits of the symbol.
            before: Time of the tick before it.
            ts: Its own time.
        """
        plan, longest = exits.plan, self.rules.plan.silent_ms
        if plan is None or longest is None or plan.silent_ts != NO_GAP:
            return
        since = self.heard_ts(exits, before)
        if ts - since >= longest:
            plan.silent_ts = since
            exits.quiet_until = 0

    def bounds(
        self, exits: SymbolExits, holding: Holding, rules: OrderRules
    ) -> tuple[int, int, int]:
        """Return bid of stop, bid of target and time from which an open position is left.

        Distances in basis points and the plan are brought up to date first. A stop that is off is
        0, a target or time that is off is `NEVER`.
        """
        plan, step = exits.plan, rules.price_step
        if plan is None:
            if self.rules.follows_entry:
                self._follow(exits, exits.entry_of(holding), step)
            return self.bounds_set(exits, holding, step)
        plan.count(holding, exits.opened_of(holding))
        if self.rules.follows_entry:
            self._follow(exits, plan.entry, step)
        down, up = exits.stop_distance, exits.target_distance
        plan.settle(self.rules.plan, rules, exits.is_guarded, down, up, exits.wished)
        if exits.wished[4]:  # The plan has the trail now.
            exits.wished = (*exits.wished[:2], *NOTHING_WISHED[2:])
        return self.bounds_set(exits, holding, step)

    def bounds_set(self, exits: SymbolExits, holding: Holding, step: int) -> tuple[int, int, int]:
        """Return `bounds` by the distances as they are set, and change nothing."""
        plan = exits.plan
        if plan is not None:
            longest = self.held_max(exits)
            ends = NEVER if longest == NEVER else plan.opened_ts + longest
            return plan.floor(), plan.ceiling(), ends
        entry = exits.entry_of(holding)
        down, up = exits.stop_distance, exits.target_distance
        # Whole steps: the stop rounded up, so that it acts rather early than late, and the target
        # down, so that it can be reached.
        stop = 0 if down is None else -((down - entry) // step) * step
        target = NEVER if up is None else (entry + up) // step * step
        held_max = self.rules.time_exit_ms
        ends = NEVER if held_max is None else exits.opened_of(holding) + held_max
        return stop, target, ends

    def invalidate_quiet_range(self) -> None:
        """Discard cached quiet ranges so that the next tick re-evaluates every exit."""
        for exits in self._symbols.values():
            exits.quiet_until = 0

    def levels(self, exits: SymbolExits, holding: Holding, rules: OrderRules) -> tuple[int, ...]:
        """Return the bids of stop, target, rungs and next recovery row, as far as they are set."""
        stop, target, _ = self.bounds(exits, holding, rules)
        found = []
        if exits.has_stop(stop):
            found.append(stop)
        if exits.has_target(target):
            found.append(target)
        if exits.plan is not None:
            found += exits.plan.rungs()
        recovery = self.next_recovery(exits)
        if recovery > NO_LEVEL:
            found.append(recovery)
        return tuple(found)

    def guard(self, exits: SymbolExits, price_step: int, sized: int | None = None) -> None:
        """Set the distances in ATRs of a position; while the ATR is unknown nothing happens.

        Where none is in ATRs, nothing waits for the ATR. A position that another run opened keeps
        the ATR of its entry, and one whose entry was sized by an ATR has that. Distances in basis
        points are set by `bounds` and follow the average entry price.
        """
        plan, atr = exits.plan, exits.last_atr()
        if plan is not None and plan.atr is not None:
            distances = self._in_atrs(plan.atr, price_step)
        elif sized is not None:
            distances = self._in_atrs(sized, price_step)
            if plan is not None:
                plan.atr = sized
        else:
            if price_step != exits.atr_step and self.rules.needs_atr:
                if atr is None:
                    return
                exits.atr_step = price_step
                exits.atr_stop, exits.atr_target = self._in_atrs(atr, price_step)
            distances = exits.atr_stop, exits.atr_target
            if plan is not None and atr is not None:
                plan.atr = atr
        exits.is_guarded = True
        exits.stop_distance, exits.target_distance = distances

    def _in_atrs(self, atr: int, price_step: int) -> tuple[int | None, int | None]:
        """Return the distances of stop and target at an ATR; None for one that is not in ATRs."""
        stop, target = self.rules.stop_multiple, self.rules.target_multiple
        return (
            None if stop is None else whole_distance(atr, stop, price_step),
            None if target is None else whole_distance(atr, target, price_step),
        )

    def _follow(self, exits: SymbolExits, entry: int, price_step: int) -> None:
        """Set the distances in basis points of a position to its average entry price."""
        stop, target = self.rules.stop_share, self.rules.target_share
        if stop is not None:
            exits.stop_distance = share_distance(entry, stop, price_step)
        if target is not None:
            exits.target_distance = share_distance(entry, target, price_step)

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "ending_until": self.ending_until,
            "symbols": {
                name: {
                    "atr": exits.atr.state(),
                    "bar_open_ts": exits.bar_open_ts,
                    "close": None if exits.close == UNKNOWN else amount_text(exits.close),
                    **({"heard_ts": exits.heard_ts} if exits.heard_ts else {}),
                    **({"horizon_ms": exits.horizon_ms} if self.rules.horizon.is_on else {}),
                    "stop_distance": _text(exits.stop_distance),
                    "target_distance": _text(exits.target_distance),
                    "is_guarded": exits.is_guarded,
                    "is_asked": exits.is_asked,
                    "left": exits.left,
                    "refusals": exits.refusals,
                    "retry_ts": exits.retry_ts,
                    "told": exits.told,
                    **exits.rest_state(),
                    **({"kept": [exits.entry, exits.opened_ts]} if exits.opened_ts else {}),
                    **(
                        {"wished": list(map(amount_json, exits.wished))}
                        if any(exits.wished)
                        else {}
                    ),
                    **({"asked": list(map(amount_json, exits.asked))} if any(exits.asked) else {}),
                    **({"is_taken": True} if exits.is_taken and any(exits.asked) else {}),
                    **({} if exits.plan is None else {"plan": exits.plan.state()}),
                    **({} if exits.campaign is None else {"campaign": exits.campaign.state()}),
                }
                for name, exits in self._symbols.items()
            },
        }

    @staticmethod
    def from_state(rules: ExitRules, state: Mapping[str, Any]) -> Exits:
        """Return the exits of `state`."""
        restored = Exits(rules)
        restored.ending_until = state["ending_until"]
        for name, data in state["symbols"].items():
            plan = None
            if rules.plan.is_on:
                plan = Plan.from_state(data["plan"], rules.plan.has_levels)
            campaign = None
            if rules.campaign.is_on:
                campaign = Campaign()
                campaign.restore(rules.campaign, data.get("campaign") or {})
            exits = SymbolExits(WilderAtr.from_state(data["atr"]), plan, campaign)
            restored._symbols[name] = exits
            exits.bar_open_ts = data["bar_open_ts"]
            exits.close = UNKNOWN if data["close"] is None else parse_amount(data["close"])
            exits.heard_ts = data.get("heard_ts", 0)
            exits.horizon_ms = data.get("horizon_ms", rules.horizon.usual)
            exits.stop_distance = _amount(data["stop_distance"])
            exits.target_distance = _amount(data["target_distance"])
            exits.is_guarded = data["is_guarded"]
            exits.is_asked = data["is_asked"]
            exits.left = data.get("left", "")
            exits.wished = _wished(data.get("wished"))
            exits.asked = _wished(data.get("asked"))
            exits.is_taken = data.get("is_taken", False)
            exits.entry, exits.opened_ts = data.get("kept", (0, 0))
            exits.refusals = data["refusals"]
            exits.retry_ts = data["retry_ts"]
            exits.told = data["told"]
            refusals, retry_ts, told = data.get("rest", (0, 0, ""))
            exits.rest_refusals, exits.rest_retry_ts, exits.rest_told = refusals, retry_ts, told
        return restored


def _wished(data: Sequence[int | str] | None) -> Wished:
    """Return the strategy's wish from a state; one of before has no trail."""
    found = [int(each) for each in data or ()]
    stop, target, gap, share, peak = (*found, *NOTHING_WISHED[len(found) :])
    return stop, target, gap, share, peak


def _retry_ts(refusals: int, now: int) -> int:
    """Return when the next attempt may be made after so many refusals in a row; 0 for at once."""
    if not refusals:
        return 0
    if refusals == 1:
        return now
    return now + min(RETRY_MS_MAX, RETRY_MS_MIN << min(refusals - 2, 10))


def _multiple(text: str | None) -> int | None:
    return None if text is None else parse_fixed(text, MULTIPLE_PLACES)


def _text(amount: int | None) -> str | None:
    return None if amount is None else amount_text(amount)


def _amount(text: str | None) -> int | None:
    return None if text is None else parse_amount(text)
