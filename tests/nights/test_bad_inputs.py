"""Mistakes before a night: one clear message, no run left."""

from __future__ import annotations

import gzip
import json
import socket
from pathlib import Path

import pytest

from tests.nights.night import Night, refused
from tests.runs import verb
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

DEMO = "config/nore-demo.v1.json"


def demo(var: Path, *sets: str) -> tuple[int, str]:
    """Run the demo profile with changes that have to be refused."""
    arguments = ["--config", DEMO, "--var", str(var)]
    for text in sets:
        arguments += ["--set", text]
    return refused(*arguments)


def assert_refused(result: tuple[int, str], codes: set[int], word: str, var: Path) -> None:
    """Check a refusal: code, named thing, no traceback, no run folder."""
    code, text = result
    assert code in codes, text
    assert word in text
    assert "Traceback" not in text
    assert not list(var.glob("runs/*"))


@pytest.mark.parametrize(
    ("text", "codes", "word"),
    [
        ("mode=LIVE", {4}, "mode"),
        ("risk.max_drawdwn=3", {4}, "risk"),
        ("duration_ms=-5", {4}, "duration_ms"),
        ("embedded.speed=fast", {4}, "speed"),
        ("embedded.speed=120", {4}, "speed"),
        ("embedded.source=tape:missing.gz", {2, 4}, "missing.gz"),
        ("binance.api_key=x", {4}, "api_key"),
        ('processes.clerk=["ai_role","risk_role"]', {4}, "ai_role"),
    ],
)
@pytest.mark.row("N-22", "N-36", "N-92")
def test_setting_that_may_not_be_is_refused_by_name(
    tmp_path: Path, text: str, codes: set[int], word: str
) -> None:
    """A wrong setting is refused with its key or file, before anything starts."""
    assert_refused(demo(tmp_path / "var", text), codes, word, tmp_path / "var")


@pytest.mark.row("N-119", "X-16")
@pytest.mark.parametrize("profile", ["minibot/config/nore.v1.json", "config/nore.v1.json"])
def test_launch_command_of_the_specification_finds_module_and_profile(
    tmp_path: Path, profile: str
) -> None:
    """The specified command `python -m minibot.nore_run_v1 --config ...` reaches its first check.

    One value of the profile is impossible, because the night itself would call the venue.
    """
    result = refused("--config", profile, "--var", str(tmp_path / "var"), "--set", "duration_ms=-7")

    assert_refused(result, {4}, "duration_ms", tmp_path / "var")
    assert "-7" in result[1]


def test_file_that_is_no_tape_is_refused_by_name(tmp_path: Path) -> None:
    """Random bytes, a truncated recording and other files are refused as tapes by name."""
    junk = tmp_path / "junk.gz"
    junk.write_bytes(bytes(range(256)) * 12)
    whole = gzip.compress(b'1723161254087896568 {"stream":"btcusdt@trade","data":{}}\n' * 500)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    other = tmp_path / "other.gz"
    other.write_bytes(gzip.compress(b"once upon a time\n" * 100))

    for path in (junk, cut, other):
        result = demo(tmp_path / "var", f"embedded.source=tape:{path}")
        assert_refused(result, {2, 4}, path.name, tmp_path / "var")


def test_port_in_use_is_refused_by_number(tmp_path: Path) -> None:
    """A port in use is refused by its number."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = demo(tmp_path / "var", f"embedded.port={port}")

    assert_refused(result, {2, 4}, str(port), tmp_path / "var")


def test_var_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    """A file in the place of `var` is refused by name."""
    (tmp_path / "var").write_text("not a folder")

    code, text = demo(tmp_path / "var")
    assert code == 2, text
    assert "var" in text
    assert "Traceback" not in text


@pytest.mark.row("N-89", "F70")
def test_start_while_the_flag_stands_is_refused(tmp_path: Path) -> None:
    """A start is refused while the flag stands (F70)."""
    (tmp_path / "var").mkdir(mode=0o700)
    (tmp_path / "var" / "STOP.flag").touch()

    assert_refused(demo(tmp_path / "var"), {2}, "STOP", tmp_path / "var")


@pytest.mark.row("F69")
def test_second_start_on_the_same_var_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """A second start on a `var` is refused (F69), and Ctrl-C ends the first in order."""
    night = Night(tmp_path / "var")
    night.await_trading()

    code, text = demo(tmp_path / "var")
    assert code == 2, text
    assert "another run" in text
    before = night.lines("market_ticks")
    night.interrupt()
    code, text = night.end()
    assert code == 0, text
    assert not (tmp_path / "var" / "STOP.flag").exists()
    assert night.run_dirs()[0].joinpath("queues").exists()
    assert before > 0


def test_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    """A second Ctrl-C is OPERATOR_KILL: exit 10, flag set."""
    night = Night(tmp_path / "var", speed="1")
    night.await_trading()
    night.interrupt()
    # Two signals at one moment merge, so the second follows the announced end.
    wait_until(lambda: night.lines("control") == 2, "the end is announced")
    night.interrupt()
    code, text = night.end()

    assert code == 10, text
    assert "OPERATOR_KILL" in text
    assert (tmp_path / "var" / "STOP.flag").exists()


@pytest.mark.row("B-64", "N-89", "N-90")
def test_kill_switch_stops_at_once_and_clear_stop_lets_the_next_night_start(
    tmp_path: Path,
) -> None:
    """`kill` ends a night with its reason; the flag is cleared only with a reason, too."""
    var = tmp_path / "var"
    night = Night(var)
    night.await_trading()

    assert verb(var, "kill", "--reason", "I saw smoke").code == 0
    code, text = night.end()
    assert code == 10, text
    stops = [json.loads(line[72:]) for line in (var / "stop_journal.jsonl").open("rb")]
    assert [stop["payload"]["reason_code"] for stop in stops] == ["OPERATOR_KILL"]
    assert "I saw smoke" in stops[0]["payload"]["detail"]
    assert_refused(demo(var), {2}, "STOP", tmp_path / "none")

    assert verb(var, "clear-stop", "--reason", "only toast").code == 0
    assert not (var / "STOP.flag").exists()
    last = [json.loads(line[72:]) for line in (var / "stop_journal.jsonl").open("rb")][-1]
    assert last["payload"]["kind"] == "CLEAR"
    assert last["payload"]["why"] == "only toast"
