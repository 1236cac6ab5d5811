"""Explain: from a fill back to the tick, every cited line from the queues."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.engine.lookup import event_at, events_with_ids
from minibot.engine.role_replay import Recorded
from minibot.kernel.errors import Refusal
from minibot.replay.explain.causes import Explainer
from minibot.replay.explain.checks import departure_words
from minibot.replay.explain.explanation import Explanation, explanation_lines
from minibot.replay.explain.lines import notes_of
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
        # An effect precedes its cause, because the explanation reads backwards.
        order = ["fill", "order_intent", "risk_action"]
        assert [kind for kind in found if kind in order] == order


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
    intent = raw_events(short_run.run_dir, "order_intents")[0]
    client_id = intent["payload"]["client_order_id"]
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
    bought = next(
        event
        for event in raw_events(short_run.run_dir, "risk_actions")
        if event["payload"]["action"] == "ALLOW"
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
    payload = replace(end[1].payload, open_positions=(held,))

    said = explainer._planned_end([("stop_journal", 1, replace(end[1], payload=payload))])

    assert "still open at its end: 0.00815000 BTCUSDT" in said.notes
    assert not any("nothing had to be closed" in note for note in said.notes)


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


def test_explain_verb_takes_the_last_fill_by_itself(short_run: ShortRun) -> None:
    """Explain without a question explains the last fill; --json has the same places."""
    last = all_fills(short_run)[-1]

    said = verb(short_run.var, "explain")
    document = verb(short_run.var, "explain", "--fill", last["id"][:12], "--json").document

    assert said.code == 0
    assert said.out.splitlines()[0] == f"fill {last['id']}"
    assert [step["place"] for step in document["steps"]] == [
        f"{queue}:{seq}" for queue, seq in PLACE.findall(said.out)
    ]


@pytest.mark.parametrize(
    "question", [("--fill", "nope"), ("--order", "nope"), ("--at", "25:00"), ("--trade", "99")]
)
def test_explain_verb_refuses_what_it_cannot_find_with_a_remedy(
    question: tuple[str, ...], short_run: ShortRun
) -> None:
    """Explain refuses an unknown question with one line, a remedy and exit 2."""
    said = verb(short_run.var, "explain", *question)

    assert said.code == 2
    assert said.err.startswith("refused: ")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("flag", ["--fill", "--order", "--signal", "--trade", "--lot", "--at"])
def test_question_about_nothing_is_refused(flag: str, short_run: ShortRun) -> None:
    """`--fill` with an empty id is refused, not answered by the last fill."""
    said = verb(short_run.var, "explain", "latest", flag, "")

    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("refused: ''")


def test_number_beyond_all_trades_is_refused(short_run: ShortRun) -> None:
    """A trade number beyond the last, or absurdly long, is refused."""
    said = verb(short_run.var, "explain", "latest", "--trade", "9" * 5000)

    assert said.code == 2
    assert "is no trade of this run" in said.err


def test_every_time_of_an_explanation_is_of_the_zone_that_was_asked_for(
    stopped_run: ShortRun,
) -> None:
    """Every time is in the requested zone, also in the sentence about execution's last act."""
    said = verb(stopped_run.var, "explain", "latest", "--stop", "--zone", "Europe/Berlin")

    clocks = re.findall(r"\d\d:\d\d:\d\d\.\d{3}.*", said.out)
    assert any("its last event" in line for line in said.out.splitlines())
    assert clocks
    assert all("Europe/Berlin" in clock for clock in clocks)


def test_lots_that_are_not_listed_are_counted(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lots beyond the listed ones are counted."""
    monkeypatch.setattr("minibot.replay.explain.trace.LOTS_SHOWN", 2)
    bought = [n for n, fill in enumerate(all_fills(short_run), 1) if is_purchase(fill)]

    said = verb(short_run.var, "explain", "latest", "--lot", "0")

    assert said.code == 2
    assert f"Its lots: {bought[0]}, {bought[1]} and {len(bought) - 2} more." in said.err


def is_purchase(fill: dict[str, Any]) -> bool:
    """Return whether a fill opened a lot."""
    return bool(fill["payload"]["side"] == "BUY")
