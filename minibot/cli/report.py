"""minibot report: the morning's screen of a run, its whole summary, and its page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minibot.cli.support.named_file import named_file, write_named
from minibot.cli.support.output import (
    progress_bar,
    show_json,
    show_lines,
    show_rows,
    show_toned,
)
from minibot.cli.support.selection import add_run, add_zone, run_dir_of
from minibot.kernel.errors import Refusal
from minibot.runtime.paths import shown_path

if TYPE_CHECKING:
    from minibot.report.night import Night

HELP = "a run on one screen, recomputed from its queues; --full, --html, --out: all of it"
EXAMPLE = "minibot report latest --html"
SPANS: Final = "--performance and --portfolio"
WHOLE_FLAGS: Final = ("full", "html", "out")
SPAN_FLAGS: Final = ("from_time", "to_time", "zone", "format", "outfile")
COST_FLAGS: Final = ("no_fees", "no_slippage")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument("--full", action="store_true", help="the whole summary, not one screen")
    command.add_argument(
        "--html", action="store_true", help="write report/report.html into the run's folder"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write the same page to FILE")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--performance", action="store_true", help="P&L, Sharpe, drawdown and exposure of a span"
    )
    which.add_argument(
        "--portfolio", action="store_true", help="what is held, by sector, beta, horizon and exit"
    )
    command.add_argument("--from", dest="from_time", metavar="TIME", help="begin of the span")
    command.add_argument("--to", dest="to_time", metavar="TIME", help="its end, excluded")
    add_zone(command)
    command.add_argument("--format", choices=("md", "csv"), help="default: md")
    command.add_argument(
        "--outfile", type=Path, metavar="PATH", help="write it there; --portfolio adds two SVG"
    )
    command.add_argument("--no-fees", action="store_true", help="leave out the line of the fees")
    command.add_argument(
        "--no-slippage", action="store_true", help="leave out the line of the slippage"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the screen, or the report that the flags name; reads only the run's folder."""
    # Imported here because `--help` needs nothing of a run.
    from minibot.cli.support.damage import note_altered
    from minibot.report.html import write_report
    from minibot.report.morning_screen import morning_screen
    from minibot.report.night import Night
    from minibot.report.summary import Row, summary_json, summary_rows

    run_dir = run_dir_of(arguments)
    _require_fitting(arguments)
    note_altered(run_dir)
    if arguments.performance or arguments.portfolio:
        return _show_span(run_dir, arguments)
    out = named_file(arguments.out)
    with progress_bar(f"reading {run_dir.name}") as progress:
        night = Night.open(run_dir, progress)
    if out is not None:
        _write_page(night, out)
    report = write_report(night) if arguments.html else run_dir / "report" / "report.html"
    path = str(report) if report.exists() else None
    if arguments.json:
        places = {"html": path} if out is None else {"html": path, "page": str(out)}
        show_json({**summary_json(night), **places})
        return 0
    if arguments.full:
        rows = summary_rows(night)
        if night.seal:
            rows += [Row("Proof"), Row("root", night.seal["root"])]
        shown = "none; --html writes it" if path is None else shown_path(report)
        rows += [Row("Files"), Row("run", shown_path(run_dir)), Row("report", shown)]
        show_rows([*rows, *([] if out is None else [Row("page", shown_path(out))])])
        return 0
    written = [report] * arguments.html + ([] if out is None else [out])
    screen = morning_screen(night)
    pages = [(f"page      {shown_path(each)}", "") for each in written]
    show_toned([*screen[:-1], *(pages or screen[-1:])])
    return 0


def _require_fitting(arguments: argparse.Namespace) -> None:
    """Refuse flags of a report that is not the chosen one: they would be silently ignored."""
    given = {name for name, value in vars(arguments).items() if value not in (None, False)}
    is_span = bool(given & {"performance", "portfolio"})
    owners = (
        (WHOLE_FLAGS, not is_span, "the report of a whole run", "A span is written by --outfile."),
        (SPAN_FLAGS, is_span, SPANS, "Give one of these, or --out FILE for the page."),
        (COST_FLAGS, arguments.performance, "--performance", "Add it, or leave this flag out."),
    )
    for flags, is_asked, owner, remedy in owners:
        wrong = next((name for name in flags if name in given), None)
        if wrong is not None and not is_asked:
            flag = wrong.removesuffix("_time").replace("_", "-")
            raise Refusal(f"--{flag} belongs to {owner}.", remedy)


def _write_page(night: Night, out: Path) -> None:
    """Write a night's page to a file outside its run; an existing file is replaced."""
    from minibot.report.html import page

    if out.resolve().is_relative_to(night.recorded.run_dir.resolve()):
        raise Refusal(f"{out} lies in the run.", "Write it there with --html.")
    write_named(out, page(night).encode())


def _show_span(run_dir: Path, arguments: argparse.Namespace) -> int:
    """Print or write the performance or portfolio report of a span; 0."""
    from minibot.cli.replay import window_between
    from minibot.engine.recorded_run import Recorded
    from minibot.replay.time_arguments import Span
    from minibot.report.performance_report import PerformanceReport, ReportSpan
    from minibot.report.portfolio_report import PortfolioReport

    recorded = Recorded.open(run_dir)
    whole = Span.of(recorded, arguments.zone)
    asked = window_between(arguments.from_time, arguments.to_time, whole)
    span = ReportSpan(max(whole.from_ms, asked.from_ms), min(whole.to_ms, asked.to_ms))
    out = named_file(arguments.outfile)
    if out is not None and out.resolve().is_relative_to(run_dir.resolve()):
        raise Refusal(f"{out} lies in the run.", "Name a file outside of it.")
    form, files = arguments.format or "md", dict[Path, str]()
    report: PerformanceReport | PortfolioReport
    with progress_bar(f"reading {run_dir.name}") as progress:
        if arguments.performance:
            report = PerformanceReport.of(recorded, span, progress)
            text = report.text(
                form,
                has_fees=not arguments.no_fees,
                has_slippage=not arguments.no_slippage,
            )
        else:
            report = PortfolioReport.of(recorded, span, progress)
            if out is not None:
                pictures = report.pictures().items()
                files = {out.with_suffix(f".{name}.svg"): drawn for name, drawn in pictures}
            text = report.text(form, [path.name for path in files])
    if out is not None:
        for path, content in {**files, out: text}.items():
            write_named(path, content.encode())
    if arguments.json:
        show_json(report.to_json())
    elif out is None:
        print(text, end="")
    else:
        show_lines([f"written: {shown_path(path)}" for path in (out, *files)])
    return 0
