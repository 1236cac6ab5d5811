"""Pictures of the architecture, drawn from `config/roles.v1.json` and from the imports of minibot.

    python -m tools.pictures --check     exit 1 when a page says otherwise
    python -m tools.pictures --write     write docs/reference/pictures.md, and the flow of ARCH.md
    python -m tools.pictures --arrows    every arrow between two rooms, with its number of imports

The pages hold Mermaid text, which GitHub and most editors draw. It depends on nothing but the roles
file and the imports, so the same tree gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import grimp

from minibot.events.roles import Roles

PROJECT: Final = Path(__file__).resolve().parent.parent
ROLES: Final = PROJECT / "config" / "roles.v1.json"
DOCUMENT: Final = PROJECT / "docs" / "reference" / "pictures.md"
PACKAGE: Final = "minibot"
ARCHITECTURE: Final = PROJECT / "docs" / "ARCH.md"
BEGIN: Final = "<!-- generated: flow, by python -m tools.pictures -->"
END: Final = "<!-- end of generated -->"
HEAD: Final = """\
# Pictures

Generated from `config/roles.v1.json` and the imports of `minibot` by
`python -m tools.pictures --write`; a test holds the two equal.
"""
FLOW: Final = """\
## Roles and queues

Boxes are processes, cylinders are queues. A thick arrow leads to a queue's primary reader, a thin
one to a further reader. The second picture shows the queues of which each role writes a part.
"""
ORDERS: Final = """\
## Orders

Each list of the roles file; the order of ending follows from the queue of each role's input log.
"""
ROOMS: Final = """\
## Rooms and their imports

An arrow means "imports". One that a longer way between the same rooms also shows is left out; the
table below names every room that is imported.
"""

Arrows = Mapping[tuple[str, str], int]
"""Number of imports by importing and imported room."""


def pages() -> dict[Path, str]:
    """Return each page that holds pictures, with the text that it should have."""
    table = json.loads(ROLES.read_text(encoding="utf-8"))
    page = ARCHITECTURE.read_text(encoding="utf-8")
    return {DOCUMENT: document(table), ARCHITECTURE: with_flow(page, table)}


def with_flow(page: str, table: Mapping[str, Any]) -> str:
    """Return the page of the architecture with its picture of the flow renewed.

    Raises:
        ValueError: The page lacks the marks of that picture.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{ARCHITECTURE.name}: the marks of its picture are missing")
    return f"{before}{BEGIN}\n\n{_fenced(flow(table))}\n\n{END}{after}"


