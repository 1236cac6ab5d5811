"""Event classes as contracts: the schemas made from them, and mistakes planted in them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minibot.events import class_schemas, field_types, model, schemas
from minibot.events.fast_codec import _are_ids
from minibot.events.field_types import ID
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.reference_pages import CONTRACTS_BEGIN
from minibot.events.registry import Contracts
from minibot.events.skeletons import skeleton

PROJECT = Path(__file__).resolve().parents[2]
CONTRACTS = Contracts.of_project()
FIXTURES = PROJECT / "tests" / "fixtures" / "contracts"

# By hand: values one step beyond a field's bounds, beside the recorded examples.
REFUSED: list[tuple[str, JsonObject]] = [
    ("market_tick", {"recv_mono_ns": 2**63}),
    ("market_tick", {"recv_mono_ns": -1}),
    ("market_tick", {"symbol": "BTC-USDT"}),
    ("market_tick", {"price": "1" * 21}),
    ("market_tick", {"price": "-1"}),
    ("market_tick", {"taker_side": "HOLD"}),
    ("bar", {"interval": "0m"}),
    ("bar", {"interval": "10000m"}),
    ("bar", {"interval": "1y"}),
    ("book", {"bids": [["1", "2", "3"]]}),
    ("book", {"bid_depth": "-1"}),
    ("book", {"venue": ""}),
    ("beat", {"n": 0}),
    ("instrument", {"status": "trading"}),
    ("instrument", {"filters_unknown": []}),
    ("universe", {"traded": ["BTCUSDT", "BTCUSDT"]}),
    ("universe", {"generation": 0}),
    ("price_mark", {"price": "0.00"}),
    ("feed_value", {"value": "1e5"}),
    ("feed_value", {"value": 12}),
    ("feed_value", {"value_ts": -1}),
    ("feed_value", {"feed": ""}),
    ("signal", {"score": 111}),
    ("signal", {"score": -1}),
    ("signal", {"confidence": 101}),
    ("signal", {"reason": ""}),
    ("signal", {"reason_code": "QUEUE_CORRUPT"}),
    ("risk_action", {"reason_code": "QUEUE_CORRUPT"}),
    ("risk_action", {"action": "STOP"}),
    ("order_replace", {"replaces": "x"}),
    ("order_replace", {"order_type": "TRAILING"}),
    ("order_replace", {"stop_price": "1e3"}),
    ("order_cancel", {"client_order_id": ""}),
    ("risk_state", {"state": "STOPPED"}),
    ("risk_state", {"tier": 17}),
    ("risk_state", {"drawdown_bps": "-1"}),
    ("risk_state", {"locks": [{"scope": "*", "reason_code": "max_drawdown"}]}),
    ("risk_state", {"memory": {"trips": []}}),
    ("regime", {"name": "calm"}),
    ("regime", {"momentum": -1}),
    ("regime", {"volatility": "-1"}),
    ("scan", {"ranked": [{"symbol": "BTCUSDT", "score": "1"}]}),
    ("scan", {"ranked": [{"symbol": "BTCUSDT", "score": "1", "passes": "yes"}]}),
    ("scan", {"interval": ""}),
    ("position_plan", {"qty": "-1"}),
    ("position_plan", {"stop": "0"}),
    ("position_plan", {"moved": [""]}),
    ("position_plan", {"rungs": ["1", "2", "3"]}),
    ("position_plan", {"campaign": {"entries": 1}}),
    ("position_plan", {"leaving": ""}),
    ("position_plan", {"has_thesis": "yes"}),
    ("recovery_intent", {"choice": "wait"}),
    ("recovery_intent", {"bid": "0"}),
    ("recovery_intent", {"row": -1}),
    ("run_opening", {"plans": [{"symbol": "BTCUSDT", "qty": "1"}]}),
    ("run_opening", {"account": {"high_water_mark": "10000"}}),
    ("run_opening", {"from_run": "20240808-235413"}),
    ("run_opening", {"lots": [{"symbol": "BTCUSDT", "qty": "1", "price": "1"}]}),
    ("stop_journal", {"kind": "END"}),
    ("stop_journal", {"kind": "CLEAR"}),
    ("signal", {"notional": "-1"}),
    ("signal", {"share_bps": 0}),
    ("signal", {"share_bps": 10_001}),
    ("signal", {"stop_price": "0"}),
    ("signal", {"target_price": "-1"}),
    ("signal", {"side": "MOVE"}),
    ("signal", {"trail_distance": "0"}),
    ("signal", {"limit_price": "0"}),
    ("signal", {"limit_price": "NaN"}),
    ("signal", {"qty": "-1"}),
    ("signal", {"trail_bps": "-1"}),
    ("signal", {"trail_atr": "nan"}),
    ("position_plan", {"stop_signal": "0"}),
    ("position_plan", {"trail_signal": "0"}),
    ("position_plan", {"trail_signal_bps": "-1"}),
    ("position_plan", {"peak_signal": "0"}),
    ("position_plan", {"target_signal": "0"}),
    ("stop_journal", {"kind": "REFUSED"}),
    ("stop_journal", {"reason_code": "DURATION_REACHED"}),
    ("recommendation", {"p_buy": "1.000001"}),
    ("recommendation", {"p_buy": "0.5"}),
    ("ack", {"from_seq": 0}),
    ("dead_letter", {"line_sha256": "A" * 64}),
    ("dead_letter", {"line": "x" * 65537}),
]

# Mistakes in a copy of the classes: name, source, old text, new text, event type.
PLANTED = [
    ("bound", model, "Meta(ge=0, le=110)", "Meta(ge=0, le=1100)", "signal"),
    ("bound", model, "Meta(ge=0, le=110)", "Meta(ge=0, le=50)", "signal"),
    ("bound", field_types, "Meta(ge=1, le=WHOLE_MAX)", "Meta(ge=0, le=WHOLE_MAX)", "beat"),
    ("length", model, "Meta(min_length=1, max_length=16)", "Meta(max_length=16)", "instrument"),
    ("pattern", model, "^[1-9][0-9]{0,3}[smhdwM]$", "^[0-9]{1,4}[smhdwM]$", "bar"),
    ("pattern", model, "^[1-9][0-9]{0,3}[smhdwM]$", "^[1-9][0-9]{0,3}[shdwM]$", "bar"),
    ("pattern", field_types, "^[A-Z0-9]{2,20}$", "^[A-Z0-9-]{2,20}$", "market_tick"),
    ("list", model, "one_of(BUY, SELL, HOLD, ADJUST)", "one_of(SELL, HOLD, ADJUST)", "signal"),
    (
        "required field",
        model,
        "    symbol: Market\n    taker_side",
        "    symbol: Market | None = None\n    taker_side",
        "market_tick",
    ),
    ("condition", model, '{"action": only("STOP")}', '{"action": only("ALLOW")}', "risk_action"),
    (
        "condition",
        model,
        '"else": {"properties": {"reason_code": Codes(BUSINESS_GROUP)}}',
        '"else": {}',
        "risk_action",
    ),
    ("condition", model, '"STOP": Codes(STOP_GROUP)', '"STOP": Codes(END_GROUP)', "stop_journal"),
]


def fixture_of(type_: str) -> Any:
    return json.loads((FIXTURES / f"{type_}.json").read_text(encoding="utf-8"))


def misjudged(contracts: Contracts, type_: str) -> list[str]:
    """Return the hand-made examples of a type that a contract judges wrongly."""
    page = fixture_of(type_)
    valid = page["valid"]
    changed = [{**valid["payload"], **change} for name, change in REFUSED if name == type_]
    wrong = [case["event"] for case in page["invalid"]]
    wrong += [{**valid, "payload": payload} for payload in changed]
    taken = [json.dumps(event["payload"]) for event in wrong if contracts.validate(event)]
    return taken if contracts.validate(valid) else ["valid", *taken]


@pytest.mark.row("N-26", "N-42")
@pytest.mark.parametrize("type_", PAYLOAD_CLASSES)
def test_contract_takes_the_recorded_example_and_refuses_a_step_beyond(type_: str) -> None:
    """Each example, and each value a step beyond, is judged right by the compiled schema."""
    assert misjudged(CONTRACTS, type_) == []


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Maker of contracts over a copy of the classes with one text changed."""
    source, old, new = request.param
    sources = (field_types, model, class_schemas)
    copies = {
        module.__name__: f"planted_{module.__name__.rpartition('.')[2]}" for module in sources
    }
    for module in sources:
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        if module is source:
            assert text.count(old) == 1
            text = text.replace(old, new)
        for name, copy in copies.items():
            text = text.replace(f"from {name} import", f"from {copy} import")
        made = sys.modules[copies[module.__name__]] = ModuleType(copies[module.__name__])
        exec(compile(text, made.__name__, "exec"), made.__dict__)
    yield sys.modules[copies[class_schemas.__name__]]
    for copy in copies.values():
        del sys.modules[copy]


