"""Faults and the tests that inject them, checked against the catalogued outcome of each.

    python -m tools.faults            which faults are proven, and how
    python -m tools.faults --check    exit 1 when a fault, its tests and its outcome disagree
    python -m tools.faults --write    write docs/FAULTS.md from the tests' marks

`docs/reference/faults.md` names the outcome of every fault. A test that injects a fault says how,
and with which outcome, beside the row that it proves:

    @pytest.mark.row("F06")
    @pytest.mark.fault("F06", by="strace: fdatasync gives EIO once", ends="STOP(IO_FSYNC)")

Nothing is run: marks are read from the source. A stated outcome has to stand in the page, and a
reason code in the test as well. F01 to F61 (queues, cursors, locks, the disk) must each have a
test, and some test has to reach every code that the page promises for them. The others are listed
with the tests whose row marks name them, the drills of `minibot gate chaos`, or nothing.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tools.rows import marks

PROJECT: Final = Path(__file__).resolve().parent.parent
CATALOGUE: Final = "docs/reference/faults.md"
PAGE: Final = "docs/FAULTS.md"
DRILLS: Final = "minibot/gates/chaos_catalogue.py"
REAL: Final = "real_injection"
LAST_PROVEN: Final = 61  # Groups A, B and C: faults of queues, cursors, locks and disks.

FAULT: Final = re.compile(r"^\| (F\d+) \| (.*?) \| (.*?) \|$")
INVARIANT: Final = re.compile(r"^\| (I\d+) \| (.*?) \|$", re.MULTILINE)
GROUP: Final = re.compile(r"^## ([A-Z]\. .*)$")
STOPS: Final = re.compile(r"STOP\(([A-Z_ /]+)\)")
CODE: Final = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
WORDS: Final = ("SURVIVE", "DEADLETTER", "REJECT", "REFUSE")
HEAD: Final = """# Faults: how each is injected, and what it ends in

Written by `python -m tools.faults --write` from the marks of the tests; `--check` fails when this
page, the tests and [reference/faults.md](reference/faults.md) disagree, or when one of F01 to F61
has no test. How these tests are made, and what "real" needs of a machine: [TESTING.md](TESTING.md).

"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the catalogue, and its outcome."""

    id: str
    group: str
    what: str
    ends: str

    @property
    def codes(self) -> frozenset[str]:
        """Reason codes of STOP that the page promises."""
        return frozenset(
            code for group in STOPS.findall(self.ends) for code in re.split(r" / ", group)
        )

    @property
    def must_be_proven(self) -> bool:
        """True for the groups in which a fault without a test is an error."""
        return int(self.id[1:]) <= LAST_PROVEN


@dataclass(frozen=True, slots=True)
class Proof:
    """One fault mark of one test.

    Attributes:
        faults: Ids of the injected faults.
        by: Way of the injection.
        ends: Outcome of the faults.
        test: `tests/room/test_x.py::test_name`.
        needs: Features of the machine without which the system cannot be made to fail; empty for a
            seam or an edited file.
        rows: Rows that the test's marks name.
        text: The test's source without its fault marks.
    """

    faults: tuple[str, ...]
    by: str
    ends: str
    test: str
    needs: str
    rows: frozenset[str]
    text: str


class Named(NamedTuple):
    """Tests and drills that name a fault without a fault mark."""

    tests: tuple[str, ...]
    drills: tuple[str, ...]


NOBODY: Final = Named((), ())


def read_catalogue(path: Path) -> list[Fault]:
    """Return the faults of the page in its order.

    Raises:
        ValueError: The page has no faults, or one of them twice.
    """
    faults: list[Fault] = []
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := GROUP.match(line):
            group = heading[1]
        elif row := FAULT.match(line):
            faults.append(Fault(row[1], group, row[2], row[3]))
    ids = [fault.id for fault in faults]
    twice = sorted({fault_id for fault_id in ids if ids.count(fault_id) > 1})
    if twice or not faults:
        raise ValueError(f"{path}: {'listed twice: ' + ', '.join(twice) if twice else 'no fault'}")
    return faults


