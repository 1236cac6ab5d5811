"""Run a benchmark, `python -m tools.bench NAME`; exit code 1 where a figure misses its must.

    python -m tools.bench journal                    all measures, without peers
    python -m tools.bench journal --peers            and the peers beside them, set up on demand
    python -m tools.bench journal --only J4 J7 --json
    python -m tools.bench backtest --peers           history through the live cores
    python -m tools.bench market --peers             a combined stream through the market role
    python -m tools.bench first_hour                 set-up, demo, verbs, the guide, pages
    python -m tools.bench risk --before COMMIT       portfolio, entries, scanner, storm, a year
    python -m tools.bench operator                   page, ops, report, bundle, verbs, alerts

Every report names machine, disk, load and pace, because the machine changes the figures.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.bench import (
    backtest,
    first_hour,
    journal,
    machine,
    market,
    operator,
    pace,
    peers,
    risk,
    risk_year,
)
from tools.bench.frame import Json, Measure, lines


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benches = command.add_subparsers(dest="bench", required=True, metavar="NAME")
    of_journal = benches.add_parser("journal", help=journal.HELP)
    of_journal.add_argument("--only", nargs="+", metavar="ID", choices=list(journal.MEASURES))
    of_journal.add_argument("--real", action="store_true", help="events of 446 bytes, as BTCUSDT's")
    of_journal.add_argument("--full", action="store_true", help="J6 over all 25 million lines")
    of_backtest = benches.add_parser("backtest", help=backtest.HELP)
    of_backtest.add_argument("--only", nargs="+", metavar="ID", choices=list(backtest.MEASURES))
    of_backtest.add_argument("--full", action="store_true", help="ten million ticks as well")
    of_backtest.add_argument("--core", type=int, default=1, help="pin every case to this core")
    of_backtest.add_argument("--run", type=Path, help="a long recorded run for B6")
    of_market = benches.add_parser("market", help=market.HELP)
    of_market.add_argument("--only", nargs="+", metavar="ID", choices=list(market.MEASURES))
    of_market.add_argument("--core", type=int, default=1, help="pin the client to this core")
    of_backtest.add_argument(
        "--peer-seconds", type=float, metavar="S", help="how long a run of a peer may take at most"
    )
    of_hour = benches.add_parser("first_hour", help=first_hour.HELP)
    of_hour.add_argument("--only", nargs="+", metavar="ID", choices=list(first_hour.MEASURES))
    of_risk = benches.add_parser("risk", help=risk.HELP)
    of_risk.add_argument("--only", nargs="+", metavar="ID", choices=list(risk.MEASURES))
    of_risk.add_argument("--full", action="store_true", help="R1 over all million bars")
    of_risk.add_argument("--core", type=int, default=1, help="pin every case to this core")
    of_risk.add_argument("--before", metavar="COMMIT", help="the commit with which R2 compares")
    of_risk.add_argument(
        "--data", type=Path, default=risk_year.DATA, help="real market data for R8 (../shared/data)"
    )
    of_operator = benches.add_parser("operator", help=operator.HELP)
    of_operator.add_argument("--only", nargs="+", metavar="ID", choices=list(operator.MEASURES))
    of_operator.add_argument("--run", type=Path, help="a long sealed run for O4 and O5")
    of_operator.add_argument(
        "--seconds", type=int, default=60, help="length of each night of O2, and of O3's look"
    )
    of_operator.add_argument(
        "--hours", type=float, default=1.0, help="market hours before O6, a minute each"
    )
    for bench in (of_journal, of_backtest, of_market, of_hour, of_risk, of_operator):
        if bench not in (of_hour, of_operator):
            bench.add_argument(
                "--peers", action="store_true", help="the peers too, set up on demand"
            )
        bench.add_argument("--repeats", type=int, default=5, help="repetitions of each case")
        bench.add_argument(
            "--folder", type=Path, default=machine.FOLDER, help="on the disk to measure (var/bench)"
        )
        bench.add_argument("--json", action="store_true", help="one JSON document with all samples")
    return command


def _measures(arguments: argparse.Namespace) -> list[tuple[str, Callable[[], list[Measure]]]]:
    """Return the measures asked for, each with its row."""
    if arguments.bench == "backtest":
        history = backtest.Plan(
            has_peers=arguments.peers,
            repeats=arguments.repeats,
            is_full=arguments.full,
            folder=arguments.folder.resolve(),
            core=arguments.core,
            run=None if arguments.run is None else arguments.run.resolve(),
            peer_s_max=arguments.peer_seconds,
        )
        ids = arguments.only or list(backtest.MEASURES)
        return [(id_, partial(backtest.MEASURES[id_], history)) for id_ in ids]
    if arguments.bench == "market":
        stream = market.Plan(
            has_peers=arguments.peers,
            repeats=arguments.repeats,
            folder=arguments.folder.resolve(),
            core=arguments.core,
        )
        ids = arguments.only or list(market.MEASURES)
        return [(id_, partial(market.MEASURES[id_], stream)) for id_ in ids]
    if arguments.bench == "first_hour":
        hour = first_hour.Plan(arguments.repeats)
        ids = arguments.only or list(first_hour.MEASURES)
        return [(id_, partial(first_hour.MEASURES[id_], hour)) for id_ in ids]
    if arguments.bench == "risk":
        book = risk.Plan(
            has_peers=arguments.peers,
            repeats=arguments.repeats,
            folder=arguments.folder.resolve(),
            core=arguments.core,
            is_full=arguments.full,
            before=arguments.before,
            data=arguments.data.resolve(),
        )
        ids = arguments.only or list(risk.MEASURES)
        return [(id_, partial(risk.MEASURES[id_], book)) for id_ in ids]
    if arguments.bench == "operator":
        evening = operator.Plan(
            repeats=arguments.repeats,
            folder=arguments.folder.resolve(),
            run=None if arguments.run is None else arguments.run.resolve(),
            seconds=arguments.seconds,
            hours=arguments.hours,
        )
        ids = arguments.only or list(operator.MEASURES)
        return [(id_, partial(operator.MEASURES[id_], evening)) for id_ in ids]
    plan = journal.Plan(
        peers=peers.set_up() if arguments.peers else None,
        repeats=arguments.repeats,
        is_real=arguments.real,
        is_full=arguments.full,
        folder=arguments.folder.resolve(),
    )
    ids = arguments.only or list(journal.MEASURES)
    return [(id_, partial(journal.MEASURES[id_], plan)) for id_ in ids]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark and print its report."""
    given = list(sys.argv[1:] if argv is None else argv)
    arguments = parser().parse_args(given)
    command = shlex.join(["python", "-m", "tools.bench", *given])
    head: Json = {
        "bench": arguments.bench,
        "command": command,
        **machine.describe(arguments.folder),
    }
    speed = pace.Pace(arguments.folder.resolve() / "pace")
    speed.measure()
    measures: list[Measure] = []
    for id_, measure in _measures(arguments):
        print(f"{id_} ...", file=sys.stderr, flush=True)
        measures += measure()
    speed.measure()
    head["pace"] = speed.told
    if arguments.json:
        document = {
            **head,
            "versions": machine.versions(),
            "measures": [measure.to_json() for measure in measures],
        }
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(lines(head, measures)))
    return int(any(measure.verdict == "NOT MET" for measure in measures))


if __name__ == "__main__":
    sys.exit(main())
