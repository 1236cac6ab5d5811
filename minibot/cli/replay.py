"""minibot replay: feed the recorded inputs to the same cores and compare byte for byte."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.diff import lines as diff_lines
from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, add_zone, run_dir_of
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import WHOLE, RoleReplay, Window
from minibot.events.reasons import QUEUE_MISSING
from minibot.events.roles import Roles
from minibot.kernel.errors import Refusal, RunStop
from minibot.replay.compare import describe
from minibot.replay.proof import Proof, lost_line, prove, remedies
from minibot.replay.run_status import (
    RunStatus,
    by_this_code,
    called,
    open_run,
    require_ended,
)
from minibot.replay.time_arguments import Span
from minibot.report.figures import counted, listed
from minibot.report.proof import what_is_left
from minibot.runtime.manifest import MANIFEST_FILE
from minibot.runtime.runfiles import missing_of

HELP = "re-run every decision of a run and compare each derived event byte for byte"
EXAMPLE = "minibot replay latest --from 02:00 --to 03:00"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--role",
        choices=(roles := Roles.of_project().cores),
        action="append",
        metavar="ROLE",
        help=f"this role alone (may be repeated): {', '.join(roles)}",
    )
    command.add_argument(
        "--from", dest="from_time", metavar="TIME", help="compare from this market time on"
    )
    end = command.add_mutually_exclusive_group()
    end.add_argument(
        "--to",
        dest="to_time",
        metavar="TIME",
        help="compare up to this market time, it not included",
    )
    end.add_argument(
        "--until",
        metavar="TIME",
        help="the same as --to: replay up to here and no further, as of a damaged run",
    )
    command.add_argument(
        "--graph",
        action="store_true",
        help="which events were changed, and everything that depends on them",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="what would have been different under a changed profile (rule order); cash, market "
        "and end stay the run's own",
    )
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Replay a run; 0 identical, 1 with the first difference, or where the end is not proven."""
    run_dir = run_dir_of(arguments)
    try:
        recorded, condition = open_run(run_dir)
    except RunStop as error:
        if error.reason_code != QUEUE_MISSING and not missing_of(run_dir, (MANIFEST_FILE,)):
            raise
        return _show_remains(arguments, run_dir, error)
    if arguments.graph or arguments.set:
        _require_whole(arguments)
    if arguments.graph:
        return _show_graph(arguments, recorded)
    if arguments.set:
        return _show_changed(arguments, recorded, condition)
    span = Span.of(recorded, arguments.zone)
    window = window_of(arguments, span)
    with progress_bar(f"replaying {run_dir.name}") as show_progress:
        proof = prove(
            recorded,
            condition,
            roles=[name for name in recorded.roles.cores if name in (arguments.role or [name])],
            window=window,
            progress=show_progress,
        )
    show(arguments, proof.to_json(), lines(proof, span))
    return 0 if proof.is_identical else 1


def _show_remains(arguments: argparse.Namespace, run_dir: Path, error: RunStop) -> int:
    """Show the remains of a run that cannot be replayed, and what is missing."""
    left = what_is_left(run_dir)
    document = {
        "run_id": run_dir.name,
        "identical": False,
        "reason_code": error.reason_code,
        "detail": error.detail,
        "left": left,
    }
    lines = [
        f"{error.reason_code}: {error.detail}",
        f"{run_dir.name}: {left}",
        f"all damage with its places: minibot verify {called(run_dir)}",
        f"replay {run_dir.name}: NOT PROVEN",
    ]
    show(arguments, document, lines)
    return 1


def _require_whole(arguments: argparse.Namespace) -> None:
    """Refuse flags that the answer would silently ignore."""
    if arguments.graph and arguments.set:
        raise Refusal("--graph shows the run as recorded.", "Leave --set out.")
    narrowing = ("from_time", "to_time", "until", "role", "zone")
    if any(getattr(arguments, name) is not None for name in narrowing):
        what = "the graph" if arguments.graph else "a changed profile"
        raise Refusal(
            f"{what} covers the whole run, with times in UTC.",
            "Leave --from, --to, --until, --role and --zone out.",
        )


def _show_changed(arguments: argparse.Namespace, recorded: Recorded, condition: RunStatus) -> int:
    """Show the decisions of a changed profile; always 0, as there is no check to fail.

    Raises:
        Refusal: The run is still going, or other code made it, with which this code disagrees.
    """
    # Imported here because `--help` needs none of it.
    from minibot.replay.diff import rerun_with

    require_ended(recorded.run_dir, condition)
    title = f"replaying {recorded.manifest.run_id} twice"
    with by_this_code(condition), progress_bar(title) as show_progress:
        diff = rerun_with(recorded, arguments.set, show_progress)
    notices = list(condition.notices)
    if diff.idle:
        kept = "a replay keeps the run's own cash, market and end"
        notices.append(f"no effect can show of {listed(diff.idle)}: {kept}.")
    output = [*(f"note: {notice}" for notice in notices), *diff_lines(diff)]
    show(arguments, {**diff.to_json(), "notices": notices}, output)
    return 0


