"""minibot explain: why a fill, an order, a signal or a STOP happened, back to the tick."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

from minibot.cli.output import show
from minibot.cli.selection import add_run, run_dir_of
from minibot.kernel.errors import Refusal
from minibot.replay.engine import Recorded
from minibot.replay.explain import Explainer, Explanation, explanation_lines

HELP = "why something happened: from a fill, order, signal or STOP back to the tick"
EXAMPLE = "minibot explain latest --fill 659c13dd"
TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    asked = command.add_mutually_exclusive_group()
    asked.add_argument("--fill", metavar="ID", help="a fill; ids may be abbreviated")
    asked.add_argument("--order", metavar="ID", help="an order, by its own, client or intent id")
    asked.add_argument("--signal", metavar="ID", help="a signal, and what came of it")
    asked.add_argument(
        "--at", metavar="HH:MM[:SS]", help="what it thought at a UTC time of the run"
    )
    asked.add_argument("--stop", action="store_true", help="what stopped the run")
    asked.add_argument("--last", action="store_true", help="the last fill (the default)")
    command.add_argument("--symbol", help="with --at: of this symbol")


def run(arguments: argparse.Namespace) -> int:
    """Explain; 2 when nothing has that id."""
    recorded = Recorded.open(run_dir_of(arguments))
    explanation = _explain(Explainer(recorded), arguments, recorded)
    show(arguments, explanation.to_json(), explanation_lines(explanation))
    return 0


def _explain(
    explainer: Explainer, arguments: argparse.Namespace, recorded: Recorded
) -> Explanation:
    if arguments.fill:
        return explainer.fill(arguments.fill)
    if arguments.order:
        return explainer.order(arguments.order)
    if arguments.signal:
        return explainer.signal(arguments.signal)
    if arguments.at:
        ts = time_of_run(arguments.at, recorded.manifest.clock_origin_ms)
        return explainer.at(ts, arguments.symbol)
    return explainer.stop() if arguments.stop else explainer.last_fill()


def time_of_run(text: str, origin_ms: int) -> int:
    """Return the end of a minute or second of the run: the first such time after its start.

    Raises:
        Refusal: It is no time of day.
    """
    found = TIME.fullmatch(text)
    if found is None:
        raise Refusal(f"{text!r} is no time.", "Give HH:MM or HH:MM:SS, in UTC.")
    hour, minute, second = (int(part or 0) for part in found.groups())
    begin = datetime.fromtimestamp(origin_ms / 1000, UTC)
    moment = begin.replace(hour=hour, minute=minute, second=second, microsecond=0)
    moment += timedelta(seconds=1) if found[3] else timedelta(minutes=1)
    if moment <= begin:
        moment += timedelta(days=1)
    return int(moment.timestamp() * 1000) - 1
