"""Play the table of a run's files: each file, each fault, with real runs.

    python3 tools/with_env.py -m tools.file_faults                all cells
    python3 tools/with_env.py -m tools.file_faults --part 20      a seeded twentieth (.ci/run)
    python3 tools/with_env.py -m tools.file_faults --only clock   rows whose name says so
    python3 tools/with_env.py -m tools.file_faults --write        docs/reference/files.md

A cell after the run damages a file of one finished run, asks `verify` and restores the file. A cell
during the run damages the file in its own short night; files that a night can do without share one
night. Each line gives row, fault, expectation and finding. Exit code: 0 if every cell is as the
table says, else 1.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from minibot.cli.main import run as run_verb
from tools.attacks.frame import PROJECT, Lab, NotPlayable, Shelf, make_fifo
from tools.file_table import (
    FAULTS,
    FOUND,
    FOUND_AFTER,
    GOES_ON,
    NO_PART,
    NOT_SEALED,
    NOT_THERE,
    ROWS,
    Row,
)

FOLDER: Final = PROJECT / "var" / "lab" / "file_faults"
PAGE: Final = PROJECT / "docs" / "reference" / "files.md"
DURING, AFTER = "during", "after"
# Long enough for every check to run once; a STOP ends the night much earlier.
NIGHT: Final = {"duration_ms": "400000"}
WITHOUT_AI: Final = {"ai.enabled": "false"}
VERIFY_S_MAX: Final = 60
JOBS: Final = 2
STOPPED: Final = re.compile(r"STOPPED by ([A-Z_]+)|^STOP ([A-Z_]+):", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """One fault of one row, at one time."""

    row: Row
    fault: str
    when: str

    @property
    def expected(self) -> str:
        """The table's outcome for this cell."""
        if self.when == DURING:
            return self.row.expected_during(self.fault)
        return self.row.expected_after(self.fault)


@dataclass(frozen=True)
class Played:
    """Outcome of a cell."""

    cell: Cell
    found: str
    said: str
    seconds: float

    @property
    def is_expected(self) -> bool:
        """True for the table's outcome; a code has to be one of the codes in the table."""
        allowed: list[str] = []
        for word in self.cell.expected.split("|"):
            is_code = word.isupper() and not word.startswith("STOP")
            allowed.append(f"STOP {word}" if is_code else word)
        return any(
            self.found == word or (word == "STOP" and self.found.startswith("STOP "))
            for word in allowed
        )

    def line(self) -> str:
        """Return the line that is printed."""
        cell = self.cell
        verdict = "as said" if self.is_expected else "FINDING"
        return (
            f"{verdict:7} {cell.when:6} {cell.row.name} {cell.fault}: expected {cell.expected};"
            f" found {self.found} ({self.said}) {self.seconds:.1f} s"
        )


def cells() -> list[Cell]:
    """Return every cell that can be played."""
    found = []
    for row in ROWS:
        for fault in FAULTS:
            for when in (AFTER, DURING):
                cell = Cell(row, fault, when)
                if cell.expected != NOT_THERE and (when == AFTER or row.played):
                    found.append(cell)
    return found


# --- the faults ---------------------------------------------------------------------------------


