"""Benchmarks: `python -m tools.bench NAME`; exit code 1 where a figure misses what it must reach.

    python -m tools.bench journal                    all measures, without peers
    python -m tools.bench journal --peers            and the peers beside them, set up on demand
    python -m tools.bench journal --only J4 J7 --json

Every report names machine, disk and load; a figure is worth what else the machine had to do.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.bench import journal, machine, peers
from tools.bench.frame import Json, Measure, lines


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benches = command.add_subparsers(dest="bench", required=True, metavar="NAME")
    bench = benches.add_parser("journal", help=journal.HELP)
    bench.add_argument("--only", nargs="+", metavar="ID", choices=list(journal.MEASURES))
    bench.add_argument("--peers", action="store_true", help="the peers beside, set up on demand")
    bench.add_argument("--repeats", type=int, default=5, help="repetitions of each case")
    bench.add_argument("--real", action="store_true", help="events of 446 bytes, as BTCUSDT's")
    bench.add_argument("--full", action="store_true", help="J6 over all 25 million lines")
    bench.add_argument(
        "--folder", type=Path, default=machine.FOLDER, help="on the disk to measure (var/bench)"
    )
    bench.add_argument("--json", action="store_true", help="one JSON document with all samples")
    return command


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
    plan = journal.Plan(
        peers=peers.set_up() if arguments.peers else None,
        repeats=arguments.repeats,
        is_real=arguments.real,
        is_full=arguments.full,
        folder=arguments.folder.resolve(),
    )
    measures: list[Measure] = []
    for id_ in arguments.only or journal.MEASURES:
        print(f"{id_} ...", file=sys.stderr, flush=True)
        measures += journal.MEASURES[id_](plan)
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
