"""Page of a finished run: its record's figures, packed or not, and nothing that acts on it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from minibot.cli.support.packed import ARCHIVE
from minibot.events.names import SIGNALS
from minibot.kernel import canonical
from minibot.ops.web import record_page
from minibot.ops.web.live_documents import live_document
from minibot.ops.web.record_page import RecordPage, status_of
from minibot.replay.risk_at import risk_at
from minibot.report.night import Night
from minibot.runtime.paths import Var
from tests.ops.web.served import Served
from tests.report.made_run import made_run, read_fixture
from tests.runs import PROJECT, ShortRun, clean_environ, raw_events, verb
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.network_mock

ACTIONS = ("act/halt", "act/kill", "act/end", "stop", "start", "stopentry")


@pytest.fixture(scope="module")
def page(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page of the short run as its record."""
    var = Var(tmp_path_factory.mktemp("record") / "var")
    found = RecordPage(Night.open(short_run.run_dir), var, 0)
    try:
        yield Served(found.port, var, short_run.run_id)
    finally:
        found.close()


def test_record_tells_the_figures_that_the_launcher_told_last(short_run: ShortRun) -> None:
    """Result, symbols, end, counts and latencies of the last status, from the queues alone."""
    last = canonical.decode((short_run.var / "ops" / "status.json").read_bytes().rstrip(b"\n"))
    found = status_of(Night.open(short_run.run_dir))

    for name in ("run_id", "profile", "simulated", "market", "quote_asset", "origin_ms", "speed"):
        assert found[name] == last[name], name
    assert found["planned_ms"] == last["planned_ms"]
    assert found["ended"]["kind"] == last["ended"]["kind"]
    assert found["ended"]["reason_code"] == last["ended"]["reason_code"]
    assert set(found["roles"]) >= set(last["roles"])
    for role, names in (
        ("risk_role", ("equity", "high_water_mark", "drawdown", "drawdown_bps", "headroom")),
        ("execution_role", ("cash", "equity", "fills", "tick_to_result_us_p95")),
        ("market_role", ("ticks", "latency_us")),
        ("strategy_role", ("signals",)),
    ):
        facts, answer = (each["roles"][role]["heartbeat"]["facts"] for each in (found, last))
        for name in names:
            assert facts[name] == answer[name], (role, name)


