"""minibot tape: show, check, cut and merge recorded tapes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any, Final

from minibot.cli.support.output import show
from minibot.data.recording import packed
from minibot.data.tapes import chained, changed, parts_of
from minibot.data.treatment import clock_text
from minibot.exchanges.tapes.check import BOOK_DEPTHS, Check
from minibot.exchanges.tapes.edit import Cut, Merge
from minibot.exchanges.tapes.findings import DAMAGED, SHOWN_MAX, SUM, TapeFinding
from minibot.exchanges.tapes.lines import Line, tape_lines
from minibot.exchanges.tapes.survey import Survey
from minibot.exchanges.tapes.tape import DEMO_TAPE
from minibot.kernel.errors import Refusal
from minibot.kernel.files import hash_file, put_atomic, remove_temps
from minibot.replay.time_arguments import Span
from minibot.report.figures import counted, listed
from minibot.runtime.paths import shown_path

HELP = "recorded tapes: info, check (they are their own oracle), cut, merge"
EXAMPLE = "minibot tape check var/tapes/evening"

OFFSET: Final = re.compile(r"\+(\d{1,9}(?:\.\d{1,3})?)(s|m|h)?", re.ASCII)
SECONDS: Final = {None: 1, "s": 1, "m": 60, "h": 3600}
MEANINGS: Final = {
    "damaged": "the file is damaged or cut short",
    "sha256": "not the bytes that SHA256SUMS lists",
    "frame": "a message that makes no sense",
    "order": "received before the line above it",
    "gap": "updates of a book are missing, and no mark says so",
    "repeated": "recorded twice",
    "trades_missing": "trades are missing, and no mark says so",
    "book": "an update that no book can take",
    "top": "the book differs from the best quotes",
    "checksum": "the book differs from its checksum",
}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=["info", "check", "cut", "merge"], help="what to do")
    command.add_argument(
        "files", nargs="+", metavar="FILE", help="tapes, or the folder of a recording"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="where a cut or a merge goes")
    for name, what in (("from", "first"), ("to", "end, excluded,")):
        command.add_argument(
            f"--{name}",
            dest=f"{name}_time",
            metavar="TIME",
            help=f"{what} of a cut: 23:55:10, 2024-08-08T23:55, or +90s, +5m after the beginning",
        )
    command.add_argument(
        "--depth",
        type=int,
        choices=BOOK_DEPTHS,
        default=0,
        help="of Kraken's books, where the tape does not say it",
    )


def _named(word: str) -> Path:
    """Return the path of a tape, named by its file or as a source is: `tape:FILE`, `tape:demo`."""
    kind, _, name = word.partition(":")
    if kind != "tape" or not name or Path(word).exists():
        return Path(word)
    # Imported here because a file's own name needs no sources.
    from minibot.simulator.sources.sources import find

    return DEMO_TAPE if name == "demo" else find(name)


def run(arguments: argparse.Namespace) -> int:
    """Run the action; 1 when a check has findings."""
    _require_own_flags(arguments)
    arguments.files = [_named(word) for word in arguments.files]
    action = {"info": _info, "check": _check, "cut": _cut, "merge": _merge}[arguments.action]
    return action(arguments)


def _require_own_flags(arguments: argparse.Namespace) -> None:
    """Refuse flags of another action: a merge between two times would still be of the whole."""
    action = arguments.action
    is_narrowed = arguments.from_time is not None or arguments.to_time is not None
    if action != "cut" and is_narrowed:
        raise Refusal("--from and --to belong to tape cut.", "Cut first, or cut what comes out.")
    if action in ("info", "check") and arguments.out is not None:
        raise Refusal("--out belongs to tape cut and tape merge.", f"tape {action} writes no file.")
    if action in ("info", "merge") and arguments.depth:
        raise Refusal("--depth belongs to tape check and tape cut.", "Leave it out.")


# --- info -------------------------------------------------------------------------------------


def _info(arguments: argparse.Namespace) -> int:
    documents: list[dict[str, Any]] = []
    lines: list[str] = []
    for path in parts_of(arguments.files):
        survey = Survey()
        for line in tape_lines(path):
            survey.take(line)
        size, sha256 = hash_file(path)
        documents.append({"path": str(path), "bytes": size, "sha256": sha256, **survey.to_json()})
        lines += _described(path, size, survey)
    show(arguments, documents, lines)
    return 0


def _described(path: Path, size: int, survey: Survey) -> list[str]:
    found = survey.to_json()
    lines = [
        f"{shown_path(path)}: {counted(survey.lines, 'line')}, {size / 1e6:.1f} MB",
        f"  span      {_span(survey)}",
        f"  symbols   {listed(survey.symbols)}",
    ]
    width = max(map(len, survey.counts), default=0)
    lines += [f"  {name:<{width}}  {count:>9,}" for name, count in sorted(survey.counts.items())]
    skew = found["skew_ms"]
    if skew is not None:
        lines.append(
            f"  skew      event times are {skew['median']:+} ms from the receipt "
            f"({skew['min']:+} to {skew['max']:+})"
        )
    lines += [
        f"  missed    {_time(each.from_ns)} to {_time(each.to_ns)}: {each.why} "
        f"({listed(each.symbols, 'all symbols')})"
        for each in survey.missed
    ]
    lines += [f"  silence   {_time(begin)} to {_time(end)}" for begin, end in survey.silences]
    if survey.backward:
        lines.append(
            f"  order     {counted(survey.backward, 'line')} received before the line above"
        )
    return lines


def _span(survey: Survey) -> str:
    seconds = (survey.last_ns - survey.first_ns) / 10**9
    return f"{_time(survey.first_ns)} to {_time(survey.last_ns)} UTC, {seconds:.1f} s"


def _time(at_ns: int) -> str:
    return clock_text(at_ns // 10**6)


# --- check ------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> int:
    paths = parts_of(arguments.files)
    check = Check(arguments.depth)
    for path in paths:
        check.read(tape_lines(path))
    for path, why in changed(paths):
        check.findings.add(TapeFinding(SUM, 0, 0, "", f"{path.name} {why}"))
    document = {"files": [str(path) for path in paths], **check.to_json()}
    show(arguments, document, _judged(paths, check))
    return 1 if check.findings.counts else 0


def _judged(paths: Sequence[Path], check: Check) -> list[str]:
    survey, wrong = check.survey, check.findings.counts
    lines = [
        f"{counted(len(paths), 'file')}, {counted(survey.lines, 'line')}, {_span(survey)}"
        if survey.lines
        else f"{counted(len(paths), 'file')}, not a line could be read"
    ]
    for name, each in sorted(check.symbols.items()):
        proofs = [
            f"{counted(each.checksums, 'checksum')} equal" if each.checksums else "",
            f"{each.top.checks - each.top.mismatches:,} of {each.top.checks:,} tops equal"
            if each.top.checks
            else "",
        ]
        proved = ", ".join(proof for proof in proofs if proof) or "its book could not be proved"
        lines.append(f"  {name:<10} {counted(each.diffs, 'diff')}: {proved}")
    lines += [
        f"  missed    {_time(each.from_ns)} to {_time(each.to_ns)}: {each.why} (marked, no fault)"
        for each in survey.missed
    ]
    lines += [f"  FAULT {_placed(each)}" for each in check.findings.shown]
    lines += [
        f"  FAULT {kind}: {count - SHOWN_MAX:,} more"
        for kind, count in wrong.items()
        if count > SHOWN_MAX
    ]
    verdict = listed(f"{kind} {count:,} ({MEANINGS[kind]})" for kind, count in wrong.items())
    return [*lines, f"WRONG: {verdict}" if wrong else "The tape agrees with itself."]


def _placed(finding: TapeFinding) -> str:
    place = f"line {finding.line:,} at {_time(finding.at_ns)}" if finding.line else "the file"
    place = f"after {place}" if finding.kind == DAMAGED and finding.line else place
    symbol = f" {finding.symbol}" if finding.symbol else ""
    return f"{finding.kind}: {place}:{symbol} {finding.detail}"


# --- cut and merge ----------------------------------------------------------------------------


def _cut(arguments: argparse.Namespace) -> int:
    out, paths = _target(arguments), parts_of(arguments.files)
    span = _bounds(paths)
    from_ms = _moment(arguments.from_time, span, span.from_ms)
    to_ms = _moment(arguments.to_time, span, span.to_ms + 1)
    if arguments.to_time is not None and from_ms >= to_ms:
        raise Refusal("--to is not after --from.", f"The tape goes from {span.text}.")
    cut = Cut(from_ms * 10**6, to_ms * 10**6, arguments.depth)
    _put(out, cut.of(chained(paths)), lambda: cut.lines)
    lines = [
        f"{shown_path(out)}: {counted(cut.lines, 'line')}, books of {listed(cut.books)} "
        "at its beginning"
    ]
    lines += [f"  {name}: no book was known at that moment" for name in cut.without]
    show(
        arguments,
        {"path": str(out), "lines": cut.lines, "books": cut.books, "without": cut.without},
        lines,
    )
    return 0


def _merge(arguments: argparse.Namespace) -> int:
    out, paths = _target(arguments), parts_of(arguments.files)
    merge = Merge()
    _put(out, merge.of([tape_lines(path) for path in paths]), lambda: merge.lines)
    show(
        arguments,
        {"path": str(out), "lines": merge.lines, "dropped": merge.dropped, "tapes": len(paths)},
        [
            f"{shown_path(out)}: {counted(merge.lines, 'line')} of {counted(len(paths), 'tape')}, "
            f"{counted(merge.dropped, 'duplicate')} dropped"
        ],
    )
    return 0


def _put(out: Path, lines: Iterable[Line], count: Any) -> None:
    try:
        put_atomic(out, packed(lines))
    except Refusal:
        remove_temps(out)  # The source turned out to be damaged.
        raise
    if not count():
        out.unlink()
        raise Refusal(f"{out}: no line is left to write.", "See: minibot tape info FILE")


def _target(arguments: argparse.Namespace) -> Path:
    out: Path | None = arguments.out
    if out is None:
        raise Refusal(f"tape {arguments.action} needs a file to write.", "Give --out FILE.gz")
    if out.exists():
        raise Refusal(f"{out} exists, and nothing is ever overwritten.", "Name another --out.")
    if not out.parent.is_dir():
        raise Refusal(f"{out.parent} is no folder.", "Make it, or name another --out.")
    return out


def _bounds(paths: Sequence[Path]) -> Span:
    """Return the span of a tape up to any damage: a cut whose `--to` lies before it is possible."""
    first_ns = last_ns = 0
    try:
        for line in chained(paths):
            first_ns, last_ns = first_ns or line.at_ns, max(last_ns, line.at_ns)
    except Refusal:
        if not first_ns:
            raise
    return Span("tape", first_ns // 10**6, last_ns // 10**6, UTC, "UTC", is_tape=True)


def _moment(text: str | None, span: Span, default: int) -> int:
    """Return the Unix ms of a time of the tape, or of an offset from its beginning."""
    if text is None:
        return default
    offset = OFFSET.fullmatch(text.strip())
    if offset is None:
        return span.moment(text)
    return span.from_ms + round(float(offset[1]) * SECONDS[offset[2]] * 1000)
