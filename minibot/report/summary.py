"""Summary of a night in words that a trader understands, and the same as one JSON object.

It has the run's facts, activity, result and risk, its health, and open ends.
Its figures come from the queues; wall-clock time, lag, disk sync and order calls come from the
seal. `acceptance` judges them and `proof` proves them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from minibot.events.model import JsonObject
from minibot.events.names import AI_ROLE
from minibot.events.reasons import REASONS
from minibot.report.entry_notices import entry_notice
from minibot.report.figures import (
    counted,
    date_clock,
    duration,
    listed,
    megabytes,
    milliseconds,
    minutes,
    money,
    percent,
    plain_text,
    price,
    signed,
)
from minibot.report.hourly_ledger import ledger_text
from minibot.runtime.stop import END_KIND

if TYPE_CHECKING:
    from minibot.report.night import Night

INCIDENTS_SHOWN = 6
NEVER_COUNTS = "simulated, never counts as a real night"
AI_DETAILS_SHOWN = 3


class Row(NamedTuple):
    """Row of the summary: a label (a heading has no text), its text, and its tone."""

    label: str
    text: str = ""
    tone: str = ""  # "", "good", "bad", "dim"


def summary_rows(night: Night) -> list[Row]:
    """Return the summary, line by line."""
    return [
        *_what_ran(night),
        *_what_it_did(night),
        *_result(night),
        *_how_it_ran(night),
    ]


def machine_rows(night: Night) -> list[Row]:
    """Return the end of the summary: how the machine ran, from latency to incidents."""
    return _how_it_ran(night)


def summary_json(night: Night) -> JsonObject:
    """Return the summary as one JSON object."""
    end, count, manifest = night.end, night.count, night.manifest
    return {
        "run_id": night.run_id,
        "profile": manifest.profile,
        "simulated": manifest.simulated,
        "drill": night.drill,
        "source": source_of(night),
        "state": night.sealed.get("state", "running or unsealed"),
        "reason_code": None if end is None else end.reason_code,
        "detail": None if end is None else end.detail,
        "stops": dict(Counter(stop.reason_code for _, stop in night.stops)),
        "planned_ms": night.planned_ms,
        "stopped_ms": night.stopped_ms,
        "market_from_ms": manifest.clock_origin_ms,
        "market_to_ms": count.market.last_ts or None,
        "wall_ms": night.wall_ms,
        "metrics": count.metrics(),
        "signals": dict(count.sides),
        "holds": dict(count.hold_reasons.most_common()),
        "risk_actions": dict(count.actions),
        "blocks": dict(count.block_reasons.most_common()),
        "entry_stops": count.entry_stops.to_json(),
        "order_results": dict(count.results),
        "trips": [trip.to_json() for trip in count.trades.trips],
        "restarts": dict(night.restarts),
        "ai": {
            "off": night.ai_off,
            "detail": count.ai_detail,
            "recommendations": dict(count.models),
        },
        "incidents": [
            {"component": item.component, "kind": item.kind, "detail": item.detail, "count": n}
            for item, n in night.incident_counts(is_with_expected=True)
        ],
        "sync_us_p50": night.sealed.get("sync_us_p50"),
        "lag_market_ms_max": night.sealed.get("lag_market_ms_max"),
        "order_calls": night.sealed.get("order_calls"),
        "root": night.seal.get("root"),
        "altered": list(night.altered),
    }


# --- what ran ---------------------------------------------------------------------------------


def source_of(night: Night) -> str:
    """Return the source of the market data."""
    embedded = night.manifest.config.get("embedded")
    if embedded is None:
        return night.manifest.hosts[0] if night.manifest.hosts else "the exchange"
    return str(embedded["source"])


def _what_ran(night: Night) -> list[Row]:
    manifest, count = night.manifest, night.count
    symbols = listed(night.symbols)
    if manifest.simulated:
        speed = f"{manifest.clock_speed} times as fast"
        history = "" if count.has_history else ", without bars from before its start"
        data = f"{symbols}, {source_of(night)}, {speed}{history}: {NEVER_COUNTS}"
    else:
        data = f"{symbols}, live from {source_of(night)}"
    wall = "not ended" if night.wall_ms is None else duration(night.wall_ms)
    begin, end = manifest.clock_origin_ms, count.market.last_ts
    span = f"{date_clock(begin)} to {date_clock(end)} UTC, {duration(night.market_ms)}"
    rows = [
        Row(f"Run {night.run_id}, profile {manifest.profile}, paper"),
        *_ended_by(night),
        Row("data", data),
        Row("strategy", _strategy(manifest.config["strategy"])),
        Row("market time", f"{span if end else 'none'}; wall-clock time {wall}"),
    ]
    if night.altered:
        text = f"{listed(night.altered)}: not as sealed; see: minibot verify {night.run_id}"
        rows.append(Row("altered", text, "bad"))
    if manifest.degraded:
        rows.append(Row("degraded", f"{manifest.degraded}; never counts", "bad"))
    if night.drill:
        rows.append(Row("drill", f"{night.drill}: faults were injected on purpose", "bad"))
    return rows


def _strategy(section: JsonObject) -> str:
    """Return the strategy's name, with file and sha256 if it is the operator's own."""
    source = section.get("source")
    if source is None:
        return str(section["name"])
    return f"{section['name']}, {source['path']}, sha256 {source['sha256'][:16]}"


def _ended_by(night: Night) -> list[Row]:
    end = night.end
    if night.is_interrupted and end is None:
        return [Row("ended by", "nothing: the run was interrupted and recovered by a start", "bad")]
    if end is None:
        return [Row("ended by", "it has not ended", "dim")]
    reason = REASONS.get(end.reason_code)
    meaning = reason.meaning if reason is not None else ""
    if end.kind == END_KIND:
        ended = f"{end.reason_code}: {meaning}"
        if night.is_interrupted:
            text = f"{ended} It was interrupted before its seal, and recovered by a start."
            return [Row("ended by", text, "bad")]
        return [Row("ended by", ended, "good")]
    stopped = Row("STOPPED by", f"{end.reason_code}: {meaning}", "bad")
    return [stopped, Row("", plain_text(end.detail), "bad")]


# --- what it did ------------------------------------------------------------------------------


def _what_it_did(night: Night) -> list[Row]:
    count, tally = night.count, night.count.tally.to_json()
    types, lines = count.market.types, count.lines
    pings = tally["latency_us"]
    ticks = counted(types["market_tick"], "tick")
    stopped = entry_notice(count.entry_stops.to_json())
    return [
        Row("What it did"),
        Row(
            "market",
            f"{ticks}, {counted(types['bar'], 'bar')}, {counted(types['book'], 'book')};"
            f" {counted(pings['n'] + pings['errors'], 'health check')} of the exchange",
        ),
        Row("signals", _split(count.sides)),
        Row("risk", _split(count.actions)),
        *([Row("entries", stopped, "bad")] if stopped else []),
        Row(
            "paper orders",
            f"{counted(count.intents, 'intent')}{_bracketed(count.results)}, "
            f"{counted(lines['fills'], 'fill')}",
        ),
        Row("journal", f"{sum(lines.values()):,} events, each line with its sha256"),
    ]


def _split(parts: Counter[str]) -> str:
    return f"{parts.total():,}{_bracketed(parts)}"


def _bracketed(parts: Counter[str]) -> str:
    named = (f"{number:,} {name.lower().replace('_', ' ')}" for name, number in parts.items())
    return f" ({listed(named)})" if parts else ""


# --- what it earned ---------------------------------------------------------------------------


def result_text(night: Night) -> str:
    """Return result and trades of a night in a few words."""
    figures = night.count.performance.to_json()
    asset = night.manifest.config["portfolio"]["quote_asset"]
    trades = counted(figures["round_trips"], "trade")
    if figures["round_trips"]:
        trades += f" ({figures['wins']} won, {figures['losses']} lost)"
    held = len(figures["open_positions"])
    still = f", {counted(held, 'position')} still open" if held else ""
    return f"result {signed(figures['pnl'])} {asset}, {trades}{still}"


def _result(night: Night) -> list[Row]:
    figures = night.count.performance.to_json()
    asset = night.manifest.config["portfolio"]["quote_asset"]
    pnl = Decimal(figures["pnl"])
    before_fees = str(pnl + Decimal(figures["fees"]))
    fallen = f"{money(figures['drawdown_max'])} ({money(figures['drawdown_bps_max'], 1)} bps)"
    rows = [
        Row(f"Result in {asset}, on paper"),
        Row(
            "result",
            f"{signed(figures['pnl'])}: {signed(before_fees)} before fees, "
            f"{money(figures['fees'])} paid in fees",
            "good" if pnl > 0 else "bad" if pnl < 0 else "",
        ),
        Row("", _plainly(night, pnl, Decimal(before_fees))),
        Row(
            "equity",
            f"{money(figures['equity_start'])} at the start, {money(figures['equity'])} at the "
            f"end; largest fall from a high {fallen}",
        ),
    ]
    if figures["round_trips"]:
        rows.append(
            Row(
                "trades",
                f"{counted(figures['round_trips'], 'round trip')}: {figures['wins']} won, "
                f"{figures['losses']} lost; win rate {percent(figures['win_rate'])}, "
                f"R:R {money(figures['reward_risk'])}",
            )
        )
    rows.append(Row("ledger", ledger_text(night.count.books)))
    rows.append(open_row(figures["open_positions"]))
    return [row for row in rows if row.label or row.text]


def _plainly(night: Night, pnl: Decimal, before_fees: Decimal) -> str:
    """Return one sentence that explains the figures where they could be misread."""
    if not night.count.lines["fills"]:
        return why_no_trade(night)
    if pnl >= 0:
        return ""
    fees = pnl - before_fees
    if before_fees >= 0:
        made = "made nothing" if not before_fees else f"made {money(str(before_fees))}"
        return f"It only lost its fees: before {money(str(-fees))} of fees it {made}."
    if -before_fees * 4 <= -fees:
        return (
            f"Nearly all of the loss is fees: it paid {money(str(-fees))}; "
            f"before fees it lost {money(str(-before_fees))}."
        )
    return ""


def why_no_trade(night: Night) -> str:
    """Return the most frequent reason for no trade: a refusal by risk, else by the strategy."""
    refused = night.count.block_reasons.most_common(1)
    held = night.count.hold_reasons.most_common(1)
    if not refused and not held:
        return "It did not trade: no signal came."
    by = "Risk refused its signals" if refused else "The strategy held"
    code, number = (refused or held)[0]
    reason = REASONS.get(code)
    why = reason.meaning if reason is not None else code
    return f"It did not trade. {by}, most often ({counted(number, 'time')}): {why}"


def open_row(positions: Sequence[JsonObject]) -> Row:
    """Return the row of the positions that a run has left open."""
    if not positions:
        return Row("still open", "nothing")
    text = "; ".join(
        f"{money(item['qty'], 8)} {item['symbol']} bought at {price(item['entry_price_avg'])}"
        for item in positions
    )
    return Row("still open", f"{text} (nothing closes it; a run that carries takes it over)", "bad")


# --- how it ran -------------------------------------------------------------------------------


def _how_it_ran(night: Night) -> list[Row]:
    rows = [Row("How it ran"), _stop_row(night), _decision_row(night), _exchange_row(night)]
    rows += _role_rows(night)
    rows.append(_ai_row(night))
    incidents = night.incident_counts()
    for item, number in incidents[:INCIDENTS_SHOWN]:
        kind, said = item.kind, plain_text(item.detail, 200)
        if number == 1:
            text = f"{kind}, {item.component}: {said}"
        else:
            text = f"{kind} ({number} times), {item.component}, the last: {said}"
        rows.append(Row("incident", text))
    if len(incidents) > INCIDENTS_SHOWN:
        rows.append(Row("", f"and {len(incidents) - INCIDENTS_SHOWN} more kinds"))
    if not incidents:
        rows.append(Row("incidents", "none"))
    return rows


def _stop_row(night: Night) -> Row:
    """Return the share of STOP in this run: stopped of planned minutes (U-21)."""
    if not night.stops:
        return Row("STOP share", "no time was lost to a STOP")
    stopped, planned = minutes(night.stopped_ms), minutes(night.planned_ms)
    text = f"{stopped} of the {planned} minutes that the profile plans were lost to a STOP"
    text += "; a recording may be shorter" if night.made_up else ""
    return Row("STOP share", text, "bad")


def _decision_row(night: Night) -> Row:
    decision = night.count.tally.to_json()["decision"]
    sync_us = night.sealed.get("sync_us_p50")  # In the seal alone.
    sync = milliseconds(sync_us)
    number = decision.get("tick_to_result_n", 0)
    # An order is measured while its tick is among the last ones that execution remembers.
    orders = counted(night.count.intents, "order")
    if not number:
        text = "no order, so nothing to measure"
        if night.count.intents:
            text = f"not measured: none of {orders} followed from one of the last ticks"
        return Row("latency", text if sync_us is None else f"{text}; a disk sync takes {sync} p50")
    p50 = milliseconds(decision["tick_to_result_us_p50"])
    p95 = milliseconds(decision["tick_to_result_us_p95"])
    text = f"tick to order result {p50} p50, {p95} p95 over {number:,} of {orders}"
    each = "" if sync_us is None else f" of {sync} p50 each"
    return Row("latency", f"{text}, including five disk syncs{each}")


def _exchange_row(night: Night) -> Row:
    pings = night.count.tally.to_json()["latency_us"]
    where = "exchange"
    if not pings["n"]:
        return Row(where, f"never answered; {pings['errors']} health checks failed", "bad")
    text = f"answers in {milliseconds(pings['p50'])} p50, {milliseconds(pings['p95'])} p95"
    lag = night.sealed.get("lag_market_ms_max")
    if night.manifest.simulated and lag:
        text += f"; greatest lag behind simulated time {duration(int(lag))}"
    return Row(where, f"{text}; {pings['errors']} of {pings['n'] + pings['errors']} checks failed")


def _role_rows(night: Night) -> list[Row]:
    tally = night.count.tally.to_json()
    restarts = night.restarts
    rows: list[Row] = []
    for role, uptime in tally["uptime_s"].items():
        process = tally["processes"][role]
        label = "roles" if not rows else ""
        text = (
            f"{role:<15} up {duration(uptime * 1000):>12}, "
            f"{counted(restarts[role], 'restart'):>10}, {megabytes(process['rss_bytes']):>6}, "
            f"cpu {duration(process['cpu_ms'] or 0)}"
        )
        rows.append(Row(label, text, "bad" if restarts[role] else ""))
    return rows


def _ai_row(night: Night) -> Row:
    if night.ai_off:
        return Row("AI", f"off: {plain_text(night.ai_off, 200)}", "bad")
    answered = sum(night.count.models.values())
    if not answered and AI_ROLE not in night.manifest.processes:
        return Row("AI", "off by profile")
    models = listed(night.count.models)
    detail = plain_text("; ".join(night.count.ai_detail.split("; ")[:AI_DETAILS_SHOWN]), 200)
    return Row("AI", f"{counted(answered, 'recommendation')} by {models}; {detail}")
