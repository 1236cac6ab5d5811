"""minibot diff: where the decisions of two nights diverge, and with which results."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import find_run, var_of
from minibot.replay.explain.lines import clock_ms
from minibot.replay.run_status import open_run
from minibot.report.figures import counted, date_clock, money

if TYPE_CHECKING:
    from minibot.replay.diff import Diff, Divergence, Side
    from minibot.replay.rule_order import DerivedEvent

HELP = "compare what two runs decided: where they part first, and what came of it"
EXAMPLE = "minibot diff 20261120_013000 latest"
FIELDS_SHOWN = 8
VALUE_SHOWN_MAX = 60
MONEY = ("equity", "pnl", "fees", "drawdown_max")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("one", metavar="RUN_A", help="run id, directory or latest")
    command.add_argument("other", metavar="RUN_B", help="run id, directory or latest")


def run(arguments: argparse.Namespace) -> int:
    """Compare; 0 when both decided the same, else 1."""
    # Imported here because `--help` needs none of it.
    from minibot.replay.diff import diff_runs

    var = var_of(arguments)
    opened = [open_run(find_run(name, var)) for name in (arguments.one, arguments.other)]
    (one, _), (other, _) = opened
    with progress_bar(f"comparing {arguments.one} with {arguments.other}") as show_progress:
        diff = diff_runs(one, other, show_progress)
    notices = list(dict.fromkeys(text for _, found in opened for text in found.notices))
    output = [*(f"note: {notice}" for notice in notices), *lines(diff)]
    show(arguments, {**diff.to_json(), "notices": notices}, output)
    return 0 if diff.is_same else 1


def lines(diff: Diff) -> list[str]:
    """Return the comparison in words."""
    output = [f"one      {diff.one.name}", f"other    {diff.other.name}", f"market   {diff.market}"]
    if diff.span is not None:
        begin, end = map(date_clock, diff.span)
        output.append(f"time     {begin} to {end} UTC, which both saw: all below is of it alone")
    output += [
        f"profile  {name}: {_value(one)} -> {_value(other)}"
        for name, (one, other) in diff.changed.items()
    ]
    output += ["", *_parting(diff), "", *effect(diff.one, diff.other), ""]
    verdict = "the same" if diff.is_same else "DIFFERENT"
    if diff.is_same and diff.one.digest == diff.other.digest:
        verdict += f", digest {diff.one.digest}"
    elif diff.is_same:
        verdict += f", digests {diff.one.digest} and {diff.other.digest}"
    output.append(f"diff: decisions {verdict}")
    return output


def _parting(diff: Diff) -> list[str]:
    if diff.decision is None and diff.value is None:
        return [f"Nothing differs in {counted(len(diff.one.derived), 'event')}."]
    lines = []
    if diff.value is not None and (diff.decision is None or diff.value.index < diff.decision.index):
        lines += ["First value that differs, with the same decision:", *_divergence(diff.value)]
    if diff.decision is not None:
        lines += ["First decision that differs:", *_divergence(diff.decision)]
    return lines


def _divergence(found: Divergence) -> list[str]:
    lines = [f"  {clock_ms(found.ts)}, after {counted(found.index, 'event')} alike"]
    lines.append(f"    one    {_event_words(found.one)}")
    lines.append(f"    other  {_event_words(found.other)}")
    lines += _fields(found.fields, "      ")
    if found.states:
        lines.append("    before it the cores differed in")
        lines += _fields(found.states, "      ")
    return lines


def _event_words(event: DerivedEvent | None) -> str:
    if event is None:
        return "nothing more"
    from minibot.replay.diff import decision_fields

    words = " ".join(map(str, decision_fields(event.event.payload).values())) or event.event.type
    return f"{event.queue}:{event.seq} {clock_ms(event.event.ts)} {words}"


def _fields(fields: Mapping[str, tuple[Any, Any]], indent: str) -> list[str]:
    lines = [
        f"{indent}{name}: {_value(one)} | {_value(other)}"
        for name, (one, other) in list(fields.items())[:FIELDS_SHOWN]
    ]
    more = len(fields) - FIELDS_SHOWN
    return lines + ([f"{indent}... {more} more: --json"] if more > 0 else [])


def effect(first: Side, second: Side, names: tuple[str, str] = ("one", "other")) -> list[str]:
    """Return the figures of two sides next to each other, those marked that differ.

    Amounts are rounded, but for two that would then look alike and are not.
    """
    one, other = first.figures(), second.figures()
    rows = [
        (name.replace("_", " "), *_pair(name, one[name], other[name]))
        for name in one
        if one[name] is not None or other[name] is not None
    ]
    heads = ("", *names)
    widths = [max(len(row[index]) for row in [heads, *rows]) for index in range(3)]
    lines = [f"  {'':<{widths[0]}}  {heads[1]:>{widths[1]}}  {heads[2]:>{widths[2]}}"]
    for name, left, right in rows:
        mark = "" if left == right else "  *"
        lines.append(f"  {name:<{widths[0]}}  {left:>{widths[1]}}  {right:>{widths[2]}}{mark}")
    return lines


def _pair(name: str, one: Any, other: Any) -> tuple[str, str]:
    if name in MONEY and (one == other or money(one) != money(other)):
        return money(one), money(other)
    return str(one), str(other)


def _value(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= VALUE_SHOWN_MAX else text[: VALUE_SHOWN_MAX - 3] + "..."
