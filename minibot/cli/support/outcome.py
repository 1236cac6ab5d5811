"""Outcome of a finished run for its trader: summary, verdicts, and where the files are.

The figures are recounted from the sealed queues while `verify` and `replay` run as separate
processes; a run whose proof fails does not exit with 0.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from minibot.cli.support.output import (
    drop_reader,
    progress_bar,
    say,
    show_json,
    show_rows,
)
from minibot.cli.support.proving import Proving, Verdict
from minibot.events.reasons import REASONS
from minibot.kernel.errors import MinibotError
from minibot.report.figures import listed, plain_text
from minibot.report.html import write_report
from minibot.report.night import Night
from minibot.report.summary import Row, result_text, source_of, summary_json, summary_rows
from minibot.runtime.context import STOPPED
from minibot.runtime.paths import Var, shown_path
from minibot.runtime.stop import standing_flags
from minibot.watchdog.launcher import Outcome

FAILED, UNREAD = 1, 2
DEMO_SOURCE = "tape:demo"


def judge(outcome: Outcome, *, proof: bool, as_json: bool) -> int:
    """Print how a run ended and return its exit code.

    Args:
        outcome: The launcher's outcome of the run.
        proof: Whether to verify and replay the run.
        as_json: Print one JSON document on standard output instead of lines.
    """
    # If the run's folder is gone there is nothing to prove; the summary says so. `Path.exists`
    # would raise where the disk is gone too.
    proving = Proving(outcome.run_dir if proof and os.path.exists(outcome.run_dir) else None)
    try:
        with _noted_interrupts() as interrupts:
            code = _show_end(outcome, proving, interrupts, as_json=as_json)
            sys.stdout.flush()
        return code
    except OSError as error:
        proving.kill()
        drop_reader(sys.stdout)
        run_id = outcome.run_dir.name
        is_unread = isinstance(error, BrokenPipeError)
        why = "nobody reads the output any more" if is_unread else f"nothing can be shown: {error}"
        say(f"{why}; for {run_id}: minibot report, minibot verify")
        # The verdicts were not printed: 0 would pass for a proven run.
        return outcome.exit_code or UNREAD
    except KeyboardInterrupt:
        proving.kill()
        run_id = outcome.run_dir.name
        text = f"interrupted before {run_id} was proven: minibot verify {run_id}, then replay"
        say(text)
        return outcome.exit_code or FAILED


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Yield a list that gets the number of each Ctrl-C, which is raised as ever.

    Python drops a KeyboardInterrupt that is raised in a destructor; the checks, which got the same
    Ctrl-C, would then look like checks that failed.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield seen
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _show_end(outcome: Outcome, proving: Proving, interrupts: list[int], *, as_json: bool) -> int:
    """Print figures as soon as they are counted, then the verdicts when they are ready."""
    run_dir = outcome.run_dir
    night, trouble = _read(run_dir)
    if not as_json:
        rows = [Row(f"Run {run_dir.name}")] if night is None else summary_rows(night)
        if trouble:
            rows.append(Row("figures", f"cannot be recounted: {plain_text(trouble)}", "bad"))
        rows += [*stop_rows(outcome, night), *_unsealed_rows(outcome), *_recovered_rows(outcome)]
        show_rows(rows)
    report = _write_report(night)
    with progress_bar("verify and replay"):
        verdicts = proving.verdicts()
    if interrupts:
        raise KeyboardInterrupt
    exit_code = outcome.exit_code
    if exit_code == 0 and not all(verdict.passed for verdict in verdicts):
        exit_code = FAILED
    files = files_of(run_dir, report)
    if as_json:
        show_json(_document(outcome, night, trouble, verdicts, files, exit_code))
    else:
        last = [_last(outcome, verdicts, night), *demo_rows(night, exit_code)]
        show_rows([*_proof_rows(verdicts, night), *_file_rows(files), *last])
    return exit_code


def _read(run_dir: Path) -> tuple[Night | None, str]:
    try:
        with progress_bar(f"counting {run_dir.name} again") as progress:
            return Night.open(run_dir, progress), ""
    except (MinibotError, OSError) as error:
        return None, str(error)


def _write_report(night: Night | None) -> Path | None:
    if night is None:
        return None
    try:
        return write_report(night)
    except (MinibotError, OSError) as error:
        say(f"the HTML report could not be written: {error}")
        return None


# --- rows -------------------------------------------------------------------------------------


def stop_rows(outcome: Outcome, night: Night | None) -> list[Row]:
    """Return why a run was stopped, what remains and what to do; nothing for a planned end."""
    if outcome.exit_code != STOPPED:
        return []
    reason = REASONS.get(outcome.reason_code)
    var = Var(outcome.run_dir.parents[1])
    rows = [
        Row("STOPPED", tone="bad"),
        Row("reason", f"{outcome.reason_code}: {plain_text(outcome.detail)}", "bad"),
    ]
    if reason is not None:
        rows += [Row("meaning", reason.meaning), Row("what to do", reason.remedy)]
    if night is not None:
        positions = night.count.performance.portfolio.open_positions()
        held = ", ".join(f"{item['qty']} {item['symbol']}" for item in positions) or "no position"
        rows.append(Row("left open", f"{held}; a STOP closes nothing"))
    rows += [Row("note", plain_text(note), "bad") for note in outcome.notes]
    flags = standing_flags(outcome.var or var)
    if flags:
        places = " or ".join(map(shown_path, flags))
        rows.append(Row("no new run", f"while {places} exists. When the reason is understood:"))
        rows.append(Row("", 'minibot clear-stop --reason "..."'))
    return rows


def _unsealed_rows(outcome: Outcome) -> list[Row]:
    if not outcome.unsealed:
        return []
    return [Row("not sealed", plain_text(outcome.unsealed), "bad")]


def _recovered_rows(outcome: Outcome) -> list[Row]:
    recovered = outcome.recovered
    if recovered is None:
        return []
    rows = [Row("former run", recovered.fate)]
    return rows + [Row("", plain_text(fault), "bad") for fault in recovered.faults]


def _proof_rows(verdicts: list[Verdict], night: Night | None) -> list[Row]:
    rows = []
    for verdict in verdicts:
        rows.append(Row(verdict.name, verdict.text, "good" if verdict.passed else "bad"))
        rows += [Row("", line, "bad") for line in verdict.lines]
    if night is not None and night.seal:
        rows.append(Row("root", night.seal["root"]))
        rows.append(Row("", "Keep this line elsewhere: it pins the whole run."))
    heading = "Proof" if verdicts else "Seal"
    return [Row(heading), *rows] if rows else []


def files_of(run_dir: Path, report: Path | None) -> dict[str, str]:
    """Return the paths of a run's existing files, relative to the working folder."""
    var = Var(run_dir.parents[1])
    places = {
        "run": run_dir,
        "report": report,
        "metrics": var.metrics / "metrics.json",
        "logs": var.logs,
        "stops, ends": var.stop_journal,
    }
    return {
        name: shown_path(path)
        for name, path in places.items()
        if path is not None and os.path.exists(path)
    }


