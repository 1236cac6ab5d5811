"""minibot explain: show why something happened, or did not: back to the tick, by second."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, add_zone, run_dir_of
from minibot.events.roles import Roles
from minibot.kernel.errors import Refusal
from minibot.replay.run_status import by_this_code, open_run
from minibot.replay.time_arguments import Span

if TYPE_CHECKING:
    from minibot.engine.recorded_run import Recorded
    from minibot.replay.explain.causes import Explainer
    from minibot.replay.explain.explanation import Explanation

HELP = "why it traded, or did not: a fill, an order, a trade, a second, or all refusals"
EXAMPLE = "minibot explain latest --at 02:13:07"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    queues = ", ".join(Roles.of_project().queues)
    text = f"minibot tail QUEUE shows ids; queues: {queues}"
    asked = command.add_argument_group("the question", text).add_mutually_exclusive_group()
    asked.add_argument(
        "--fill", metavar="ID", help="a fill; ids may be abbreviated: minibot tail fills"
    )
    asked.add_argument(
        "--order", metavar="ID", help="an order, client or intent id: minibot tail order_intents"
    )
    asked.add_argument(
        "--signal", metavar="ID", help="a signal and its effects: minibot tail signals"
    )
    asked.add_argument(
        "--trade", metavar="N", help="a trade, by its number in the run (default: the last one)"
    )
    asked.add_argument("--lot", metavar="N", help="a lot: its trade's number, or its fill's id")
    asked.add_argument(
        "--at", metavar="TIME", help="what it saw, held and decided: HH:MM[:SS], with a date or not"
    )
    asked.add_argument(
        "--why-not", choices=("BUY", "SELL"), help="which filter refused how often, and what next"
    )
    asked.add_argument("--stop", action="store_true", help="what ended the run, and what led to it")
    asked.add_argument("--last", action="store_true", help="the last fill alone")
    command.add_argument(
        "--full", action="store_true", help="the whole chain: every check, order, price and id"
    )
    command.add_argument("--symbol", help="with --at and --why-not: of this symbol, as BTC/USDT")
    command.add_argument("--from", dest="from_time", metavar="TIME", help="with --why-not: from")
    command.add_argument("--to", dest="to_time", metavar="TIME", help="with --why-not: up to")
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Print an explanation; 2 when nothing has that id or time."""
    # Imported here because `--help` needs none of it.
    from minibot.replay.explain.causes import Explainer
    from minibot.replay.explain.explanation import explanation_lines
    from minibot.report.headline import headline, headline_lines

    recorded, status = open_run(run_dir_of(arguments))
    if arguments.symbol is not None:
        arguments.symbol = recorded.manifest.named_symbol(arguments.symbol)
    _require_question(arguments)
    with by_this_code(status):
        if arguments.at is not None:
            return _second(arguments, recorded)
        if arguments.why_not:
            return _why_not(arguments, recorded)
    clock = Span.of(recorded, arguments.zone).clock
    explanation = _explain(Explainer(recorded, clock), arguments)
    lines_of = explanation_lines if arguments.full else headline_lines
    lines = lines_of(explanation, clock)
    if arguments.full:
        lines = [*(headline(story) for story in explanation.trades), *lines]
    show(arguments, explanation.to_json(), lines)
    return 0


def _second(arguments: argparse.Namespace, recorded: Recorded) -> int:
    from minibot.replay.explain.causes import Explainer
    from minibot.replay.explain.snapshot_at import snapshot_lines, snapshot_of_second

    span = Span.of(recorded, arguments.zone)
    at = (span.moment(arguments.at), span.moment(arguments.at, is_end=True))
    symbols = [arguments.symbol] if arguments.symbol else []
    with progress_bar(f"going back to {span.clock(at[1])}") as progress:
        second = snapshot_of_second(recorded, Explainer(recorded), span, at, symbols, progress)
    show(arguments, second.to_json(), snapshot_lines(second, span))
    return 0


def _why_not(arguments: argparse.Namespace, recorded: Recorded) -> int:
    from minibot.cli.replay import window_between
    from minibot.engine.role_replay import Window
    from minibot.replay.explain.rejections import why_not, why_not_lines

    span = Span.of(recorded, arguments.zone)
    asked = window_between(arguments.from_time, arguments.to_time, span)
    window = Window(max(asked.from_ms, span.from_ms), min(asked.to_ms, span.to_ms))
    with progress_bar(f"asking every decision of {recorded.manifest.run_id}") as progress:
        found = why_not(recorded, arguments.why_not, window, arguments.symbol, progress)
    show(arguments, found.to_json(), why_not_lines(found, span))
    return 0


def _explain(explainer: Explainer, arguments: argparse.Namespace) -> Explanation:
    for name in ("fill", "order", "signal", "trade", "lot"):
        asked = getattr(arguments, name)
        if asked is not None:
            answer: Explanation = getattr(explainer, name)(asked)
            return answer
    if arguments.stop:
        return explainer.stop()
    return explainer.last_fill() if arguments.last else explainer.last_trade()


def _require_question(arguments: argparse.Namespace) -> None:
    """Refuse combinations of flags of which the answer would silently ignore one."""
    is_narrowed = arguments.from_time is not None or arguments.to_time is not None
    if is_narrowed and not arguments.why_not:
        raise Refusal("--from and --to go with --why-not.", "For one moment: --at TIME")
    if arguments.symbol and arguments.at is None and not arguments.why_not:
        raise Refusal("--symbol goes with --at and --why-not.", "An id names its symbol itself.")
    if arguments.full and (arguments.at is not None or arguments.why_not):
        raise Refusal(
            "--full goes with an id, a trade, --stop and --last.",
            "Leave it out: --at and --why-not have one form.",
        )
