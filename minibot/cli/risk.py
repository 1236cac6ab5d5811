"""minibot risk: show tier, headroom and locks of a run, and how long each lock still lasts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from minibot.cli.support.output import progress_bar, say, show_json, show_rows
from minibot.cli.support.selection import add_run, run_dir_of, var_of
from minibot.engine.lookup import last_event
from minibot.engine.role_replay import Recorded
from minibot.events.model import (
    ALL_SYMBOLS,
    JsonObject,
    PositionPlan,
    RiskStanding,
)
from minibot.events.money import amount_text, parse_amount
from minibot.events.names import RISK_ACTIONS, RISK_ROLE
from minibot.kernel.errors import Refusal
from minibot.report.figures import clock, duration, limit_left, money, plain_text
from minibot.report.summary import Row
from minibot.runtime.clock import RunClock
from minibot.runtime.paths import Var
from minibot.runtime.running import STALE_MS, running_run

REPORTED: Final = (
    *("protections", "drawdown_tiers", "account_drawdown_bps_hard"),
    *("week_notional_hard", "week_loss_hard"),
)
"""Keys of `risk` that each have the state reported."""
HELP = "the account's tier, what is left of each limit, and how long each lock lasts"
EXAMPLE = "minibot risk latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)


def run(arguments: argparse.Namespace) -> int:
    """Show the account and what is left now, for a run that is not running at its last tick; 0.

    Where this code disagrees with that of the run, what is left is unknown, as a note says. Damage
    that a replay meets is 1.
    """
    # Imported here because `--help` needs none of it.
    from minibot.replay.risk_at import facts_at
    from minibot.replay.run_status import by_this_code, open_run

    recorded, status = open_run(run_dir_of(arguments))
    var = var_of(arguments)
    running = running_run(var)
    facts: Mapping[str, Any] = {}
    folder = None if running is None else var.run(running)
    now_ms = now_of(recorded, folder)
    if is_in(recorded, folder):
        facts = live_facts(var, recorded.manifest.run_id)
    if not facts:
        try:
            with by_this_code(status), progress_bar("going to that time") as progress:
                facts = facts_at(recorded, now_ms, progress)
        except Refusal as refusal:  # Tier and locks are on record all the same.
            say(f"note: what is left of the limits is unknown: {refusal}")
    document = risk_of(recorded, now_ms, facts)
    if arguments.json:
        show_json(document)
    else:
        show_rows(rows_of(document))
    return 0


def now_of(recorded: Recorded, running: Path | None) -> int:
    """Return the market time of a running run; for another run, the time of its last tick.

    Args:
        recorded: The run.
        running: Folder of the run that is running; a copy of it is another one.
    """
    manifest = recorded.manifest
    if is_in(recorded, running):
        return RunClock(recorded.run_dir, manifest.clock_origin_ms, manifest.clock_speed).now_ms()
    last = last_event(recorded, "market_ticks")
    return manifest.clock_origin_ms if last is None else last.ts


def is_in(recorded: Recorded, folder: Path | None) -> bool:
    """Return whether a recorded run is the one in a folder, not a copy of it."""
    return folder is not None and folder.resolve() == recorded.run_dir.resolve()


def live_facts(var: Var, run_id: str) -> Mapping[str, Any]:
    """Return the facts of risk in the live status of a running run; empty without one of now."""
    from minibot.ops.figures_of_role import facts_of
    from minibot.ops.live_status import LiveStatus

    live = LiveStatus(var.status)
    if not live.look() or live.latest is None or live.latest["run_id"] != run_id:
        return {}
    if (live.age_ms() or 0) > STALE_MS:  # Its launcher stands still; the queues may have gone on.
        return {}
    facts = facts_of(live.latest, RISK_ROLE)
    return facts if "headroom" in facts else {}


def risk_of(recorded: Recorded, now_ms: int, facts: Mapping[str, Any]) -> JsonObject:
    """Return account, headroom and locks of a run as one JSON object.

    Without a `risk_state` account and locks are those of the facts. Without facts too the state is
    null: the profile has none of its limits, or risk has reported nothing yet (`is_untold`).

    Args:
        recorded: The run.
        now_ms: The moment, by market time.
        facts: Facts of risk at that moment; without them the account is as risk reported it last,
            at `told_ts`, and nothing is known of the headroom.
    """
    # Imported here because `--help` needs none of it.
    from minibot.cli.support.standing import standing_of

    newest: RiskStanding | None = None
    reported_ts: int | None = None
    plans: dict[str, PositionPlan] = {}
    for _, event in recorded.events(RISK_ACTIONS):
        payload = event.payload
        if isinstance(payload, RiskStanding):
            newest, reported_ts = payload, event.ts
        if isinstance(payload, PositionPlan):
            plans[payload.symbol] = payload
    standing = standing_of(recorded, now_ms)
    state = facts.get("account") if newest is None else newest.state
    account = {} if state is None else _account(newest, facts)
    held = facts.get("locks") if newest is None else newest.locks
    locks = [
        {**lock, "left_ms": int(lock["until_ts"]) - now_ms}
        for lock in held or ()
        if int(lock["until_ts"]) > now_ms
    ]
    limits = recorded.manifest.config["risk"]
    return {
        "run_id": recorded.manifest.run_id,
        "quote_asset": recorded.manifest.config["portfolio"]["quote_asset"],
        "now_ms": now_ms,
        "told_ts": reported_ts,
        "state": state,
        "is_untold": state is None and any(limits.get(key) for key in REPORTED),
        "tier": None if newest is None else newest.tier,
        "equity": account.get("equity"),
        "high_water_mark": account.get("high_water_mark"),
        "drawdown_bps": account.get("drawdown_bps"),
        "headroom": facts.get("headroom"),
        "locks": locks,
        "campaigns": campaigns_of(plans),
        "halted": standing.halted,
        "operator_locks": standing.locks,
    }


def _account(newest: RiskStanding | None, facts: Mapping[str, Any]) -> JsonObject:
    """Return equity, high-water mark and drawdown by facts, else as reported last."""
    if newest is not None and "headroom" not in facts:
        names = ("equity", "high_water_mark", "drawdown_bps")
        return {name: getattr(newest, name) for name in names}
    return {
        "equity": facts["equity"],
        "high_water_mark": facts.get("account_high_water_mark"),
        "drawdown_bps": facts.get("account_drawdown_bps"),
    }


def campaigns_of(plans: Mapping[str, PositionPlan]) -> list[JsonObject]:
    """Return the campaigns in progress by the last reported plans, in the order of symbols.

    The rest of the worst loss is the worst loss minus the loss at the stop in force.
    """
    found = []
    for symbol, plan in sorted(plans.items()):
        campaign = plan.campaign
        if campaign is None or plan.campaign_id is None:
            continue
        left = parse_amount(campaign["loss_max"]) - parse_amount(campaign["at_risk"])
        found.append(
            {
                "symbol": symbol,
                "campaign_id": plan.campaign_id,
                "entries": campaign["entries"],
                "entries_max": campaign["entries_max"],
                "loss_max": campaign["loss_max"],
                "reserve_left": amount_text(left),
            }
        )
    return found


def rows_of(document: JsonObject) -> list[Row]:
    """Return the same in words."""
    rows = [Row(f"risk of {document['run_id']} at {clock(document['now_ms'])} UTC")]
    state, asset = document["state"], document["quote_asset"]
    if document.get("is_untold"):
        rows.append(Row("state", "unknown: risk has reported nothing in this run yet"))
    elif state is None:
        rows.append(Row("state", "none: the profile has no protections, tiers or week budgets"))
    else:
        text = f"{state}, equity {money(document['equity'])}"
        if document["high_water_mark"] is not None:
            text += (
                f", {money(document['drawdown_bps'], 1)} bps below the account's high-water mark "
                f"of {money(document['high_water_mark'])}"
            )
        rows.append(Row("state", text, "" if state == "ACTIVE" else "bad"))
    for number, (name, left) in enumerate(sorted((document["headroom"] or {}).items())):
        rows.append(Row("" if number else "left of", limit_left(name, left, asset)))
    for campaign in document.get("campaigns", ()):
        text = f"{campaign['symbol']}: {campaign['entries']} of {campaign['entries_max']} entries"
        text += f", {money(campaign['reserve_left'])} of {money(campaign['loss_max'])} left to lose"
        rows.append(Row("campaign", text))
    if document["halted"] is not None:
        rows.append(Row("entries", "halted: " + plain_text(str(document["halted"]["why"])), "bad"))
    for lock in document["locks"]:
        scope = "all symbols" if lock["scope"] == ALL_SYMBOLS else lock["scope"]
        rows.append(
            Row("locked", f"{scope} for {duration(lock['left_ms'])}: {lock['reason_code']}", "bad")
        )
    for symbol, lock in sorted(document["operator_locks"].items()):
        until = lock["until_ts"]
        left = "this run" if until is None else duration(int(until) - document["now_ms"])
        rows.append(Row("locked", f"{symbol} for {left}: {plain_text(str(lock['why']))}", "bad"))
    if not document["locks"] and not document["operator_locks"]:
        rows.append(Row("locked", "unknown" if document.get("is_untold") else "nothing"))
    return rows
