"""The live table: it fits any terminal, whatever is said in it, and dies alone."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, Group

from minibot.cli import watch
from minibot.cli.main import run
from minibot.cli.support.live import Pace, show_live
from minibot.cli.support.live_view import View
from minibot.engine.role_replay import Recorded
from minibot.kernel import canonical
from minibot.kernel.files import write_atomic
from minibot.report.figures import clock, signed
from minibot.report.recount import recount
from minibot.runtime.paths import Var
from tests.runs import ShortRun
from tests.waiting import DEADLINE_S

ROLES = ("market_role", "strategy_role", "risk_role", "execution_role", "ai_role")

ORIGIN_MS = 1_723_161_253_937
HEIGHT = 24
# As the launcher reads them from the accounts.
FLAT: dict[str, Any] = {
    "price": "0.10340000",
    "bid": "0.10330000",
    "ask": "0.10340000",
    "spread": "0.00010000",
    "mark": "0.10335000",
    "qty": "0.00000000",
    "entry": None,
    "opened_ts": None,
    "unrealised": None,
    "realised": "0.00000000",
    "wins": 0,
    "losses": 0,
}
HELD: dict[str, Any] = {
    "price": "61813.57000000",
    "bid": "61813.56000000",
    "ask": "61813.57000000",
    "spread": "0.01000000",
    "mark": "61813.56500000",
    "qty": "0.00808000",
    "entry": "61813.60000000",
    "opened_ts": ORIGIN_MS + 150_000,
    "unrealised": "-0.02000000",
    "realised": "-3.15345679",
    "wins": 1,
    "losses": 2,
}


def status(reason: str = "HOLD: warmup 18/21 bars of 1s", **changes: Any) -> dict[str, Any]:
    """Status that the watchdog sends once a second in the middle of a night."""
    facts: dict[str, dict[str, Any]] = {
        "market_role": {"ticks": 16_287, "lag_market_ms": 3, "latency_us": 4_300},
        "strategy_role": {
            "signals": 25,
            "reason": reason,
            "decisions": {"BTCUSDT": {"ts": ORIGIN_MS + 169_000, "reason": reason}},
        },
        "risk_role": {
            "equity": "9996.83654321",
            "drawdown_bps": "3.1635",
            "exits": {
                "BTCUSDT": {"stop": "61800.90000000", "target": "61840.10000000", "until_ts": None}
            },
            "is_halted": False,
        },
        "execution_role": {
            "fills": 7,
            "open_orders": 1,
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
        "speed": "10",
        "phase": "running",
        "ended": None,
        "now_ms": ORIGIN_MS + 173_000,
        "origin_ms": ORIGIN_MS,
        "planned_ms": ORIGIN_MS + 346_000,
        "ai_off": False,
        "quote_asset": "USDT",
        "market": {
            "market_ms": ORIGIN_MS + 172_900,
            "price_ms": ORIGIN_MS + 172_000,
            "symbols": {"BTCUSDT": HELD},
            "result": {
                "pnl": "-3.16345679",
                "unrealised": "-0.01",
                "realised": "-3.15345679",
                "fees": "3.00000000",
                "trades": 3,
                "wins": 1,
                "losses": 2,
            },
        },
        "roles": roles,
    } | changes


def with_symbols(number: int, reason: str = "HOLD: no setup") -> dict[str, Any]:
    """A status of a night on many symbols, of which one is held and one has been traded."""
    shown = status()
    names = [f"COIN{n}USDT" for n in range(1, number)]
    shown["market"]["symbols"] |= {name: FLAT for name in names}
    shown["market"]["symbols"][names[-1]] = FLAT | {"realised": "0.40", "wins": 1}
    decisions = facts_of(shown, "strategy_role")["decisions"]
    decisions |= {name: {"ts": ORIGIN_MS + n, "reason": reason} for n, name in enumerate(names)}
    return shown


def facts_of(shown: dict[str, Any], role: str) -> dict[str, Any]:
    """The facts in a role's last heartbeat, to be changed by a test."""
    found: dict[str, Any] = shown["roles"][role]["heartbeat"]["facts"]
    return found


