"""`minibot doctor --exchange` against the exchange that minibot serves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.support.exchange_contact import rows_of
from minibot.exchanges.contact_report import Report
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from tests.runs import Completed, run_command
from tests.waiting import DEADLINE_S

pytestmark = [pytest.mark.campaign, pytest.mark.process]

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")


@pytest.fixture
def port() -> Iterator[int]:
    """Port of an exchange on our clock that has just begun to trade."""
    words = "exchange serve --source generator:1 --port 0 --rate 60 --start now --rebase-to-now"
    process = subprocess.Popen(
        [sys.executable, "-m", "minibot", *words.split()],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        found = None
        for line in process.stdout:
            found = ADDRESS.search(line)
            if found is not None:
                break
        assert found is not None, process.communicate()
        port = int(found.group(1))
        # The first call makes the synthetic market's history, which takes time on a busy machine.
        for path in ("ticker/24hr", "klines?symbol=BTCUSDT&interval=1m"):
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/api/v3/{path}", timeout=DEADLINE_S
            ) as past:
                assert past.read()
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=DEADLINE_S)


def meet(port: int, minutes: str, *words: str) -> Completed:
    """Run the verb against a local port."""
    hosts = [
        f"binance.rest_url=http://127.0.0.1:{port}",
        f"binance.stream_url=ws://127.0.0.1:{port}",
    ]
    patience = ["binance.rest_timeout_ms=30000", "binance.clock_skew_max_ms=60000"]
    sets = [word for text in (*hosts, *patience) for word in ("--set", text)]
    return run_command(["minibot", "doctor", "--exchange", "--minutes", minutes, *sets, *words])


def fault(port: int, **fields: Any) -> None:
    body = json.dumps(fields).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/minibot/fault", body)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        assert json.loads(answer.read())["ok"]


def test_doctor_passes_a_host_as_documented_and_names_what_changes(port: int) -> None:
    """A documented host passes with 0; a changed field, filter or type fails with 1 by name."""
    good = meet(port, "0.4", "--json")
    fault(port, name="filter", filter="BRAND_NEW", field="limit", value="1")
    fault(port, name="filter", filter="LOT_SIZE", field="stepSize", value="one")
    fault(port, name="unknown_field", n=100_000)
    bad = meet(port, "0.05")
    answer = meet(port, "0.05", "--json").document

    assert good.code == 0, good.out + good.err
    assert good.document["verdict"] == "PASS"
    assert good.document["differences"] == []
    assert good.document["limits"]
    assert bad.code == 1
    assert "DIFFERS" in bad.out
    assert answer["verdict"] == "DIFFERS"
    found = {(one["where"], one["kind"], one["path"]) for one in answer["differences"]}
    rules = "/api/v3/exchangeInfo"
    assert (rules, "unknown", "symbols[].filters[][BRAND_NEW]") in found
    assert (rules, "retyped", "symbols[].filters[LOT_SIZE].stepSize") in found
    assert any(kind == "unknown" and path == "zz" for _, kind, path in found)
    for path in ("BRAND_NEW", "LOT_SIZE", "zz"):
        assert path in bad.out


def checked(port: int, folder: Path, *texts: str) -> dict[str, Any]:
    """Return the checks of `minibot doctor` for a local port, by name."""
    host = f"127.0.0.1:{port}"
    sets = (f"binance.rest_url=http://{host}", f"binance.stream_url=ws://{host}", *texts)
    words = [word for text in sets for word in ("--set", text)]
    done = run_command(["minibot", "doctor", "--json", "--var", str(folder / "var"), *words])
    return {each["name"]: each for each in done.document["checks"]}


def test_doctor_asks_the_host_for_the_least_order_that_an_entry_has_to_reach(
    port: int, tmp_path: Path
) -> None:
    """An account too small for the venue's filter is warned of before the night, by symbol."""
    check = checked(port, tmp_path, "portfolio.cash=10")["markets"]

    assert check["level"] == "WARN"
    assert "BTCUSDT: an entry costs 2 at most, the least order is 5" in check["found"]


def test_doctor_fails_for_a_market_that_the_host_does_not_list(port: int, tmp_path: Path) -> None:
    """A night would be STOPPED for it in its first seconds, when nobody looks any more."""
    check = checked(port, tmp_path, 'binance.symbols=["FOOUSDT"]')["markets"]

    assert check["level"] == "FAIL"
    assert "binance.symbols" in check["remedy"]


def test_doctor_says_in_one_sentence_that_a_host_cannot_be_reached() -> None:
    """An unreachable host is one sentence with its name and a remedy, exit 2, no empty report."""
    done = meet(9, "0.05")

    assert done.code == 2
    (sentence,) = [line for line in done.err.splitlines() if "refused" in line]
    assert "http://127.0.0.1:9 cannot be reached" in sentence
    assert done.out == ""


@pytest.mark.parametrize("words", [("--minutes", "0"), ("--minutes", "soon")])
def test_doctor_refuses_a_time_that_is_none(words: tuple[str, ...]) -> None:
    """A listening time of zero is refused, because it would find nothing and say PASS."""
    done = run_command(["minibot", "doctor", "--exchange", *words])

    assert done.code == 4
    assert "--minutes" in done.err


def test_doctor_refuses_to_meet_the_embedded_exchange_of_a_profile() -> None:
    """A profile on loopback has no host to check, so the verb names the profile to use."""
    done = run_command(
        ["minibot", "doctor", "--exchange", "--config", "config/nore-demo.v1.json"],
    )

    assert done.code == 4
    assert "config/nore.v1.json" in done.err


def test_figures_of_a_host_that_sent_no_event_are_unknown() -> None:
    """A host whose streams are silent has no delay, which no screen calls None."""
    config = load_config(PROJECT / "config" / "nore.v1.json", (), {})

    shown = [f"{row.label} {row.text}" for row in rows_of(Report(("BTCUSDT",)), config)]

    assert "delay ? ms p50, ? ms p99 of events" in shown
    assert not any("None" in line for line in shown)
