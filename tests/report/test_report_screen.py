"""Morning screen: one terminal of 80x24 for any night, the verdict first."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

from minibot.accounting.performance import Performance
from minibot.events.model import Fill, Gap, Incident, RunOpening, StopJournal
from minibot.events.reasons import REASONS, STOP_GROUP
from minibot.kernel.errors import Refusal
from minibot.kernel.queue import make_queue
from minibot.report.acceptance import FAIL, OPEN, PASS, Acceptance, Criterion, keep
from minibot.report.closed_trades import ClosedTrade
from minibot.report.html import page
from minibot.report.morning_screen import SCREEN_LINES, SCREEN_WIDTH, morning_screen
from minibot.report.night import Night
from minibot.report.summary import summary_rows
from tests.replay.damaged import add, copy_of, unmerge
from tests.report.nights import HOSTS, opened, sealed, with_incident, with_stop
from tests.runs import PROJECT, ShortRun, clean_environ, raw_events, verb
from tests.waiting import DEADLINE_S

HOUR_MS = 3_600_000
STOPS = sorted(code for code, reason in REASONS.items() if reason.group == STOP_GROUP)


@pytest.fixture
def night(short_run: ShortRun) -> Night:
    """The short run, opened anew for each test, which may change it."""
    return opened(short_run)


@pytest.fixture(scope="module")
def stopped(short_run: ShortRun) -> Night:
    """The short run, opened once for all codes: each test sets nothing but its own STOP."""
    return opened(short_run)


@pytest.fixture(scope="module")
def crowd(short_run: ShortRun) -> Night:
    """A crowded night, made once for all codes: each test sets nothing but its own STOPs."""
    return crowded(opened(short_run))


def text_of(night: Night) -> str:
    """Return the screen as one text."""
    return "\n".join(line.text for line in morning_screen(night))


def value(night: Night, label: str) -> str:
    """Return the first line behind a label."""
    lines = [line.text for line in morning_screen(night)]
    return next(line for line in lines if line.startswith(f"{label} ")).partition(" ")[2].strip()


def crowded(night: Night) -> Night:
    """Return the night with more of everything than a screen takes, all in long words."""
    symbols = tuple(f"{name}LONGNAMEUSDT" for name in "ABCDEFGH")
    manifest = replace(night.manifest, symbols=symbols)
    night = replace(night, recorded=replace(night.recorded, manifest=manifest))
    for number in range(60):
        with_incident(night, f"kind_of_an_incident_{number}", "x " * 400, number)
    with_incident(night, "AI_OFF", "the worker of the AI said " + "something long " * 50)
    with_incident(night, "ROLE_RESTARTED", "risk_role ended with exit code -9; restarted")
    long = {f"a_reason_code_of_some_length_{number}": 10**9 + number for number in range(30)}
    night.count.hold_reasons = Counter(long)
    night.count.block_reasons = Counter(long)
    opening = RunOpening({"USDT": "123456789012.12345678"}, (), {})
    performance = Performance(opening, "USDT")
    for number, symbol in enumerate(symbols):
        fill = Fill("o", f"c{number}", symbol, "BUY", "1234567.12345678", "1234", "1", "USDT", "T")
        performance.on_fill(fill, number)
    night.count.performance = performance
    night.count.gaps[:] = [Gap("AUSDT", "trade", 0, 9 * HOUR_MS, "because " * 50)]
    return night


CHANGES: dict[str, Callable[[Night], Night]] = {
    "plain": lambda night: night,
    "crowded": crowded,
    "interrupted": lambda night: sealed(crowded(night), state="interrupted"),
    "without an end": lambda night: replace(crowded(night), seal={}),
}


def long_stop(night: Night, code: str) -> Night:
    """Return the night stopped by a code, with more to say than two lines take."""
    night = with_stop(night, code)
    stop = StopJournal("watchdog_role", code, "expected this, found that; " * 40, "STOP")
    night.count.stops[:] = [(night.count.market.last_ts, stop)] * 3
    return night


@pytest.mark.parametrize("name", CHANGES)
def test_screen_of_any_night_fits_a_terminal_with_its_prompt(name: str, night: Night) -> None:
    """Not one line more than 23 and no line wider than 80, whatever the night has to say."""
    assert_fits(CHANGES[name](night))


@pytest.mark.parametrize("code", STOPS)
def test_screen_of_any_stop_fits_a_terminal_with_its_prompt(code: str, crowd: Night) -> None:
    """Not one line more than 23 and no line wider than 80, whatever a STOP has to say as well."""
    assert_fits(long_stop(crowd, code))


def assert_fits(night: Night) -> None:
    """Fail where the screen needs more than a terminal above its prompt."""
    lines = morning_screen(night)

    assert len(lines) <= SCREEN_LINES == 23
    assert max(len(line.text) for line in lines) <= SCREEN_WIDTH == 80
    assert all("\n" not in line.text for line in lines)


@pytest.mark.parametrize("code", STOPS)
def test_screen_of_a_stop_begins_with_its_code_raiser_meaning_and_remedy(
    code: str, stopped: Night
) -> None:
    """A reader learns in the first lines what stopped it, who, what that means and what to do."""
    reason = REASONS[code]
    above, _, _ = text_of(with_stop(stopped, code)).partition("\nrun       ")

    text = " ".join(above.split())

    assert text.startswith(f"STOPPED: {code}, raised by watchdog_role at ")
    assert "a test said so" in text
    assert f"{reason.meaning} {reason.remedy}" in text


def test_screen_names_the_first_stop_of_a_chain_beside_the_one_that_ended_it(night: Night) -> None:
    """The seal's STOP is the verdict; what came before it stands beside it."""
    night = with_stop(night, "ROLE_HUNG")
    ts = night.count.market.last_ts
    first = StopJournal("market_role", "SEQUENCE_BROKEN", "x", "STOP")
    night.count.stops.insert(0, (ts - 1000, first))

    assert "STOPPED: ROLE_HUNG, raised by watchdog_role" in text_of(night)
    assert "first SEQUENCE_BROKEN by market_role" in " ".join(text_of(night).split())