def drawn(shown: dict[str, Any], width: int, height: int = HEIGHT - 1) -> list[str]:
    """The table as a terminal of a size shows it; the cursor has a line of its own below it."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(Group(*View(shown).lines(width, height)))
    return [line.rstrip() for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 100, 112, 120, 200])
def test_table_shows_what_a_trader_looks_for(width: int) -> None:
    """Market, position, its levels and P&L, decision, account and roles fit into 80 columns."""
    lines = drawn(status(), width)
    text = "\n".join(lines)

    for wanted in (
        *("price", "spread", "position", "entry", "mark", "stop", "target"),
        *("unrealised", "realised", "won", "lost"),
        *("61,813.57", "0.01", "0.00808", "61,813.60", "61,813.56", "61,800.90", "61,840.10"),
        *("-0.02", "-3.15"),
        *("16,287 ticks, 25 signals, 7 fills, 1 open order", "equity 9,996.84"),
        *("decision  23:57:02 HOLD: warmup 18/21 bars of 1s", "5 of 5 ready", "50 % of 5 min 46 s"),
    ):
        assert wanted in text
    assert lines[0].startswith("RUNNING  minibot nore-demo  run 20261120_090759")
    assert lines[-1] == "result -3.16 USDT, 3 trades (1 won, 2 lost); running"


def test_table_of_120_columns_has_one_row_for_a_symbol_and_of_80_columns_two() -> None:
    """Columns that belong together stay together; the second row has levels and P&L."""
    wide, narrow = drawn(status(), 120), drawn(status(), 80)

    market = ["BTCUSDT", "61,813.57", "0.01", "0.00808", "61,813.60", "61,813.56"]
    levels = ["61,800.90", "61,840.10", "-0.02", "-3.15", "1", "2"]
    assert [line.split() for line in wide if line.startswith("BTCUSDT")] == [[*market, *levels]]
    assert [line.split() for line in narrow if line.startswith("BTCUSDT")] == [
        market,
        ["BTCUSDT", *levels],
    ]


def test_table_of_many_symbols_shows_held_ones_first_and_counts_the_others() -> None:
    """In a small terminal the result stays; what nobody holds is only counted."""
    lines = drawn(with_symbols(40), 80)

    symbols = [line.split()[0] for line in lines if line.split()[:1] and "USDT" in line.split()[0]]
    assert symbols[:2] == ["BTCUSDT", "COIN39USDT"]
    assert any(re.match(r"and \d+ more, none held", line) for line in lines)
    assert lines[-1] == "result -3.16 USDT, 3 trades (1 won, 2 lost); running"
    assert len(lines) <= HEIGHT - 1


def test_table_of_a_portfolio_shows_the_best_ranked_behind_what_is_held() -> None:
    """Held positions first, then the ranking of the last scan, then what has been traded."""
    shown = with_symbols(6)
    facts_of(shown, "strategy_role")["ranked"] = ["COIN3USDT", "COIN1USDT"]
    lines = drawn(shown, 120, 60)

    symbols = [line.split()[0] for line in lines if re.match(r"\w+USDT .*0\.1034|BTCUSDT", line)]
    assert symbols == [
        *("BTCUSDT", "COIN3USDT", "COIN1USDT", "COIN5USDT", "COIN2USDT", "COIN4USDT"),
    ]
    assert any(line.startswith("ranked    COIN3USDT, COIN1USDT") for line in lines)


def test_table_of_a_portfolio_shows_exposure_tier_and_headroom() -> None:
    """Exposure stands with its limit; one symbol without tiers has no such line."""
    shown = with_symbols(2)
    headroom = {"exposure": "1500", "night_loss": "131.70", "orders_per_minute": "2"}
    facts_of(shown, "risk_role").update(exposure="500.00000000", headroom=headroom)
    plain = "risk      exposure 500.00 of 2,000.00, night loss 131.70 left, orders 2 left"
    assert any(line.startswith(plain) for line in drawn(shown, 120))

    facts_of(shown, "risk_role")["account"] = "REDUCING"
    assert "account REDUCING" in "\n".join(drawn(shown, 120))
    alone = status()
    facts_of(alone, "risk_role").update(exposure="500.00000000", headroom=headroom)
    assert not any(line.startswith("risk ") for line in drawn(alone, 120))


def test_table_shows_how_far_the_account_is_from_its_end() -> None:
    """The night's drawdown is small; that of the account over carried runs may stop the run."""
    shown = status()
    headroom = {"exposure": "1500", "account_drawdown_bps": "1.1000"}
    facts_of(shown, "risk_role").update(
        exposure="500.00000000",
        headroom=headroom,
        account="ACTIVE",
        account_drawdown_bps="998.9000",
        account_high_water_mark="10000.00000000",
    )

    text = " ".join("\n".join(drawn(shown, 120)).split())

    assert "drawdown 3.2 bps" in text
    assert "998.9 bps below the account's high-water mark of 10,000.00, 1.1 bps left" in text


