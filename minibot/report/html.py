"""Morning report: one self-contained HTML file in the run's `report/`.

No script, no font, no picture from outside; it can be mailed, archived, opened offline. Its figures
come from the queues; manifest and seal add facts of the run, such as times, hashes and disk sync.
The verdict repeats that of `accept`, if it has judged this seal. The root names the exact run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject, StopJournal
from minibot.events.reasons import REASONS
from minibot.events.unit_sizes import BPS
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.report.chart import equity_chart
from minibot.report.choices import strategy_of
from minibot.report.figures import (
    change,
    clock,
    counted,
    date_clock,
    duration,
    listed,
    megabytes,
    milliseconds,
    money,
    percent,
    plain_text,
    share,
    signed,
    signed_or_none,
)
from minibot.report.hourly_ledger import ledger_table, ledger_text
from minibot.report.market_change import MarketChange
from minibot.report.markup import (
    Tile,
    document,
    hashes,
    heading,
    machine,
    paragraph,
    section,
    table,
    tile_row,
    tone_of,
)
from minibot.report.night import Night
from minibot.report.night_sections import (
    exits_by_reason,
    hour_by_hour,
    pnl_lines,
    verdict_paragraphs,
    why_not,
)
from minibot.report.price_chart import MARKS_EXPLAINED, Marked
from minibot.report.run_facts import keep_facts, market_of
from minibot.report.summary import Row, machine_rows, summary_rows
from minibot.report.trade_sections import OPEN, prices_drawn, trips_table

REPORT_FILE = "report.html"
STOPS_SHOWN = 3
INCIDENTS_SHOWN = 200
# A model's id, which a browser would break after its hyphen.
MODEL_ID: Final = re.compile(r"\b[a-z]+-[0-9a-f]{8,}\b")
# Symbols of a source stand without blanks: a phone breaks their line behind a comma.
IN_A_LIST: Final = re.compile(r",(?=[A-Z])")


def write_report(night: Night) -> Path:
    """Write the report of a night into its folder, together with its facts; return the file."""
    keep_facts(night)
    folder = night.recorded.run_dir / "report"
    ensure_folder(folder)
    path = folder / REPORT_FILE
    write_atomic(path, page(night).encode("utf-8"))
    return path


def page(night: Night) -> str:
    """Return the whole page: verdict, result, prices with round trips, then everything else."""
    asset = night.manifest.config["portfolio"]["quote_asset"]
    market = market_of(night)
    marked = marked_of(night)
    rows, ran = summary_rows(night), machine_rows(night)
    rows = rows[: len(rows) - len(ran)]
    parts = [
        _head(night),
        _tiles(night, asset, market),
        _tiles_note(night, market),
        pnl_lines(night, asset),
        section("Price with entries and exits", _prices(night, marked)),
        section("Round trips", trips_table(marked)),
        section("Equity", equity_chart(night.count.curve.points, night.count.trades.trips, asset)),
        section("Hour by hour", hour_by_hour(night)),
        section("Exits by reason", exits_by_reason(night)),
        section("Why it did not trade", why_not(night)),
        section("In words", _words(rows)),
        machine(
            f"Machine details: ledger, roles, latency, {_incident_words(night)}, proof",
            [
                section("In words", _words(ran)),
                section("Ledger by hour", _ledger(night)),
                section("Roles", _roles(night)),
                section("Latency", _latency(night)),
                section("Incidents", _incidents(night)),
                section("Proof", _proof(night)),
            ],
        ),
    ]
    return document(f"minibot {night.run_id}", parts)


def _incident_words(night: Night) -> str:
    number = len(night.incidents)
    words = counted(number, "incident") if number else "no incident"
    return f"{words}, {counted(len(night.stops), 'STOP')}" if night.stops else words


def _head(night: Night) -> str:
    manifest, end = night.manifest, night.end
    badges = [("paper", "")]
    if manifest.simulated:
        badges.append(("simulated, not a real night", ""))
    elif night.made_up:
        badges.append((f"made-up market data: {plain_text(night.made_up, 200)}", "bad"))
    else:
        badges.append(("real market data", ""))
    if night.drill:
        badges.append((f"drill: {night.drill}", "bad"))
    if night.is_interrupted:
        badges.append(("interrupted", "bad"))
    elif end is not None:
        is_stop = end.kind == "STOP"
        badges.append((f"{'STOP' if is_stop else 'ended by'} {end.reason_code}", "bad" * is_stop))
    begin, last = manifest.clock_origin_ms, night.count.market.last_ts
    if last:
        span = f"{date_clock(begin)} to {date_clock(last)} UTC, {duration(night.market_ms)}"
        badges.append((span, ""))
    shown = heading(
        night.run_id,
        f"{manifest.profile}, {listed([strategy_of(manifest.config), *night.symbols])}",
        badges,
    )
    others = night.stops[:STOPS_SHOWN] if len(night.stops) > 1 else []
    stopped = [paragraph(_stop_words(stop), "bad") for _, stop in others]
    return "\n".join([verdict_paragraphs(night), shown, *stopped])


def _stop_words(stop: StopJournal) -> str:
    reason = REASONS.get(stop.reason_code)
    meaning = f": {reason.meaning}" if reason is not None else "."
    return f"Stopped by {stop.reason_code}{meaning} {plain_text(stop.detail)}"


def _tiles(night: Night, asset: str, market: MarketChange) -> str:
    """Return the tiles, with the names on a backtest's page."""
    figures = night.count.performance.to_json()
    pnl, start = Decimal(figures["pnl"]), Decimal(figures["equity_start"])
    held, tone = market.to_json(), tone_of(figures["pnl"])
    tiles = [
        Tile(f"result, {asset}", signed(figures["pnl"]), tone),
        Tile("return", change(str(pnl / start) if start else None), tone),
        Tile("market change", change(held["change"]), tone_of(held["change"])),
        Tile(f"buy and hold, {asset}", signed_or_none(held["buy_and_hold"]["pnl"])),
        Tile("max drawdown", share(str(Decimal(figures["drawdown_bps_max"]) / BPS))),
        Tile("trades", f"{figures['round_trips']:,}"),
        Tile("win rate", percent(figures["win_rate"])),
        Tile("R:R, mean win / mean loss", money(figures["reward_risk"])),
        Tile(f"before fees, {asset}", signed(str(pnl + Decimal(figures["fees"])))),
        Tile(f"fees, {asset}", money(figures["fees"])),
    ]
    return tile_row(tiles)


