"""Backtest bench: one market for all, judged figures, peers that may be missing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from minibot.events.model import Bar, Beat
from tools.bench import backtest, backtest_peers, backtest_replay
from tools.bench.__main__ import parser
from tools.bench.backtest_market import beside, columns, ticks
from tools.golden.fixture import golden_runs

W1_SHA256 = "5ef13a27eddd433cb053f80db4a8f5c8b71bf92f9fde174d57badf5b459a684b"


def test_market_is_the_one_that_the_peers_figures_were_taken_on() -> None:
    """A million ticks are those of the reference figures, byte for byte."""
    assert ticks(1_000_000).sha256 == W1_SHA256


def test_bars_beside_the_ticks_never_know_more_than_the_ticks_before_them() -> None:
    """A bar stands after all its ticks and before all others."""
    table = columns(ticks(5_000))
    between = beside(table)
    bars = [one for one in between if isinstance(one.payload, Bar) and one.payload.interval == "1s"]

    assert [one.ts for one in between] == sorted(one.ts for one in between)
    assert sum(isinstance(one.payload, Beat) for one in between) >= len(bars) - 1 > 50
    for one in bars:
        assert isinstance(one.payload, Bar)
        inside = (table["ts"] >= one.payload.open_ts) & (table["ts"] <= one.payload.close_ts)
        prices = table["price"][inside]
        assert one.row == int(np.searchsorted(table["ts"], one.payload.close_ts + 1))
        if len(prices):
            assert float(one.payload.high) == prices.max() / 10**8
            assert float(one.payload.close) == prices[-1] / 10**8


@pytest.mark.parametrize("has_run", [False, True])
def test_replay_is_not_scaled_from_a_run_that_is_mostly_its_start(
    has_run: bool, tmp_path: Path
) -> None:
    """A replay is not scaled from a short run; the report says how to make a longer one."""
    sample = next(one for one in golden_runs() if one.name == "sample_run")
    run = sample.unpack(tmp_path) if has_run else None

    (measure,) = backtest_replay.replay(1, run)

    assert measure.verdict == "not measured"
    assert "minibot.nore_run_v1" in measure.notes[-1]


def test_peer_that_cannot_be_had_is_named_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing peer is named and fails nothing."""

    def absent(peer: backtest_peers.Peer) -> object:
        raise OSError(f"pip cannot install {peer.lock.name}")

    monkeypatch.setattr(backtest_peers, "_environment", absent)
    monkeypatch.setattr(backtest_peers, "_told", lambda peer, data, repeats: "of this")
    plan = backtest.Plan(has_peers=True, repeats=1, is_full=False, folder=tmp_path)
    plan._peers = {"ticks": backtest_peers.compare(backtest_peers.TICKS[:1], plan.folder, 1, 0)}
    plan._cases = {("ema", backtest.MILLION, False): [], ("ema", backtest.MILLION, True): []}

    (interpreted, compiled) = backtest.b3(plan)

    assert "pip cannot install" in next(iter(plan.peers("ticks").missing.values()))
    assert interpreted.verdict == compiled.verdict == "not measured"


def test_what_a_peer_gave_is_kept_and_taken_from_there_until_something_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures of peers are kept until data, scripts, locks or repetitions change."""
    ran = []

    def run(words: list[str], data: Path, core: int, run_s_max: float) -> dict[str, object]:
        script = Path(words[1]).name
        ran.append(script)
        if "hft" in script:
            raise subprocess.TimeoutExpired("numba", run_s_max)
        return {"ev_per_s": 7}

    monkeypatch.setattr(backtest_peers, "_environment", lambda peer: Path("python"))
    monkeypatch.setattr(backtest_peers, "run_script", run)
    text = "one"
    monkeypatch.setattr(backtest_peers, "_told", lambda peer, data, repeats: text)
    peers = (backtest_peers.TICKS[0], backtest_peers.TICKS[-1])

    first = backtest_peers.compare(peers, tmp_path, 1, 0, 12.0)
    again = backtest_peers.compare(peers, tmp_path, 1, 0, 12.0)
    text = "another"
    backtest_peers.compare(peers, tmp_path, 2, 0)

    assert first == again
    assert first.missing == {peers[1].name: "did not end within 12 s"}
    script = peers[0].script.name
    assert [name for name in ran if name == script] == [script] * 3


def test_every_peer_has_a_lock_of_its_packages() -> None:
    """Every peer has a lock of its packages."""
    for peer in (*backtest_peers.TICKS, *backtest_peers.BARS):
        assert all("==" in line for line in peer.lock.read_text().splitlines())


def test_command_line_names_every_measure() -> None:
    """`--only` accepts the rows of the table."""
    given = parser().parse_args(["backtest", "--only", "B1", "B7", "--repeats", "1", "--peers"])

    assert (given.only, given.repeats, given.peers) == (["B1", "B7"], 1, True)
    assert list(backtest.MEASURES) == [f"B{n}" for n in range(1, 10)]