def test_prices_have_the_decimals_of_their_market() -> None:
    """A coin of a hundred-thousandth of a dollar is not 0.00."""
    shown = status()
    shown["market"]["symbols"]["SHIBUSDT"] = FLAT | {"price": "0.00001234", "bid": "0.00001230"}

    assert any(line.startswith("SHIBUSDT") and "0.00001234" in line for line in drawn(shown, 80))


def test_old_prices_are_said_to_be_old_at_the_speed_of_the_market() -> None:
    """Five seconds of wall-clock time are fifty of a market that runs ten times as fast."""
    shown = status()

    shown["market"]["price_ms"] = shown["now_ms"] - 50_000
    assert "prices of" not in "\n".join(drawn(shown, 80))
    shown["market"]["price_ms"] = shown["now_ms"] - 50_001
    assert "prices of 23:56:16" in drawn(shown, 80)[1]


def test_silence_of_a_real_market_names_the_host_and_what_to_do() -> None:
    """An operator who sees no price asks whose fault it is; a simulated market has no host."""
    shown = status(host="stream.example:443")
    shown["market"]["price_ms"] = shown["now_ms"] - 30_000
    simulated = status(host=None)
    simulated["market"]["price_ms"] = simulated["now_ms"] - 30_000

    (notice,) = View(shown).notices()
    assert notice.startswith("no price from stream.example:443 since 23:56:36: check the network")
    assert View(simulated).notices() == []
    shown["market"]["price_ms"] += 1
    assert View(shown).notices() == []


def test_status_of_a_release_that_told_no_price_ms_is_shown() -> None:
    """A launcher that was started before an update has the market's time alone."""
    shown = status(host="stream.example:443")
    del shown["market"]["price_ms"]

    assert View(shown).notices() == []
    shown["market"]["market_ms"] = shown["now_ms"] - 30_000
    assert View(shown).notices()[0].startswith("no price from stream.example:443 since 23:56:36")


def test_decision_of_before_the_position_is_not_shown_as_current() -> None:
    """A reason to wait beside what was bought since would be a riddle."""
    shown = status("HOLD: no dip")
    facts_of(shown, "strategy_role")["decisions"]["BTCUSDT"]["ts"] = ORIGIN_MS + 100_000

    fields = {}
    for name, opened_ts in (("before", 100_001), ("with", 100_000), ("none", None)):
        opened = None if opened_ts is None else ORIGIN_MS + opened_ts
        shown["market"]["symbols"]["BTCUSDT"] = HELD | {"opened_ts": opened}
        fields[name] = View(shown).decisions()[0]

    before = "none since the position of 23:55:53; before it: 23:55:53 HOLD: no dip"
    assert fields["before"] == before
    assert fields["with"] == fields["none"] == "23:55:53 HOLD: no dip"