@pytest.mark.row("N-26", "N-116")
@pytest.mark.parametrize(
    ("planted", "type_"),
    [
        pytest.param(row[1:4], row[4], id=f"{row[0]}-{row[4]}-{number}")
        for number, row in enumerate(PLANTED)
    ],
    indirect=["planted"],
)
def test_mistake_planted_in_a_class_is_found(planted: ModuleType, type_: str) -> None:
    """A planted mistake changes the schema and misjudges a hand-made example."""
    cls = sys.modules["planted_model"].__dict__["PAYLOAD_CLASSES"][type_]
    schema = planted.payload_schema(cls)
    committed = json.loads((PROJECT / "contracts" / f"{type_}.v1.schema.json").read_bytes())

    assert schema != committed
    assert misjudged(Contracts(CONTRACTS.envelope, {type_: schema}), type_) != []


@pytest.mark.parametrize("planted", [(model, "(ge=0, le=110)", "(ge=0, le=110)")], indirect=True)
def test_copy_without_a_mistake_is_the_committed_contract(planted: ModuleType) -> None:
    """An unchanged copy makes the committed contract and misjudges no example."""
    for type_, cls in sys.modules["planted_model"].__dict__["PAYLOAD_CLASSES"].items():
        assert planted.payload_schema(cls) == CONTRACTS.payloads[type_]


