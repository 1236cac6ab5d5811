"""Figures of API and metrics: of one status, described, by the names of one table."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from minibot.engine.recorded_run import Recorded
from minibot.events.model import EXIT, Event, RiskAction
from minibot.events.names import RISK_ACTIONS
from minibot.kernel.files import read_hashed, write_hashed
from minibot.ops.data_age import silence_ms
from minibot.ops.web import run_view
from minibot.ops.web.live_documents import live_document
from minibot.ops.web.prometheus import METRICS, Known, samples_of
from minibot.ops.web.run_routes import STREAMS_MAX
from minibot.replay.explain.snapshot_at import BARS_SHOWN
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import METRICS_FILE
from minibot.runtime.running import STALE_MS
from minibot.watchdog.ending import Phase
from tests.ops.web.served import ANSWER_S, Served, served
from tests.runs import ShortRun, verb
from tests.waiting import wait_until

pytestmark = pytest.mark.network_mock

LIVE = "/api/v1/live"
OWN = {
    "live", "stream", "chart", "equity", "risk", "explain", "incidents", "stops", "nights",
    "act/{kind}", "nights/{run_id}/report",
}  # fmt: skip


@pytest.fixture(scope="module")
def page(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page over a short run that is told to be going on."""
    with served(short_run, tmp_path_factory.mktemp("figures")) as found:
        yield found


def samples(page: Served) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the values of each metric by its labels, as Prometheus's parser reads them."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(page.get("/metrics").body.decode()):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            values[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_each_route_is_described_with_its_parameters(page: Served) -> None:
    """A stranger writes a client from the document alone."""
    document = page.get("/api/v1/openapi.json").document
    described = {path.removeprefix("/api/v1/") for path in document["paths"]}

    assert described >= OWN | {"/metrics", "/login", "status", "trades", "forceenter"}
    for path, entry in document["paths"].items():
        for method, answer in entry.items():
            assert len(answer["description"]) > 20, (method, path)
            assert answer["tags"], (method, path)


@pytest.mark.row("S-44", "C-23")
def test_metrics_are_those_of_the_table_without_a_label_per_symbol(page: Served) -> None:
    """Dashboards and rules rest on these names; a universe of symbols makes no further series."""
    table = {f"minibot_{metric.name}": metric for metric in METRICS}
    families = list(text_string_to_metric_families(page.get("/metrics").body.decode()))

    assert len(families) > 20
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        assert family.documentation == table[name].help
        for sample in family.samples:
            assert set(sample.labels) == set(table[name].labels), name
            assert "BTCUSDT" not in sample.labels.values()
    assert len(table) == len(METRICS)


def test_metrics_agree_with_the_live_figures_of_the_same_status(page: Served) -> None:
    """One status, one figure: on page, API and dashboard."""
    live, found = page.get(LIVE).document, samples(page)

    def value(name: str, *labels: str) -> float:
        return found[f"minibot_{name}"][labels]

    assert value("equity") == float(live["risk"]["equity"])
    assert value("drawdown_bps") == float(live["risk"]["drawdown_bps"])
    assert value("pnl") == float(live["result"]["pnl"])
    assert value("fees_total") == float(live["result"]["fees"])
    assert value("trades_total", "lost") == live["result"]["losses"]
    assert value("trades_total", "won") == live["result"]["wins"]
    assert value("open_orders") == live["open_orders"]
    assert value("messages_total") == live["counts"]["ticks"]
    assert value("up") == 1
    p50 = live["latency"]["tick_to_result_us_p50"]
    assert value("latency_seconds", "tick_to_result", "0.5") == p50 / 1_000_000
    last_ts = max(each["ts"] for each in live["decisions"].values())
    assert value("decision_age_seconds") == (live["now_ms"] - last_ts) / 1000
    for role, entry in live["roles"].items():
        assert value("role_restarts_total", role) == entry["restarts"]
        assert value("backlog_events", role) == entry["backlog"]
    held = [each for each in live["symbols"].values() if each["entry"] is not None]
    assert value("open_positions") == len(held)