def test_record_shows_levels_and_exposure_of_what_is_held_at_its_end(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped with a position has stop, target and exposure on its page."""
    fills, night = raw_events(short_run.run_dir, "fills"), Night.open(short_run.run_dir)
    sold = next(fill for fill in fills if fill["payload"]["side"] == "SELL")
    symbol, held = sold["payload"]["symbol"], risk_at(night.recorded, sold["ts"] - 1)
    monkeypatch.setattr(record_page, "risk_at", lambda recorded: held)

    shown = live_document(status_of(night), 0)

    assert shown["exits"][symbol]["stop"]
    assert shown["exits"] == held.facts()["exits"]
    assert shown["risk"]["exposure"] == held.facts()["exposure"]


def test_record_counts_signals_and_no_scans(short_run: ShortRun) -> None:
    """Scans and regimes stand in the queue of signals; the strategy counts none of them."""
    night = Night.open(short_run.run_dir)
    night.count.lines[SIGNALS] += 400

    facts = status_of(night)["roles"]["strategy_role"]["heartbeat"]["facts"]

    assert facts["signals"] == len(raw_events(short_run.run_dir, SIGNALS))


@pytest.mark.parametrize(("orders", "is_halted"), [(["halt"], True), (["halt", "resume"], False)])
def test_record_of_a_run_that_was_halted_to_its_end_says_so(
    tmp_path: Path, orders: list[str], is_halted: bool
) -> None:
    """Halt and locks are those that stood at the run's last moment."""
    given = {"queue": "control", "minute": 1}
    why = {"who": "operator", "why": "a test"}
    events = [given | {"type": each, "payload": why} for each in orders]
    lock = why | {"symbol": "BTCUSDT", "until_ts": None}
    events.append(given | {"type": "lock_symbol", "payload": lock})
    night = Night.open(made_run(tmp_path, read_fixture() | {"events": events}))

    live = live_document(status_of(night), 0)

    assert live["risk"]["is_halted"] is is_halted
    assert live["risk"]["entries"] == ("halted" if is_halted else "allowed")
    assert [each["scope"] for each in live["locks"]] == ["BTCUSDT"]


@pytest.mark.parametrize(("answer", "count"), [(None, 1), ("CANCEL_REJECTED", 1), ("FILLED", 0)])
def test_record_counts_the_orders_that_had_no_end(
    tmp_path: Path, answer: str | None, count: int
) -> None:
    """An exit that rests at the venue is still open where a STOP ended the run."""
    given = read_fixture()
    resting = next(each for each in given["events"] if each["type"] == "order_result")
    later = resting | {"minute": 120, "payload": resting["payload"] | {"result": answer}}
    events = [*given["events"], *([later] if answer else [])]
    night = Night.open(made_run(tmp_path, {**given, "events": events}))

    assert live_document(status_of(night), 0)["open_orders"] == count


def eth_fill(minute: int, side: str, qty: str) -> dict[str, Any]:
    """Return a fill of ETHUSDT beside those of the fixture, which buys it in minute 5."""
    fill = {"symbol": "ETHUSDT", "side": side, "qty": qty, "price": "2490", "fee": "1"}
    order = {"order_id": f"x{minute}", "client_order_id": f"x{minute}"}
    more = {"fee_asset": "USDT", "liquidity": "TAKER", "bid": "2490", "ask": "2491"}
    return {"queue": "fills", "type": "fill", "minute": minute, "payload": fill | order | more}


def trades_of(var: Path, more: list[dict[str, Any]], **data: Any) -> list[dict[str, Any]]:
    """Return open and closed trades as the page of the fixture's run and some fills tells them."""
    given = read_fixture()
    page = RecordPage(
        Night.open(made_run(var, {**given, "events": [*given["events"], *more], **data})),
        Var(var),
        0,
    )
    try:
        served = Served(page.port, Var(var), given["run_id"])
        closed = served.get("/api/v1/trades").document["trades"]
        return [*served.get("/api/v1/status").document, *closed]
    finally:
        page.close()


def test_open_trade_keeps_number_and_time_when_it_is_closed(tmp_path: Path) -> None:
    """A trade is opened by its first fill, and numbered in that order, open or closed."""
    bought = [eth_fill(90, "BUY", "1")]
    before = trades_of(tmp_path / "open", bought)
    after = trades_of(tmp_path / "closed", [*bought, eth_fill(420, "SELL", "2")])

    opened = read_fixture()["from_ts"] + 5 * 60_000
    for trades, is_open in ((before, True), (after, False)):
        (eth,) = [each for each in trades if each["pair"] == "ETHUSDT"]
        told = (eth["is_open"], eth["trade_id"], eth["open_timestamp"])
        assert told == (is_open, 2, opened)
        assert len({each["trade_id"] for each in trades}) == len(trades) == 5


def test_carried_position_has_an_id_and_the_time_of_its_oldest_lot(tmp_path: Path) -> None:
    """No fill of this run has given it a number yet; its id is not a trade's of this run."""
    lot = {"lot_id": "a", "symbol": "SOLUSDT", "qty": "1", "price": "100", "cost": "100", "ts": 7}
    lots = [lot, lot | {"lot_id": "b", "ts": 9}]
    trades = trades_of(tmp_path, [], lots=lots)

    (sol,) = [each for each in trades if each["pair"] == "SOLUSDT"]
    assert (sol["trade_id"], sol["open_timestamp"]) == (-1, 7)


def test_record_answers_every_figure_and_no_order(page: Served) -> None:
    """Paths that act say why they do not; the answer to each figure is that of the record."""
    live = page.get("/api/v1/live").document
    assert live["is_record"]
    assert not live["is_stale"]
    assert live["ended"]["reason_code"] == "DURATION_REACHED"
    assert page.get("/api/v1/equity").document["equity"][-1][1] == float(live["risk"]["equity"])
    for path in ("chart?symbol=BTCUSDT", "trades", "incidents", "stops", "risk", "show_config"):
        assert page.get(f"/api/v1/{path}").status == 200, path
    assert page.get("/metrics").status == 200

    for path in ACTIONS:
        answer = page.post(f"/api/v1/{path}", {})
        assert answer.status == 409, path
        assert "has ended" in answer.document["detail"]
    assert not page.var.requests.exists()


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent to one process by POSIX alone")
def test_verb_serves_a_packed_run_until_ctrl_c(short_run: ShortRun, tmp_path: Path) -> None:
    """Address and code on the screen; the code opens the page; Ctrl-C is its end in order."""
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / ARCHIVE, "w:xz", preset=0) as archive:
        for file in (each for each in short_run.run_dir.rglob("*") if each.is_file()):
            name = Path(short_run.run_id) / file.relative_to(short_run.run_dir)
            archive.add(file, name.as_posix())
    var = tmp_path / "var"
    argv = [sys.executable, "-m", "minibot", "page", str(packed), "--var", str(var), "--json"]
    process = subprocess.Popen(
        argv, cwd=PROJECT, env=clean_environ(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        text = ""
        while "}" not in text:
            read = process.stdout.readline()
            assert read, "it ended before it told its address"
            text += read
        result = json.loads(text)
        record = Served(urlsplit(result["url"]).port or 0, Var(var), "")
        answer = record.ask("/login", "POST", f"code={result['code']}".encode())
        assert answer.status == 303
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_unknown_run_is_refused(tmp_path: Path) -> None:
    """A folder without a record is served by nobody."""
    done = verb(tmp_path / "var", "page", "20200101_000000")

    assert done.code == 2
    assert "not a run id" in done.err
