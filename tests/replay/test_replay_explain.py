"""Explain: from a fill back to the tick, every cited line from the queues."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from minibot.engine.lookup import event_at, events_with_ids
from minibot.engine.role_replay import Recorded
from minibot.events.model import Event, Fill
from minibot.kernel.errors import Refusal
from minibot.replay.explain.causes import Explainer
from minibot.replay.explain.checks import departure_words
from minibot.replay.explain.explanation import Explanation, explanation_lines
from minibot.replay.explain.lines import notes_of
from minibot.replay.explain.trips import TradeStory, trips_of
from minibot.report.figures import short_duration
from minibot.report.headline import headline
from tests.replay.damaged import copy_of, unmerge
from tests.runs import ShortRun, raw_events, verb

PLACE = re.compile(r"^([a-z_]+):([0-9]+)  \d\d:\d\d:\d\d\.\d{3}(?: UTC)?  [a-z_]+$", re.MULTILINE)


@pytest.fixture(scope="module")
def explainer(short_run: ShortRun) -> Explainer:
    """Explainer of the short run."""
    return Explainer(Recorded.open(short_run.run_dir))


def types(explanation: Explanation) -> list[str]:
    """Return the kinds of events that an explanation passes."""
    return [step.event.type for step in explanation.steps]


def all_fills(short_run: ShortRun) -> list[dict[str, Any]]:
    """Return every fill of the short run."""
    return raw_events(short_run.run_dir, "fills")


def test_every_fill_is_explained_back_to_the_tick_with_every_reason_on_the_way(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """A fill goes back through results, intent, action and signal to the market data."""
    for fill in all_fills(short_run):
        explanation = explainer.fill(fill["id"])

        found = types(explanation)
        assert found[0] == "fill"
        assert {"order_result", "order_intent", "risk_action"} <= set(found)
        assert found[-1] in ("market_tick", "bar")
        assert explanation.missing == []
        entry = explanation.steps[0].event.payload.to_json()["side"] == "BUY"
        assert ("signal" in found) or not entry
        # An effect precedes its cause, because the explanation reads backwards. On a slow machine
        # an exit may have cancelled what its entry still bought, and so follow from more.
        order = ["fill", "order_intent", "risk_action"]
        assert [kind for kind in dict.fromkeys(found) if kind in order] == order


def test_every_cited_place_holds_exactly_what_is_said_of_it(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """Each cited line of each cited file holds the cited event."""
    explanation = explainer.last_fill()
    cited = PLACE.findall("\n".join(explanation_lines(explanation)))

    assert len(cited) == len(explanation.steps) >= 6
    for (queue, seq), step in zip(cited, explanation.steps, strict=True):
        standing = raw_events(short_run.run_dir, queue)[int(seq) - 1]
        assert standing == step.event.to_json()


def test_cause_that_several_fills_of_a_trade_miss_is_named_once(
    explainer: Explainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the action of an order that was filled in parts."""
    monkeypatch.setattr(
        Explainer, "_order_of", lambda *_: Explanation("fill", missing=["lost", "gone"])
    )

    assert explainer.trade("1").missing == ["lost", "gone"]


def test_values_stand_against_their_thresholds(explainer: Explainer) -> None:
    """Each check shows value, threshold and verdict."""
    explanation = explainer.last_fill()
    for step in explanation.steps:
        checks = step.event.payload.to_json().get("checks") or []
        for check in checks:
            if words := departure_words(check):
                assert words in step.notes
                continue
            line = next(note for note in step.notes if f" {check['name']} " in note)
            assert check["value"] in line
            assert line.endswith(f"against {check['threshold']}"[-len(line) :])
            assert line.startswith("ok" if check["passed"] else "FAIL")
    assert any(step.event.payload.to_json().get("checks") for step in explanation.steps)


def test_ids_may_be_abbreviated_but_not_guessed(short_run: ShortRun, explainer: Explainer) -> None:
    """An id may be abbreviated to four unique characters; unknown and shorter ones are refused."""
    fill = all_fills(short_run)[0]

    assert explainer.fill(fill["id"][:8]).subject == f"fill {fill['id']}"
    for wrong in ("zzzzzzzz", fill["id"][:3], ""):
        with pytest.raises(Refusal):
            explainer.fill(wrong)