def test_figures_of_a_former_run_are_none_of_this_one(page: Served) -> None:
    """Until a run has written its first figures, `metrics.json` holds those of the run before."""
    path = page.var.metrics / METRICS_FILE
    own = read_hashed(path)
    assert "minibot_events_total" in samples(page)
    try:
        write_hashed(path, own | {"run_id": "the_run_before"}, generation=1)
        assert "minibot_events_total" not in samples(page)
        assert "minibot_exchange_errors_total" not in samples(page)
    finally:
        write_hashed(path, own, generation=1)


def test_data_grow_stale_in_the_metrics_while_the_market_role_is_silent(page: Served) -> None:
    """A market role that hangs says nothing of old data: its silence counts as age."""
    status = page.status()
    health = {"role": "market_role", "state": "READY", "ts": status["now_ms"], "data_age_ms": 200}

    def stale_s(behind_ms: int) -> float:
        later = status | {"now_ms": status["now_ms"] + behind_ms}
        known = Known(later, 0, {}, [health], "binance", 0, silence_ms("1"))
        ((_, value),) = dict(samples_of(known))["data_stale_seconds"]
        return value

    assert [stale_s(ms) for ms in (0, 29_999, 30_000, 600_000)] == [0.2, 0.2, 30.2, 600.2]


def test_run_whose_launcher_is_silent_is_down_and_its_age_is_told(page: Served) -> None:
    """A status that the page calls stale is not a run that goes on; an ended run has no age."""

    def found_at(age_ms: int, ended: object = None) -> dict[str, list[float]]:
        known = Known(page.status() | {"ended": ended}, age_ms, {}, [], "binance", 0, 0)
        fields = dict(samples_of(known))
        names = ("up", "status_age_seconds")
        return {name: [value for _, value in fields.get(name, [])] for name in names}

    assert found_at(STALE_MS) == {"up": [1], "status_age_seconds": [5.0]}
    assert found_at(STALE_MS + 1) == {"up": [0], "status_age_seconds": [5.001]}
    assert found_at(10**9) == {"up": [0], "status_age_seconds": [1e6]}
    over = {"kind": "END", "reason_code": "DURATION_REACHED", "detail": "over"}
    assert found_at(10**9, over) == {"up": [0], "status_age_seconds": []}
    assert not live_document(page.status(), STALE_MS)["is_stale"]
    assert live_document(page.status(), STALE_MS + 1)["is_stale"]


def test_prices_of_a_status_without_their_time_are_as_old_as_the_market(page: Served) -> None:
    """A launcher of an older release tells the market's time alone."""
    status = page.status()
    old = {name: each for name, each in status["market"].items() if name != "price_ms"}

    assert live_document(status, 0)["price_ms"] == status["market"]["price_ms"]
    assert live_document(status | {"market": old}, 0)["price_ms"] == old["market_ms"]
    assert live_document(status | {"market": {}}, 0)["price_ms"] is None


def test_real_market_that_sends_no_price_is_not_all_well(page: Served) -> None:
    """The page's first line tells of it, as the table in the terminal does."""
    status = page.status() | {"host": "stream.example:443", "ended": None}

    def barred(silent_ms: int) -> Any:
        market = status["market"] | {"price_ms": status["now_ms"] - silent_ms}
        return live_document(status | {"market": market}, 0)["barred"]

    assert barred(29_999) == []
    assert [each.partition(" since ")[0] for each in barred(30_000)] == [
        "no price from stream.example:443"
    ]


