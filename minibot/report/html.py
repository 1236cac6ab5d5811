"""Morning report: one self-contained HTML file in the run's `report/`.

No script, no font, no picture from outside; it can be mailed, archived, opened offline. All its
content comes from the queues; its root hash names the exact run.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from html import escape
from pathlib import Path

from minibot.events.model import JsonObject
from minibot.events.reasons import REASONS
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.report.chart import equity_chart
from minibot.report.figures import (
    clock,
    duration,
    megabytes,
    milliseconds,
    money,
    percent,
    plain_text,
    signed,
)
from minibot.report.hourly_ledger import ledger_table, ledger_text
from minibot.report.markup import Tile, document, heading, section, table, tile_row
from minibot.report.night import Night
from minibot.report.summary import Row, summary_rows

REPORT_FILE = "report.html"
TRIPS_SHOWN = 1000
INCIDENTS_SHOWN = 200


def write_report(night: Night) -> Path:
    """Write the report of a night into its folder and return the file."""
    folder = night.recorded.run_dir / "report"
    ensure_folder(folder)
    path = folder / REPORT_FILE
    write_atomic(path, page(night).encode("utf-8"))
    return path


def page(night: Night) -> str:
    """Return the whole page."""
    asset = night.manifest.config["portfolio"]["quote_asset"]
    sections = [
        section("Equity", equity_chart(night.count.curve.points, night.count.trades.trips, asset)),
        section("In words", _words(summary_rows(night))),
        section("Round trips", _trips(night)),
        section("Ledger by hour", _ledger(night)),
        section("Signals and refusals", _decisions(night)),
        section("Roles", _roles(night)),
        section("Latency", _latency(night)),
        section("Incidents", _incidents(night)),
        section("Proof", _proof(night)),
    ]
    return document(f"minibot {night.run_id}", [_head(night), _tiles(night, asset), *sections])


def _head(night: Night) -> str:
    manifest, end = night.manifest, night.end
    kind = "simulated, not a real night" if manifest.simulated else "real market data"
    badges = [("paper", ""), (kind, "")]
    if night.drill:
        badges.append((f"drill: {night.drill}", "bad"))
    if night.is_interrupted:
        badges.append(("interrupted", "bad"))
    elif end is not None:
        is_stop = end.kind == "STOP"
        badges.append((f"{'STOP ' if is_stop else ''}{end.reason_code}", "bad" if is_stop else ""))
    return heading(night.run_id, manifest.profile, badges)


def _tiles(night: Night, asset: str) -> str:
    figures = night.count.performance.to_json()
    before_fees = str(Decimal(figures["pnl"]) + Decimal(figures["fees"]))
    tone = "good" if Decimal(figures["pnl"]) > 0 else "bad" if Decimal(figures["pnl"]) < 0 else ""
    tiles = [
        Tile(f"result, {asset}", signed(figures["pnl"]), tone),
        Tile("before fees", signed(before_fees)),
        Tile("fees", money(figures["fees"])),
        Tile("equity at the end", money(figures["equity"])),
        Tile("largest drawdown", f"{money(figures['drawdown_bps_max'], 1)} bps"),
        Tile("round trips", str(figures["round_trips"])),
        Tile("win rate", percent(figures["win_rate"])),
        Tile("R:R", money(figures["reward_risk"])),
    ]
    return tile_row(tiles)


def _words(rows: Iterable[Row]) -> str:
    parts = []
    for row in rows:
        if row.label and not row.text:
            parts.append(f'<tr><th colspan="2">{escape(row.label)}</th></tr>')
            continue
        cells = f"<td>{escape(row.label)}</td><td>{escape(row.text)}</td>"
        parts.append(f'<tr class="{row.tone}">{cells}</tr>')
    return f'<table class="words">{"".join(parts)}</table>'


def _trips(night: Night) -> str:
    trips = night.count.trades.trips
    rows = []
    for trip in trips[-TRIPS_SHOWN:]:
        shown = trip.to_json()
        closed = clock(trip.closed_ts) if trip.is_closed else "open"
        held = duration(trip.closed_ts - trip.opened_ts) if trip.is_closed else "-"
        rows.append(
            (
                trip.symbol,
                clock(trip.opened_ts),
                closed,
                held,
                money(shown["qty"], 8),
                money(shown["entry_price"]),
                money(shown["exit_price"]),
                money(shown["fees"]),
                "-" if shown["net"] is None else signed(shown["net"]),
                night.count.left_because(trip) if trip.is_closed else "",
            )
        )
    head = (
        *("symbol", "opened", "closed", "held", "qty", "bought at", "sold at", "fees", "net"),
        "left because",
    )
    left = len(trips) - len(rows)
    note = f"<p>The first {left:,} are left out here.</p>" if left > 0 else ""
    return note + table(head, rows, "It did not trade.")


def _ledger(night: Night) -> str:
    head, rows = ledger_table(night.count.books)
    return table(head, rows, "") + f"<p>{escape(ledger_text(night.count.books))}.</p>"


def _decisions(night: Night) -> str:
    count = night.count
    rows = [("signal", side, "", f"{number:,}") for side, number in count.sides.items()]
    rows += [_reason("HOLD", code, n) for code, n in count.hold_reasons.most_common()]
    rows += [("risk", action, "", f"{number:,}") for action, number in count.actions.items()]
    rows += [_reason("BLOCK", code, n) for code, n in count.block_reasons.most_common()]
    return table(("by", "what", "meaning", "times"), rows, "Nothing was decided.")


def _reason(by: str, code: str, number: int) -> tuple[str, str, str, str]:
    reason = REASONS.get(code)
    return by, code, "" if reason is None else reason.meaning, f"{number:,}"


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
    return table(head, rows, "No role said anything.")


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
    rows = [
        (clock(ts), item.component, item.kind, plain_text(item.detail, 300), str(item.count or 1))
        for ts, item in night.count.incidents[-INCIDENTS_SHOWN:]
    ]
    rows += [
        (clock(ts), stop.component, f"STOP {stop.reason_code}", plain_text(stop.detail), "1")
        for ts, stop in night.stops
    ]
    return table(("at", "component", "kind", "detail", "times"), rows, "None.")


def _proof(night: Night) -> str:
    manifest = night.manifest
    hashes: JsonObject = {
        "root of the seal": night.seal.get("root", "not sealed"),
        "config": manifest.config_sha256,
        "contracts": manifest.contracts_sha256,
        "code": manifest.code_sha256,
        "lock file": manifest.lock_sha256 or "none",
        "python, platform": f"{manifest.python}, {manifest.platform}",
        "order endpoint calls": str(night.sealed.get("order_calls", "-")),
    }
    rows = [(name, str(value)) for name, value in hashes.items()]
    how = (
        f"<p>Check it yourself: <code>minibot verify {escape(night.run_id)}</code>, "
        f"<code>minibot replay {escape(night.run_id)}</code>, or "
        "<code>sha256sum -c SHA256SUMS</code> in the run's folder. "
        "Whoever keeps the root elsewhere can prove that nothing was changed since.</p>"
    )
    return table(("sha256 of", "value"), rows, "") + how
