"""`minibot tape` as users call it: arguments, documents, exit codes, times."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.main import run
from tests.exchanges.tapes.tape_lines import demo, put
from tests.exchanges.tapes.test_tape_check import BROKEN

Run = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tape of half a minute, from the shipped one."""
    return put(tmp_path_factory.mktemp("tape") / "tape.gz", demo())


def said(capsys: Run, *arguments: object) -> tuple[int, Any]:
    """Return exit code and document of a call."""
    code = run(["tape", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys: Run, *arguments: object) -> str:
    """Return the message of a refused call."""
    assert run(["tape", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_info_says_what_is_on_the_tape(tape: Path, capsys: Run) -> None:
    """Tape info has span, symbols, counts and skew, in words and as a document."""
    code, (document,) = said(capsys, "info", tape)

    assert code == 0
    assert document["lines"] == 4000
    assert document["symbols"] == ["BTCUSDT"]
    assert sum(document["streams"].values()) == 4000
    assert document["skew_ms"]["median"] == pytest.approx(1272, abs=10)
    assert document["first_ns"] == 1723161253937085768
    assert run(["tape", "info", str(tape)]) == 0
    words = capsys.readouterr().out
    assert "2024-08-08 23:54:13.937" in words
    assert "btcusdt@depth@100ms" in words


def test_tape_is_named_as_a_source_is(tape: Path, capsys: Run) -> None:
    """The words that name a tape to a night name it here too, as a refusal recommends."""
    code, (shipped,) = said(capsys, "info", "tape:demo")
    _, (named,) = said(capsys, "info", f"tape:{tape}")
    _, (plain,) = said(capsys, "info", tape)

    assert code == 0
    assert shipped["lines"] == 41_249
    assert named == plain
    assert "no such file" in refused(capsys, "check", "tape:nowhere.gz")


def test_check_of_a_right_tape_is_0_and_of_a_wrong_one_1(
    tape: Path, tmp_path: Path, capsys: Run
) -> None:
    """Tape check exits 0 for a right tape, and 1 with the place for a wrong one."""
    lines = demo()
    at = next(i for i, line in enumerate(lines) if i > 2000 and b"@trade" in line.message)
    wrong = put(tmp_path / "wrong.gz", lines[:at] + lines[at + 1 :])

    assert run(["tape", "check", str(tape)]) == 0
    assert capsys.readouterr().out.endswith("The tape agrees with itself.\n")
    code, document = said(capsys, "check", wrong)
    assert code == 1
    assert document["wrong"] == {"trades_missing": 1}
    assert document["checks"]["BTCUSDT"]["top_mismatches"] == 0
    assert run(["tape", "check", str(wrong)]) == 1
    words = capsys.readouterr().out
    assert "FAULT trades_missing: line " in words
    assert "WRONG: trades_missing 1" in words


@pytest.mark.parametrize("message", BROKEN)
def test_broken_line_is_told_by_check_and_passed_over_by_info_and_cut(
    message: bytes, tmp_path: Path, capsys: Run
) -> None:
    """A line without sense is one finding; info counts it, and a cut behind it is made."""
    lines, out = demo(800), tmp_path / "cut.gz"
    lines[99] = lines[99]._replace(message=message)
    path = put(tmp_path / "broken.gz", lines)

    code, checked = said(capsys, "check", path)
    _, (document,) = said(capsys, "info", path)
    made, _ = said(capsys, "cut", path, "--from", "+1s", "--out", out)

    assert code == 1
    assert [finding["line"] for finding in checked["findings"] if finding["kind"] == "frame"] == [
        100
    ]
    assert checked["lines"] == document["lines"] == 800
    assert (made, run(["tape", "check", str(out)])) == (0, 0)


def test_damaged_file_is_a_finding_with_its_place(tape: Path, tmp_path: Path, capsys: Run) -> None:
    """A damaged file is a finding with its place; the rest of it is still checked."""
    short = tmp_path / "short.gz"
    short.write_bytes(tape.read_bytes()[:-2000])
    code, document = said(capsys, "check", short)

    assert code == 1
    (finding,) = document["findings"]
    assert finding["kind"] == "damaged"
    assert f"after line {finding['line']}" in finding["detail"]
    assert document["lines"] == finding["line"] > 3000


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [
        ("+5s", "+10s", 5),
        ("23:54:20", "23:54:24", 4),
        ("2024-08-08T23:54:20", "+0.2m", 5.9),
        (None, "+2s", 2),
    ],
)
def test_cut_takes_the_span_that_was_asked_for(
    tape: Path, tmp_path: Path, capsys: Run, begin: str | None, end: str, seconds: float
) -> None:
    """Tape cut accepts a span by clock time, date or offset; its result proves itself."""
    out = tmp_path / "cut.gz"
    times = ["--to", end] + ([] if begin is None else ["--from", begin])
    code, document = said(capsys, "cut", tape, "--out", out, *times)

    assert code == 0
    assert document["without"] == []
    checked, found = said(capsys, "check", out)
    assert checked == 0
    assert found["span_s"] == pytest.approx(seconds, abs=0.25)
    assert found["checks"]["BTCUSDT"]["top_checks"] > 10


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (("--from", "20:00"), "not a time of this tape"),
        (("--from", "25:00"), "in UTC"),
        (("--from", "+8s", "--to", "+5s"), "--to is not after --from"),
    ],
)
def test_cut_of_a_wrong_span_speaks_of_the_tape_and_of_flags_that_it_has(
    tape: Path, tmp_path: Path, capsys: Run, times: tuple[str, ...], told: str
) -> None:
    """A tape is no run, and `tape` has no --zone."""
    message = refused(capsys, "cut", tape, *times, "--out", tmp_path / "cut.gz")

    assert told in message
    assert "--zone" not in message
    assert "this run" not in message