def with_risk(status: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """Return a status whose risk told some facts more."""
    heartbeat = status["roles"]["risk_role"]["heartbeat"]
    changed = {**heartbeat, "facts": {**heartbeat["facts"], **facts}}
    role = {**status["roles"]["risk_role"], "heartbeat": changed}
    return {**status, "roles": {**status["roles"], "risk_role": role}}


def test_locks_are_told_with_the_time_that_is_left(page: Served) -> None:
    """Locks of protections and of the operator stand in one list; one that is over is left out."""
    status = page.status()
    now = status["now_ms"]
    locks = [
        {"reason_code": "cooldown_period", "scope": "BNBUSDT", "until_ts": now + 15_600},
        {"reason_code": "losses_in_row", "scope": "BTCUSDT", "until_ts": now},
    ]
    ours = [{"reason_code": "symbol_locked", "scope": "ETHUSDT", "until_ts": None}]

    live = live_document(with_risk(status, locks=locks, operator_locks=ours), 0)

    assert [(each["scope"], each["left_ms"]) for each in live["locks"]] == [
        ("BNBUSDT", 15_600),
        ("ETHUSDT", None),
    ]
    assert live["risk"]["entries"] == "allowed"
    assert live["barred"][0].startswith("no entries of BNBUSDT until ")


@pytest.mark.parametrize(
    ("facts", "entries"),
    [
        ({}, "allowed"),
        ({"is_halted": True}, "halted"),
        ({"account": "REDUCING"}, "allowed"),
        ({"account": "HALTED"}, "halted"),
        ({"locks": [{"reason_code": "x", "scope": "*", "until_ts": 4 * 10**12}]}, "halted"),
        ({"locks": [{"reason_code": "x", "scope": "BTCUSDT", "until_ts": 4 * 10**12}]}, "allowed"),
        (
            {"entry_stops": {"since_ts": 1, "reason_code": "night_loss", "refused": 2}},
            "refused",
        ),
    ],
)
def test_entries_are_not_said_to_be_allowed_while_none_may_enter(
    page: Served, facts: dict[str, Any], entries: str
) -> None:
    """A halt, the tier HALTED, a lock of all symbols, and a budget that is used up."""
    live = live_document(with_risk(page.status(), **facts), 0)

    assert live["risk"]["entries"] == entries
    if entries != "allowed":
        assert live["barred"]


@pytest.mark.parametrize("phase", list(Phase))
def test_entries_are_halted_from_the_announced_end_on(page: Served, phase: Phase) -> None:
    """Risk refuses every entry once the end is announced; nobody has to halt them."""
    live = live_document(page.status() | {"phase": phase.value}, 0)

    is_ending = phase is not Phase.RUNNING
    assert live["risk"]["entries"] == ("halted" if is_ending else "allowed")
    assert any("ending" in each for each in live["barred"]) == is_ending


def test_stopped_run_is_down_with_its_reason(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An alert names why; an orderly end is no stop."""
    ended = {"kind": "STOP", "reason_code": "ROLE_HUNG", "detail": "it hung"}
    with served(short_run, tmp_path_factory.mktemp("stopped"), ended=ended) as page:
        found = samples(page)
        assert found["minibot_up"] == {(): 0}
        assert found["minibot_stopped"] == {("ROLE_HUNG",): 1}
        stops = page.get("/api/v1/stops").document
        assert stops["ended"] == ended
        assert stops["meaning"]
        assert stops["remedy"]

        page.server.take(page.status() | {"ended": {**ended, "kind": "END"}})
        found = samples(page)
        assert found["minibot_up"] == {(): 0}
        assert "minibot_stopped" not in found


def test_freqtrade_figures_are_those_of_the_live_document(page: Served) -> None:
    """Two paths of the API never tell two results."""
    live = page.get(LIVE).document
    profit = page.get("/api/v1/profit").document
    balance = page.get("/api/v1/balance").document

    assert profit["profit_all_coin"] == float(live["result"]["pnl"])
    assert profit["closed_trade_count"] == live["result"]["trades"]
    assert balance["total"] == float(live["risk"]["equity"])


def test_profile_is_told_without_its_secrets(page: Served) -> None:
    """Sections that name secrets stay on this machine's disk."""
    profile = page.get("/api/v1/show_config").document["profile"]

    assert "risk" in profile
    assert not {"secrets", "alerts"} & set(profile)


def test_second_is_explained_as_the_verb_does(page: Served) -> None:
    """A click on the chart and `minibot explain --at` give one answer."""
    trade = page.get("/api/v1/trades").document["trades"][0]
    ts = trade["opened_ts"]
    answer = page.get(f"/api/v1/explain?ts={ts}&symbol=BTCUSDT").document
    clock = f"{ts // 1000 % 86400 // 3600:02}:{ts // 1000 % 3600 // 60:02}:{ts // 1000 % 60:02}"
    words = ("explain", page.run_id, "--at", clock, "--symbol", "BTCUSDT")
    done, ended = verb(page.var.root, *words, "--json"), verb(page.var.root, *words)

    lines = answer.pop("lines")
    assert answer == done.document
    assert lines == ended.out.splitlines()
    assert "traded: BUY" in " ".join(lines)
    bars = answer["symbols"][0]["saw"]["bars"]["1s"]
    assert 0 < len(bars) <= BARS_SHOWN


def test_symbol_that_a_universe_chose_is_explained(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The list of the start says nothing of it: page and verb take it, but no text of any form."""
    with served(short_run, tmp_path_factory.mktemp("universe")) as before:
        trade = before.get("/api/v1/trades").document["trades"][0]
        run_dir = before.var.run(before.run_id)
        manifest = Manifest.load(run_dir)
        config = {**manifest.config, "universe": {"mode": "dynamic"}}
        replace(manifest, config=config, symbols=("ETHUSDT",)).write(run_dir)
        chosen = ShortRun(before.var.root, run_dir, short_run.said)
    with served(chosen, tmp_path_factory.mktemp("chosen")) as page:
        asked = f"/api/v1/explain?ts={trade['opened_ts']}&symbol="
        answer = page.get(f"{asked}BTCUSDT")
        clock = datetime.fromtimestamp(trade["opened_ts"] // 1000, UTC).strftime("%H:%M:%S")
        words = ("explain", page.run_id, "--at", clock, "--symbol")
        done = verb(page.var.root, *words, "BTCUSDT")

        assert answer.status == 200, answer.document
        assert "traded: BUY" in " ".join(answer.document["lines"])
        assert done.code == 0, done.err
        assert done.out.splitlines() == answer.document["lines"]
        assert page.get(f"{asked}btc-usdt").status == 409
        assert verb(page.var.root, *words, "btc-usdt").code == 2


@pytest.mark.parametrize(
    ("query", "status"),
    [("ts=1", 409), ("ts=1736186450000&symbol=NOPE", 409), ("ts=x", 422), ("", 422)],
)
def test_second_that_the_run_has_not_is_refused(page: Served, query: str, status: int) -> None:
    """The answer names the span of the run, or its symbols."""
    answer = page.get(f"/api/v1/explain?{query}")

    assert answer.status == status
    assert answer.document["detail"]


def is_exit(event: Event) -> bool:
    """Return whether risk left a position by an action."""
    return isinstance(event.payload, RiskAction) and event.payload.action == EXIT


def test_chart_has_every_mark_of_the_record(page: Served, short_run: ShortRun) -> None:
    """Fills, signals but no HOLD, and exits with their words; another symbol has none."""
    chart = page.get("/api/v1/chart?symbol=BTCUSDT").document
    trades = page.get("/api/v1/trades").document["trades"]

    assert [fill["id"] for fill in chart["fills"]] == [f for t in trades for f in t["fills"]]
    assert {signal["side"] for signal in chart["signals"]} == {"BUY", "SELL"}
    assert all(exit["words"] for exit in chart["exits"])
    # One that a slow machine answered too late was asked for again.
    actions = Recorded.open(short_run.run_dir).events(RISK_ACTIONS)
    exits = [event.id for _, event in actions if is_exit(event)]
    assert [exit["id"] for exit in chart["exits"]] == exits
    assert len(exits) >= len(trades) > 0
    none = page.get("/api/v1/chart?symbol=NOPE").document
    assert not any(none[kind] for kind in ("prices", "fills", "signals", "stops", "exits", "gaps"))


def test_nights_are_listed_with_result_and_report(page: Served, short_run: ShortRun) -> None:
    """The report is the file that was written, under a policy without scripts."""
    (night,) = page.get("/api/v1/nights").document["nights"]
    live = page.get(LIVE).document
    report = page.get(f"/api/v1/nights/{page.run_id}/report")

    assert (night["run_id"], night["result"]) == (page.run_id, live["result"]["pnl"])
    assert (night["state"], night["has_report"]) == ("sealed", True)
    assert report.status == 200
    written = page.var.run(page.run_id) / "report" / "report.html"
    assert report.body == written.read_bytes()
    policy = report.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "script" not in policy.replace("default-src 'none'", "")
    for name in ("NOPE", "..%2f..", "%2e%2e"):
        assert page.get(f"/api/v1/nights/{name}/report").status == 404


@contextmanager
def streamed(page: Served) -> Iterator[Iterator[bytes]]:
    """Open the page's stream; gives its figures and signs of life, one a second."""
    with page.connect() as connection:
        head = f"GET /api/v1/stream HTTP/1.1\r\nhost: {page.host}\r\n"
        connection.sendall(f"{head}authorization: Bearer {page.token}\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            yield (line for line in file if line.startswith((b"data: ", b"event: ")))


def figures_in(lines: Iterator[bytes], part: bytes = b"") -> dict[str, Any]:
    """Return the next figures of a stream, with a part of their text."""
    due = (line for line in islice(lines, ANSWER_S) if line.startswith(b"data: ") and part in line)
    found: dict[str, Any] = json.loads(next(due).removeprefix(b"data: "))
    return found


@pytest.fixture
def age_ms(page: Served, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Age of the page's newest status, which the test sets; both are put back behind it."""
    found, live = [0], page.server._run.live
    monkeypatch.setattr(live, "age_ms", lambda: found[0])
    monkeypatch.setattr(live, "status", page.status())
    return found


@pytest.mark.parametrize(
    ("ended", "age"), [(None, STALE_MS), ({"kind": "END", "reason_code": "OPERATOR"}, 10**9)]
)
def test_stream_tells_each_status_once(
    page: Served, age_ms: list[int], ended: object, age: int
) -> None:
    """The first figures come at once, and none again of a young status or of an ended run."""
    age_ms[0] = age
    page.server._run.live.take(page.status() | {"ended": ended})
    with streamed(page) as lines:
        told = [line.partition(b" ")[0] for line in islice(lines, 2)]

    assert told == [b"data:", b"event:"]


def test_stream_ends_with_the_end_of_the_run(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The process ends a moment after it has read how the run did: each open page is told."""
    ended = {"kind": "END", "reason_code": "OPERATOR", "detail": "over"}
    with served(short_run, tmp_path_factory.mktemp("ends")) as page, streamed(page) as lines:
        assert figures_in(lines)["ended"] is None
        page.server.take(page.status() | {"ended": ended})
        page.server.close()
        *_, last = (line for line in lines if line.startswith(b"data: "))

    assert json.loads(last.removeprefix(b"data: "))["ended"] == ended


def test_stream_tells_an_open_page_that_the_launcher_is_silent(
    page: Served, age_ms: list[int]
) -> None:
    """A page that is open learns it as a fresh one does: the age counts up until news come."""
    with streamed(page) as lines:
        rows = [figures_in(lines)]
        for age in (STALE_MS + 1, STALE_MS + 1001, 0):
            age_ms[0] = age
            if age == 0:
                page.server.take(page.status())
            rows.append(figures_in(lines, f'"status_age_ms":{age},'.encode()))

    assert [figures["is_stale"] for figures in rows] == [False, True, True, False]


def test_streams_that_are_opened_at_once_are_no_more_than_allowed(page: Served) -> None:
    """A browser opens all pages of its last session in one moment."""
    wait_until(lambda: page.server._run.live.streams == 0, "no stream is open")
    head = f"GET /api/v1/stream HTTP/1.1\r\nhost: {page.host}\r\n"
    request = f"{head}authorization: Bearer {page.token}\r\n\r\n".encode()
    with ExitStack() as stack:
        opened = [stack.enter_context(page.connect()) for _ in range(STREAMS_MAX + 5)]
        for connection in opened:
            connection.sendall(request)
        firsts = [connection.recv(12) for connection in opened]

    assert firsts.count(b"HTTP/1.1 503") == 5


@pytest.mark.parametrize("asks", [True, False])
def test_end_of_the_run_is_told_to_a_guard_before_the_page_closes(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    """A guard that asks each second learns of the end, however soon the process ends after it."""
    ended = {"kind": "END", "reason_code": "OPERATOR", "detail": "over"}
    answers: list[Any] = []
    monkeypatch.setattr(run_view, "GUARD_S", 10**6)
    with served(short_run, tmp_path) as page:
        live = page.server._run.live

        def wait(timeout: float | None = None) -> bool:
            answers.append(page.get("/api/v1/live").document["ended"])
            return live.end_sent.is_set()

        monkeypatch.setattr(live, "end_sent", threading.Event())
        monkeypatch.setattr(live.end_sent, "wait", wait)
        if asks:
            page.get("/api/v1/live")
        page.server.take(page.status() | {"ended": ended})

    assert answers == ([ended] if asks else [])
    assert live.end_sent.is_set() == asks
