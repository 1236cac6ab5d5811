"""Carried losses: a limit on the day's or week's loss holds over the runs of that day or week."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from minibot.events.codec import Codec
from minibot.events.model import Event, JsonObject
from minibot.events.money import UNIT, parse_amount
from minibot.events.names import TICKS
from minibot.events.unit_sizes import DAY_MS
from tests.risk.desk import OTHER, START, SYMBOL, Desk, actions, config
from tests.watchdog.ended_runs import opening_behind, put_ended

MIDNIGHT = START - START % DAY_MS + DAY_MS
SOFT = {"risk__day_loss_soft": "100000", "risk__week_loss_soft": "100000"}
HARD = {"risk__day_loss_hard": "200000", "risk__week_loss_hard": "200000"}


def bought(profile: JsonObject) -> Desk:
    """Return a desk that holds ten coins, bought at 100."""
    desk = Desk(profile)
    desk.instrument()
    desk.tick("99.99", "100.00")
    desk.signal("BUY")
    desk.tick()
    desk.tick()
    return desk


@pytest.mark.row("B-09")
@pytest.mark.parametrize("period", ["day", "week"])
def test_falling_coins_reach_the_limit_over_three_runs(period: str, tmp_path: Path) -> None:
    """Coins that fall by 40 in each run stop the third one, though nothing was ever sold."""
    profile = config(**{f"risk__{period}_loss_soft": "50", f"risk__{period}_loss_hard": "100"})
    desk, bid, lost = bought(profile), 100, []
    for number in range(2):
        bid -= 4
        assert desk.tick(str(bid), str(bid)) == []
        put_ended(tmp_path / str(number), desk)
        opening = opening_behind(tmp_path / str(number), START + 60_000, has_week=True)
        lost.append(opening.budgets_used[f"{period}_loss"])
        desk = Desk(profile, first=opening)
        desk.instrument()
        desk.tick(str(bid), str(bid))
    events = desk.tick(str(bid - 4), str(bid - 4))

    assert lost == ["40.00000000", "80.00000000"]
    assert actions(events) == [("STOP", "RISK_LIMIT")]


@pytest.mark.row("B-09")
@pytest.mark.parametrize("period", ["day", "week"])
def test_gain_of_an_earlier_run_stands_against_a_later_loss(period: str, tmp_path: Path) -> None:
    """Coins that rise by 500 and fall by 550 in the next run have lost 50, as in a single run."""
    profile = config(**{f"risk__{period}_loss_soft": "80", f"risk__{period}_loss_hard": "100"})
    single, desk = bought(profile), bought(profile)
    for one in (single, desk):
        one.tick("150", "150")
    for number in range(2):  # The second run has no price and hands on what it was given.
        put_ended(tmp_path / str(number), desk)
        opening = opening_behind(tmp_path / str(number), START + 60_000, has_week=True)
        desk = Desk(profile, first=opening)
    desk.instrument()
    left = {}
    for bid in ("150", "138", "95", "90", "89.90"):
        said = [actions(one.tick(bid, bid)) for one in (single, desk)]
        left[bid] = desk.risk.facts()["headroom"][f"{period}_loss"]
        assert said == ([[("STOP", "RISK_LIMIT")]] * 2 if bid == "89.90" else [[], []])
        assert left[bid] == single.risk.facts()["headroom"][f"{period}_loss"]

    assert opening.budgets_used[f"{period}_loss"] == "-500.00000000"
    assert left["95"] == "30.00000000"


@pytest.mark.row("B-09")
@pytest.mark.parametrize("period", ["day", "week"])
def test_fall_between_two_runs_is_a_loss_of_the_second(period: str, tmp_path: Path) -> None:
    """Coins that fall by 40 in a run and 61 before the next one's first tick stop that one."""
    profile = config(**{f"risk__{period}_loss_soft": "50", f"risk__{period}_loss_hard": "100"})
    desk = bought(profile)
    desk.tick("96", "96")
    put_ended(tmp_path / "0", desk)
    opening = opening_behind(tmp_path / "0", START + 60_000, has_week=True)

    fields = {}
    for first in ("90", "89.90"):
        desk = Desk(profile, first=opening)
        desk.instrument()
        desk.restarted()
        fields[first] = actions(desk.tick(first, first))
        if first == "90":
            put_ended(tmp_path / "1", desk)

    assert opening.marks == {SYMBOL: "96.00000000"}
    assert fields == {"90": [], "89.90": [("STOP", "RISK_LIMIT")]}
    third = opening_behind(tmp_path / "1", START + 120_000, has_week=True)
    assert third.budgets_used[f"{period}_loss"] == "100.00000000"
    assert third.marks == {SYMBOL: "90.00000000"}