@pytest.mark.slow
@given(
    reason=st.text(max_size=400),
    width=st.integers(20, 200),
    height=st.integers(6, 40),
    symbols=st.integers(2, 30),
    ai_off=st.booleans(),
)
def test_table_never_breaks_whatever_is_said_in_it(
    reason: str, width: int, height: int, symbols: int, ai_off: bool
) -> None:
    """No line is wider than the terminal, none acts on it, and the result is never left out."""
    shown = with_symbols(symbols, reason) | {"ai_off": ai_off}
    shown["roles"]["risk_role"]["restarts"] = 3
    facts_of(shown, "ai_role")["detail"] = reason

    lines = drawn(shown, width, height)

    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= height
    assert all(character.isprintable() for line in lines for character in line)
    assert lines[-1].endswith("running")


@pytest.mark.slow
@given(reason=st.text(max_size=400))
def test_sentence_is_one_short_printable_line(reason: str) -> None:
    """A log reader gets price or position, result and reason, and no escape codes."""
    sentence = View(status(reason)).sentence()

    assert len(sentence.splitlines()) == 1
    assert sentence.isprintable()
    assert sentence.startswith(
        "23:57:06 50 % | 0.00808 BTCUSDT at 61,813.60, now 61,813.56 (-0.02 USDT) | "
        "result -3.16 USDT, 3 trades (1 won, 2 lost) | 23:57:02 "
    )


def test_sentence_without_a_position_has_the_price() -> None:
    """Before the first trade a reader sees that the market moves."""
    shown = status()
    shown["market"]["symbols"] = {"BTCUSDT": HELD | {"qty": "0", "entry": None}}

    assert " | BTCUSDT 61,813.57, no position | " in View(shown).sentence()


def test_notices_stand_in_the_table_and_in_the_sentence() -> None:
    """A restart, an AI that is off and a halt are seen at once."""
    shown = status(ai_off=True)
    shown["roles"]["risk_role"]["restarts"] = 2
    facts_of(shown, "risk_role")["is_halted"] = True

    text = "\n".join(drawn(shown, 80))

    for notice in ("risk_role restarted 2 times", "AI off", "halted: no new entries"):
        assert notice in View(shown).sentence()
        assert notice in text
    assert "ai OFF" in text


def test_locks_and_a_halted_account_are_noticed() -> None:
    """A lock is said before it refuses an entry, and is gone after its time."""
    shown = status()
    until = {"scope": "BTCUSDT", "until_ts": shown["now_ms"] + 15_600}
    locks = [{"reason_code": "cooldown_period", **until}]
    ours = [{"reason_code": "symbol_locked", "scope": "ETHUSDT", "until_ts": None}]
    facts_of(shown, "risk_role").update(locks=locks, operator_locks=ours)
    facts_of(shown, "risk_role")["account"] = "HALTED"

    found = View(shown).notices()

    assert found == [
        "account HALTED: no new entries",
        "no entries of BTCUSDT until 23:57:22 (cooldown_period), "
        "ETHUSDT to the run's end (symbol_locked)",
    ]
    shown["now_ms"] += 15_600
    assert "BTCUSDT until" not in " ".join(View(shown).notices())


def test_roles_are_one_line_until_one_needs_attention() -> None:
    """Healthy machines are no news; a degraded one is named with its backlog."""
    shown = status()
    healthy = drawn(shown, 120)
    shown["roles"]["market_role"]["heartbeat"] |= {"state": "DEGRADED", "waiting": 1_234}

    lines = drawn(shown, 120)

    assert len(lines) == len(healthy) + 1
    assert any("4 of 5 ready, backlog 1,234 (market)" in line for line in lines)
    assert any(line.strip() == "market DEGRADED, backlog 1,234" for line in lines)


