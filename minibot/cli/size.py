"""minibot size: show what an entry would cost, and which bound decides it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.profile import profile_of, recorded_profile
from minibot.cli.support.selection import add_profile, add_run, add_zone, run_dir_of
from minibot.events.decimals import NumberError, unpadded
from minibot.events.model import JsonObject
from minibot.events.money import parse_amount
from minibot.events.reasons import REASONS
from minibot.exchanges.venue_facts import SYMBOL
from minibot.kernel.errors import Refusal
from minibot.replay.run_status import by_this_code, open_run
from minibot.replay.time_arguments import Span
from minibot.report.columns import table_lines
from minibot.report.figures import plain_text
from minibot.runtime.runfiles import LATEST

if TYPE_CHECKING:
    from minibot.replay.explain.size_question import SizeAnswer

HELP = "how much a BUY would buy now, or at a time of a run, and which bound decides"
EXAMPLE = "minibot size BTCUSDT --explain"
SHOWN_MAX = 40
HEAD = ("bound", "value", "limit", "leaves", "")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("symbol", metavar="SYMBOL", help="as BTCUSDT or BTC/USDT")
    add_run(command)
    command.add_argument("--at", metavar="TIME", help="at this time of the run, not at its end")
    command.add_argument("--explain", action="store_true", help="a line for each bound")
    add_profile(command, needed=False)
    supposed = command.add_argument_group(
        "without a run", "the first entry of an account in cash, by --config; no venue's filters"
    )
    supposed.add_argument("--price", metavar="P", help="the price of the purchase")
    supposed.add_argument(
        "--equity", metavar="AMOUNT", help="the cash (default: portfolio.cash of the profile)"
    )
    supposed.add_argument("--atr", metavar="AMOUNT", help="the average true range, in quote")
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the size; 0 also when nothing would be bought."""
    document: JsonObject = {}
    if arguments.price is None:
        answer = _of_run(arguments, document)
    else:
        answer = _supposed(arguments)
    show(arguments, {**document, **answer.to_json()}, _lines(arguments, answer, document))
    return 0


def _of_run(arguments: argparse.Namespace, document: JsonObject) -> SizeAnswer:
    # Imported here because `--help` needs none of it.
    from minibot.replay.explain.size_at import size_at

    for name in ("equity", "atr", "config"):
        if getattr(arguments, name) is not None:
            raise Refusal(f"--{name} goes with --price.", "A run has its own; --set changes a key.")
    recorded, status = open_run(run_dir_of(arguments))
    symbol = recorded.manifest.named_symbol(arguments.symbol)
    config = recorded.manifest.config
    if arguments.set:
        config = recorded_profile(config, arguments).raw
    span = Span.of(recorded, arguments.zone)
    at = span.to_ms if arguments.at is None else span.moment(arguments.at, is_end=True)
    title = f"going back to {span.clock(at)}"
    with by_this_code(status), progress_bar(title) as progress:
        answer = size_at(recorded, config, symbol, at, progress)
    document |= {"run_id": recorded.manifest.run_id, "at_ms": at, "at": span.clock(at)}
    return answer


def _supposed(arguments: argparse.Namespace) -> SizeAnswer:
    from minibot.exchanges.venues import VENUES
    from minibot.replay.explain.size_question import size_supposed

    if arguments.config is None:
        raise Refusal("--price goes with --config.", "Name the profile whose sizing is asked.")
    if arguments.at is not None:
        raise Refusal("--at goes with a run.", "With --price there is no run.")
    if arguments.run_name != LATEST:
        raise Refusal(
            "a run and --price contradict.",
            f"Leave out {plain_text(arguments.run_name, SHOWN_MAX)}.",
        )
    profile = profile_of(arguments)
    config, symbol = profile.raw, VENUES[profile.venue].symbols.read(arguments.symbol)
    _judge_symbol(symbol, profile.portfolio.quote_asset)
    price = _amount("--price", arguments.price)
    cash = config["portfolio"]["cash"] if arguments.equity is None else arguments.equity
    equity = _amount("--equity", cash)
    atr = None if arguments.atr is None else _amount("--atr", arguments.atr) / 10**8
    return size_supposed(config, symbol, price, equity, atr)


def _judge_symbol(symbol: str, quote: str) -> None:
    """Refuse a symbol that is none, or that the cash of the profile cannot pay."""
    if SYMBOL.fullmatch(symbol) is None or symbol == quote:
        shown = plain_text(symbol, SHOWN_MAX)
        raise Refusal(f"{shown!r} is not a symbol.", "Name one, such as BTCUSDT or BTC/USDT.")
    if not symbol.endswith(quote):
        raise Refusal(
            f"{symbol} cannot be paid in {quote}.",
            f"Name a symbol that ends with {quote}, or set portfolio.quote_asset.",
        )


def _amount(flag: str, text: str) -> int:
    try:
        amount = parse_amount(text)
    except NumberError as error:
        raise Refusal(f"{flag}: {error}.", "Give a decimal number, such as 60000.5") from error
    if amount <= 0:
        raise Refusal(f"{flag} {text}: expected above zero.", "Give a decimal number above zero.")
    return amount


def _lines(arguments: argparse.Namespace, answer: SizeAnswer, document: JsonObject) -> list[str]:
    when = f" on {document['at']}" if document else ""
    head = f"{answer.symbol} at {unpadded(answer.ask)}{when}, equity {unpadded(answer.equity)}: "
    if answer.reason:
        meaning = REASONS[answer.reason].meaning
        lines = [f"{head}nothing ({answer.reason}): {meaning}"]
    else:
        bought = f"buys {unpadded(answer.qty)} for {unpadded(answer.notional)}"
        lines = [f"{head}{bought}; {answer.decided} decides"]
    if not arguments.explain:
        return lines
    rows = [
        (
            bound.name,
            unpadded(bound.value),
            unpadded(bound.limit),
            "-" if bound.leaves is None else unpadded(bound.leaves),
            "decides" if bound.decides else "" if bound.passed else "cuts too",
        )
        for bound in answer.bounds
    ]
    return [*lines, "", *table_lines(HEAD, rows, "no bound")]