def document(table: Mapping[str, Any]) -> str:
    """Return the page of pictures."""
    arrows = room_arrows()
    parts = [
        HEAD,
        FLOW,
        _fenced(flow(table)),
        _fenced(shared_flow(table)),
        ORDERS,
        "\n".join(["| order | roles or queues |", "| --- | --- |", *orders(table)]),
        ROOMS,
        _fenced(rooms(arrows)),
        "\n".join(["| room | imports |", "| --- | --- |", *_rows(arrows)]),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def flow(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the picture of all queues with one writer."""
    queues = {name: spec for name, spec in table["queues"].items() if not spec["parts"]}
    yield "flowchart LR"
    for name, spec in table["roles"].items():
        yield f"  {name}[{name}]"
        if not spec["inputs"]:
            yield f"  exchange([exchange]) ==> {name}"
    for name in queues:
        yield f"  {name}[({name})]"
    yield from _writes(table, queues)
    yield from _reads(table, queues)


def shared_flow(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the picture of the queues that several roles write, each into its own part."""
    queues = {name: spec for name, spec in table["queues"].items() if spec["parts"]}
    writers = {role for role, queue in _written(table) if queue in queues}
    readers = {spec["primary_reader"] for spec in queues.values()}
    yield "flowchart LR"
    for name in table["roles"]:
        if name in writers | readers:
            yield f"  {name}[{name}]"
    for name in queues:
        yield f"  {name}[({name})]"
    yield from _writes(table, queues)
    yield from _reads(table, queues)


def orders(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield a row of the table for each order of the roles file, and for that of ending."""
    for key, what in (
        ("start_order", "roles start"),
        ("market_order", "a lockstep shows a market event to the cores"),
        ("derived_order", "a lockstep empties the derived queues"),
    ):
        yield f"| {what} | {', '.join(f'`{name}`' for name in table[key])} |"
    drain = Roles.of(table).drain_order
    yield f"| roles end | {', '.join(f'`{name}`' for name in drain)} |"


def rooms(arrows: Arrows) -> Iterator[str]:
    """Yield the picture of the rooms: arrows that a longer way implies are left out."""
    yield "flowchart TD"
    for source, target in sorted(reduced(arrows)):
        yield f"  {source} --> {target}"


def reduced(arrows: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows between two rooms that no longer way connects."""
    all_ = set(arrows)
    following: dict[str, set[str]] = {}
    for source, target in all_:
        following.setdefault(source, set()).add(target)

    def reached(starts: set[str], source: str) -> set[str]:
        """Return the rooms on all ways from `starts` that do not pass `source`."""
        found: set[str] = set()
        waiting = list(starts)
        while waiting:
            room = waiting.pop()
            if room not in found and room != source:
                found.add(room)
                waiting += following.get(room, ())
        return found

    def is_direct(source: str, target: str) -> bool:
        return target not in reached(following[source] - {target}, source)

    return {arrow for arrow in all_ if is_direct(*arrow)}


def room_arrows() -> Arrows:
    """Return how often a room imports another; modules outside rooms are left out."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None, exclude_type_checking_imports=True)
    found: Counter[tuple[str, str]] = Counter()
    packages = {
        path.name for path in (PROJECT / PACKAGE).iterdir() if (path / "__init__.py").exists()
    }
    for module in graph.modules:
        source = _room_of(module)
        for imported in graph.find_modules_directly_imported_by(module):
            target = _room_of(imported)
            if source != target and {source, target} <= packages:
                found[source, target] += 1
    return found


def _room_of(module: str) -> str:
    """Return the part of a dotted name below the package; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def _written(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each role with each queue that it writes."""
    for role, spec in table["roles"].items():
        for queue in spec["writes"]:
            yield role, queue


def _writes(table: Mapping[str, Any], queues: Mapping[str, Any]) -> Iterator[str]:
    for role, queue in _written(table):
        if queue in queues:
            yield f"  {role} --> {queue}"


def _reads(table: Mapping[str, Any], queues: Mapping[str, Any]) -> Iterator[str]:
    for role, spec in table["roles"].items():
        for queue in spec["inputs"]:
            if queue in queues:
                arrow = "==>" if queues[queue]["primary_reader"] == role else "-->"
                yield f"  {queue} {arrow} {role}"


def _rows(arrows: Arrows) -> Iterator[str]:
    """Yield a row of the table for each room, with every room that it imports."""
    names = sorted({name for arrow in arrows for name in arrow})
    for name in names:
        imported = [f"`{target}`" for source, target in sorted(arrows) if source == name]
        yield f"| `{name}` | {', '.join(imported) or 'no other room'} |"


def _fenced(lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```"])


def main(argv: Sequence[str] | None = None) -> int:
    """Check or write the pages, or print the arrows; return 1 when a page is stale."""
    command = argparse.ArgumentParser(description=__doc__, prog="python -m tools.pictures")
    flags = command.add_mutually_exclusive_group(required=True)
    flags.add_argument("--check", action="store_true", help="compare the pages")
    flags.add_argument("--write", action="store_true", help="write the pages")
    flags.add_argument("--arrows", action="store_true", help="print the arrows between rooms")
    arguments = command.parse_args(argv)
    if arguments.arrows:
        for (source, target), count in sorted(room_arrows().items()):
            print(f"{source} -> {target}  {count}")
        return 0
    stale = 0
    for path, text in pages().items():
        if arguments.write:
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale += 1
            print(f"{path.name}: stale; write it with --write")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
