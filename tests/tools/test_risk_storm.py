"""tools.risk_storm: a storm breaks nothing, and what is broken on purpose is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.accounting import portfolio
from minibot.accounting.order_rules import Bounds
from minibot.events.money import proceeds_down
from minibot.execution import orders
from minibot.risk import (
    drafts,
    entry_decision,
    exit_decision,
    late_entries,
    plan,
    plan_reports,
    requoting,
)
from minibot.risk.campaign import Campaign, CampaignRules, Reserve
from minibot.risk.core import RiskCore
from minibot.risk.exits import ExitRules
from minibot.risk.plan import Plan, PlanRules
from minibot.risk.positions import Positions
from minibot.risk.quotes import Quote
from minibot.risk.sizing import Sizes
from minibot.risk.trading_halts import TradingHalts
from tools.risk_storm import watch
from tools.risk_storm.__main__ import gates, main, play
from tools.risk_storm.profiles import drawn_profile

NIGHTS_MAX = 40
INPUTS = 700


@pytest.mark.slow
def test_storm_of_some_nights_violates_nothing_and_is_the_same_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same seed gives the same events; the last line counts them and what was violated."""
    lines = []
    for _ in range(2):
        assert main(["--events", "6000", "--seed", "7"]) == 0
        lines.append(capsys.readouterr().out.splitlines()[-1])

    assert lines[0] == lines[1]
    assert lines[0].endswith(" events, 0 violations")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "fired", "nights"),
    [
        ("vadr_min", {"BLOCK vadr_low", "BLOCK vadr_frozen"}, (22, 72)),
        ("fatigue_bar_interval", {"BLOCK fatigue"}, (93,)),
        ("horizon_ms", {"EXIT horizon_exit"}, (38,)),
        ("silent_exit_ms", {"EXIT stale_exit"}, (37, 42)),
        ("sizing", {"BUY of a share", "BLOCK size_wish"}, (14,)),
    ],
)
def test_gates_of_days_times_and_sizes_fire_and_let_entries_pass(
    key: str, fired: set[str], nights: tuple[int, ...]
) -> None:
    """Nights whose profile has the key refuse, allow and leave by it.

    After a change of the storm other nights may do so: `--seen` shows what happens.
    """
    seen: Counter[str] = Counter()
    for number in nights:
        assert drawn_profile(Random(f"1:{number}"))["risk"].get(key) is not None
        seen.update(play(1, number, INPUTS).seen)

    assert fired <= seen.keys()
    assert seen["ALLOW allowed"] + seen["REDUCE reduced"]


@pytest.mark.slow
def test_gates_that_never_fired_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """One quiet night names what it lacks, of which no line tells otherwise."""
    assert main(["--seed", "1", "--night", "6", "--events", "1", "--seen"]) == 0
    *seen, silent, _, last = capsys.readouterr().out.splitlines()

    names, fired = (
        set(silent.removeprefix("never fired: ").split(", ")),
        {one.split()[-1] for one in seen},
    )
    assert "bucket_limit" in names
    assert names | (fired & gates()) == gates()
    assert fired & gates()
    assert not fired & names
    assert last.endswith(" events, 0 violations")


def _oversized(change: pytest.MonkeyPatch) -> None:
    sized = entry_decision.size_entry

    def larger(*words: Any, **named: Any) -> tuple[int, int]:
        qty, notional = sized(*words, **named)
        return qty * 60, notional

    change.setattr(entry_decision, "size_entry", larger)


def _silent_action(change: pytest.MonkeyPatch) -> None:
    approve = drafts.approve
    change.setattr(exit_decision, "approve", lambda *words, **named: approve(*words, **named)[1:])


def _talkative(change: pytest.MonkeyPatch) -> None:
    def begin(core: RiskCore, what: str, now: int) -> bool:
        core._state.budgets.roll(now)
        return True

    change.setattr(RiskCore, "_begin", begin)


def _blind_to_sales(change: pytest.MonkeyPatch) -> None:
    change.setattr(Positions, "free_qty", lambda positions, market: market.qty * 2)


def _without_hard_stop(change: pytest.MonkeyPatch) -> None:
    make = PlanRules.__init__

    def made(rules: PlanRules, profile: Any) -> None:
        make(rules, profile)
        rules.hard_share = None

    change.setattr(PlanRules, "__init__", made)


