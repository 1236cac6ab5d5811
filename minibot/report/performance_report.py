"""Performance report of a run or a span of it, as Markdown or CSV, made from shipped templates.

`templates/perf_report.md.tmpl` and `perf_report.csv.tmpl` hold the words; the values come from
`span_meter`. Without fees or slippage exactly that line is left out, and no other changes.
"""

from __future__ import annotations

import csv
import io
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from minibot.engine.recorded_run import Recorded
from minibot.events.model import JsonObject
from minibot.events.money import amount_text
from minibot.report.choices import strategy_of, symbols_of
from minibot.report.figures import NONE, counted, date_clock, listed
from minibot.report.recount import Progress
from minibot.report.result_lines import FEES_PAID, SLIPPAGE
from minibot.report.run_kind import read_seal, root_or_reason
from minibot.report.span_meter import SpanMeter, measured_span

MARKDOWN: Final = "md"
CSV: Final = "csv"
TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
RATIO_PLACES_SHOWN: Final = 4


class ReportSpan(NamedTuple):
    """Span of a report, Unix ms; both ends belong to it."""

    from_ts: int
    to_ts: int


class PerformanceReport(NamedTuple):
    """Performance report: the facts of the run, its span, and the meter of it."""

    recorded: Recorded
    span: ReportSpan
    meter: SpanMeter

    @classmethod
    def of(
        cls, recorded: Recorded, span: ReportSpan, progress: Progress = lambda lines: None
    ) -> PerformanceReport:
        """Return the report of a span.

        Raises:
            IntegrityError: A queue is damaged, or the run has no opening.
        """
        return cls(recorded, span, measured_span(recorded, *span, progress))

    def to_json(self) -> JsonObject:
        """Return the figures: amounts as decimal strings, None for a figure that there is not."""
        meter, manifest = self.meter, self.recorded.manifest
        hit, weighted = meter.hit_rate, meter.exposure_weighted_return
        lines = {f"{name}_pnl": value for name, value in meter.lines.to_json().items()}
        return {
            "run_id": manifest.run_id,
            "profile": manifest.profile,
            "strategy": strategy_of(manifest.config),
            "symbols": list(symbols_of(manifest, meter.symbols)),
            "asset": self.recorded.quote_asset,
            "from_ts": self.span.from_ts,
            "to_ts": self.span.to_ts,
            "hours": len(meter.levels) - 1,
            "spec_pnl": lines["spec_pnl"],
            "slippage": lines["slippage_pnl"],
            "fees": lines["fees_pnl"],
            "raw_pnl": lines["raw_pnl"],
            "unquoted_fills": meter.tally.unquoted,
            "sharpe": _ratio(meter.sharpe),
            "drawdown_max": amount_text(meter.drawdown_max),
            "drawdown_bps": _ratio(meter.drawdown_bps),
            "trades": len(meter.trips),
            "hit_rate": _ratio(hit),
            "exposure_mean": amount_text(meter.exposure_mean),
            "exposure_weighted_return": _ratio(weighted),
            "root": read_seal(self.recorded.run_dir).get("root"),
        }

    def text(self, form: str, *, has_fees: bool = True, has_slippage: bool = True) -> str:
        """Return the report as `MARKDOWN` or `CSV`."""
        figures = self.to_json()
        shown = {name: NONE if value is None else str(value) for name, value in figures.items()}
        shown |= {
            "symbols": listed(figures["symbols"]),
            "from": date_clock(self.span.from_ts),
            # The end as it was asked for, which is excluded; not the last millisecond before it.
            "to": date_clock(self.span.to_ts + 1),
            "root": root_or_reason(self.recorded.run_dir),
        }
        cell = _csv_cell if form == CSV else markdown_cell
        values = {name: cell(value) for name, value in shown.items()}
        unquoted = figures["unquoted_fills"]
        sentence = f"; {counted(unquoted, 'fill')} without a quote count as none"
        values["unquoted"] = sentence if unquoted else ""
        for name, is_shown in ((FEES_PAID, has_fees), (SLIPPAGE, has_slippage)):
            row = f"{name},{values[name]}\n" if form == CSV else f"| {name} | {values[name]} |\n"
            values[f"{name}_line"] = row if is_shown else ""
        return template(f"perf_report.{form}.tmpl").substitute(values)


def template(name: str) -> Template:
    """Return a shipped template."""
    return Template((TEMPLATES / name).read_text(encoding="utf-8"))


def _ratio(value: Decimal | None) -> str | None:
    if value is None:
        return None
    shown = value.quantize(Decimal(1).scaleb(-RATIO_PLACES_SHOWN), ROUND_HALF_EVEN)
    return f"{shown + 0:f}"


def _csv_cell(text: str) -> str:
    """Return a text as one cell of a CSV file."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow([text])
    return file.getvalue()


def markdown_cell(text: str) -> str:
    """Return a text that neither ends a cell of a table nor its line."""
    return " ".join(text.split()).replace("|", "\\|")
