"""Mutations of the product, one for each row, and the tests that must fail under each.

    python -m tools.rows --mutate                      all, some minutes on two cores
    python -m tools.rows --mutate N-10 N-24            of these rows
    python -m tools.rows --mutate --part 12 --seed 7   a drawn dozen, as CI plays it

`tools/row_mutations.toml` is the table: the row, the break in a few words, its place (a function as
`module:qualname`, a whole module, or a file by its path), the old text, the new text, and the
tests, each of which names the row by its mark. The old text must stand in its place exactly once: a
mutation that no longer applies is as red as one that survives. `[without]` gives the reason for
each other row of N that has no mutation.

Every worker has a copy of the tree, with its own environment in which `minibot` is the copy. The
named tests have to pass on the unchanged copy. Then each mutation is applied, its tests have to
fail, and it is taken back. The tree itself is never touched.
"""

from __future__ import annotations

import ast
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TABLE: Final = "tools/row_mutations.toml"
PLACE: Final = re.compile(r"(minibot|tools|tests)(\.\w+)+(:[\w.]+)?")
KEYS: Final = {"row", "what", "at", "old", "new", "tests", "remove"}
# Folders without sources: a copy holds what a fresh clone holds.
NOT_COPIED: Final = {".git", ".venv", "build", "dist", "var"}
# A test takes seconds; one that hangs under a mutation must not hold up the others.
TEST_S_MAX: Final = 300.0
FAILED: Final = 1
SKIPPED: Final = re.compile(r"^SKIPPED ", re.MULTILINE)
PASSED: Final = re.compile(r"\b\d+ passed\b")


class Unusable(Exception):
    """Fault in the table or in one of its entries; the message says where."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """Mutation: one break of the product.

    Attributes:
        row: Row that the mutation violates.
        what: The violation in a few words.
        at: `module:qualname`, `module`, or a path from the root of the project.
        old: Text that stands there exactly once; None to remove the whole file.
        new: Text in its place.
        tests: Tests that have to fail, as pytest names them.
    """

    row: str
    what: str
    at: str
    old: str | None
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> str:
        """Path of the changed file, from the root of the project."""
        if PLACE.fullmatch(self.at) is None:
            return self.at
        return self.at.partition(":")[0].replace(".", "/") + ".py"

    @property
    def qualname(self) -> str:
        """Function or class that is changed; empty for a whole file."""
        return self.at.partition(":")[2] if PLACE.fullmatch(self.at) else ""


@dataclass(frozen=True, slots=True)
class Table:
    """Table of all mutations in order, and the reasons why other rows have none."""

    mutations: tuple[Mutation, ...]
    without: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of one mutation: `killed`, or its fault."""

    mutation: Mutation
    word: str
    detail: str
    took_s: float

    def line(self) -> str:
        """Return the verdict as a printed line."""
        detail = f": {self.detail}" if self.detail else ""
        of = f"{self.mutation.row:6} {self.mutation.what}"
        return f"{self.word:14} {of}{detail} ({self.took_s:.1f} s)"