def test_table_before_any_heartbeat_says_that_roles_are_starting() -> None:
    """The first seconds of a run have no facts and no figures yet.

    Figures are counted up to the executor's cursor, which moves every 5 s: decisions on prices are
    told before, so that nothing may say that there is no price.
    """
    shown = status(market={})
    for entry in shown["roles"].values():
        entry["heartbeat"] = {}

    text = "\n".join(drawn(shown, 80))

    assert text.count("STARTING") == 5
    assert "0 of 5 ready" in text
    assert "no figures yet" in text
    assert "no decision yet" in text
    assert "no figures yet | result 0.00 USDT, 0 trades | no decision yet" in View(shown).sentence()


@pytest.mark.parametrize(
    ("kind", "code", "state", "words", "verdict"),
    [
        (
            *("STOP", "OPERATOR_KILL", "STOPPED", "STOPPED by OPERATOR_KILL: operator: enough"),
            "STOPPED by OPERATOR_KILL",
        ),
        (
            *("END", "SOURCE_ENDED", "ENDED", "ended by SOURCE_ENDED"),
            "ended in order by SOURCE_ENDED",
        ),
    ],
)
def test_last_table_and_sentence_say_how_the_night_ended(
    kind: str, code: str, state: str, words: str, verdict: str
) -> None:
    """They stay on the screen: RUNNING over a night that was killed would be a lie."""
    detail = "operator: enough" if kind == "STOP" else code
    shown = status(ended={"kind": kind, "reason_code": code, "detail": detail})

    lines = drawn(shown, 120)

    assert lines[0].startswith(f"{state}  ")
    assert "running" not in "\n".join(lines).lower()
    assert any(line.split(maxsplit=1) == ["end", words] for line in lines)
    assert lines[-1] == f"result -3.16 USDT, 3 trades (1 won, 2 lost); {verdict}"
    assert View(shown).sentence().startswith(f"{words} | ")


def test_pace_is_slow_unless_something_happens() -> None:
    """A log of seven hours stays readable; a fill, a halt and the end are said at once."""
    pace, shown = Pace(), status()
    due = [second for second in range(200) if pace.is_due(View(shown), float(second))]

    assert due == [*range(60), 89, 119, 149, 179]
    facts_of(shown, "execution_role")["fills"] = 8
    assert pace.is_due(View(shown), 200.0)
    facts_of(shown, "risk_role")["is_halted"] = True
    assert pace.is_due(View(shown), 200.1)
    assert not pace.is_due(View(shown), 200.2)


@pytest.mark.process
def test_sentence_of_the_end_is_not_left_out_because_one_has_just_been_said() -> None:
    """Two statuses at once: the second is the last."""
    ended = {"kind": "STOP", "reason_code": "OPERATOR_KILL", "detail": "enough"}
    said = [canonical.encode(item) + b"\n" for item in (status(), status(ended=ended))]

    out, _ = table_process().communicate(b"".join(said), timeout=DEADLINE_S)

    assert out.splitlines()[-1].startswith(b"STOPPED by OPERATOR_KILL: enough | ")


def test_night_without_a_terminal_says_at_last_how_it_ended(short_run: ShortRun) -> None:
    """The launcher shows one status more, with the market's figures, when the end is on record."""
    sentences = [line for line in short_run.said.err.splitlines() if " | " in line]

    figures = recount(Recorded.open(short_run.run_dir))["performance"]
    trades = f"{figures['round_trips']} trades"
    if figures["round_trips"]:  # A starved machine judges every tick as too old, and buys nothing.
        trades += f" ({figures['wins']} won, {figures['losses']} lost)"
    assert sentences[-1].startswith("ended by DURATION_REACHED: ")
    assert f" | result {signed(figures['pnl'])} USDT, {trades} | " in sentences[-1]


