"""Requirement rows and the tests that prove them, checked against each other.

    python -m tools.rows            what is met, what is open
    python -m tools.rows --check    exit 1 when rows and tests disagree
    python -m tools.rows --write    take the tests column from the tests' marks
    python -m tools.rows --add ../shared/requirements.md --write
    python -m tools.rows --mutate   break each row of N once, in a copy: its test has to turn red

`docs/rows.tsv` holds id, sentence, state and tests of every row in scope. A test names the rows
it proves by `@pytest.mark.row("N-39")`; a fault (F17) or an invariant (I4) stands in
`docs/reference/faults.md`, a conflict (X-16) or a hole (U-18) in `docs/DECISIONS.md`.

States: `met` (needs a test), `open`, `partly (what is missing)` (needs a test), `n-a (why)`.
`--write` turns `open` into `met` where a test stands and back where the last one went; the other
two are written by hand and stay. `--add FILE` takes rows of later issues that tests already name
from a table of requirements, as partly met.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tools import row_mutations

PROJECT: Final = Path(__file__).resolve().parent.parent
ROWS: Final = "docs/rows.tsv"
# Other ids that a test may name, and the document whose tables list them.
ELSEWHERE: Final = {
    re.compile(r"[FI]\d+"): "docs/reference/faults.md",
    re.compile(r"[XU]-\d+"): "docs/DECISIONS.md",
}
HEADER: Final = "id\tsentence\tstate\ttests"
SPECIFICATIONS: Final = "NSCDB"
DEEPENED: Final = "partly (the first night's slice; its issue deepens it)"
# Each of these rows needs a mutation, or a reason for having none: docs/TESTING.md.
MUTATED: Final = re.compile(r"N-\d+")
STATES: Final = re.compile(r"met|open|partly \(.+\)|n-a \(.+\)")


@dataclass(frozen=True, slots=True)
class Row:
    """Requirement row: its id, its sentence, its state, and the tests that name it."""

    id: str
    sentence: str
    state: str
    tests: tuple[str, ...]

    def line(self) -> str:
        """Return the row as a line of the file."""
        return "\t".join((self.id, self.sentence, self.state, " ".join(self.tests)))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of the file.

    Raises:
        ValueError: The header, a line's columns or a state is wrong.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0] != HEADER:
        raise ValueError(f"{path}: line 1 is not the header {HEADER!r}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != 4:
            raise ValueError(f"{path}: line {number} has {len(cells)} columns, 4 are wanted")
        rows.append(Row(cells[0], cells[1], cells[2], tuple(cells[3].split())))
    return rows


def read_listed(path: Path) -> set[str]:
    """Return the ids in the first column of a document's tables, none without the document."""
    if not path.exists():
        return set()
    return set(re.findall(r"^\| ([A-Z]-?\d+) \|", path.read_text(encoding="utf-8"), re.MULTILINE))


