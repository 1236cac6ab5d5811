"""The live table: it fits any terminal, whatever is said in it, and dies alone."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from minibot.cli.support.live import View, draw
from minibot.kernel import canonical
from tests.runs import ShortRun
from tests.waiting import DEADLINE_S

ROLES = ("market_role", "strategy_role", "risk_role", "execution_role", "ai_role")

ORIGIN_MS = 1_723_161_253_937
HEIGHT = 24


def status(reason: str = "HOLD: warmup 18/21 bars of 1s", **changes: Any) -> dict[str, Any]:
    """What the watchdog sends once a second in the middle of a night."""
    facts: dict[str, dict[str, Any]] = {
        "market_role": {"ticks": 16_287, "lag_market_ms": 3, "latency_us": 4_300},
        "strategy_role": {"signals": 25, "reason": reason},
        "risk_role": {
            "equity": "9996.83654321",
            "drawdown_bps": "3.1635",
            "fees": "3.00000000",
            "realised_pnl": "-0.16345679",
            "orders_per_minute": 3,
            "is_halted": False,
        },
        "execution_role": {
            "fills": 6,
            "open_orders": 1,
            "open_positions": [{"symbol": "BTCUSDT", "qty": "0.00810000"}],
            "tick_to_result_n": 5,
            "tick_to_result_us_p50": 8_700,
            "tick_to_result_us_p95": 34_900,
        },
        "ai_role": {"ai": "READY", "detail": "isolation jail; model baseline-v1"},
    }
    roles = {
        role: {
            "pid": 4_000_000 + number,
            "running": True,
            "restarts": 0,
            "heartbeat": {
                "state": "READY",
                "position": 16_787,
                "waiting": 0,
                "facts": facts[role],
            },
        }
        for number, role in enumerate(ROLES)
    }
    return {
        "run_id": "20261120_090759",
        "profile": "nore-demo",
        "simulated": True,
        "phase": "running",
        "ended": None,
        "now_ms": ORIGIN_MS + 173_000,
        "origin_ms": ORIGIN_MS,
        "planned_ms": ORIGIN_MS + 346_000,
        "ai_off": False,
        "roles": roles,
    } | changes


def drawn(shown: dict[str, Any], width: int) -> list[str]:
    """The table as a terminal of a width shows it."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=HEIGHT, force_terminal=True, color_system=None)
    console.print(View(shown).table(width))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 110, 120])
def test_table_shows_roles_ticks_latency_signals_fills_equity_drawdown_and_decision(
    width: int,
) -> None:
    """All that an operator looks for fits into 80 columns."""
    text = "\n".join(drawn(status(), width))

    for wanted in (
        "16,287 ticks",
        "exchange answers in 4.3 ms",
        "25 signals",
        "6 fills, result in 8.7 ms p50, 34.9 ms p95",
        "equity 9,996.84",
        "drawdown 3.2 bps",
        "0.00810000 BTCUSDT, 1 order",
        "HOLD: warmup 18/21 bars of 1s",
        "isolation jail",
        "50 % of 5 min 46 s",
        "RUNNING",
    ):
        assert wanted in text
    for role in ("market", "strategy", "risk", "execution", "ai"):
        assert f"\n{role} " in text


def test_table_gives_money_positions_and_decision_their_own_times() -> None:
    """Each role speaks for itself: what it has not taken yet is not in its figures."""
    shown = status("HOLD: no dip")
    shown["roles"]["risk_role"]["heartbeat"]["facts"]["now"] = ORIGIN_MS + 170_000
    shown["roles"]["execution_role"]["heartbeat"]["facts"]["now"] = ORIGIN_MS + 171_000
    strategy = shown["roles"]["strategy_role"]["heartbeat"]["facts"]
    strategy["decisions"] = {"BTCUSDT": {"ts": ORIGIN_MS + 169_000}, "X": {"ts": ORIGIN_MS}}

    lines = drawn(shown, 80)

    assert any(line.startswith("money    23:57:03 equity") for line in lines)
    assert any(line.startswith("open     23:57:04 0.0081") for line in lines)
    assert any(line.startswith("decision 23:57:02 HOLD: no dip") for line in lines)
    assert "20261120_090759" in View(shown).sentence()
    assert "decided 23:57:02 HOLD: no dip" in View(shown).sentence()


def test_decision_of_before_the_position_is_not_shown_as_current() -> None:
    """A reason to wait beside what was bought since would be a riddle."""
    shown = status("HOLD: no dip")
    strategy = shown["roles"]["strategy_role"]["heartbeat"]["facts"]
    strategy["decisions"] = {"BTCUSDT": {"ts": ORIGIN_MS + 100_000}}
    execution = shown["roles"]["execution_role"]["heartbeat"]["facts"]

    said = {}
    for name, opened_ts in (("before", 100_001), ("with", 100_000), ("none", None)):
        execution["opened_ts"] = None if opened_ts is None else ORIGIN_MS + opened_ts
        said[name] = View(shown).decision()

    assert said["before"] == "none since the position of 23:55:53; before it: HOLD: no dip"
    assert said["with"] == said["none"] == "HOLD: no dip"


