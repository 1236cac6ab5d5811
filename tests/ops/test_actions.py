"""Orders of the operator's page: a kill always holds, and what would change nothing is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.ops.actions import act
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock, note_current
from minibot.runtime.stop import OPERATOR, arm
from minibot.watchdog.requests import KILL
from tests.report.made_run import made_run, read_fixture

QUEUES = {
    "fill": "fills",
    "order_intent": "order_intents",
    "order_result": "order_results",
    "lock_symbol": "control",
}


def event(kind: str, minute: int = 1, **payload: Any) -> dict[str, Any]:
    """Return an event of a made run about BTCUSDT."""
    fields = payload | {"symbol": "BTCUSDT"}
    return {"queue": QUEUES[kind], "type": kind, "minute": minute, "payload": fields}


def entry(minute: int = 1) -> dict[str, Any]:
    """Return the intent of a purchase that rests."""
    order = {"side": "BUY", "qty": "0.1", "order_type": "LIMIT", "limit_price": "49000"}
    return event("order_intent", minute, client_order_id="o1", purpose="ENTRY", **order)


def result(name: str, minute: int = 1) -> dict[str, Any]:
    """Return a result of that order."""
    return event("order_result", minute, client_order_id="o1", order_id="o1", result=name)


def fill(side: str, minute: int = 1) -> dict[str, Any]:
    """Return a fill of a tenth of a coin."""
    fields = {"qty": "0.1", "price": "49999", "fee": "5", "fee_asset": "USDT"}
    touch = {"bid": "49989", "ask": "49999", "liquidity": "TAKER"}
    order = {"order_id": side, "client_order_id": side}
    return event("fill", minute, side=side, **order, **fields, **touch)


def lock(until_minute: int | None = None) -> dict[str, Any]:
    """Return an operator's lock from before the run's clock begins."""
    begin = read_fixture()["from_ts"]
    until = {} if until_minute is None else {"until_ts": begin + until_minute * 60_000}
    return event("lock_symbol", 0, who="ada", why="thin book", **until)


def asked(var: Var) -> list[str]:
    """Return the kinds of requests that were left."""
    return [read_hashed(path)["kind"] for path in var.requests.glob("*.json")]


def act_on(folder: Path, kind: str, events: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the answer to an order about BTCUSDT, and what was asked of the run for it."""
    run_dir = made_run(folder, read_fixture() | {"events": events})
    var = Var(folder)
    for path in (var.stop, var.requests):
        path.mkdir(mode=0o700)
    arm(var.stop, run_dir.name, OPERATOR)
    with RunLock(var):
        note_current(var, run_dir.name)
        try:
            return act(var, run_dir.name, kind, symbol="btc/usdt"), asked(var)
        except Refusal as refusal:
            return str(refusal), asked(var)


@pytest.mark.usefixtures("run_goes_on")
def test_kill_raises_the_flag_also_where_its_reason_cannot_be_written(tmp_path: Path) -> None:
    """A kill from the page needs no space for its reason, as `minibot kill` needs none."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop):
        folder.mkdir(mode=0o700)
    var.requests.write_bytes(b"no folder")
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")

        text = act(var, "20251120_000000", KILL)

    assert text.startswith("kill was sent to 20251120_000000; the reason could not be written (")
    assert read_hashed(var.flag)["role"] == OPERATOR


def test_kill_from_the_page_needs_no_note_of_the_run(tmp_path: Path) -> None:
    """A run whose `current.json` is gone is killed from the page, too."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.requests):
        folder.mkdir(mode=0o700)
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        act(Var(var.root), "20251120_000000", KILL)

    assert read_hashed(var.flag)["run_id"] == "20251120_000000"


@pytest.mark.parametrize(
    ("events", "is_sent"),
    [
        ([], False),
        ([entry()], True),
        ([entry(), result("ACCEPTED")], True),
        ([entry(), result("ACCEPTED"), result("EXPIRED", 2)], False),
        ([fill("BUY")], True),
        ([fill("BUY"), fill("SELL", 2)], False),
    ],
    ids=["nothing", "asked", "open", "expired", "held", "sold"],
)
@pytest.mark.usefixtures("run_goes_on")
def test_exit_is_sent_for_a_position_or_an_open_entry_alone(
    events: list[dict[str, Any]], tmp_path: Path, *, is_sent: bool
) -> None:
    """Risk withdraws an entry that rests; where there is nothing, the answer does not say sent."""
    answer, requests = act_on(tmp_path, "exit_position", events)

    assert answer.startswith("exit_position of BTCUSDT was sent to ") is is_sent
    assert ("holds nothing in BTCUSDT and has no open entry" in answer) is not is_sent
    assert requests == ["exit_position"] * is_sent


@pytest.mark.parametrize(
    ("events", "is_sent"),
    [([], False), ([lock()], True), ([lock(1)], True), ([lock(), lock(0)], False)],
    ids=["none", "open", "until", "ended"],
)
@pytest.mark.usefixtures("run_goes_on")
def test_unlock_is_sent_for_an_operators_lock_alone_and_answered_by_its_own_name(
    events: list[dict[str, Any]], tmp_path: Path, *, is_sent: bool
) -> None:
    """The end of a lock is a lock that ends now; whoever unlocked does not read that he locked."""
    answer, requests = act_on(tmp_path, "unlock_symbol", events)

    assert answer.startswith("unlock_symbol of BTCUSDT was sent to ") is is_sent
    assert ("no operator locks BTCUSDT" in answer) is not is_sent
    assert requests == ["lock_symbol"] * is_sent