def test_mark_outlives_a_run_without_a_price(tmp_path: Path) -> None:
    """A run in which a coin has no price hands on the mark that it was given."""
    profile = config(risk__day_loss_soft="50", risk__day_loss_hard="100")
    desk = bought(profile)
    desk.tick("96", "96")
    put_ended(tmp_path / "0", desk)
    first = opening_behind(tmp_path / "0", START + 60_000)
    put_ended(tmp_path / "1", Desk(profile, first=first))

    second = opening_behind(tmp_path / "1", START + 120_000)

    assert second.marks == first.marks == {SYMBOL: "96.00000000"}
    assert second.budgets_used["day_loss"] == "40.00000000"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_carried_loss_is_the_one_that_risk_measures(seed: int, tmp_path: Path) -> None:
    """Over trades, carried coins and midnight the record gives the loss that risk counts."""
    random_ = random.Random(seed)
    profile = config(**SOFT, **HARD)
    began = MIDNIGHT - random_.choice((0, 5_000, 500_000))
    desk = Desk(profile, ts=began)
    for number in range(2):
        for symbol in (SYMBOL, OTHER):
            desk.instrument(symbol)
        # More lines than one batch, so that a price stands in another one than the next.
        for _ in range(random_.choice((40, 1500))):
            bid = random_.randint(9000, 9200)
            symbol = random_.choice((SYMBOL, SYMBOL, OTHER))
            desk.tick(f"{bid / 100:.2f}", f"{bid / 100 + 0.01:.2f}", symbol=symbol)
            if random_.random() < 0.1:
                desk.signal(random_.choice(("BUY", "BUY", "SELL")), symbol=symbol)
        put_ended(tmp_path / str(number), desk, began)
        opening = opening_behind(tmp_path / str(number), desk.ts, has_week=True)

        assert desk.events("fills")
        for name in ("day_loss", "week_loss"):
            left = parse_amount(desk.risk.facts()["headroom"][name])
            used = parse_amount(opening.budgets_used[name])
            assert max(0, used) == 100_000 * UNIT - left, name

        began = desk.ts
        desk = Desk(profile, first=opening, ts=began)


@pytest.mark.row("B-09")
def test_week_is_told_by_all_runs_behind_one_with_a_limit_of_it(tmp_path: Path) -> None:
    """A run whose profile has no limit of the week hands on what the week has used."""
    limited = config(risk__week_loss_soft="50", risk__week_loss_hard="100")
    desk = bought(limited)
    desk.tick("91", "91")
    put_ended(tmp_path / "0", desk)
    first = opening_behind(tmp_path / "0", START + 60_000, has_week=True)
    put_ended(tmp_path / "1", Desk(config(), first=first))
    second = opening_behind(tmp_path / "1", START + 60_000, has_week=False)

    assert first.budgets_used["week_loss"] == "90.00000000"
    assert second.budgets_used["week_loss"] == "90.00000000"
    assert second.budgets_used["week_notional"] == first.budgets_used["week_notional"]


def test_few_lines_of_a_long_run_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prices of held coins are decoded, one in each part, and the ends of the part."""
    desk = bought(config())
    for number in range(3000):
        desk.tick("50", "51", symbol=f"X{number % 40}USDT", after_ms=1)
    put_ended(tmp_path, desk)
    decoded: list[str] = []
    decode = Codec.decode

    def counted(codec: Codec, queue: str, json: bytes) -> Event:
        decoded.append(queue)
        return decode(codec, queue, json)

    monkeypatch.setattr(Codec, "decode", counted)
    opening_behind(tmp_path, START + 60_000)

    assert desk.events("fills")
    assert decoded.count(TICKS) < 20