def _file_rows(files: dict[str, str]) -> list[Row]:
    if not files:
        return []
    return [Row("Files"), *(Row(name, path) for name, path in files.items())]


def _last(outcome: Outcome, verdicts: list[Verdict], night: Night | None) -> Row:
    """Return the last line: result and trades first, then how the run ended and its proof."""
    how = "STOPPED" if outcome.exit_code == STOPPED else "ended in order"
    parts = [f"{outcome.run_dir.name} {how} by {outcome.reason_code}"]
    if night is not None:
        parts.insert(0, result_text(night))
    parts += [listed(f"{each.name} {each.text.split(',')[0]}" for each in verdicts)] * bool(
        verdicts
    )
    return Row("; ".join(parts))


def demo_rows(night: Night | None, exit_code: int) -> list[Row]:
    """Return the demo's purpose and the next command; nothing for any other run.

    A strategy of one's own is no demo, wherever it is tried. After a STOP the next command is the
    one that explains it; where a proof failed, its own lines say what is next.
    """
    if night is None or source_of(night) != DEMO_SOURCE:
        return []
    section = night.manifest.config["strategy"]
    if section.get("source"):
        return []
    gate = "" if section["cost_gate"] else " and without the cost gate"
    text = (
        f"shows the machine, not a strategy: it decides on bars of {section['bar_interval']}{gate}"
    )
    rows = [Row("this demo", text)]
    if exit_code == STOPPED:
        rows.append(Row("next", "the events before the STOP: minibot explain --stop"))
    elif exit_code == 0:
        rows.append(Row("next", "the strategy of real nights on two weeks of bars: minibot demo"))
    return rows


def _document(
    outcome: Outcome,
    night: Night | None,
    trouble: str,
    verdicts: list[Verdict],
    files: dict[str, str],
    exit_code: int,
) -> dict[str, Any]:
    reason = REASONS.get(outcome.reason_code)
    return {
        "run_id": outcome.run_dir.name,
        "exit_code": exit_code,
        "reason_code": outcome.reason_code,
        "detail": outcome.detail,
        "meaning": None if reason is None else reason.meaning,
        "remedy": None if reason is None else reason.remedy,
        "summary": None if night is None else summary_json(night),
        "trouble": trouble or None,
        "unsealed": outcome.unsealed or None,
        "notes": list(outcome.notes),
        **{
            verdict.name: verdict.document or {"passed": verdict.passed, "text": verdict.text}
            for verdict in verdicts
        },
        "files": files,
    }