@pytest.mark.slow
@given(
    reason=st.text(max_size=400),
    width=st.integers(80, 200),
    restarts=st.integers(0, 5),
    ai_off=st.booleans(),
)
def test_table_never_breaks_whatever_is_said_in_it(
    reason: str, width: int, restarts: int, ai_off: bool
) -> None:
    """No line is wider than the terminal, none acts on it, and the table stays small."""
    shown = status(reason, ai_off=ai_off)
    shown["roles"]["risk_role"]["restarts"] = restarts
    shown["roles"]["ai_role"]["heartbeat"]["facts"]["detail"] = reason

    lines = drawn(shown, width)

    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= HEIGHT
    assert all(character.isprintable() for line in lines for character in line)


@given(reason=st.text(max_size=400))
def test_sentence_is_one_printable_line(reason: str) -> None:
    """A log reader gets one line for each, with short figures."""
    sentence = View(status(reason)).sentence()

    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    assert "equity 9,996.84 | drawdown 3.2 bps" in sentence


def test_troubles_stand_in_the_table_and_in_the_sentence() -> None:
    """A restart, an AI that is off and a halt are seen at once."""
    shown = status(ai_off=True)
    shown["roles"]["risk_role"]["restarts"] = 2
    shown["roles"]["risk_role"]["heartbeat"]["facts"]["is_halted"] = True

    text = "\n".join(drawn(shown, 80))

    for trouble in ("risk_role restarted 2 times", "AI off", "halted: no new entries"):
        assert trouble in View(shown).sentence()
        assert trouble in text
    assert "OFF" in text


def test_table_before_any_heartbeat_says_that_roles_are_starting() -> None:
    """The first second of a run has no facts yet."""
    shown = status()
    for entry in shown["roles"].values():
        entry["heartbeat"] = {}

    text = "\n".join(drawn(shown, 80))

    assert text.count("STARTING") == 5
    assert "no decision yet" in text
    assert "no decision yet" in View(shown).sentence()


@pytest.mark.parametrize(
    ("kind", "code", "state", "words"),
    [
        ("STOP", "OPERATOR_KILL", "STOPPED", "STOPPED by OPERATOR_KILL: operator: enough"),
        ("END", "SOURCE_ENDED", "ENDED", "ended by SOURCE_ENDED"),
    ],
)
def test_last_table_and_sentence_say_how_the_night_ended(
    kind: str, code: str, state: str, words: str
) -> None:
    """They stay on the screen: RUNNING over a night that was killed would be a lie."""
    detail = "operator: enough" if kind == "STOP" else code
    shown = status(ended={"kind": kind, "reason_code": code, "detail": detail})

    lines = drawn(shown, 80)

    assert lines[0].endswith(f"  {state}")
    assert "RUNNING" not in "\n".join(lines)
    assert lines[-1].split(maxsplit=1) == ["end", words]
    assert View(shown).sentence().startswith(f"{words} | ")


@pytest.mark.process
def test_sentence_of_the_end_is_not_left_out_because_one_has_just_been_said() -> None:
    """Two statuses at once: the second is the last."""
    ended = {"kind": "STOP", "reason_code": "OPERATOR_KILL", "detail": "enough"}
    said = [canonical.encode(item) + b"\n" for item in (status(), status(ended=ended))]

    out, _ = table_process().communicate(b"".join(said), timeout=DEADLINE_S)

    assert out.splitlines()[-1].startswith(b"STOPPED by OPERATOR_KILL: enough | ")


def test_night_without_a_terminal_says_at_last_how_it_ended(short_run: ShortRun) -> None:
    """The launcher shows one status more, when the end stands in the journal."""
    sentences = [line for line in short_run.said.err.splitlines() if " | " in line]

    assert sentences[-1].startswith("ended by DURATION_REACHED: ")


def table_process(*flags: str) -> subprocess.Popen[bytes]:
    """The process that the launcher starts."""
    return subprocess.Popen(
        [sys.executable, "-m", "minibot.cli.support.live", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_cursor_rests_below_the_table_where_an_echoed_key_moves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the end of a full line `^C` would begin the next, and an old head would stay above."""
    shown = canonical.encode(status()) + b"\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(shown * 2)))
    file = io.StringIO()

    draw(Console(file=file, width=80, height=HEIGHT, force_terminal=True, color_system=None))

    first, _, second = file.getvalue().partition("\x1b[2K\x1b[1A")
    last_line = first.rpartition("\n")[2]
    assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", last_line).strip() == ""
    assert "minibot nore-demo" in second


@pytest.mark.process
def test_table_process_without_a_terminal_prints_a_sentence_and_ends_with_its_input() -> None:
    """It is told to end by the end of its input, and Ctrl-C is not its business."""
    process = table_process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(canonical.encode(status()) + b"\n")
    process.stdin.flush()
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=DEADLINE_S)

    assert b"16,287 ticks | 25 signals | 6 fills" in first
    assert process.returncode == 0
    assert (out, err) == (b"", b"")


@pytest.mark.process
def test_table_process_with_json_keeps_standard_output_free() -> None:
    """The document that follows stands there alone."""
    process = table_process("--stderr")

    out, err = process.communicate(canonical.encode(status()) + b"\n", timeout=DEADLINE_S)

    assert out == b""
    assert b"16,287 ticks" in err