def read_proofs(tests: Path, root: Path) -> tuple[list[Proof], list[str]]:
    """Return every fault mark below a folder, and a complaint for each malformed one."""
    proofs: list[Proof] = []
    wrong: list[str] = []
    for path in sorted(tests.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.fault(" not in text:
            continue
        name = path.relative_to(root).as_posix()
        tree = ast.parse(text, str(path))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                for proof in _proofs_of(node, f"{name}::{node.name}"):
                    if isinstance(proof, str):
                        wrong.append(proof)
                    else:
                        proofs.append(proof)
    return proofs, wrong


def _proofs_of(function: ast.FunctionDef, test: str) -> Iterator[Proof | str]:
    decorators = [node for root in function.decorator_list for node in ast.walk(root)]
    needs = [text for node in decorators if _is_mark(node, REAL) for text in _texts(node)]
    rows = frozenset(text for node in decorators if _is_mark(node, "row") for text in _texts(node))
    faults = [node for node in function.decorator_list if _is_mark(node, "fault")]
    shown = [node for node in function.decorator_list if node not in faults]
    text = "\n".join(ast.unparse(node) for node in [*shown, *function.body])
    for mark in faults:
        assert isinstance(mark, ast.Call)
        named = {word.arg: word.value for word in mark.keywords}
        by, ends = (_text(named.get(name)) for name in ("by", "ends"))
        ids = tuple(_texts(mark))
        if not ids or not by or not ends or len(ids) != len(mark.args):
            yield f"{test}: a fault mark needs ids, by= and ends=, as plain texts"
        else:
            yield Proof(ids, by, ends, test, ", ".join(needs), rows, text)


def _is_mark(node: ast.AST, name: str) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Attribute) and ast.unparse(called) == f"pytest.mark.{name}"


def _texts(call: ast.AST) -> list[str]:
    arguments = call.args if isinstance(call, ast.Call) else []
    return [text for text in map(_text, arguments) if text]


def _text(node: ast.AST | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def read_drills(path: Path) -> dict[str, tuple[str, ...]]:
    """Return fault -> the drills of `minibot gate chaos` that inject it into a real run.

    A drill is a call whose first two plain texts are its name and the ids that it is about.
    """
    found: dict[str, list[str]] = defaultdict(list)
    if not path.exists():
        return {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            name, ids = _text(node.args[0]), _text(node.args[1])
            if name and re.fullmatch(r"[FN][-\d]+( [A-Z]-?\d+)*", ids):
                for fault_id in ids.split(" "):
                    found[fault_id].append(name)
    return {fault_id: tuple(names) for fault_id, names in found.items()}


def agrees(ends: str, fault: Fault) -> bool:
    """Return whether the page promises this outcome for the fault.

    `STOP(CODE)` agrees where the page names the code for it; anything else has to stand in the
    page's sentence as it is.
    """
    if stop := STOPS.fullmatch(ends):
        return stop[1] in CODE.findall(fault.ends)
    return ends in fault.ends


def complaints(
    faults: Sequence[Fault], proofs: Sequence[Proof], named: Mapping[str, Named]
) -> list[str]:
    """Return where faults, tests and outcomes disagree, one sentence each."""
    found: list[str] = []
    known = {fault.id: fault for fault in faults}
    reached: dict[str, set[str]] = defaultdict(set)
    for proof in proofs:
        for fault_id in proof.faults:
            fault = known.get(fault_id)
            if fault is None:
                found.append(f"{proof.test}: {fault_id} does not stand in {CATALOGUE}")
                continue
            reached[fault_id].add(proof.ends)
            if not agrees(proof.ends, fault):
                found.append(
                    f"{proof.test}: {fault_id} ends in {proof.ends!r} here, "
                    f"but in {fault.ends!r} in {CATALOGUE}"
                )
            if fault_id not in proof.rows:
                found.append(f'{proof.test}: no pytest.mark.row("{fault_id}") beside its fault')
        found += [
            f"{proof.test}: ends in {code}, but the test never names that code"
            for code in CODE.findall(proof.ends)
            if code not in proof.text
        ]
    for fault in faults:
        if not fault.must_be_proven:
            continue
        if fault.id not in reached:
            tests = named.get(fault.id, NOBODY).tests
            by_row = f"; {tests[0]} only names its row" if tests else ""
            found.append(f"{fault.id}: no test injects it ({fault.what}){by_row}")
            continue
        ends = " ".join(reached[fault.id])
        promised = {*fault.codes, *(word for word in WORDS if fault.ends.startswith(word))}
        found += [
            f"{fault.id}: no test ends in {one}, which {CATALOGUE} promises"
            for one in sorted(promised)
            if one not in ends
        ]
    return found


def page(
    faults: Sequence[Fault],
    proofs: Sequence[Proof],
    named: Mapping[str, Named],
    invariants: Mapping[str, str],
) -> str:
    """Return the text of the page."""
    by_fault: dict[str, list[Proof]] = defaultdict(list)
    for proof in proofs:
        for fault_id in proof.faults:
            by_fault[fault_id].append(proof)
    lines = list(summary(faults, proofs, named))
    lines += ["", "## What holds after every fault", "", "| id | invariant | asserted in |"]
    lines.append("| --- | --- | --- |")
    for invariant, what in invariants.items():
        files = dict.fromkeys(
            test.partition("::")[0] for test in named.get(invariant, NOBODY).tests
        )
        links = ", ".join(f"[{Path(file).stem}](../{file})" for file in files)
        lines.append(f"| {invariant} | {what} | {links or 'no test names it yet'} |")
    for group in dict.fromkeys(fault.group for fault in faults):
        lines += ["", f"## {group}", "", "| fault | injected by | ended in | test |"]
        lines.append("| --- | --- | --- | --- |")
        for fault in faults:
            if fault.group == group:
                lines += _lines_of(fault, by_fault[fault.id], named.get(fault.id, NOBODY))
    return HEAD + "\n".join(lines) + "\n"


def _lines_of(fault: Fault, proofs: Sequence[Proof], named: Named) -> Iterator[str]:
    yield f"| **{fault.id}** {fault.what} | | **{fault.ends}** | |"
    for proof in sorted(proofs, key=lambda proof: (proof.needs != "", proof.test, proof.by)):
        by = f"{proof.by} (needs {proof.needs})" if proof.needs else proof.by
        yield f"| {fault.id} | {by} | {proof.ends} | {_link(proof.test)} |"
    told = {proof.test for proof in proofs}
    for test in named.tests:
        if test not in told:
            yield f"| {fault.id} | | named by its row mark | {_link(test)} |"
    for drill in named.drills:
        yield f"| {fault.id} | drill `{drill}` in a whole run | judged by the drill | chaos gate |"
    if not proofs and named == NOBODY:
        yield f"| {fault.id} | | no test names it yet | |"


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name}](../{path})"


def summary(
    faults: Sequence[Fault], proofs: Sequence[Proof], named: Mapping[str, Named]
) -> Iterator[str]:
    """Yield the summary: how many faults are proven in which way, and which are not."""
    ids = [fault.id for fault in faults]
    injected = {fault_id for proof in proofs for fault_id in proof.faults} & set(ids)
    real = {fault_id for proof in proofs if proof.needs for fault_id in proof.faults} & set(ids)
    others = [fault_id for fault_id in ids if fault_id in named and fault_id not in injected]
    bare = [fault_id for fault_id in ids if fault_id not in named and fault_id not in injected]
    tests = len({proof.test for proof in proofs})
    if bare:
        yield f"Without a test or drill: {' '.join(bare)}."
        yield ""
    yield (
        f"{len(faults)} faults: {len(injected)} injected by {tests} tests with a fault mark "
        f"({len(real)} of them also by the system itself), {len(others)} more named by row marks "
        f"or drills, {len(bare)} by nothing."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print, check or write; exit code 0, 1 when something disagrees, 2 without the catalogue."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when something disagrees")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE} from the marks")
    parser.add_argument("--root", type=Path, default=PROJECT, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        faults = read_catalogue(args.root / CATALOGUE)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    proofs, found = read_proofs(args.root / "tests", args.root)
    marked = marks(args.root / "tests", args.root)
    drills = read_drills(args.root / DRILLS)
    named = {
        fault_id: Named(marked.get(fault_id, ()), drills.get(fault_id, ()))
        for fault_id in {*marked, *drills}
    }
    found += complaints(faults, proofs, named)
    invariants = dict(INVARIANT.findall((args.root / CATALOGUE).read_text(encoding="utf-8")))
    text = page(faults, proofs, named, invariants)
    target = args.root / PAGE
    if args.write:
        target.write_text(text, encoding="utf-8")
    elif args.check and (not target.exists() or target.read_text(encoding="utf-8") != text):
        found.append(f"{PAGE} is not what the tests say (write it: python -m tools.faults --write)")
    print("\n".join([*found, *filter(None, summary(faults, proofs, named))]))
    return 1 if found and (args.check or args.write) else 0


if __name__ == "__main__":
    sys.exit(main())