def _loosening(change: pytest.MonkeyPatch) -> None:
    change.setattr(plan, "raised", lambda level, price, step: max(price, 0) // step * step)


def _stubborn(change: pytest.MonkeyPatch) -> None:
    change.setattr(exit_decision, "plan_rows", lambda *words: ())


def _trusting_limits(change: pytest.MonkeyPatch) -> None:
    change.setattr(exit_decision, "unsold_order", lambda state, market: None)


def _limit_above_its_stop(change: pytest.MonkeyPatch) -> None:
    change.setattr(ExitRules, "limit_of", lambda rules, stop, step: stop and stop + step)


def _miscounting(change: pytest.MonkeyPatch) -> None:
    change.setattr(portfolio, "proceeds_down", lambda qty, price: proceeds_down(qty, price) + 1)


def _endless(change: pytest.MonkeyPatch) -> None:
    change.setattr(Positions, "closes", lambda *words: False)


def _forgetful(change: pytest.MonkeyPatch) -> None:
    restore = Plan.from_state

    def restored(state: Any, has_levels: bool) -> Plan:
        made = restore(state, has_levels)
        made.hard = made.stop = 0
        return made

    change.setattr(Plan, "from_state", staticmethod(restored))


def _deaf_to_locks(change: pytest.MonkeyPatch) -> None:
    change.setattr(TradingHalts, "is_locked", lambda halts, symbol, now: False)


def _generous(change: pytest.MonkeyPatch) -> None:
    rows, kept = entry_decision.size_rows, (entry_decision.CASH_WITH_FEE, entry_decision.EXPOSURE)

    def fewer(*words: Any) -> tuple[Any, ...]:
        return tuple(row for row in rows(*words) if row[0] not in kept)

    change.setattr(entry_decision, "size_rows", fewer)


def _stepless(change: pytest.MonkeyPatch) -> None:
    change.setattr(Bounds, "qty_down", lambda bounds, qty: max(0, qty))
    change.setattr(Bounds, "qty_refusal", lambda bounds, qty: None)


def _uncut(change: pytest.MonkeyPatch) -> None:
    change.setattr(Bounds, "sale_down", lambda bounds, qty, price: bounds.qty_down(qty))


def _misleading(change: pytest.MonkeyPatch) -> None:
    told = plan_reports._payload
    change.setattr(plan_reports, "_payload", lambda *words: replace(told(*words), stop="1"))


def _steadfast(change: pytest.MonkeyPatch) -> None:
    change.setattr(requoting, "WITHDRAWING", frozenset())


def _impatient(change: pytest.MonkeyPatch) -> None:
    change.setattr(entry_decision, "_is_pending", lambda state, symbol: False)


def _greedy(change: pytest.MonkeyPatch) -> None:
    change.setattr(Quote, "end", lambda quote, qty: None)


def _reckless(change: pytest.MonkeyPatch) -> None:
    change.setattr(Reserve, "room", lambda reserve: 1 << 60)
    change.setattr(Reserve, "loss", lambda reserve, qty: 0)


def _uncounting(change: pytest.MonkeyPatch) -> None:
    enter = Campaign.enter

    def uncounted(campaign: Campaign, now: int, stop: int) -> None:
        enter(campaign, now, stop)
        campaign.entries = 0

    change.setattr(Campaign, "enter", uncounted)


def _hasty(change: pytest.MonkeyPatch) -> None:
    make = CampaignRules.__init__

    def made(rules: CampaignRules, profile: Any) -> None:
        make(rules, profile)
        rules.wait_ms = 0

    change.setattr(CampaignRules, "__init__", made)


def _averaging_down(change: pytest.MonkeyPatch) -> None:
    change.setattr(CampaignRules, "held_below", lambda rules, entry, step: 0)


def _repeating(change: pytest.MonkeyPatch) -> None:
    reach = Campaign.reach

    def again(campaign: Campaign, *words: Any) -> str:
        choice = reach(campaign, *words)
        campaign.row -= 1
        return choice

    change.setattr(Campaign, "reach", again)


def _unasking(change: pytest.MonkeyPatch) -> None:
    change.setattr(entry_decision, "vadr_rows", lambda *words: ())


def _tireless(change: pytest.MonkeyPatch) -> None:
    rows = late_entries.late_rows

    def fewer(*words: Any) -> tuple[Any, ...]:
        return tuple(row for row in rows(*words) if row[0] not in watch.TIRED)

    change.setattr(entry_decision, "late_rows", fewer)


def _deaf_to_wishes(change: pytest.MonkeyPatch) -> None:
    def wanted_all(sizes: Sizes, wish: Any, active: int) -> None:
        sizes.allowed = sizes.wanted

    change.setattr(Sizes, "take_wish", wanted_all)


def _deaf_to_shares(change: pytest.MonkeyPatch) -> None:
    take = Sizes.take_wish
    change.setattr(Sizes, "take_wish", lambda sizes, wish, active: take(sizes, wish, active * 9))


def _lagging(change: pytest.MonkeyPatch) -> None:
    far = plan.trail_distance
    change.setattr(plan, "trail_distance", lambda *words: 20 * far(*words))


def _unhurried(change: pytest.MonkeyPatch) -> None:
    change.setattr(orders, "is_late_first", lambda intent, expires_ts: False)


BREAKS: list[tuple[Callable[[pytest.MonkeyPatch], None], str, tuple[int, int]]] = [
    (_oversized, watch.CAP, (12, 1)),
    (_uncut, watch.UNCUT, (12, 2)),
    (_silent_action, watch.LINEAGE, (8, 0)),
    (_talkative, watch.AFTER_STOP, (5, 27)),
    (_blind_to_sales, watch.HOLDING, (8, 0)),
    (_without_hard_stop, watch.NO_HARD_STOP, (8, 0)),
    (_loosening, watch.LOOSER, (8, 0)),
    (_stubborn, watch.NOT_LEFT, (8, 0)),
    (_trusting_limits, watch.UNCOVERED, (12, 11)),
    (_limit_above_its_stop, watch.LIMIT_ABOVE, (12, 11)),
    (_miscounting, watch.BOOKS, (8, 0)),
    (_endless, watch.OPEN_TRADE, (12, 2)),
    (_forgetful, watch.RESTART, (4, 5)),
    (_deaf_to_locks, watch.ENTRY_REFUSED, (8, 4)),
    (_generous, watch.CASH, (12, 9)),
    (_stepless, watch.QTY, (8, 0)),
    (_misleading, watch.TOLD, (8, 0)),
    (_steadfast, watch.LEFT_STANDING, (12, 1)),
    (_impatient, watch.TWICE, (8, 4)),
    (_greedy, watch.OVERBOUGHT, (3, 3)),
    (_reckless, watch.RESERVED, (8, 0)),
    (_uncounting, watch.TOO_MANY, (3, 3)),
    (_hasty, watch.TOO_SOON, (8, 0)),
    (_averaging_down, watch.HELD_BACK, (12, 20)),
    (_repeating, watch.TOLD_TWICE, (8, 0)),
    (_unhurried, watch.TOO_LATE, (1, 1)),
    (_unasking, watch.UNASKED, (5, 1)),
    (_tireless, watch.UNASKED, (12, 0)),
    (_deaf_to_wishes, watch.WIDENED, (1, 1)),
    (_deaf_to_shares, watch.WIDENED, (8, 4)),
    (_lagging, watch.NOT_FOLLOWED, (1, 1)),
]


def test_each_invariant_of_the_watch_is_broken_on_purpose() -> None:
    """No sentence of the watch goes without a break of the product that makes it say so."""
    sentences = {
        words
        for name, words in vars(watch).items()
        if name.isupper() and isinstance(words, str) and " " in words
    }

    assert sentences == {what for _, what, _ in BREAKS}


@pytest.mark.slow
@pytest.mark.parametrize(("breaks", "what", "first"), BREAKS)
def test_what_is_broken_on_purpose_is_reported(
    breaks: Callable[[pytest.MonkeyPatch], None],
    what: str,
    first: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each invariant fails by its name where the product breaks it.

    `first` is a seed and a night that show it; after a change of the product another one may.
    """
    breaks(monkeypatch)

    nights = ((seed, n) for n in range(NIGHTS_MAX) for seed in (1, 3, 4, 5, 8, 12))
    found = (text for seed, n in chain([first], nights) for text in play(seed, n, INPUTS).found)

    assert any(text.startswith(f"{what}: ") for text in found)