def read_table(root: Path) -> Table:
    """Return the table of a project.

    Raises:
        Unusable: The table is not TOML, or an entry lacks a key or has an unknown one.
    """
    try:
        document = tomllib.loads((root / TABLE).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Unusable(f"{TABLE}: {error}") from error
    entries = document.get("mutation", [])
    return Table(tuple(map(_mutation, entries)), document.get("without", {}))


def _mutation(entry: Mapping[str, Any]) -> Mutation:
    name = f"{TABLE}: {entry.get('row')}, {entry.get('what')!r}"
    wanted = KEYS - ({"old", "new"} if entry.get("remove") else {"remove"})
    if set(entry) != wanted:
        raise Unusable(f"{name}: has {sorted(entry)}, expected {sorted(wanted)}")
    old = None if entry.get("remove") else entry["old"]
    if not entry["tests"] or (old is not None and old in ("", entry["new"])):
        raise Unusable(f"{name}: changes nothing, or no test has to notice")
    tests = tuple(entry["tests"])
    return Mutation(entry["row"], entry["what"], entry["at"], old, entry.get("new", ""), tests)


def mutated(root: Path, mutation: Mutation) -> str | None:
    """Return the file's text with the mutation; None where the file is removed.

    Raises:
        Unusable: The file or function is missing, or the old text does not occur there exactly
            once.
    """
    path = root / mutation.path
    if not path.is_file():
        raise Unusable(f"{mutation.path}: no such file")
    if mutation.old is None:
        return None
    text = path.read_text(encoding="utf-8")
    begin, end = _span(text, mutation)
    count = text.count(mutation.old, begin, end)
    if count != 1:
        raise Unusable(f"{mutation.at}: has its old text {count} times, expected 1")
    at = text.index(mutation.old, begin, end)
    return text[:at] + mutation.new + text[at + len(mutation.old) :]


def _span(text: str, mutation: Mutation) -> tuple[int, int]:
    """Return first and last line of the function that the mutation names."""
    if not mutation.qualname:
        return 0, len(text)
    node: ast.AST = ast.parse(text)
    for name in mutation.qualname.split("."):
        node = _child(node, name, mutation.at)
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
    lines = text.splitlines(keepends=True)
    return sum(map(len, lines[: first - 1])), sum(map(len, lines[: node.end_lineno]))


def _child(node: ast.AST, name: str, at: str) -> ast.AST:
    for below in ast.iter_child_nodes(node):
        if (
            isinstance(below, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
            and below.name == name
        ):
            return below
    raise Unusable(f"{at}: has no {name}")


def complaints(
    table: Table, proven: Mapping[str, tuple[str, ...]], root: Path, wanted: Sequence[str]
) -> list[str]:
    """Return a table's faults, one sentence each.

    Args:
        table: Mutations and reasons.
        proven: Row id to the tests that name it by their marks.
        root: The project that the mutations apply to.
        wanted: The rows that need a mutation or a reason.
    """
    found = []
    for mutation in table.mutations:
        name = f"{mutation.row} ({mutation.what})"
        for test in mutation.tests:
            if test.partition("[")[0] not in proven.get(mutation.row, ()):
                found.append(f"{name}: {test} does not exist or does not name this row")
        try:
            mutated(root, mutation)
        except Unusable as error:
            found.append(f"{name}: {error}")
    broken = {mutation.row for mutation in table.mutations}
    for row in wanted:
        if row in broken and row in table.without:
            found.append(f"{row}: has a mutation and a reason for having none")
        if row not in broken and not table.without.get(row):
            found.append(f"{row}: has neither a mutation nor a reason for having none")
    found += [f"{row}: no row that could go without" for row in set(table.without) - set(wanted)]
    return found


def drawn(mutations: Sequence[Mutation], part: int | None, seed: int) -> list[Mutation]:
    """Return a number of mutations drawn by the seed; all without a number."""
    if part is None or part >= len(mutations):
        return list(mutations)
    return random.Random(seed).sample(mutations, part)


class Copy:
    """Copy of the tree in which mutations are played, one at a time."""

    def __init__(self, source: Path, folder: Path) -> None:
        """Copy the tree below `folder`, with an environment in which the copy is imported."""
        self.root = folder / "tree"
        self._bases = folder / "tests"
        self._bases.mkdir(parents=True)
        self._number = 0
        self._running: subprocess.Popen[str] | None = None
        shutil.copytree(source, self.root, ignore=_left_out, symlinks=True)
        (self.root / "var").mkdir(mode=0o700)
        self._python = _environment(self.root)
        _run_quiet(["git", "init", "-q"], self.root)  # Some tests ask git what it would commit.
        said = _run_quiet(
            [str(self._python), "-c", "import minibot; print(minibot.__file__)"], self.root
        )
        if Path(said.strip()) != self.root / "minibot/__init__.py":
            raise Unusable(f"{self.root}: imports {said.strip()}, not itself")

    @contextmanager
    def changed(self, mutation: Mutation) -> Iterator[None]:
        """Apply a mutation to the copy for the duration of the block."""
        path = self.root / mutation.path
        text = mutated(self.root, mutation)
        before, stamp = path.read_bytes(), path.stat()
        _forget(path)
        try:
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            _forget(path)

    def play(self, tests: Sequence[str], *, all_of_them: bool = False) -> tuple[int, str]:
        """Run tests, up to the first failure or all; return pytest's exit code and output."""
        self._number += 1
        base = self._bases / str(self._number)
        argv = [str(self._python), "-m", "pytest", "-n", "0", "-rfEs", "--tb=line"]
        argv += [] if all_of_them else ["-x"]
        argv += ["-p", "no:cacheprovider", f"--basetemp={base}", *tests]
        started = subprocess.Popen(
            argv,
            cwd=self.root,
            env=_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._running = started
        try:
            out, _ = started.communicate(timeout=TEST_S_MAX * len(tests))
        except BaseException:
            self.end()
            raise
        finally:
            self._running = None
            shutil.rmtree(base, ignore_errors=True)
        return started.returncode, out

    def end(self) -> None:
        """End the running pytest with everything that it has started."""
        running = self._running
        if running is None or running.poll() is not None:
            return
        if sys.platform == "win32":
            running.kill()
        else:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def _left_out(folder: str, names: list[str]) -> set[str]:
    found = {name for name in names if name == "__pycache__"}
    if (Path(folder) / "pyproject.toml").exists():
        written = (name for name in names if name.endswith(("cache", ".hypothesis", ".lock")))
        found |= NOT_COPIED & set(names) | {name for name in written if name.startswith(".")}
    return found


def _environment(root: Path) -> Path:
    """Make `.venv` in a copy, with the packages of this one; return its interpreter."""
    venv.create(root / ".venv", symlinks=os.name != "nt")
    scheme = {"base": str(root / ".venv"), "platbase": str(root / ".venv")}
    site = Path(sysconfig.get_path("purelib", "venv", scheme))
    path_file = f"{root}\n"
    # A process under a code list reads no path file, so the packages are linked or copied.
    for package in sorted(Path(sysconfig.get_path("purelib")).iterdir()):
        if package.suffix == ".pth" or (site / package.name).exists():
            continue
        try:
            (site / package.name).symlink_to(package, target_is_directory=package.is_dir())
        except OSError:  # Windows without the right to make links: a path file names the packages.
            path_file = f"{root}\n{package.parent}\n"
            break
    (site / "minibot.pth").write_text(path_file)
    return Path(sysconfig.get_path("scripts", "venv", scheme)) / Path(sys.executable).name


def _forget(path: Path) -> None:
    """Remove bytecode of a former text; whatever its stamp says, it is stale."""
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()


def _run_quiet(argv: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            argv, cwd=folder, env=_environ(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""  # No git here: tests that ask git have another way.
    return done.stdout


def _environ() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MINIBOT_", "PYTEST_", "PYTHON", "GIT_"))
    }
    return kept | {"CI": "1"}


def judged(copy: Copy, mutation: Mutation) -> Verdict:
    """Play one mutation: each of its tests has to fail."""
    began = time.monotonic()
    word, detail = "killed", ""
    try:
        with copy.changed(mutation):
            for test in mutation.tests:
                code, out = copy.play([test])
                if code != FAILED:
                    word, detail = _unkilled(test, code, out)
                    break
    except Unusable as error:
        word, detail = "DOES NOT APPLY", str(error)
    except subprocess.TimeoutExpired:
        word, detail = "TOO LONG", f"a test was not done after {TEST_S_MAX:.0f} s"
    return Verdict(mutation, word, detail, time.monotonic() - began)


def _unkilled(test: str, code: int, out: str) -> tuple[str, str]:
    if code == 0 and SKIPPED.search(out) and not PASSED.search(out):
        return "SKIPPED", f"{test} is skipped on this machine"
    if code == 0:
        return "SURVIVED", f"{test} stays green"
    return "NOT PLAYED", f"{test}: pytest ended with {code}: {_summary(out)}"


def _red_before(mutation: Mutation, red: Sequence[str]) -> Verdict | None:
    """Return the verdict if one of the mutation's tests fails without it, else None."""
    for test in mutation.tests:
        if any(re.match(rf"(FAILED|ERROR) {re.escape(test)}([\[ ]|$)", line) for line in red):
            return Verdict(mutation, "RED BEFORE", f"{test} fails without it", 0.0)
    return None


def _summary(out: str) -> str:
    """Return pytest's lines about failures, else its last line."""
    lines = out.strip().splitlines() or ["nothing printed"]
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    return "\n".join(failed or lines[-1:])


def play(
    source: Path, mutations: Sequence[Mutation], workers: int
) -> tuple[list[str], list[Verdict]]:
    """Play mutations in copies; return the tests that failed beforehand, and each verdict.

    A test that fails without a mutation proves nothing, so it is not used.
    """
    waiting: queue.SimpleQueue[Mutation] = queue.SimpleQueue()
    for mutation in mutations:
        waiting.put(mutation)
    verdicts: list[Verdict] = []
    red: list[str] = []
    broken: list[BaseException] = []
    copies: list[Copy] = []
    named = sorted({test for mutation in mutations for test in mutation.tests})

    def work(number: int, folder: Path) -> None:
        try:
            copy = Copy(source, folder)
            copies.append(copy)
            # Each worker judges its share of the tests as the product stands.
            if share := named[number::workers]:
                code, out = copy.play(share, all_of_them=True)
                red.extend(_summary(out).splitlines() if code != 0 else [])
                if code not in (0, FAILED):
                    raise Unusable(f"the named tests cannot be run: {_summary(out)}")
            together.wait()
            while not waiting.empty():
                try:
                    mutation = waiting.get_nowait()
                except queue.Empty:
                    return
                verdict = _red_before(mutation, red) or judged(copy, mutation)
                verdicts.append(verdict)
                print(verdict.line(), flush=True)
        except BaseException as error:
            broken.append(error)
            together.abort()

    together = threading.Barrier(workers)
    with tempfile.TemporaryDirectory(prefix="minibot-mutations-") as root:
        threads = [
            threading.Thread(target=work, args=(number, Path(root) / str(number)), daemon=True)
            for number in range(workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            together.abort()
            while not waiting.empty():
                waiting.get_nowait()
            for copy in copies:
                copy.end()
            raise
    for error in broken:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return red, verdicts


@dataclass(frozen=True, slots=True)
class Asked:
    """Choice of mutations to play: named rows or all, a seeded draw or all, in how many copies."""

    only: tuple[str, ...]
    part: int | None
    seed: int
    workers: int


def main(
    root: Path, proven: Mapping[str, tuple[str, ...]], wanted: Sequence[str], asked: Asked
) -> int:
    """Check the table, play the chosen mutations, print them; return 1 unless all were killed.

    Args:
        root: The project.
        proven: Row id to the tests that name it by their marks.
        wanted: The rows that need a mutation or a reason.
        asked: The choice of mutations.
    """
    began = time.monotonic()
    only, part, seed = asked.only, asked.part, asked.seed
    try:
        table = read_table(root)
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    known = {mutation.row for mutation in table.mutations} | set(table.without)
    if unknown := [row for row in only if row not in known]:
        print(f"{TABLE}: has nothing of {' '.join(unknown)}", file=sys.stderr)
        return 2
    found = complaints(table, proven, root, wanted)
    of_rows = [m for m in table.mutations if not only or m.row in only]
    chosen = drawn(of_rows, part, seed)
    if part is not None:
        print(f"{len(chosen)} of {len(of_rows)} by seed {seed}")
    red, verdicts = play(root, chosen, asked.workers) if chosen else ([], [])
    without = [row for row in table.without if not only or row in only]
    for row in without:
        print(f"{'no mutation':14} {row:6} {table.without[row]}")
    for text in red:
        print(f"red without any mutation: {text}")
    print("\n".join(found))
    killed = sum(verdict.word == "killed" for verdict in verdicts)
    print(
        f"{killed} of {len(chosen)} mutations killed, {len(chosen) - killed} not; "
        f"{len(without)} rows without one; {len(found)} complaints about the table; "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if found or red or killed < len(chosen) else 0
