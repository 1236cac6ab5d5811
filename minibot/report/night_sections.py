"""Parts of a night's page: verdict, P&L lines, exits by reason, why it did not trade, hours."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Final

from minibot.events.model import BLOCK, HOLD
from minibot.events.reasons import REASONS
from minibot.events.unit_sizes import DAY_MS
from minibot.report.closed_trades import EXIT_OF, closed_trades, group_of, sums_by
from minibot.report.entry_notices import entry_notice
from minibot.report.figures import clock, counted, duration, listed, plain_text, signed
from minibot.report.markup import paragraph, table
from minibot.report.night import Night
from minibot.report.night_hours import HOURS_HEAD, hour_rows
from minibot.report.night_verdict import verdict_of
from minibot.report.outages import outages_of
from minibot.report.result_lines import FEES_PAID, RESULT, SLIPPAGE, result_lines
from minibot.report.summary import why_no_trade

# Lines that a reader can hide, with their name in the style sheet.
HIDDEN: Final = {SLIPPAGE: "slippage", FEES_PAID: "fees"}
OUTAGES_SHOWN: Final = 40
UNNAMED: Final = "unknown"


def verdict_paragraphs(night: Night) -> str:
    """Return the verdict with its cause, and under it the meaning and the next step."""
    verdict = verdict_of(night)
    named = f' class="{verdict.tone}"' if verdict.tone in ("good", "bad") else ""
    text = f'<p class="verdict"><b{named}>{escape(verdict.word)}</b> {escape(verdict.cause)}</p>'
    return f"{text}\n{paragraph(verdict.meaning, 'soft')}" if verdict.meaning else text


def pnl_lines(night: Night, asset: str) -> str:
    """Return the P&L as lines that add up, with a box each to hide slippage and fees."""
    lines = result_lines(night.count.performance, night.count.costs)
    boxes = "".join(
        f'<input type="checkbox" id="no-{kind}"><label for="no-{kind}">hide {escape(name)}</label>'
        for name, kind in HIDDEN.items()
    )
    rows = "".join(
        f'<tr class="{HIDDEN.get(name, "total" if name == RESULT else "")}">'
        f'<td>{escape(name)}</td><td class="n r">{escape(amount)}</td></tr>'
        for name, amount in lines.shown()
    )
    unquoted = night.count.costs.unquoted
    note = (
        f"In {asset}. Slippage is a fill's price against the mid of the quote that its order met; "
        "the lines add up to the result."
    )
    if unquoted:
        note += f" {counted(unquoted, 'fill')} without a quote count as no slippage."
    return f'<div class="pnl">{boxes}<table><tbody>{rows}</tbody></table></div>' + paragraph(
        note, "soft"
    )


def exits_by_reason(night: Night) -> str:
    """Return the table of closed trades by the reason of their exit, the most frequent first."""
    closed = closed_trades(night.count.trades, night.count.reasons)
    found = sums_by(closed, group_of(EXIT_OF)).items()
    rows = [
        (
            code or UNNAMED,
            f"{each.trades:,}",
            f"{each.won:,}",
            signed(str(-each.fees)),
            signed(str(each.net)),
            _meaning(code),
        )
        for code, each in sorted(found, key=lambda each: (-each[1].trades, each[0]))
    ]
    head = ("exit", "trades", "won", "fees", "net", "meaning")
    return table(head, rows, "No trade was closed.")


def why_not(night: Night) -> str:
    """Return why it held back: the budget that ended entries, then reasons by frequency."""
    count = night.count
    lines = []
    if not count.lines["fills"]:
        lines.append(why_no_trade(night))
    if stopped := entry_notice(count.entry_stops.to_json()):
        lines.append(f"{stopped[:1].upper()}{stopped[1:]}.")
    # Refusals first, as a night holds far more often than it refuses.
    rows = [
        (by, code, f"{number:,}", _share(number, reasons), _meaning(code))
        for by, reasons in ((BLOCK, count.block_reasons), (HOLD, count.hold_reasons))
        for code, number in reasons.most_common()
    ]
    head = ("by", "reason", "times", "share of these", "meaning")
    return "".join(map(paragraph, lines)) + table(head, rows, "Nothing held it back.")


def hour_by_hour(night: Night) -> str:
    """Return the table of the run's hours, and under it every outage."""
    rows = hour_rows(night.count, night.incidents)
    is_dated = bool(rows) and rows[0].from_ts // DAY_MS != rows[-1].from_ts // DAY_MS
    cells = [row.cells(is_dated=is_dated) for row in rows]
    lost = outages_of(night.count.gaps)
    lines = [
        f"{clock(each.from_ts)} to {clock(each.to_ts)}, {duration(each.length_ms)}: "
        f"{listed(sorted(each.symbols))}: {plain_text(each.why, 200)}"
        for each in lost[:OUTAGES_SHOWN]
    ]
    if more := len(lost) - len(lines):
        lines.append(f"and {counted(more, 'more outage')}")
    text = "".join(paragraph(f"Outage {line}") for line in lines)
    return table(HOURS_HEAD, cells, "No market data came.") + text


def _meaning(code: str) -> str:
    reason = REASONS.get(code)
    return "" if reason is None else reason.meaning


def _share(number: int, reasons: Counter[str]) -> str:
    return f"{100 * number / reasons.total():.1f} %"
