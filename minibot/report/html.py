"""The morning report: one HTML file in the run's `report/` that needs nothing beside itself.

No script, no font, no picture from outside; it can be mailed, archived, opened offline. It shows
what the queues say; its root hash pins the run that it speaks of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from minibot.report.night import Night
from minibot.report.style import STYLE
from minibot.report.summary import Row, summary_rows

REPORT_FILE = "report.html"
TRIPS_SHOWN = 1000
INCIDENTS_SHOWN = 200

Cells = Sequence[str]


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
        _section("Equity", equity_chart(night.count.curve.points, night.count.trades.trips, asset)),
        _section("In words", _words(summary_rows(night))),
        _section("Round trips", _trips(night)),
        _section("Signals and refusals", _decisions(night)),
        _section("Roles", _roles(night)),
        _section("Latency", _latency(night)),
        _section("Incidents", _incidents(night)),
        _section("Proof", _proof(night)),
    ]
    title = f"minibot {night.run_id}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{_head(night)}\n{_tiles(night, asset)}\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


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
    shown = " ".join(f'<span class="badge {tone}">{escape(text)}</span>' for text, tone in badges)
    title = f"{escape(night.run_id)} <small>{escape(manifest.profile)}</small>"
    return f"<h1>{title}</h1>\n<p>{shown}</p>"


def _tiles(night: Night, asset: str) -> str:
    figures = night.count.performance.to_json()
    before_fees = str(Decimal(figures["pnl"]) + Decimal(figures["fees"]))
    tone = "good" if Decimal(figures["pnl"]) > 0 else "bad" if Decimal(figures["pnl"]) < 0 else ""
    tiles = [
        (f"result, {asset}", signed(figures["pnl"]), tone),
        ("before fees", signed(before_fees), ""),
        ("fees", money(figures["fees"]), ""),
        ("equity at the end", money(figures["equity"]), ""),
        ("largest drawdown", f"{money(figures['drawdown_bps_max'], 1)} bps", ""),
        ("round trips", str(figures["round_trips"]), ""),
        ("win rate", percent(figures["win_rate"]), ""),
        ("R:R", money(figures["reward_risk"]), ""),
    ]
    shown = "".join(
        f'<div class="tile"><b class="{tone}">{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value, tone in tiles
    )
    return f'<div class="tiles">{shown}</div>'


def _words(rows: Iterable[Row]) -> str:
    parts = []
    for row in rows:
        if row.label and not row.text:
            parts.append(f'<tr><th colspan="2">{escape(row.label)}</th></tr>')
            continue
        cells = f"<td>{escape(row.label)}</td><td>{escape(row.text)}</td>"
        parts.append(f'<tr class="{row.tone}">{cells}</tr>')
    return f'<table class="words">{"".join(parts)}</table>'


def _table(head: Cells, rows: Sequence[Cells], none: str) -> str:
    """Return a table whose first column is text and whose other columns are figures."""
    if not rows:
        return f"<p>{escape(none)}</p>"
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{body}</table></div>'


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
            )
        )
    head = ("symbol", "opened", "closed", "held", "qty", "bought at", "sold at", "fees", "net")
    left = len(trips) - len(rows)
    note = f"<p>The first {left:,} are left out here.</p>" if left > 0 else ""
    return note + _table(head, rows, "It did not trade.")


def _decisions(night: Night) -> str:
    count = night.count
    rows = [("signal", side, "", f"{number:,}") for side, number in count.sides.items()]
    rows += [_reason("HOLD", code, n) for code, n in count.hold_reasons.most_common()]
    rows += [("risk", action, "", f"{number:,}") for action, number in count.actions.items()]
    rows += [_reason("BLOCK", code, n) for code, n in count.block_reasons.most_common()]
    return _table(("by", "what", "meaning", "times"), rows, "Nothing was decided.")


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
    return _table(head, rows, "No role said anything.")


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
            "tick to published result",
            f"{decision.get('tick_to_result_n', 0):,}",
            milliseconds(decision.get("tick_to_result_us_p50") or None),
            milliseconds(decision.get("tick_to_result_us_p95") or None),
            "-",
        ),
        ("one sync of this disk", "", milliseconds(night.sealed.get("sync_us_p50")), "-", "-"),
    ]
    return _table(("machine time", "n", "p50", "p95", "p99"), rows, "")


def _incidents(night: Night) -> str:
    rows = [
        (clock(ts), item.component, item.kind, plain_text(item.detail, 300), str(item.count or 1))
        for ts, item in night.count.incidents[-INCIDENTS_SHOWN:]
    ]
    rows += [
        (clock(ts), stop.component, f"STOP {stop.reason_code}", plain_text(stop.detail), "1")
        for ts, stop in night.stops
    ]
    return _table(("at", "component", "kind", "detail", "times"), rows, "None.")


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
    return _table(("sha256 of", "value"), rows, "") + how
