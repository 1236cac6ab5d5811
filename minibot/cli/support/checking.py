"""Checks of a backtest for `minibot backtest`: look-ahead and length of the warm-up."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from minibot.backtest.checks.verdict import (
    DECISIONS,
    MARKET,
    RANDOM,
    Finding,
    Verdict,
    changed_fields,
)
from minibot.backtest.sources.source_words import RULE
from minibot.cli.support.output import progress_bar, show
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock

if TYPE_CHECKING:
    from minibot.backtest.search.backtest_job import Job

if TYPE_CHECKING:
    from minibot.backtest.checks.warmup_check import Moved, WarmupCheck

ALL: Final = "all"
MOVED_HEAD: Final = ("value", "readings", "move", "by at most", "first", "the same from")


def add_check_flags(command: argparse.ArgumentParser) -> None:
    """Add the flags of the checks."""
    command.add_argument(
        "--lookahead-check",
        nargs="?",
        const=str(DECISIONS),
        type=_moments,
        metavar="N",
        help="run again over other data after N moments of decisions (default: "
        f"{DECISIONS}; or: all) and {RANDOM} random ones; exit 1 if anything before changes",
    )
    command.add_argument(
        "--startup-check",
        action="store_true",
        help="run after shorter and longer warm-ups; exit 1 if the profile's own moves decisions",
    )


def _moments(text: str) -> str:
    if text != ALL and not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a number or all, found {text}")
    return text


def lookahead(arguments: argparse.Namespace, job: Job) -> int:
    """Check for look-ahead; 0 when no event depends on later data, else 1."""
    # Imported here because no other backtest needs it.
    from minibot.backtest.checks.lookahead import check_lookahead

    decisions = None if arguments.lookahead_check == ALL else int(arguments.lookahead_check)
    with progress_bar("looking ahead") as show_progress:
        verdict = check_lookahead(
            job._replace(order=RULE), arguments.jobs, decisions=decisions, on_done=show_progress
        )
    show(arguments, verdict_json(verdict), verdict_lines(verdict))
    return 0 if verdict.is_clean else 1


def verdict_json(verdict: Verdict) -> dict[str, object]:
    """Return the verdict as one JSON object."""
    return {
        "clean": verdict.is_clean,
        "moments": verdict.moments,
        "decisions": verdict.decisions,
        "runs": verdict.runs,
        "differing": verdict.differing,
        "findings": [finding.to_json() for finding in verdict.findings],
        "reads": [{"path": read.path, "ts": read.ts} for read in verdict.reads],
        "modelled": verdict.modelled,
        "feeds": list(verdict.feeds),
    }


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return the verdict in words."""
    how = "cut" if verdict.is_cut_alone else "cut, shuffled or replaced"
    lines = [
        f"{counted(verdict.moments, 'moment')}, {verdict.decisions:,} of them of decisions, "
        f"{counted(verdict.runs, 'run')} over data that is {how} after it"
    ]
    for finding in verdict.findings:
        lines += finding_lines(finding)
    if verdict.differing > len(verdict.findings):
        lines.append(f"and {counted(verdict.differing - len(verdict.findings), 'more run')}")
    for path, ts in verdict.reads:
        when = "while it was made" if ts is None else f"while it decided at {_clock(ts)}"
        lines.append(f"a core opened {path} {when}: what it read there may be from the future")
    if verdict.modelled:
        lines.append(
            f"note: {counted(verdict.modelled, 'signal')} on ticks inside bars, which are modelled "
            "as low before high: test such a strategy on ticks"
        )
    if verdict.feeds:
        lines.append(
            f"note: values of {', '.join(verdict.feeds)} were not altered: a value whose time is "
            "before it was known looks ahead, and nothing here shows it"
        )
    if verdict.is_clean:
        return [*lines, "no look-ahead: no event changed that lies before what was altered"]
    found = [f"{counted(verdict.differing, 'run')} changed the past"] if verdict.differing else []
    found += [f"{counted(len(verdict.reads), 'file')} read"] if verdict.reads else []
    return [*lines, f"LOOK-AHEAD: {', '.join(found)}"]


def finding_lines(finding: Finding) -> list[str]:
    """Return one finding in words, field by field."""
    event = finding.before or finding.after
    who = "the market's own events" if finding.where == MARKET else finding.where
    return [
        f"{_clock(finding.ts)}: data after it {finding.kind}",
        f"  {who}: {event.get('type', 'event')} at {_clock(finding.event_ts)} changed",
        *(f"    {line}" for line in changed_fields(finding)),
    ]


def _clock(ts: int) -> str:
    return f"{date_clock(ts)}.{ts % 1000:03d}"


def startup(arguments: argparse.Namespace, job: Job) -> int:
    """Vary the warm-up; 0 when the profile's own gives the decisions of the longest, else 1."""
    from minibot.backtest.checks.warmup_check import check_warmup

    with progress_bar("warming up") as show_progress:
        found = check_warmup(job, arguments.jobs, show_progress)
    document = {
        "enough": found.is_enough,
        "longest": found.longest.warmup_bars,
        "longest_history_bars": found.longest.history_bars,
        "warmups": [each.to_json() for each in found.warmups],
    }
    show(arguments, document, startup_lines(found))
    return 0 if found.is_enough else 1


def startup_lines(found: WarmupCheck) -> list[str]:
    """Return the differences, one table for each warm-up."""
    longest = found.longest
    lines = [
        f"against {longest.warmup_bars} bars of warm-up "
        f"({longest.history_bars} of all intervals were there)"
    ]
    for each in found.warmups:
        own = ", the profile's own" if each.is_own else ""
        moving = [value for value in (each.decision, *each.values) if value.differing]
        still = 1 + len(each.values) - len(moving)
        lines += ["", f"{each.bars} bars{own} ({each.history_bars} were there)"]
        lines += table_lines(
            MOVED_HEAD, [_moved_cells(value) for value in moving], "Nothing moves."
        )
        if moving:
            lines.append(f"  {counted(still, 'other')} of {1 + len(each.values)} do not move")
    verdict = "enough: the decisions are those of the longest"
    if not any(each.is_own for each in found.warmups):
        verdict = "the longest that this source allows, so nothing shows whether it is enough"
    if not found.is_enough:
        verdict = "TOO SHORT: the longest gives other decisions"
    return [*lines, "", f"the profile's warm-up is {verdict}"]


def _moved_cells(value: Moved) -> list[str]:
    first, last = value.first_ts, value.last_ts
    by = value.difference_max or "other"
    is_last = value.differing == value.readings
    return [
        value.name,
        f"{value.readings:,}",
        f"{value.differing:,}",
        by,
        "-" if first is None else date_clock(first),
        "never" if is_last else "-" if last is None else f"after {date_clock(last)}",
    ]