def test_screen_of_a_night_that_ended_as_planned_passes(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A planned end is a PASS; that nobody judged it as a night yet is said with the command."""
    folder = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, folder, ignore=shutil.ignore_patterns("report"))
    night = Night.open(folder)

    lines = morning_screen(night)

    assert lines[0].text.startswith("PASS: ended by DURATION_REACHED")
    assert f"minibot accept {night.run_id}" in lines[1].text


@pytest.mark.parametrize(("verdict", "word"), [(FAIL, "FAIL"), (PASS, "PASS")])
def test_screen_repeats_the_verdict_that_accept_gave_this_record(
    verdict: str, word: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """The criteria that were not met are named; a verdict on another record does not count."""
    folder = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, folder)
    night = Night.open(folder)
    criterion = Criterion("N-104", "latency p95", "at most 500 ms", "900 ms", verdict)
    root = str(night.seal["root"])
    keep(Acceptance(night.run_id, root, verdict, False, 0, (criterion,)), folder)

    lines = morning_screen(night)

    assert lines[0].text.startswith(f"{word}: ")
    assert ("latency p95: 900 ms" in lines[0].text) == (verdict == FAIL)
    keep(Acceptance(night.run_id, "0" * 64, FAIL, False, 0, (criterion,)), folder)
    assert morning_screen(night)[0].text.startswith("PASS: ended by")


def test_screen_names_the_criteria_that_were_not_judged_where_none_failed(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A real night has to be judged in full: FAIL names the criterion that nothing judged."""
    folder = copy_of(short_run, tmp_path)
    root = Night.open(folder).root
    short = Criterion("U-06", "memory of ai_role", "at most 5 MB", "needs an hour", OPEN)
    keep(Acceptance(short_run.run_id, root, FAIL, False, 0, (short,)), folder)

    first = morning_screen(Night.open(folder))[0].text

    assert first == "FAIL: 1 criterion of accept not judged: memory of ai_role: needs an hour"


def test_screen_of_an_interrupted_night_fails_and_of_an_open_one_waits(night: Night) -> None:
    """An interrupted night lost its power, an open one has not ended: neither is a PASS."""
    assert text_of(sealed(night, state="interrupted")).startswith("FAIL: interrupted")
    assert text_of(replace(night, seal={})).startswith("NOT ENDED: ")


def test_end_that_no_seal_followed_is_told(night: Night) -> None:
    """A night that ended as planned, whose launcher then died, was not ended by nothing."""
    killed = text_of(sealed(night, state="interrupted"))

    assert killed.startswith("FAIL: interrupted after its end by DURATION_REACHED")
    assert "no seal yet after its end by DURATION_REACHED" in text_of(replace(night, seal={}))
    night.count.stops.clear()
    assert text_of(sealed(night, state="interrupted")).startswith("FAIL: interrupted: nothing")


def test_sealed_night_without_an_event_is_not_waited_for(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A start that died before its first event is sealed by the next: it never runs again."""
    folder = copy_of(short_run, tmp_path)
    shutil.rmtree(folder / "queues")
    make_queue(folder / "queues", "control", "risk_role")

    with pytest.raises(Refusal, match="ended before its first event"):
        Night.open(folder)


def test_night_with_a_damaged_seal_is_no_open_one(short_run: ShortRun, tmp_path: Path) -> None:
    """A flipped byte in the seal ends no night anew: report, status and `minibot` say damaged."""
    var = tmp_path / "var"
    folder = var / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, folder)
    seal = folder / "seal.json"
    seal.write_bytes(seal.read_bytes().replace(b'"root":"', b'"root":"0', 1))

    said = verb(var, "report")

    assert said.out.startswith("FAIL: its seal is damaged")
    others = [verb(var, *words) for words in (("report", "--performance"), ("accept",))]
    for each in (said, *others):
        assert "its seal is damaged" in each.out
        assert "not sealed" not in each.out
    assert f"{short_run.run_id} damaged" in " ".join(verb(var, "status").out.split())
    assert "interrupted" not in verb(var, "next").out


def test_stop_of_a_night_whose_launcher_was_killed_is_told(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Before the next start its STOP stands in the roles' parts alone."""
    copied = copy_of(stopped_run, tmp_path)
    (copied / "seal.json").unlink()
    for queue in ("stop_journal", "incidents"):
        unmerge(copied, queue)

    killed, whole = Night.open(copied), opened(stopped_run)

    assert text_of(killed).startswith("STOPPED: RISK_LIMIT, raised by ")
    assert killed.stops == whole.stops
    for night in (killed, sealed(whole, state="interrupted")):
        assert [row.text[:10] for row in summary_rows(night) if row.label == "STOPPED by"] == [
            "RISK_LIMIT"
        ]


def test_stops_are_told_in_their_order_whatever_the_order_of_their_merge(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """A start that seals a killed night merges one role's part after the other."""
    copied = copy_of(stopped_run, tmp_path)
    (later,) = (event for event in raw_events(copied, "stop_journal"))
    add(copied, "stop_journal", later | {"id": str(uuid4()), "ts": later["ts"] - 1000})

    times = [ts for ts, _ in Night.open(copied).stops]

    assert times == [later["ts"] - 1000, later["ts"]]


@pytest.mark.row("C-105")
def test_result_lines_of_the_screen_add_up_as_printed(night: Night) -> None:
    """P&L at the mid, slippage and fees make the result, to the digit that is printed."""
    lines = [line.text for line in morning_screen(night)]
    first = next(n for n, line in enumerate(lines) if line.startswith("USDT "))
    names = [line[10:35].strip() for line in lines[first : first + 4]]

    spec, slippage, fees, result = (
        Decimal(line[35:].replace(",", "")) for line in lines[first : first + 4]
    )

    assert names[1:] == ["slippage", "fees", "result"]
    assert fees < 0
    assert slippage < 0
    assert spec + slippage + fees == result


def test_screen_says_trades_exits_and_holds_by_reason(night: Night) -> None:
    """Reasons of entries, exits and holds are counted on the screen, the commonest first."""
    figures = night.count.performance.to_json()
    code, number = night.count.hold_reasons.most_common(1)[0]

    assert f"{figures['round_trips']} round trips: {figures['wins']} won" in value(night, "trades")
    assert "(" in value(night, "exits")
    assert f"held: {code} {number}" in text_of(night)


def entered_on(*codes: str) -> list[ClosedTrade]:
    """Return one closed trade for each reason of entry."""
    return [ClosedTrade("BTCUSDT", 1, 2, "0.1", "-0.1", code, "STOP_LOSS") for code in codes]


def test_screen_counts_the_trades_of_each_reason_of_entry(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual two reasons stand with their numbers, not cut off before the first of them."""
    trades = entered_on(*["reversion_oversold"] * 3, *["trend_up_confirmed"] * 2)
    monkeypatch.setattr("minibot.report.morning_screen.closed_trades", lambda *_: trades)

    text = " ".join(text_of(night).split())

    assert "entered on reversion_oversold 3, trend_up_confirmed 2" in text


@pytest.mark.parametrize("name", [*CHANGES, *STOPS])
def test_screen_fits_a_terminal_with_many_reasons_of_entry(
    name: str, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line of trades comes from a short verdict, not from the prompt's."""
    trades = entered_on(*(f"a_reason_of_entry_of_some_length_{number}" for number in range(9)))
    monkeypatch.setattr("minibot.report.morning_screen.closed_trades", lambda *_: trades)

    lines = morning_screen(CHANGES[name](night) if name in CHANGES else long_stop(night, name))

    assert len(lines) <= SCREEN_LINES


def test_screen_of_a_night_without_a_trade_says_why(night: Night) -> None:
    """Risk's refusal comes before the strategy's hold."""
    night.count.lines["fills"] = 0
    night.count.block_reasons = Counter({"halted": 3})

    text = " ".join(text_of(night).split())

    assert "no trade Risk refused its signals, most often (3 times): " in text


def test_screen_takes_no_scan_for_a_signal(night: Night) -> None:
    """Lines of the queue of signals that are no decision passed nothing."""
    count = night.count
    for found in (count.sides, count.hold_reasons, count.block_reasons):
        found.clear()

    assert count.lines["signals"] > 0 < count.lines["fills"]
    assert "no trade no signal came" in " ".join(text_of(night).split())


def test_screen_adds_outages_that_overlap_once(night: Night) -> None:
    """Two symbols that were silent together were silent once; the longest is named."""
    begin = 10 * HOUR_MS
    night.count.gaps[:] = [
        Gap("BTCUSDT", "trade", begin, begin + 7_200_000, "x"),
        Gap("ETHUSDT", "trade", begin + 1, begin + 7_200_000, "x"),
        Gap("BTCUSDT", "trade", begin + 9_000_000, begin + 9_060_000, "x"),
    ]

    assert value(night, "outages") == "2 outages, 2 h 1 min in all; longest 2 h 0 min from 10:00:00"


def test_screen_counts_incidents_by_kind_and_shows_no_control_characters(night: Night) -> None:
    """A hundred of a kind are one entry."""
    night.count.incidents[:] = [
        (1, Incident("market_role", "connection_lost", "closed\x1b[2J")) for _ in range(100)
    ]

    assert value(night, "incidents") == "connection_lost 100"
    with_incident(night, "AI_OFF", "worker\x1b[2J hung")
    assert "\x1b" not in text_of(night)


def test_screen_and_page_call_no_data_real_that_are_made_up(night: Night) -> None:
    """Data of a stand-in or of an exchange on this machine are named as such, in real time too."""
    real = replace(night.manifest, simulated=False, hosts=HOSTS)
    local = replace(real, hosts=("http://127.0.0.1:8080",))
    stand_in = replace(real, degraded="the host is away; generator:1 stands in")

    shown = []
    for manifest in (real, local, stand_in):
        night = replace(night, recorded=replace(night.recorded, manifest=manifest))
        shown.append((" ".join(text_of(night).split()), page(night)))

    assert "live data;" in shown[0][0]
    assert "real market data" in shown[0][1]
    for (screen, html), why in zip(
        shown[1:], ("an exchange on this", "the host is away"), strict=True
    ):
        assert "live data" not in screen
        assert "made-up data" in screen
        assert "real market data" not in html
        assert f'<span class="badge bad">made-up market data: {why}' in html


def test_screen_ends_with_the_proof_and_how_to_repeat_it(short_run: ShortRun, night: Night) -> None:
    """The root, and the two commands by which anyone checks it, stand on the screen of the verb."""
    done = verb(short_run.var, "report")
    shown = done.out.replace(f" --var {short_run.var}", "")

    assert done.code == 0
    assert str(night.seal["root"]) in shown
    assert f"minibot verify {night.run_id}; minibot replay {night.run_id}" in shown
    assert shown.splitlines() == [line.text for line in morning_screen(night)]


def test_out_writes_the_page_of_html_elsewhere(short_run: ShortRun, tmp_path: Path) -> None:
    """The same bytes as --html, in a file of one's choice; the run's own folder is refused."""
    there = tmp_path / "morning.html"

    done = verb(short_run.var, "report", "--html", "--out", str(there))
    inside = verb(short_run.var, "report", "--out", str(short_run.run_dir / "seal.json"))
    around = short_run.var / ".." / short_run.var.name
    roundabout = around / "runs" / short_run.run_id / "seal.json"
    by_another_way = verb(around, "report", "latest", "--out", str(roundabout))
    nowhere = verb(short_run.var, "report", "--out", str(tmp_path / "none" / "x.html"))

    assert done.code == 0
    assert there.read_bytes() == (short_run.run_dir / "report" / "report.html").read_bytes()
    assert (inside.code, by_another_way.code, nowhere.code) == (2, 2, 2)
    assert os.path.getsize(short_run.run_dir / "seal.json") > 100
    assert "--html" in inside.err
    assert "was not written" in nowhere.err


def test_report_on_a_real_terminal_of_80x24_is_one_screen(stopped_run: ShortRun) -> None:
    """A process on a terminal of that size prints at most 23 lines, the verdict first."""
    if sys.platform == "win32":
        pytest.skip("this system has no pseudo terminals")
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    var = stopped_run.var  # Its commands name the folder, whose path may be of any length.
    argv = [sys.executable, "-m", "minibot", "report", "--var", var.name]
    environ = clean_environ() | {"TERM": "xterm", "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(argv, cwd=var.parent, env=environ, stdout=theirs)
    os.close(theirs)
    data = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal that nobody writes to by an error.
        while part := os.read(ours, 65536):
            data += part
    os.close(ours)

    lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", data.decode()).splitlines()

    assert process.wait(DEADLINE_S) == 0
    assert lines[0].startswith("STOPPED: RISK_LIMIT, raised by ")
    assert 10 < len(lines) <= SCREEN_LINES
    assert max(map(len, lines)) <= SCREEN_WIDTH
