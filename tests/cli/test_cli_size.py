"""`minibot size`: what an entry would cost, of a run and of a supposed account."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.cli import size
from minibot.cli.main import run
from minibot.events.model import JsonObject, OrderIntent, RiskAction
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel.errors import InvariantError, Refusal
from minibot.replay.explain.size_question import size_now
from minibot.replay.run_status import RunStatus, by_this_code
from minibot.runtime.configuration.config import config_with
from minibot.runtime.manifest import Manifest
from tests.replay.damaged import copy_of, manifest_says
from tests.risk.desk import OTHER, SYMBOL, Desk, config, of
from tests.runs import ShortRun, raw_events, verb

PROJECT = Path(__file__).resolve().parents[2]
NORE = str(PROJECT / "config" / "nore.v1.json")
RISK = ("--set", "risk.sizing=risk", "--set", "risk.risk_per_trade_bps=10")


@pytest.mark.row("D-02")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"risk__position_notional_max": "777"},
        {"risk__sizing": "share", "risk__bucket_active_bps": 1700},
        {"risk__sizing": "risk", "risk__risk_per_trade_bps": 30, "risk__stop_bps": "150"},
        {"risk__symbol_notional_max": {SYMBOL: "3"}},
    ],
)
def test_size_is_that_of_the_entry_that_follows(changes: dict[str, Any]) -> None:
    """Asked and then done, with a position in another symbol: quantity, bound and reason agree."""
    profile = config(**changes, execution__taker_fee_bps="10")
    desk = Desk(profile)
    for symbol in (OTHER, SYMBOL):
        desk.instrument(symbol)
        desk.tick("99.99", "100.01", symbol=symbol)
    desk.signal("BUY", symbol=OTHER)
    desk.tick(symbol=OTHER)

    answer = size_now(profile, desk.risk.state(), SYMBOL)
    events = desk.signal("BUY")

    (action,) = of(events, RiskAction)
    bought = [intent.qty for intent in of(events, OrderIntent)]
    assert [answer.qty.rstrip("0")] == [qty.rstrip("0") for qty in bought] or not bought
    assert (answer.reason == "") == bool(bought)
    assert answer.reason in ("", action.reason_code)
    (decided,) = [bound for bound in answer.bounds if bound.decides]
    named = {check.name: check.value for check in action.checks}
    assert named.get("size_bound", decided.name) == decided.name
    for bound in answer.bounds:
        assert named.get(bound.name, bound.value) == bound.value


def test_size_of_a_run_at_its_end_and_by_another_sizing(short_run: ShortRun) -> None:
    """A finished run answers at its end, at a time, and for another sizing of the same account."""
    var, run_id = short_run.run_dir.parents[1], short_run.run_id

    plain = verb(var, "size", SYMBOL, run_id, "--json")
    other = verb(var, "size", SYMBOL, run_id, "--json", *RISK)
    kelly = verb(
        var, "size", SYMBOL, run_id, "--explain",
        "--set", "risk.sizing=kelly",
        "--set", "risk.kelly_window_market_ms=86400000",
        "--set", "risk.kelly_trades_min=1",
        "--set", "risk.position_share_bps_min=50",
        "--set", "risk.position_share_bps_max=500",
    )  # fmt: skip

    assert plain.code == other.code == kelly.code == 0
    (last,) = raw_events(short_run.run_dir, "market_ticks")[-1:]
    assert plain.document["run_id"] == run_id
    assert abs(plain.document["at_ms"] - last["ts"]) < 1
    assert plain.document["mode"] == "fixed"
    assert other.document["mode"] == "risk"
    assert other.document["equity"] == plain.document["equity"]
    assert "size_risk" in {bound["name"] for bound in other.document["bounds"]}
    assert "size_kelly" in kelly.out


@pytest.mark.parametrize(
    "sets",
    [
        ("risk.hard_stop_bps=300",),
        ("risk.account_drawdown_bps_hard=2000",),
        ("risk.week_loss_soft=500", "risk.week_loss_hard=600"),
    ],
)
def test_size_of_a_run_by_a_key_that_it_had_none_of(
    sets: tuple[str, ...], short_run: ShortRun
) -> None:
    """A limit or a plan that is only supposed has no past in the run, and cuts nothing here."""
    words = [word for each in sets for word in ("--set", each)]

    plain = verb(short_run.var, "size", SYMBOL, short_run.run_id, "--json")
    done = verb(short_run.var, "size", SYMBOL, short_run.run_id, "--json", *words)

    assert done.code == 0, done.err
    assert done.document["qty"] == plain.document["qty"]
    assert done.document["equity"] == plain.document["equity"]


def reducing(drawdown_bps: int, entry_percent: int) -> JsonObject:
    """Return a tier of the account's drawdown."""
    return {
        "state": "REDUCING",
        "drawdown_bps": drawdown_bps,
        "back_bps": drawdown_bps - 1,
        "entry_percent": entry_percent,
    }