def test_order_is_found_by_any_of_its_ids(short_run: ShortRun, explainer: Explainer) -> None:
    """An order is found by its own id, the client's, and the intent's."""
    # On a busy machine the first order may have been too late for a fill.
    client_id = raw_events(short_run.run_dir, "fills")[0]["payload"]["client_order_id"]
    intent = next(
        event
        for event in raw_events(short_run.run_dir, "order_intents")
        if event["payload"]["client_order_id"] == client_id
    )
    result = next(
        event
        for event in raw_events(short_run.run_dir, "order_results")
        if event["payload"]["client_order_id"] == client_id
    )

    stories = [
        [step.place for step in explainer.order(order_id).steps]
        for order_id in (intent["id"], client_id, result["payload"]["order_id"])
    ]

    assert stories[0] == stories[1] == stories[2]
    assert {"fill", "order_result", "order_intent"} <= set(types(explainer.order(client_id)))


def test_signal_that_was_traded_shows_what_came_of_it(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """A traded signal leads forward to its fill."""
    bought_by = all_fills(short_run)[0]["payload"]["client_order_id"]
    causes = next(
        event["payload"]["cause_ids"]
        for event in raw_events(short_run.run_dir, "order_intents")
        if event["payload"]["client_order_id"] == bought_by
    )
    bought = next(
        event for event in raw_events(short_run.run_dir, "risk_actions") if event["id"] in causes
    )

    explanation = explainer.signal(bought["payload"]["signal_id"])

    found = types(explanation)
    assert "order_result" in found
    order = ["fill", "order_intent", "risk_action", "signal"]
    assert [kind for kind in found if kind in order] == order


def test_hold_says_that_nothing_came_of_it_and_why(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """A hold shows its reason, and that risk has no event for it."""
    hold = next(
        event
        for event in raw_events(short_run.run_dir, "signals")
        if event["payload"]["side"] == "HOLD"
    )

    explanation = explainer.signal(hold["id"])

    assert hold["payload"]["reason_code"] in "".join(notes_of(explanation.steps[0].event))
    assert any("HOLD asks for nothing" in note for note in explanation.notes)


def test_planned_end_is_explained_by_its_announcement(explainer: Explainer) -> None:
    """A planned end is explained by its announcement."""
    explanation = explainer.stop()

    assert explanation.subject.startswith("END ")
    assert "stop_journal" in types(explanation)
    assert "run_ending" in types(explanation)


def test_planned_end_that_leaves_a_position_names_it(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """A planned end with `at_end: carry` names the position that it leaves."""
    (end,) = Recorded.open(short_run.run_dir).events("stop_journal")
    held = {"symbol": "BTCUSDT", "qty": "0.00815000", "entry_price_avg": "61305.69000000"}
    left = {"symbol": "ETHUSDT", "qty": "1", "leaving": "operator_exit"}
    payload = replace(end[1].payload, open_positions=(held, left))

    said = explainer._planned_end([("stop_journal", 1, replace(end[1], payload=payload))])

    named = "0.00815000 BTCUSDT, 1 ETHUSDT (to be left: operator_exit)"
    assert f"still open at its end: {named}" in said.notes
    assert not any("nothing had to be closed" in note for note in said.notes)


def test_stop_names_what_is_still_held(stopped_run: ShortRun) -> None:
    """The answer about a STOP names what it left open, as after a planned end."""
    recorded = Recorded.open(stopped_run.run_dir)
    (bought,) = (event.payload.to_json() for _, event in recorded.events("fills"))

    notes = Explainer(recorded).stop().notes

    held = f"{bought['qty'].rstrip('0')} {bought['symbol']}"
    assert f"a STOP closes nothing; still held: {held}" in notes


def test_lookup_by_number_and_by_id_agree_with_the_file(short_run: ShortRun) -> None:
    """Lookup by number and by id agree with the file, at both ends; unknown ids are not found."""
    recorded = Recorded.open(short_run.run_dir)
    ticks = raw_events(short_run.run_dir, "market_ticks")
    for seq in (1, 2, len(ticks) // 2, len(ticks)):
        event = event_at(recorded, "market_ticks", seq)
        assert event is not None
        assert event.to_json() == ticks[seq - 1]
    assert event_at(recorded, "market_ticks", len(ticks) + 1) is None
    wanted = {ticks[0]["id"], ticks[-1]["id"], "00000000-0000-4000-8000-000000000000"}

    found = dict(events_with_ids(recorded, "market_ticks", wanted))

    assert sorted(found) == [1, len(ticks)]


def test_explain_verb_takes_the_last_trade_by_itself(
    short_run: ShortRun, explainer: Explainer
) -> None:
    """Explain without a question explains the last trade, from its entry to its exit."""
    last = all_fills(short_run)[-1]["id"]
    trade = next(t for t in explainer.fill(last).trades)

    done = verb(short_run.var, "explain")

    assert done.code == 0
    assert done.out == verb(short_run.var, "explain", "--trade", str(trade.n)).out
    assert done.out.splitlines()[0].startswith(f"Trade {trade.n}: bought ")
    assert [kind for kind in done.out.split() if kind in ("BUY", "SELL")][-1] == "SELL"


def test_explain_last_takes_the_last_fill(short_run: ShortRun) -> None:
    """The last fill is explained by --last; --json has the same places."""
    last = all_fills(short_run)[-1]

    done = verb(short_run.var, "explain", "--last", "--full")
    document = verb(short_run.var, "explain", "--fill", last["id"][:12], "--json").document

    assert done.code == 0
    assert done.out.splitlines()[0].startswith("Trade ")
    assert done.out.splitlines()[1] == f"fill {last['id']}"
    assert [step["place"] for step in document["steps"]] == [
        f"{queue}:{seq}" for queue, seq in PLACE.findall(done.out)
    ]


@pytest.mark.parametrize(
    "question", [("--fill", "nope"), ("--order", "nope"), ("--at", "25:00"), ("--trade", "99")]
)
def test_explain_verb_refuses_what_it_cannot_find_with_a_remedy(
    question: tuple[str, ...], short_run: ShortRun
) -> None:
    """Explain refuses an unknown question with one line, a remedy and exit 2."""
    done = verb(short_run.var, "explain", *question)

    assert done.code == 2
    assert done.err.startswith("refused: ")
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


@pytest.mark.parametrize("flag", ["--fill", "--order", "--signal", "--trade", "--lot", "--at"])
def test_question_about_nothing_is_refused(flag: str, short_run: ShortRun) -> None:
    """`--fill` with an empty id is refused, not answered by the last fill."""
    done = verb(short_run.var, "explain", "latest", flag, "")

    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("refused: ''")


def test_number_beyond_all_trades_is_refused(short_run: ShortRun) -> None:
    """A trade number beyond the last, or absurdly long, is refused."""
    done = verb(short_run.var, "explain", "latest", "--trade", "9" * 5000)

    assert done.code == 2
    assert "is not a trade of this run" in done.err


def test_every_time_of_an_explanation_is_of_the_zone_that_was_asked_for(
    stopped_run: ShortRun,
) -> None:
    """Also in the sentence about what execution did last."""
    done = verb(stopped_run.var, "explain", "latest", "--stop", "--full", "--zone", "Europe/Berlin")

    clocks = re.findall(r"\d\d:\d\d:\d\d\.\d{3}.*", done.out)
    assert any("its last event" in line for line in done.out.splitlines())
    assert clocks
    assert all("Europe/Berlin" in clock for clock in clocks)


def test_time_within_an_event_names_its_zone_beside_those_of_another(short_run: ShortRun) -> None:
    """The content of an event stays in UTC, so that a reader in Berlin needs the zone's name."""
    done = verb(short_run.var, "explain", "latest", "--stop", "--full", "--zone", "Europe/Berlin")

    clocks = re.findall(r"\d\d:\d\d:\d\d\.\d{3}(.*)", done.out)
    assert any("the run ends at" in line for line in done.out.splitlines())
    assert [rest for rest in clocks if not rest.startswith((" UTC", " Europe/Berlin"))] == []


def test_stop_that_no_launcher_has_merged_is_told(stopped_run: ShortRun, tmp_path: Path) -> None:
    """A STOP counts from its own part on: a killed launcher merges nothing until the next start."""
    copied = copy_of(stopped_run, tmp_path)
    (copied / "seal.json").unlink()
    for queue in ("stop_journal", "incidents"):
        unmerge(copied, queue)

    done = verb(tmp_path, "explain", str(copied), "--stop", "--json")
    whole = verb(tmp_path, "explain", str(stopped_run.run_dir), "--stop", "--json")

    assert done.code == 0, done.err
    assert done.document["subject"] == whole.document["subject"] == "STOP RISK_LIMIT"
    ids = [{step["event"]["id"] for step in each.document["steps"]} for each in (done, whole)]
    assert ids[0] == ids[1]
    assert done.document["steps"][0]["place"].startswith("stop_journal/parts/")


@pytest.mark.parametrize("asked", [("--at", "18:00:10"), ("--why-not", "BUY")])
def test_full_beside_an_answer_of_one_form_is_refused(
    short_run: ShortRun, asked: tuple[str, ...]
) -> None:
    """The same answer with and without `--full` reads as if nothing else were on record."""
    done = verb(short_run.var, "explain", *asked, "--full")

    assert done.code == 2
    assert "--full goes with" in done.err


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ("fills", ("--last",)),
        ("fills", ("--trade", "1")),
        ("fills", ("--fill", "zzzz")),
        ("signals", ("--why-not", "BUY")),
        ("risk_actions", ()),
        ("order_results", ("--at", "18:00:10")),
    ],
)
def test_sealed_queue_whose_head_is_gone_is_damaged_and_not_empty(
    queue: str, words: tuple[str, ...], short_run: ShortRun, tmp_path: Path
) -> None:
    """Such a queue reads as if it had no line: no answer may say that there was none."""
    copied = copy_of(short_run, tmp_path)
    head = copied / "queues" / queue / "inbox.head"
    head.unlink()

    done = verb(tmp_path, "explain", str(copied), *words)

    assert (done.code, done.out) == (1, "")
    assert f"QUEUE_TRUNCATED: {head}, offset 0: the lines end before the sealed ones" in done.err
    assert f"minibot verify {copied}" in done.err


def test_end_of_a_run_whose_risk_lost_its_head_is_told_with_the_damage(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The end itself is whole; what may be missing of the other queue is said."""
    copied = copy_of(short_run, tmp_path)
    (copied / "queues/order_intents/inbox.head").unlink()

    notes = verb(tmp_path, "explain", str(copied), "--stop", "--json").document["notes"]

    assert notes == [
        "order_intents is damaged (inbox.head): later events that follow from this may be missing"
    ]


def test_second_after_a_stop_says_that_no_order_passes(stopped_run: ShortRun) -> None:
    """A STOP is why nothing was bought then, whatever the strategy said."""
    (stop, *_) = (event["ts"] for event in raw_events(stopped_run.run_dir, "stop_journal"))

    def notes(ts: int) -> list[str]:
        clock = f"{datetime.fromtimestamp(ts / 1000, UTC):%H:%M:%S}.{ts % 1000:03d}"
        done = verb(stopped_run.var, "explain", "latest", "--at", clock, "--json")
        return list(done.document["notes"])

    assert notes(stop - 1) == []
    assert "STOPPED since " in notes(stop)[0]
    assert "no order passes: RISK_LIMIT by risk_role: " in notes(stop)[0]


def test_trade_begins_with_its_whole_story_in_one_sentence(short_run: ShortRun) -> None:
    """Bought how much, at what and why; left why, when and at what; what remained of it."""
    document = verb(short_run.var, "explain", "--trade", "1", "--json").document
    fills = [step["event"] for step in document["steps"] if step["event"]["type"] == "fill"]
    sold, bought = fills[0], fills[-1]
    pnl = sum(
        (1 if fill["payload"]["side"] == "SELL" else -1)
        * Decimal(fill["payload"]["qty"])
        * Decimal(fill["payload"]["price"])
        - Decimal(fill["payload"]["fee"])
        for fill in fills
    )
    signal = next(
        step["event"]["payload"]
        for step in document["steps"]
        if step["event"]["type"] == "signal" and step["event"]["payload"]["side"] == "BUY"
    )

    lines = verb(short_run.var, "explain", "--trade", "1").out.splitlines()

    why = signal["reason"].removeprefix("BUY: ").partition("; ")[0]
    assert re.match(r"Trade 1: bought [0-9.]+ BTCUSDT at [0-9,.]+ because ", lines[0])
    assert f" because {why}; " in lines[0]
    assert f" {short_duration(sold['ts'] - bought['ts'])} later at " in lines[0]
    assert lines[0].endswith(f"; net {pnl:+,.2f} USDT")
    output = [line.split()[2] for line in lines[1:-1]]
    assert output[:2] == ["signal", "risk_action"]
    assert output[-1] == "fill"
    assert not {"order_intent", "order_result", "market_tick"} & set(output)
    assert lines[-1] == "Every check, order and price behind it: add --full."


@pytest.mark.parametrize(
    ("why_sold", "words"),
    [
        ("stop hit: bid 99.00 <= 99.50", "stop hit 1.8 s later at 99.00"),
        ("time is up: held 1.800 s >= 1.800 s", "time is up 1.8 s later at 99.00"),
        ("SELL: rsi 81.0 >= 70; score 65", "sold 1.8 s later at 99.00 because rsi 81.0 >= 70"),
        ("", "sold 1.8 s later at 99.00"),
    ],
)
def test_headline_says_why_a_trade_was_left(why_sold: str, words: str) -> None:
    """An exit of risk is named by what was hit, one of the strategy by its reason."""
    assert headline(dataclasses.replace(STORY, why_sold=why_sold)).split("; ")[1] == words


def test_headline_of_a_trade_that_is_open_or_carried_in_says_so() -> None:
    """An open trade has no net result, and a carried position has no reason."""
    unsold = dataclasses.replace(STORY, closed_ts=None, net=None, sold_qty=None, exit_price=None)
    half = dataclasses.replace(unsold, sold_qty="1.00000000")
    carried = dataclasses.replace(
        STORY, is_carried=True, bought_qty=None, entry_price=None, why_bought=""
    )

    assert headline(unsold) == "Trade 3: bought 2 COIN at 100.00 because rsi 14.2 <= 30; still open"
    assert headline(half).endswith("; 1 of it sold, still open")
    assert headline(carried).startswith("Trade 3: COIN, carried in from the run before; stop hit ")


def test_headline_names_the_campaign_of_a_trade() -> None:
    """A trade of a campaign ends with its id, in words and in JSON; others have none."""
    named = dataclasses.replace(STORY, campaign_id="c" * 8)

    assert headline(named).endswith("; campaign cccccccc")
    assert named.to_json()["campaign_id"] == "c" * 8
    assert "campaign" not in headline(STORY)
    assert "campaign_id" not in STORY.to_json()


def test_trades_go_from_flat_to_flat_and_their_lots_have_their_numbers() -> None:
    """Two purchases and two sales are one trade with two lots; symbols do not mix."""
    sides = [("A", "BUY"), ("A", "BUY"), ("B", "BUY"), ("A", "SELL"), ("A", "SELL"), ("A", "BUY")]
    held = {"A": (0, 1, 2, 2, 1, 0, 1), "B": (0, 0, 0, 1, 1, 1, 1)}
    fills = [cast(Event, SimpleNamespace(payload=fill(*side))) for side in sides]

    trips = trips_of(fills, lambda n, symbol: held[symbol][n])

    assert [(trip.n, trip.symbol, trip.fills, trip.is_closed) for trip in trips] == [
        (1, "A", [1, 2, 4, 5], True),
        (2, "B", [3], False),
        (3, "A", [6], False),
    ]
    assert [trips[0].lot_name(n) for n in trips[0].lots] == ["1.1", "1.2"]
    assert [trip.lot_name(trip.lots[0]) for trip in trips[1:]] == ["2", "3"]


def fill(symbol: str, side: str) -> Fill:
    """A fill of one coin."""
    return Fill(
        order_id="00000000-0000-4000-8000-000000000000",
        client_order_id="00000000-0000-4000-8000-000000000000",
        symbol=symbol,
        side=side,
        qty="1",
        price="100",
        fee="0",
        fee_asset="USDT",
        liquidity="TAKER",
    )


STORY = TradeStory(
    n=3,
    symbol="COIN",
    quote_asset="USDT",
    is_carried=False,
    bought_qty="2.00000000",
    entry_price="100.00000000",
    why_bought="BUY: rsi 14.2 <= 30; score 65, confidence 82",
    opened_ts=1_000,
    sold_qty="2.00000000",
    exit_price="99.00000000",
    why_sold="stop hit: bid 99.00 <= 99.50",
    closed_ts=2_800,
    fees="0.40000000",
    net="-2.40000000",
)


def test_lots_that_are_not_listed_are_counted(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that ends without a word would say that there are no more."""
    monkeypatch.setattr("minibot.replay.explain.trace.LOTS_SHOWN", 1)
    bought = [n for n, fill in enumerate(all_fills(short_run), 1) if is_purchase(fill)]

    done = verb(short_run.var, "explain", "latest", "--lot", "0")

    assert done.code == 2
    assert f"Its lots: 1 and {len(bought) - 1} more." in done.err


def is_purchase(fill: dict[str, Any]) -> bool:
    """Return whether a fill opened a lot."""
    return bool(fill["payload"]["side"] == "BUY")