def test_what_is_before_the_damage_can_be_cut_out(tape: Path, tmp_path: Path, capsys: Run) -> None:
    """A cut before the damage succeeds; one across it is refused and leaves nothing."""
    short, out = tmp_path / "short.gz", tmp_path / "out.gz"
    short.write_bytes(tape.read_bytes()[: tape.stat().st_size // 2])

    assert said(capsys, "cut", short, "--to", "+8s", "--out", out)[0] == 0
    assert said(capsys, "check", out)[1]["span_s"] == pytest.approx(8, abs=0.25)
    out.unlink()
    assert "cut short after line" in refused(capsys, "cut", short, "--out", out)
    assert list(tmp_path.iterdir()) == [short]


def test_merge_of_a_tape_with_its_cut_is_the_tape(tape: Path, tmp_path: Path, capsys: Run) -> None:
    """A merge of a tape with its cut is the tape, without repeated messages."""
    cut, merged = tmp_path / "cut.gz", tmp_path / "merged.gz"
    _, made = said(capsys, "cut", tape, "--from", "+5s", "--to", "+10s", "--out", cut)
    code, document = said(capsys, "merge", cut, tape, "--out", merged)

    assert code == 0
    assert document["dropped"] == made["lines"]
    kept = [
        line for line in gzip.decompress(merged.read_bytes()).splitlines() if b"rebuilt" not in line
    ]
    assert kept == gzip.decompress(tape.read_bytes()).splitlines()


def test_parts_are_one_tape_in_whatever_order_they_are_named(
    tape: Path, tmp_path: Path, capsys: Run
) -> None:
    """Parts merge in the order of their own times, whatever the order of arguments."""
    lines = demo()
    second, first = put(tmp_path / "a.gz", lines[2500:]), put(tmp_path / "b.gz", lines[:2500])
    code, document = said(capsys, "check", second, first)

    assert code == 0
    assert document["lines"] == 4000
    assert document["files"] == [str(first), str(second)]
    assert document["checks"] == said(capsys, "check", tape)[1]["checks"]


def test_what_can_not_be_done_is_refused_with_a_reason(
    tape: Path, tmp_path: Path, capsys: Run
) -> None:
    """Refusals exit 2 with a sentence, overwrite nothing and leave nothing."""
    out = tmp_path / "out.gz"
    empty = tmp_path / "folder"
    empty.mkdir()
    text = tmp_path / "text.gz"
    text.write_bytes(gzip.compress(b"hello\n"))

    assert "needs a file to write" in refused(capsys, "cut", tape)
    assert "nothing is ever overwritten" in refused(capsys, "merge", tape, "--out", tape)
    assert "not a time of this" in refused(capsys, "cut", tape, "--from", "05:00", "--out", out)
    assert "'soon' is not a time" in refused(capsys, "cut", tape, "--from", "soon", "--out", out)
    assert "no line is left" in refused(capsys, "cut", tape, "--from", "+9h", "--out", out)
    endless = f"+{'9' * 400}h"
    assert "is not a time" in refused(capsys, "cut", tape, "--from", endless, "--out", out)
    nowhere = tmp_path / "none" / "out.gz"
    assert f"{nowhere.parent} is no folder" in refused(capsys, "merge", tape, "--out", nowhere)
    assert "tape info" not in (no_part := refused(capsys, "info", empty))
    assert "no closed part" in no_part
    assert "there is no such file" in refused(capsys, "check", tmp_path / "none.gz")
    assert "line 1 is not" in refused(capsys, "info", text)
    assert refused(capsys, "check", f"tape:{'a' * 300}").startswith("refused: ")
    assert not out.exists()