def _tiles_note(night: Night, market: MarketChange) -> str:
    """Return the note under the tiles: the rule of buy-and-hold."""
    return paragraph(market.rule(), "soft") if market.symbols else ""


def marked_of(night: Night) -> list[Marked]:
    """Return the round trips of a night as the price chart marks them."""
    reasons = night.count.reasons
    return [
        Marked(
            *(number, trip, reasons.entered_because(trip), reasons.left_because(trip) or OPEN),
            reasons.steps_of(trip),
        )
        for number, trip in enumerate(night.count.trades.trips, start=1)
    ]


def _prices(night: Night, marked: Sequence[Marked]) -> str:
    count = night.count
    begins = [bars[0].ts for bars in count.prices.values()]
    from_ts = min(begins, default=0)
    drawn = prices_drawn(count.prices, marked, from_ts, max(count.market.last_ts, from_ts))
    return f"{drawn}\n{paragraph(MARKS_EXPLAINED, 'soft')}" if marked else drawn


def _words(rows: Iterable[Row]) -> str:
    parts = []
    for row in rows:
        if row.label and not row.text:
            parts.append(f'<tr><th colspan="2">{escape(row.label)}</th></tr>')
            continue
        text = MODEL_ID.sub(r'<span class="n">\g<0></span>', escape(row.text))
        text = IN_A_LIST.sub(",<wbr>", text)
        cells = f"<td>{escape(row.label)}</td><td>{text}</td>"
        parts.append(f'<tr class="{row.tone}">{cells}</tr>')
    return f'<table class="words">{"".join(parts)}</table>'


def _ledger(night: Night) -> str:
    head, rows = ledger_table(night.count.books)
    return table(head, rows, "") + f"<p>{escape(ledger_text(night.count.books))}.</p>"


def _roles(night: Night) -> str:
    tally = night.count.tally.to_json()
    restarts = night.restarts
    rows = [
        (
            role,
            duration(uptime * 1000),
            str(restarts[role]),
            megabytes(tally["processes"][role]["rss_bytes"]),
            duration(tally["processes"][role]["cpu_ms"] or 0),
            str(tally["processes"][role]["open_files"]),
            str(tally["processes"][role]["threads"]),
        )
        for role, uptime in tally["uptime_s"].items()
    ]
    head = ("role", "uptime", "restarts", "memory", "cpu", "descriptors", "threads")
    return table(head, rows, "No role wrote anything.")


def _latency(night: Night) -> str:
    tally = night.count.tally.to_json()
    pings, decision = tally["latency_us"], tally["decision"]
    rows = [
        (
            "exchange, round trip",
            f"{pings['n']:,}",
            *(milliseconds(pings[name]) for name in ("p50", "p95", "p99")),
        ),
        (
            "tick to order result",
            f"{decision.get('tick_to_result_n', 0):,}",
            milliseconds(decision.get("tick_to_result_us_p50") or None),
            milliseconds(decision.get("tick_to_result_us_p95") or None),
            "-",
        ),
        ("one disk sync", "", milliseconds(night.sealed.get("sync_us_p50")), "-", "-"),
    ]
    return table(("wall-clock time", "n", "p50", "p95", "p99"), rows, "")


def _incidents(night: Night) -> str:
    found = night.incidents
    rows = [
        (clock(ts), item.component, item.kind, plain_text(item.detail, 300), str(item.count or 1))
        for ts, item in found[-INCIDENTS_SHOWN:]
    ]
    left = len(found) - len(rows)
    note = paragraph(f"The first {left:,} are left out here.") if left else ""
    rows += [
        (clock(ts), stop.component, f"STOP {stop.reason_code}", plain_text(stop.detail), "1")
        for ts, stop in night.stops
    ]
    return note + table(("at", "component", "kind", "detail", "times"), rows, "None.")


def _proof(night: Night) -> str:
    manifest = night.manifest
    values: JsonObject = {
        "root of the seal": night.root,
        "config": manifest.config_sha256,
        "contracts": manifest.contracts_sha256,
        "code": manifest.code_sha256,
        "lock file": manifest.lock_sha256 or "none",
        "python, platform": f"{manifest.python}, {manifest.platform}",
        "order endpoint calls": str(night.sealed.get("order_calls", "-")),
    }
    rows = [(name, str(value)) for name, value in values.items()]
    how = (
        f"<p>Check it yourself: <code>minibot verify {escape(night.run_id)}</code>, "
        f"<code>minibot replay {escape(night.run_id)}</code>, or "
        "<code>sha256sum -c SHA256SUMS</code> in the run's folder. "
        "Whoever keeps the root elsewhere can prove that nothing was changed since.</p>"
    )
    return hashes(("sha256 of", "value"), rows) + how
