"""Portfolio report of a run at a market time, as Markdown or CSV, with two picture files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from minibot.engine.recorded_run import Recorded
from minibot.events.model import JsonObject
from minibot.events.money import amount_text
from minibot.report.choices import strategy_of
from minibot.report.figures import NONE, date_clock
from minibot.report.held_positions import (
    BENCHMARK,
    Alert,
    Holdings,
    holdings_at,
    position_json,
    ratio,
)
from minibot.report.holdings_pictures import matrix_svg, pie_svg
from minibot.report.minute_returns import PAIRS_MIN
from minibot.report.performance_report import (
    CSV,
    ReportSpan,
    markdown_cell,
    template,
)
from minibot.report.recount import Progress
from minibot.report.run_kind import read_seal, root_or_reason

COLUMNS: Final = (
    *("symbol", "quantity", "entry_price", "mark", "value", "share", "unrealised", "sector"),
    *("beta", "correlation_to_benchmark", "horizon", "alerts", "exit_status"),
)
MATRIX_MAX: Final = 16
ALERTS_SHOWN: Final = 100
CASH_SLICE: Final = "cash"
MATRIX: Final = "correlations"
PIE: Final = "sectors"


class PortfolioReport(NamedTuple):
    """Portfolio report: the facts of the run, its span, and the holdings at the span's end."""

    recorded: Recorded
    span: ReportSpan
    holdings: Holdings

    @classmethod
    def of(
        cls, recorded: Recorded, span: ReportSpan, progress: Progress = lambda lines: None
    ) -> PortfolioReport:
        """Return the report of a span.

        Raises:
            IntegrityError: A queue is damaged, or the run has no opening.
        """
        return cls(recorded, span, holdings_at(recorded, *span, progress))

    @property
    def symbols(self) -> list[str]:
        """Symbols of the matrix: the benchmark, held symbols, then the others, by name."""
        held = {each.symbol for each in self.holdings.positions}
        return sorted(
            self.holdings.moves.symbols(),
            key=lambda name: (name != BENCHMARK, name not in held, name),
        )[:MATRIX_MAX]

    def correlations(self) -> dict[tuple[str, str], Decimal | None]:
        """Return the correlation of each pair of `symbols`, in both orders."""
        moves, symbols = self.holdings.moves, self.symbols
        found: dict[tuple[str, str], Decimal | None] = {}
        for at, first in enumerate(symbols):
            for second in symbols[at:]:
                value = moves.correlation(first, second)
                found[first, second] = found[second, first] = value
        return found

    def to_json(self) -> JsonObject:
        """Return the holdings: amounts as decimal strings, None for a figure that there is not."""
        held, manifest = self.holdings, self.recorded.manifest
        return {
            "run_id": manifest.run_id,
            "asset": self.recorded.quote_asset,
            "from_ts": self.span.from_ts,
            "at_ts": held.at_ts,
            "equity": amount_text(held.equity),
            "cash": amount_text(held.cash),
            "benchmark": BENCHMARK if BENCHMARK in held.moves.symbols() else None,
            "positions": [position_json(each) for each in held.positions],
            "sectors": {name: amount_text(value) for name, value in held.sectors().items()},
            "correlations": [
                {"symbols": list(pair), "value": ratio(value)}
                for pair, value in self.correlations().items()
                if pair[0] < pair[1]
            ],
            "alerts": [each.to_json() for each in held.alerts],
            "root": read_seal(self.recorded.run_dir).get("root"),
        }

    def pictures(self) -> dict[str, str]:
        """Return each picture, an SVG file, by its name."""
        run_id = self.recorded.manifest.run_id
        slices = {**self.holdings.sectors(), CASH_SLICE: self.holdings.cash}
        return {
            MATRIX: matrix_svg(
                self.symbols, self.correlations(), f"Correlation by the minute, {run_id}"
            ),
            PIE: pie_svg(slices, f"Equity by sector, {run_id}"),
        }

    def text(self, form: str, pictures: Sequence[str] = ()) -> str:
        """Return the report as `MARKDOWN` or `CSV`.

        Args:
            form: The format.
            pictures: File names of the pictures, which Markdown shows.
        """
        return self._csv() if form == CSV else self._markdown(pictures)

    def _cells(self) -> list[list[str]]:
        rows = []
        for each in self.holdings.positions:
            fields = position_json(each) | {"alerts": ", ".join(each.alerts) or None}
            rows.append([NONE if fields[name] is None else str(fields[name]) for name in COLUMNS])
        return rows

    def _csv(self) -> str:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *self._cells()])
        return file.getvalue()

    def _markdown(self, pictures: Sequence[str]) -> str:
        held, manifest = self.holdings, self.recorded.manifest
        nothing = ["nothing is held", *[NONE] * (len(COLUMNS) - 1)]
        values = {
            "run_id": manifest.run_id,
            "profile": markdown_cell(manifest.profile),
            "strategy": markdown_cell(strategy_of(manifest.config)),
            "asset": self.recorded.quote_asset,
            "at": date_clock(held.at_ts),
            "from": date_clock(self.span.from_ts),
            "equity": amount_text(held.equity),
            "cash": amount_text(held.cash),
            "benchmark": BENCHMARK,
            "pairs_min": str(PAIRS_MIN),
            "holdings": _rows(self._cells() or [nothing]),
            "sectors": _rows(self._sector_rows()),
            "matrix": self._matrix(),
            "pictures": "".join(f"![{name}]({name})\n" for name in pictures)
            + ("\n" if pictures else ""),
            "alerts": _alert_lines(held.alerts),
            "root": root_or_reason(self.recorded.run_dir),
        }
        return template("portfolio_report.md.tmpl").substitute(values)

    def _sector_rows(self) -> list[list[str]]:
        held = self.holdings
        amounts = {**held.sectors(), CASH_SLICE: held.cash}
        return [
            [
                name,
                amount_text(value),
                ratio(Decimal(value) / held.equity) or NONE if held.equity > 0 else NONE,
            ]
            for name, value in amounts.items()
        ]

    def _matrix(self) -> str:
        symbols, found = self.symbols, self.correlations()
        if not symbols:
            return "No market data came.\n"
        head = ["", *symbols]
        rule = ["---", *["---:"] * len(symbols)]
        rows = [[one, *(ratio(found[one, other]) or NONE for other in symbols)] for one in symbols]
        return _rows([head, rule, *rows])


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(map(markdown_cell, row))} |\n" for row in rows)


def _alert_lines(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return "None.\n"
    rows = [
        [date_clock(each.ts), each.component, each.kind, str(each.times), each.detail]
        for each in alerts[-ALERTS_SHOWN:]
    ]
    head = [
        ["at, UTC", "component", "kind", "times", "detail"],
        ["---", "---", "---", "---:", "---"],
    ]
    left = len(alerts) - len(rows)
    note = f"\nThe first {left:,} are left out here.\n" if left else ""
    return _rows([*head, *rows]) + note
