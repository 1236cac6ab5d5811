"""API as freqtrade's own client sees it, unmodified: each call is the same, different or absent."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from freqtrade_client import FtRestClient  # type: ignore[import-untyped]

from minibot.ops.web.freqtrade_paths import DIFFERENT, NO_ENTRY, NOT_HERE, PATHS, SAME
from tests.ops.web.served import Served, served
from tests.runs import ShortRun

pytestmark = pytest.mark.network_mock

BY_NAME = {path.name: path for path in PATHS}
ALIASES = {"forcebuy": "forceenter"}
"""Calls of the client that stand in the table by another name."""
TRADE = {"trade_id", "pair", "is_open", "amount", "open_rate", "open_timestamp", "stake_amount"}
SHAPES: dict[str, set[str]] = {
    "ping": {"status"},
    "version": {"version"},
    "count": {"current", "max", "total_stake"},
    "trades": {"trades", "trades_count", "offset", "total_trades"},
    "whitelist": {"whitelist", "length", "method"},
    "health": {"last_process_ts"},
    "stopbuy": {"status"},
}
"""Keys of freqtrade's answers that a client reads, by call."""
ORDERS = {"start": "resume", "stop": "end", "stopbuy": "halt"}
GIVEN: dict[str, tuple[Any, ...]] = {
    "delete_lock": (1,), "lock_add": ("BTC/USDT", "2030-01-01 00:00:00Z"), "trade": (1,),
    "list_custom_data": (1,), "delete_trade": (1,), "cancel_open_order": (1,),
    "forcebuy": ("BTC/USDT",), "forceenter": ("BTC/USDT", "long"), "forceexit": (1,),
    "strategy": ("x",), "pair_candles": ("BTC/USDT", "5m"),
    "pair_history": ("BTC/USDT", "5m", "x"),
}  # fmt: skip


def calls() -> list[str]:
    """Return every call of the client, by name."""
    public = inspect.getmembers(FtRestClient, inspect.isfunction)
    return sorted(name for name, _ in public if not name.startswith("_"))


@pytest.fixture(scope="module")
def page(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page over a short run that is told to be going on."""
    with served(short_run, tmp_path_factory.mktemp("freqtrade")) as found:
        yield found


@pytest.fixture(scope="module")
def client(page: Served) -> FtRestClient:
    """The client as its users make it: address, any name, the token as password."""
    return FtRestClient(f"http://{page.host}", "freqtrader", page.token)


@pytest.mark.parametrize("name", calls())
def test_each_call_of_the_client_behaves_as_the_table_says(
    page: Served, client: FtRestClient, name: str
) -> None:
    """A user of freqtrade finds in one table what each of the habits does here."""
    path = BY_NAME[ALIASES.get(name, name)]
    call: Callable[..., Any] = getattr(client, name)
    answer = call(*GIVEN.get(name, ()))

    asked = [each["kind"] for each in page.asked()]
    if path.state == NOT_HERE:
        assert set(answer) == {"detail"}
        assert len(path.words) > 5
    elif name in ("forcebuy", "forceenter"):
        assert answer == {"detail": NO_ENTRY}
    else:
        assert "detail" not in answer
        assert all(key in answer for key in SHAPES.get(name, ()))
    assert asked == ([ORDERS[name]] if name in ORDERS else [])


def test_table_names_each_call_once_and_says_why_where_it_differs() -> None:
    """A new call of a newer client fails here until it has its row."""
    names = [path.name for path in PATHS]

    assert sorted(names) == sorted(set(names))
    assert set(names) == {ALIASES.get(name, name) for name in calls()}
    assert {path.state for path in PATHS} == {SAME, DIFFERENT, NOT_HERE}
    assert all(path.words for path in PATHS if path.state != SAME)


def test_closed_trades_come_in_pages_of_the_clients_choice(
    client: FtRestClient, short_run: ShortRun
) -> None:
    """Limit and offset as freqtrade counts them; a script reads its figures by their names."""
    whole = client.trades()
    second = client.trades(limit=1, offset=1)

    assert whole["total_trades"] == whole["trades_count"] == len(whole["trades"]) > 1
    assert second["trades"] == whole["trades"][1:2]
    assert second["total_trades"] == whole["total_trades"]
    newest = client.trades(limit=1, offset=-1)
    assert newest["trades"] == whole["trades"][-1:]
    assert client.trades(offset=-500) == whole
    for trade in whole["trades"]:
        assert set(trade) >= TRADE
        assert trade["close_timestamp"] >= trade["open_timestamp"]
    made = sum(trade["profit_abs"] for trade in whole["trades"])
    assert made == pytest.approx(client.profit()["profit_closed_coin"])
    assert made == pytest.approx(sum(row["profit_abs"] for row in client.performance()))


def test_open_position_is_listed_as_an_open_trade_with_its_stop(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Amount, rate, stop and profit of what is held now."""
    with served(short_run, tmp_path_factory.mktemp("held")) as page:
        held(page)
        client = FtRestClient(f"http://{page.host}", "freqtrader", page.token)
        (trade,) = client.status()

        assert set(trade) >= TRADE
        assert (trade["amount"], trade["open_rate"], trade["stop_loss_abs"]) == (0.5, 100.0, 99.0)
        assert trade["profit_abs"] == -0.25
        assert client.count() == {"current": 1, "max": client.count()["max"], "total_stake": 50.0}


def test_carried_position_has_neither_rate_nor_profit_before_its_first_price(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An unknown price is null, as freqtrade answers it, and never a price of 0."""
    with served(short_run, tmp_path_factory.mktemp("carried")) as page:
        held(page, price=None, mark=None, unrealised="0.00000000")
        (trade,) = FtRestClient(f"http://{page.host}", "freqtrader", page.token).status()

    assert (trade["amount"], trade["open_rate"], trade["stake_amount"]) == (0.5, 100.0, 50.0)
    assert [trade[key] for key in ("current_rate", "profit_abs", "profit_ratio")] == [None] * 3


def test_whitelist_has_the_symbols_of_the_universe_now(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A symbol that was delisted keeps its figures and is traded no more; without one, the list."""
    with served(short_run, tmp_path_factory.mktemp("universe")) as page:
        client = FtRestClient(f"http://{page.host}", "freqtrader", page.token)
        status = page.status()
        symbols = status["market"]["symbols"]
        symbols["GONEUSDT"] = symbols["BTCUSDT"]
        status["market"]["traded"] = ["XRPUSDT", "BTCUSDT"]
        page.server.take(status)
        of_universe = client.whitelist()
        status["market"]["traded"] = None
        page.server.take(status)
        of_profile = client.whitelist()

    assert (of_universe["whitelist"], of_universe["length"]) == (["BTCUSDT", "XRPUSDT"], 2)
    assert of_profile["whitelist"] == ["BTCUSDT"]


def held(page: Served, **changes: str | None) -> None:
    """Show a status with one position."""
    status = page.status()
    symbol = status["market"]["symbols"]["BTCUSDT"]
    symbol |= {"qty": "0.5", "entry": "100", "mark": "99.5", "unrealised": "-0.25", "opened_ts": 1}
    symbol |= changes
    status["roles"]["risk_role"]["heartbeat"]["facts"]["exits"] = {
        "BTCUSDT": {"stop": "99", "target": "103", "until_ts": None}
    }
    page.server.take(status)