def marks(tests: Path, root: Path) -> dict[str, tuple[str, ...]]:
    """Return row id -> the tests that name it, as `tests/room/test_x.py::test_name`, sorted."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(tests.rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for test, ids in _marked(tree.body, "", _module_rows(tree)):
            for row_id in ids:
                found[row_id].add(f"{name}::{test}")
    return {row_id: tuple(sorted(names)) for row_id, names in found.items()}


def _marked(
    body: Sequence[ast.stmt], prefix: str, inherited: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each test function below `body` with the rows that its own and outer marks name."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            ids = inherited | _rows_in(node.decorator_list)
            yield from _marked(node.body, f"{prefix}{node.name}::", ids)
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield prefix + node.name, inherited | _rows_in(node.decorator_list)


def _module_rows(tree: ast.Module) -> frozenset[str]:
    return frozenset().union(
        *(
            _rows_in([node.value])
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)
        )
    )


def _rows_in(nodes: Sequence[ast.AST]) -> frozenset[str]:
    """Return the ids in every `pytest.mark.row(...)` below the nodes."""
    return frozenset(
        argument.value
        for root in nodes
        for node in ast.walk(root)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def refreshed(rows: Sequence[Row], marked: Mapping[str, tuple[str, ...]]) -> list[Row]:
    """Return the rows with their tests, and `open` or `met` according to whether there are any."""
    result = []
    for row in rows:
        tests = marked.get(row.id, ())
        state = row.state
        if state in ("open", "met"):
            state = "met" if tests else "open"
        result.append(replace(row, state=state, tests=tests))
    return result


def added(
    rows: Sequence[Row], marked: Mapping[str, tuple[str, ...]], requirements: str
) -> list[Row]:
    """Return the rows plus those that tests name and only the requirements know, in order."""
    table = dict(re.findall(r"^\| ([A-Z]-\d+[a-z]?) \| (.*?) \|", requirements, re.MULTILINE))
    known = {row.id for row in rows}
    new = [
        Row(row_id, table[row_id].replace("**", "").strip(), DEEPENED, ())
        for row_id in marked
        if row_id in table and row_id not in known and row_id[0] in SPECIFICATIONS
    ]
    return sorted([*rows, *new], key=_place)


def _place(row: Row) -> tuple[int, int, str]:
    """Return the place of a row: its specification, its number, and the letter of a later one."""
    number = row.id[2:].rstrip("abcdefghijklmnopqrstuvwxyz")
    return SPECIFICATIONS.index(row.id[0]), int(number), row.id


def complaints(rows: Sequence[Row], marked: Mapping[str, tuple[str, ...]], root: Path) -> list[str]:
    """Return where rows and tests disagree, one sentence each; empty when they agree."""
    found = []
    ids = [row.id for row in rows]
    for row_id in sorted({row_id for row_id in ids if ids.count(row_id) > 1}):
        found.append(f"{row_id}: listed twice")
    for row in rows:
        tests = marked.get(row.id, ())
        if not STATES.fullmatch(row.state):
            found.append(f"{row.id}: state {row.state!r} is not met, open, partly (..) or n-a (..)")
        if row.state == "met" and not tests:
            found.append(f"{row.id}: met, but no test names it")
        if row.state.startswith("partly") and not tests:
            found.append(f"{row.id}: partly met, but no test names it")
        for gone in sorted(set(row.tests) - set(tests)):
            found.append(f"{row.id}: {gone} does not exist or does not name this row")
        for new in sorted(set(tests) - set(row.tests)):
            found.append(f"{row.id}: {new} names this row but is not listed (--write lists it)")
    listed = {name: read_listed(root / name) for name in ELSEWHERE.values()}
    for row_id in sorted(set(marked) - set(ids)):
        homes = [name for form, name in ELSEWHERE.items() if form.fullmatch(row_id)] or [ROWS]
        if row_id not in listed.get(homes[0], ()):
            found.append(f"{row_id}: named by {marked[row_id][0]}, but {homes[0]} lists no such id")
    return found


def summary(rows: Sequence[Row]) -> list[str]:
    """Return the summary: the number of rows in each state, and the open ones."""
    by_state: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_state[row.state.split(" ")[0]].append(row.id)
    counts = ", ".join(f"{len(by_state[state])} {state}" for state in sorted(by_state))
    lines = [f"{len(rows)} rows: {counts}"]
    for state in ("open", "partly", "n-a"):
        if by_state[state]:
            lines.append(f"{state}: {' '.join(by_state[state])}")
    return lines


def to_mutate(rows: Sequence[Row]) -> list[str]:
    """Return the ids of rows of N that are met, or partly met, by some test."""
    return [
        row.id
        for row in rows
        if MUTATED.fullmatch(row.id) and row.state.startswith(("met", "partly"))
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print, check, refresh or mutate; exit code 0, 1 for a disagreement, 2 without rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when rows and tests disagree")
    parser.add_argument("--write", action="store_true", help="take the tests column from the marks")
    parser.add_argument("--add", type=Path, metavar="FILE", help="add rows that tests name")
    parser.add_argument(
        "--mutate", nargs="*", metavar="ROW", help="play the mutations of all rows, or of these"
    )
    parser.add_argument("--part", type=int, metavar="N", help="with --mutate: N drawn ones alone")
    parser.add_argument("--workers", type=int, default=2, help="copies played in at once (2)")
    parser.add_argument("--seed", type=int, default=1, help="what --part draws by (1)")
    parser.add_argument("--root", type=Path, default=PROJECT, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        rows = read_rows(args.root / ROWS)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    marked = marks(args.root / "tests", args.root)
    if args.mutate is not None:
        ids = to_mutate(rows)
        asked = row_mutations.Asked(tuple(args.mutate), args.part, args.seed, args.workers)
        return row_mutations.main(args.root, marked, ids, asked)
    if args.add is not None:
        rows = added(rows, marked, args.add.read_text(encoding="utf-8"))
    if args.write:
        rows = refreshed(rows, marked)
        text = "\n".join([HEADER, *(row.line() for row in rows)]) + "\n"
        (args.root / ROWS).write_text(text, encoding="utf-8")
    found = complaints(rows, marked, args.root)
    print("\n".join([*summary(rows), *found]))
    return 1 if found and (args.check or args.write) else 0


if __name__ == "__main__":
    sys.exit(main())