@pytest.mark.slow
@pytest.mark.row("N-116")
def test_check_finds_each_generated_file_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` names each changed file: a schema, the pins, the page of contracts or reasons."""
    for folder in ("contracts", "config", "docs"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    monkeypatch.setattr(schemas, "PROJECT", tmp_path)
    paths = [*schemas.generated()]
    assert schemas.main(["--check"]) == 0

    for path in paths:
        before = path.read_bytes()
        begin = CONTRACTS_BEGIN.encode()
        path.write_bytes(before.replace(begin, begin + b" ") if begin in before else before + b" ")
        assert schemas.main(["--check"]) == 1
        assert capsys.readouterr().out == f"stale: {path.relative_to(tmp_path).as_posix()}\n"
        path.write_bytes(before)


@pytest.mark.row("N-116")
@pytest.mark.parametrize("type_", PAYLOAD_CLASSES)
def test_skeleton_of_examples_is_judged_as_it_says(type_: str) -> None:
    """A skeleton's least payload is accepted, and each of its mistakes refused, by validators."""
    made = skeleton(PAYLOAD_CLASSES[type_])
    valid = fixture_of(type_)["valid"]

    assert made["valid"].keys() == set(CONTRACTS.payloads[type_]["required"])
    assert CONTRACTS.explain({**valid, "payload": made["valid"]}) == []
    assert CONTRACTS.validate({**valid, "payload": made["valid"]})
    assert len(made["invalid"]) >= 2 * len(made["valid"])
    for case in made["invalid"]:
        event = {**valid, "payload": case["payload"]}
        assert not CONTRACTS.validate(event), case["why"]
        assert CONTRACTS.explain(event), case["why"]


def test_skeleton_is_printed_for_a_type(capsys: pytest.CaptureFixture[str]) -> None:
    """A skeleton is printed for a type, as a start for its examples."""
    assert schemas.main(["--skeleton", "halt"]) == 0

    assert json.loads(capsys.readouterr().out)["valid"] == {"who": "x", "why": "x"}


@pytest.mark.parametrize("type_", PAYLOAD_CLASSES)
def test_class_names_each_field_of_its_contract_once(type_: str) -> None:
    """A contract's own order of fields names fields of the class, each once."""
    cls = PAYLOAD_CLASSES[type_]

    assert len(set(cls.NAMED_LAST)) == len(cls.NAMED_LAST)
    assert set(cls.NAMED_LAST) <= set(cls.__struct_fields__)


def test_ids_of_the_quick_codec_are_those_of_the_contract() -> None:
    """The quick codec's byte test of ids agrees with the contract's pattern on every change."""
    fits = re.compile(str(ID.rule["pattern"])).fullmatch
    good = "0b1c2d3e-1111-4222-8333-0123456789ab"
    assert fits(good)

    for at in range(len(good)):
        for char in "0489abcdefgABF-,\n":
            text = good[:at] + char + good[at + 1 :]
            assert _are_ids(text.encode(), 1) == bool(fits(text)), text