def table_process(*flags: str) -> subprocess.Popen[bytes]:
    """The process that the launcher starts."""
    return subprocess.Popen(
        [sys.executable, "-m", "minibot.cli.support.live", *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_cursor_rests_below_the_table_where_an_echoed_key_moves_nothing() -> None:
    """At the end of a full line `^C` would begin the next, and an old head would stay above."""
    file = io.StringIO()
    console = Console(file=file, width=80, height=HEIGHT, force_terminal=True, color_system=None)

    show_live(console, [status(), status()])

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
    title, first = process.stdout.readline(), process.stdout.readline()
    process.send_signal(signal.SIGINT)

    out, err = process.communicate(timeout=DEADLINE_S)

    assert title == b"minibot nore-demo, run 20261120_090759, simulated data, paper\n"
    assert b"| result -3.16 USDT, 3 trades (1 won, 2 lost) |" in first
    assert process.returncode == 0
    assert (out, err) == (b"", b"")


@pytest.mark.process
def test_table_process_with_json_keeps_standard_output_free() -> None:
    """The document that follows stands there alone."""
    process = table_process("--stderr")

    out, err = process.communicate(canonical.encode(status()) + b"\n", timeout=DEADLINE_S)

    assert out == b""
    assert b"| result -3.16 USDT, 3 trades" in err


@pytest.mark.process
def test_table_process_whose_reader_is_gone_ends_without_a_word() -> None:
    """`| head -1` ends nothing but the table: no traceback, no error of its own."""
    process = table_process()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.close()

    data = canonical.encode(status()) + b"\n"
    with contextlib.suppress(BrokenPipeError):
        for _ in range(3):
            process.stdin.write(data)
        process.stdin.close()

    assert process.wait(DEADLINE_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


class Passing:
    """Stand-in for the module `time`: waiting moves it on, and nobody waits for ever."""

    def __init__(self, turns_max: int) -> None:
        self._moment_s, self._turns = 1000.0, turns_max

    def monotonic(self) -> float:
        """Return the moment."""
        return self._moment_s

    def sleep(self, seconds: float) -> None:
        """Move the time on."""
        assert self._turns, "the verb still waits"
        self._turns -= 1
        self._moment_s += seconds


@pytest.fixture
def running_var(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Var:
    """Folders on which the run of `status` goes on, without a status yet."""
    monkeypatch.setattr(watch, "running_run", lambda var: status()["run_id"])
    monkeypatch.setattr(watch, "time", Passing(turns_max=1000))
    var = Var(tmp_path)
    var.ops.mkdir()
    return var


def test_watch_says_since_when_a_run_has_told_nothing(
    running_var: Var, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that stands still keeps its lock: what it told last is not taken for news."""
    told_ms, later_ms = ORIGIN_MS, ORIGIN_MS + 60_000
    monkeypatch.setattr(watch, "wall_ms", lambda: later_ms)
    write_atomic(running_var.status, canonical.encode(status(written_ms=told_ms)))
    statuses = watch.statuses_of(running_var, status()["run_id"])

    for shown in (next(statuses), next(statuses)):  # Old when it is read, and old later.
        assert shown["is_stale"]
        assert shown["status_age_ms"] == later_ms - told_ms
        assert f"no news of this run since {clock(told_ms)}" in View(shown).sentence()
        lines = drawn(shown, 100)
        assert lines[0].startswith("NO NEWS")
        assert lines[-1].endswith("no news")

    write_atomic(running_var.status, canonical.encode(status(written_ms=later_ms)))
    shown = next(statuses)
    assert not shown["is_stale"]
    assert drawn(shown, 100)[0].startswith("RUNNING")


@pytest.mark.parametrize("words", [["--once"], ["--json"]])
def test_watch_for_one_status_gives_up_on_a_run_that_tells_none(
    running_var: Var, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A script gets an answer although the launcher lives and cannot write its status."""
    code = run(["watch", *words, "--var", str(running_var.root)])

    assert code == 2
    assert "has reported no status" in capsys.readouterr().err