@pytest.mark.parametrize(("drawdown_bps", "divisor"), [(1, 2), (500, 1)])
def test_size_of_a_run_by_fewer_tiers_is_that_of_the_tier_they_give(
    drawdown_bps: int, divisor: int, short_run: ShortRun, tmp_path: Path
) -> None:
    """The account stands in the second tier; a table of one has it in that tier or in none."""
    copied = copy_of(short_run, tmp_path)
    profile = Manifest.load(copied).config
    # Tiers of whole entries, so that the run could have made the decisions that it recorded.
    tiers = {"drawdown_tiers": [reducing(1, 100), reducing(2, 100)]}
    limits = {**profile["risk"], **tiers, "account_drawdown_bps_hard": 2_000}
    manifest_says(copied, config={**profile, "risk": limits})
    words = ("size", SYMBOL, str(copied), "--json")
    one = json.dumps([reducing(drawdown_bps, 50)])

    plain = verb(tmp_path, *words)
    done = verb(tmp_path, *words, "--set", f"risk.drawdown_tiers={one}")

    assert plain.code == done.code == 0, plain.err + done.err
    cost, whole = (Decimal(each.document["notional"]) for each in (done, plain))
    assert cost == pytest.approx(whole / divisor, rel=Decimal("0.01"))


@pytest.mark.parametrize("key", ["strategy.atr_period=50", "strategy.bar_interval=1m"])
def test_size_of_a_run_by_other_bars_is_that_of_their_atr(
    key: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """The ATR is that of a run with this profile from its beginning, up to the first fill."""
    copied = copy_of(short_run, tmp_path)
    manifest_says(copied, config=config_with(Manifest.load(copied).config, [key]).raw)
    before = raw_events(copied, "fills")[0]["ts"] // 1000 - 1
    at = ("--at", f"{datetime.fromtimestamp(before, UTC):%H:%M:%S}", "--json", *RISK)

    plain = verb(short_run.var, "size", SYMBOL, short_run.run_id, *at)
    asked = verb(short_run.var, "size", SYMBOL, short_run.run_id, *at, "--set", key)
    ran = verb(short_run.var, "size", SYMBOL, str(copied), *at)

    assert asked.code == ran.code == 0, asked.err + ran.err
    assert asked.document["bounds"] == ran.document["bounds"]
    assert asked.document["bounds"] != plain.document["bounds"]


@pytest.mark.parametrize("name", ["BTC/USDT", "btcusdt"])
def test_symbol_of_a_run_is_taken_as_a_person_names_it(name: str, short_run: ShortRun) -> None:
    """A pair with a stroke or in small letters is the run's symbol, as for lock-symbol."""
    at = ("--at", f"{datetime.fromtimestamp(_first_fill_s(short_run), UTC):%H:%M:%S}", "--json")
    plain = verb(short_run.var, "size", SYMBOL, short_run.run_id, *at)
    sized = verb(short_run.var, "size", name, short_run.run_id, *at)
    explained = verb(short_run.var, "explain", short_run.run_id, *at, "--symbol", name)

    assert plain.code == sized.code == explained.code == 0, sized.err + explained.err
    assert sized.document == plain.document
    assert SYMBOL in json.dumps(explained.document)


@pytest.mark.parametrize("command", [("size", "ETH/USDT"), ("explain", "--symbol", "ETH/USDT")])
def test_symbol_that_the_run_does_not_trade_is_refused_with_those_that_it_does(
    command: tuple[str, ...], short_run: ShortRun
) -> None:
    """The symbol is the cause, and is told as such at every time."""
    at = ("--at", f"{datetime.fromtimestamp(_first_fill_s(short_run), UTC):%H:%M:%S}")
    done = verb(short_run.var, command[0], *at, *command[1:], short_run.run_id)

    assert done.code == 2
    assert "does not trade 'ETHUSDT'" in done.err
    assert f"It trades: {SYMBOL}." in done.err


def _first_fill_s(short_run: ShortRun) -> int:
    ts: int = raw_events(short_run.run_dir, "fills")[0]["ts"]
    return ts // 1000


def test_supposed_size_of_a_pair_knows_the_limits_of_its_symbol(var_dir: Path) -> None:
    """A limit by symbol holds however the symbol is written."""
    words = ("--config", NORE, "--price", "60000", "--atr", "120", "--explain", "--json")
    limit = ("--set", f'risk.symbol_notional_max={{"{SYMBOL}":"3"}}')
    plain = verb(var_dir, "size", SYMBOL, *words, *limit)
    done = verb(var_dir, "size", "BTC/USDT", *words, *limit)

    assert plain.code == done.code == 0, done.err
    assert done.document == plain.document


def test_supposed_account_gives_the_size_of_its_first_entry(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With price and ATR no run is needed; 10 of 10,000 at a stop of 3 x 120 with fees."""
    words = ("size", SYMBOL, "--config", NORE, "--price", "60000", "--atr", "120", *RISK)

    code = run([*words, "--explain"])

    shown = capsys.readouterr().out
    assert code == 0
    # 360 and a fee of 0.1 % on 119,640: 479.64 a coin, so 10 pay for 0.02084896.
    assert "position_notional decides" in shown
    assert "size_risk" in shown
    assert "1250.9376" in shown


@pytest.mark.parametrize(
    "words",
    [
        ("--price", "60000"),
        ("--equity", "1000"),
        ("--config", NORE, "--price", "0"),
        ("--config", NORE, "--price", "1e5"),
        ("--config", NORE, "--price", "60000", "--equity", ""),
        ("--config", NORE, "--price", "60000", "--at", "01:00"),
        ("20251120_000000", "--config", NORE, "--price", "60000"),
    ],
)
def test_flags_that_contradict_or_are_no_amount_are_refused(words: tuple[str, ...]) -> None:
    """A flag that would be ignored, and an amount that is none, are refused."""
    command = argparse.ArgumentParser()
    size.add_arguments(command)
    arguments = command.parse_args([SYMBOL, *words])
    arguments.json, arguments.var = False, None

    with pytest.raises(Refusal):
        size.run(arguments)


@pytest.mark.parametrize(("price", "code"), [("0.00000001", 2), ("0.00000002", 0)])
def test_supposed_price_without_room_for_the_hard_stop_is_refused_as_such(
    price: str, code: int, var_dir: Path
) -> None:
    """At the finest price no hard stop lies above 0; no bound of the account is the reason."""
    words = ("--config", "config/portfolio.v1.json", "--price", price, "--explain")

    done = verb(var_dir, "size", SYMBOL, *words)

    assert done.code == code, done.err
    assert ("hard stop" in done.err) is (code == 2)
    assert ("buys" in done.out) is (code == 0)


@pytest.mark.parametrize("is_other_code", [True, False])
def test_run_of_other_code_is_named_as_such_where_this_code_disagrees(is_other_code: bool) -> None:
    """A broken invariant of a run of this code stays one; of another code it is no fault here."""
    status = RunStatus("sealed", (), (), is_other_code)
    broken = InvariantError("risk", INVARIANT_BROKEN, "risk did not send it")

    with (
        pytest.raises(Refusal if is_other_code else InvariantError) as raised,
        by_this_code(status),
    ):
        raise broken

    assert ("made by other code" in str(raised.value)) is is_other_code
    assert "risk did not send it" in str(raised.value)


@pytest.mark.parametrize("symbol", ["", "\u0416USDT", "USDT", "BTC-USDT", "BTCEUR"])
def test_size_without_a_run_refuses_a_symbol_that_the_profile_cannot_buy(
    symbol: str, tmp_path: Path
) -> None:
    """A mistyped symbol, or one of another quote asset, has no size, and the refusal says so."""
    done = verb(tmp_path, "size", symbol, "--config", NORE, "--price", "100")

    assert (done.code, done.out) == (2, "")
    assert "Name " in done.err