def _show_graph(arguments: argparse.Namespace, recorded: Recorded) -> int:
    from minibot.replay.graph.graph_books import graph_lines, graph_of

    with progress_bar(f"reading {recorded.manifest.run_id}") as show_progress:
        graph = graph_of(recorded, show_progress)
    show(arguments, graph.to_json(), graph_lines(graph))
    return 0 if graph.is_proven else 1


def window_of(arguments: argparse.Namespace, span: Span) -> Window:
    """Return the window to compare.

    Raises:
        Refusal: A time is outside the run.
    """
    end = arguments.until if arguments.to_time is None else arguments.to_time
    return window_between(arguments.from_time, end, span)


def window_between(first: str | None, last: str | None, span: Span) -> Window:
    """Return the window between two times of a run, the second excluded; None for no bound.

    Raises:
        Refusal: A time is outside the run, or the window is empty.
    """
    begin = WHOLE.from_ms if first is None else span.moment(first)
    end = WHOLE.to_ms if last is None else span.moment(last) - 1
    if end < begin:
        raise Refusal(f"{last} is not after {first}.", f"The run: {span.text}.")
    if end < span.from_ms:
        raise Refusal(f"nothing of this run is before {last}.", f"It goes from {span.text}.")
    return Window(begin, end)


def lines(proof: Proof, span: Span) -> list[str]:
    """Return the verdict in words, the verdict itself last."""
    replay = proof.replay
    output = [f"note: {notice}" for notice in proof.condition.notices]
    output += [f"lost: {lost_line(lost, span)}" for lost in proof.condition.lost]
    for role in replay.roles:
        output += role_lines(role, is_whole=proof.window.is_whole)
    output += _ledger_lines(proof) + _figure_lines(proof)
    if replay.difference is not None:
        output += describe(replay.difference)["lines"]
        output.append(f"  what depends on it: minibot replay {called(proof.run_dir)} --graph")
    if proof.broken is not None:
        where = f"{proof.broken.role} after input {proof.broken.inputs:,}"
        output.append(f"broken off: {where}: {proof.broken.reason_code}: {proof.broken.detail}")
        output += [f"  {remedy}" for remedy in remedies(proof, span)]
    verdict = "identical" if proof.is_identical else "DIFFERENT"
    if proof.condition.altered and proof.agrees:
        verdict = f"NOT PROVEN, as {', '.join(proof.condition.altered)} was altered"
    if proof.broken is not None:
        verdict = f"NOT PROVEN beyond {span.clock(max(proof.broken.clock, span.from_ms))}"
    digest = "" if proof.digest is None else f", digest {proof.digest}"
    output.append(f"replay {replay.run_id}{_range(proof, span)}: {verdict}{digest}")
    return output


def _range(proof: Proof, span: Span) -> str:
    begin, end = proof.window.from_ms, proof.window.to_ms
    if proof.condition.is_running:
        end = min(end, *(role.now for role in proof.replay.roles))
    if proof.window.is_whole and not proof.condition.is_running:
        return ""
    return f" from {span.clock(max(begin, span.from_ms))} to {span.clock(min(end + 1, span.to_ms))}"


def role_lines(role: RoleReplay, *, is_whole: bool) -> list[str]:
    """Return the result of replaying one role, in words."""
    outputs = ", ".join(f"{count} {queue}" for queue, count in role.outputs.items())
    compared = "" if is_whole else f", {role.compared} of them compared"
    lines = [f"{role.role}: {role.inputs} inputs replayed{compared}, {outputs} equal"]
    if role.missing:
        lines.append(f"  missing at the end of its queues: {counted(role.missing, 'output')}")
    if role.unproven:
        lines.append(f"  unproven, after the last logged input: {counted(role.unproven, 'event')}")
    return lines


def _ledger_lines(proof: Proof) -> list[str]:
    ledger = proof.ledger
    if ledger is None:
        return []
    counts = (
        f"{counted(ledger.lots, 'lot')}, {counted(ledger.trades, 'trade')}, "
        f"{counted(ledger.entries, 'entry', 'entries')}, {counted(ledger.states, 'closing')}"
    )
    if ledger.difference:
        return [f"ledger: DIFFERENT: {ledger.difference}"]
    kept = "equal" if ledger.is_recorded else "recomputed; the run recorded none"
    return [
        f"ledger: {counts} {kept}; the ledger balances at every full hour and the end; "
        f"chain {ledger.head[:16]}"
    ]


def _figure_lines(proof: Proof) -> list[str]:
    figures = proof.figures
    if figures is None:
        return []
    if not figures.is_recorded:
        return [f"metrics: {figures.figures} figures recomputed; the run recorded none"]
    if not figures.differing:
        return [f"metrics: {figures.figures} figures equal"]
    lines = [f"metrics: {counted(len(figures.differing), 'figure')} DIFFERENT"]
    for name, (one, two) in figures.differing.items():
        lines.append(f"  {name}: replay {one!r}, recorded {two!r}")
    return lines