def damage(path: Path, fault: str, aside: Path) -> None:
    """Do a fault to a file or a folder; keep the original at `aside`."""
    if fault == "deleted":
        os.replace(path, aside)
    elif fault == "folder":
        os.replace(path, aside)
        path.mkdir()
    elif fault == "link":
        os.replace(path, aside)
        path.symlink_to(aside)
    elif fault == "fifo":
        os.replace(path, aside)
        make_fifo(path)
    else:
        shutil.copy2(path, aside)
        size = path.stat().st_size
        if fault == "truncated":
            os.truncate(path, size // 2)
        elif size:
            with path.open("r+b") as file:
                file.seek(size // 2)
                byte = file.read(1)
                file.seek(size // 2)
                file.write(bytes([byte[0] ^ 1]))


def mend(path: Path, aside: Path) -> None:
    """Put the original back that `damage` has kept."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.replace(aside, path)


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """End a longer block by TimeoutError; only the main thread can have such a limit."""
    if sys.platform == "win32":
        yield
        return

    def late(number: int, frame: object) -> None:
        raise TimeoutError(f"not within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- after the run ------------------------------------------------------------------------------


def play_after(cell: Cell, run: Path) -> Played:
    """Damage a file of a finished run, ask verify, and put it back."""
    begun = time.monotonic()
    path = file_after(cell.row, run)
    if path is None and cell.expected == NO_PART:
        path = planted(cell.row, run)
    if path is None:
        return Played(cell, "no such file", "", 0.0)
    aside = run.parents[2] / "aside"
    damage(path, cell.fault, aside)
    try:
        with limit(VERIFY_S_MAX):
            code, said = verified(run)
        found = verdict_of(code, said, path)
    except TimeoutError as error:
        found, said = "it hangs", str(error)
    # No verb may fail this way, so the failure becomes the cell's outcome.
    except Exception as error:
        found, said = "a traceback", repr(error)
    finally:
        mend(path, aside)
    return Played(cell, found, said.strip().splitlines()[-1][:120], time.monotonic() - begun)


def verified(run: Path) -> tuple[int, str]:
    """Return exit code and words of verify, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_verb(["verify", str(run), "--jobs", "1", "--var", str(run.parents[1])])
    return code, out.getvalue() + err.getvalue()


def verdict_of(code: int, said: str, path: Path) -> str:
    """Return a verdict of verify in the table's words."""
    if code == 0:
        return NO_PART
    if code == 1 and path.name in said:
        return FOUND
    return f"exit {code} without the name"


def file_after(row: Row, run: Path) -> Path | None:
    """Return the file of a row to damage after a run: the longest one, which has a middle."""
    var = run.parents[1]
    found = []
    for pattern in row.patterns:
        if pattern.startswith("queues/"):
            continue
        found += [
            path
            for path in var.glob(pattern.replace("RUN", run.name))
            if path.is_file() and not path.is_symlink()
        ]
    return max(found, key=lambda path: path.stat().st_size, default=None)


def planted(row: Row, run: Path) -> Path:
    """Write a file where a run with page and alerts would leave one; verify must not care."""
    path = run.parents[1] / row.patterns[0].replace("RUN", run.name).replace("*", "planted")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_bytes(b"planted by tools.file_faults\n")
    path.chmod(0o600)
    return path


# --- during the run -----------------------------------------------------------------------------


def play_during(cells: Sequence[Cell], folder: Path) -> list[Played]:
    """Damage files in one short night; return its outcome, once for each cell."""
    begun = time.monotonic()
    lab = Lab(folder, Shelf(FOLDER / "shelf"))
    try:
        has_ai = any(cell.row.name.startswith("ai/") for cell in cells)
        night = lab.start_night(NIGHT if has_ai else NIGHT | WITHOUT_AI)
        run = night.wait_for_fills()
        for number, cell in enumerate(cells):
            path = night.wait_until(_existing(lab.var, cell.row.played), cell.row.played)
            damage(path, cell.fault, lab.folder / f"aside{number}")
        done = night.wait()
        printed = done.out + done.err
        verify = lab.minibot("verify", run.name)
        found, said = outcome_of(done.code, printed, verify.code, verify.out + verify.err)
    except (NotPlayable, OSError) as error:
        found, said = "not played", f"{type(error).__name__}: {error}"
    finally:
        lab.end()
    return [Played(cell, found, said, time.monotonic() - begun) for cell in cells]


def outcome_of(code: int, printed: str, verify_code: int, verified: str) -> tuple[str, str]:
    """Return a night's outcome in the table's words, and its last line of output."""
    lines = printed.strip().splitlines()
    last = lines[-1][:160] if lines else "nothing"
    if "Traceback" in printed + verified:
        return "a traceback", next(
            line for line in reversed((printed + verified).splitlines()) if line.strip()
        )[:160]
    if code == 10:
        match = STOPPED.search(printed)
        return f"STOP {(match[1] or match[2]) if match else 'without a code'}", last
    if code == 1 and "could not be sealed: " in printed:
        return NOT_SEALED, last
    if code != 0:
        return f"exit {code}", last
    return (GOES_ON if verify_code == 0 else FOUND_AFTER), last


def _existing(var: Path, pattern: str) -> Callable[[], Path | None]:
    return lambda: next(iter(sorted(var.glob(pattern))), None)


def nights_of(wanted: Sequence[Cell]) -> list[list[Cell]]:
    """Return groups of cells that share a night: one fault on files that a night can do without."""
    shared: dict[str, list[Cell]] = {}
    alone = []
    for cell in wanted:
        if cell.expected == GOES_ON:
            shared.setdefault(cell.fault, []).append(cell)
        else:
            alone.append([cell])
    return [*shared.values(), *alone]


# --- the command --------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Play the cells asked for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.file_faults", description="Play the table of a run's files."
    )
    parser.add_argument("--only", nargs="+", default=[], help="rows whose name holds a word")
    parser.add_argument("--when", choices=(DURING, AFTER), help="these cells alone")
    parser.add_argument("--part", type=int, default=1, help="a seeded 1/N of the cells")
    parser.add_argument("--seed", type=int, default=1, help="draws the part (default: 1)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"nights at once (default: {JOBS})")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}, play nothing")
    arguments = parser.parse_args(argv)
    if arguments.write:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    seed = f" by seed {arguments.seed}" if arguments.part > 1 else ""
    return campaign(chosen(arguments), arguments.jobs, seed)


def chosen(arguments: argparse.Namespace) -> list[Cell]:
    """Return the cells that the arguments select."""
    wanted = [
        cell
        for cell in cells()
        if arguments.when in (None, cell.when)
        and (not arguments.only or any(word in cell.row.name for word in arguments.only))
    ]
    if arguments.part > 1:
        count = -(-len(wanted) // arguments.part)
        drawn = random.Random(arguments.seed).sample(range(len(wanted)), count)
        wanted = [wanted[number] for number in sorted(drawn)]
    return wanted


def campaign(wanted: Sequence[Cell], jobs: int, seed: str) -> int:
    """Play cells, print each and the verdict last."""
    begun = time.monotonic()
    played: list[Played] = []

    def note(results: Sequence[Played]) -> None:
        for result in results:
            played.append(result)
            print(result.line(), flush=True)

    after = [cell for cell in wanted if cell.when == AFTER]
    if after:
        shutil.rmtree(FOLDER / "shelf", ignore_errors=True)
        run = Lab(FOLDER / "after", Shelf(FOLDER / "shelf")).finished_run()
        for cell in after:
            note([play_after(cell, run)])
    nights = nights_of([cell for cell in wanted if cell.when == DURING])
    with ThreadPoolExecutor(jobs) as pool:
        for results in pool.map(
            lambda item: play_during(item[1], FOLDER / f"night{item[0]}"), enumerate(nights)
        ):
            note(results)
    findings = sum(not result.is_expected for result in played)
    spent = time.monotonic() - begun
    part = f"{len(played)} cells of {len(cells())}{seed}"
    print(f"file faults: {part}, {spent:.0f} s, {findings} findings")
    return 1 if findings else 0


# --- the page -----------------------------------------------------------------------------------


def page() -> str:
    """Return the page of the table."""
    lines = [
        "# Files of a run and of `var/`",
        "",
        "Generated from `tools/file_table.py` by `python -m tools.file_faults --write`, and played",
        "by `python -m tools.file_faults`. `QUEUE` is `var/queues/NAME`; once the run is sealed,",
        "`var/runs/RUN/queues/NAME`. Faults: changed, truncated, deleted, replaced by a folder, a",
        "link or a FIFO. During the run: `STOP CODE`; `goes on` (no proof rests on it, or it is",
        "made again); `found after` (the night ends, `verify` names it); `not sealed` (the night",
        "ends with exit code 1 and says why). Afterwards: `found` by `verify`, or `no part` of the",
        "run's proof. `-`: not there then, or not played.",
        "",
        "| file | written by | read by | during the run | afterwards | note |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {_names(row)} | {row.writer} | {row.readers} | {_shown(row.during)} |"
        f" {_shown(row.after)} | {row.note} |"
        for row in ROWS
    ]
    return "\n".join(lines) + "\n"


def _names(row: Row) -> str:
    """Return the row's name and the files of its kind that are called otherwise."""
    known = [PurePosixPath(name).name for name in row.name.split(", ")]
    others = {PurePosixPath(pattern).name: None for pattern in row.patterns}
    plain = [name for name in others if not set("*[") & set(name)]
    more = [name for name in plain if not any(fnmatchcase(name, each) for each in known)]
    return ", ".join(f"`{name}`" for name in (row.name, *more))


def _shown(outcomes: object) -> str:
    assert isinstance(outcomes, dict)
    if not outcomes:
        return "-"
    said = [
        (text if fault == "each" else f"{fault}: {text}").replace("|", ", or ")
        for fault, text in outcomes.items()
    ]
    return "; ".join(said)


if __name__ == "__main__":
    sys.exit(main())
