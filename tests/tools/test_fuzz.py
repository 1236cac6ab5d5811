"""tools.fuzz: some thousand inputs in every test run; it notices a lenient reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import pytest

from minibot.events.codec import Codec
from minibot.events.decimals import parse_fixed
from minibot.events.parse_cache import ParseCache
from minibot.events.registry import Contracts
from minibot.kernel.errors import ContractError
from tests.contracts.make_fixtures import PROJECT
from tools import fuzz, fuzz_files
from tools import fuzz_json as shapes
from tools import fuzz_reference as reference
from tools.fuzz import TARGETS, Piece, judge_kept, judge_piece, target_of

pytestmark = pytest.mark.campaign

INPUTS = {"envelope": 2500, "line": 1500, "cursor": 700, "head": 700, "manifest": 700, "seal": 300,
          "frames": 2500}  # fmt: skip


@pytest.mark.row("N-26", "N-40", "N-42", "S-57")
@pytest.mark.parametrize("name", list(TARGETS))
def test_broken_inputs_mean_the_same_to_product_and_strict_reader(name: str) -> None:
    """Product and strict reader accept, with equal content, and refuse the same inputs."""
    found = judge_piece(target_of(name), Piece(name, 20261120, 0, INPUTS[name]))

    assert found.wrong == []
    good = sum(count for label, count in found.outcomes.items() if label.startswith("good"))
    assert 0 < good < INPUTS[name]


@pytest.mark.parametrize("name", list(TARGETS))
def test_inputs_that_were_kept_still_mean_the_same(name: str) -> None:
    """The kept inputs and every recorded example still mean the same."""
    count, wrong = judge_kept([name])

    assert wrong == []
    assert count > len(target_of(name).seeds()) > 0


@pytest.mark.parametrize("name", list(TARGETS))
def test_input_comes_of_seed_and_number_alone(name: str) -> None:
    """An input depends on seed and number alone, so two numbers repeat a finding."""
    inputs = [fuzz.input_of(target_of(name), 5, number) for number in range(20)]

    assert inputs == [fuzz.input_of(TARGETS[name][0](), 5, number) for number in range(20)]
    assert len(set(inputs)) > 5


# --- seeded faults are found ------------------------------------------------------------------


def _lenient_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_files, "decode_line", lambda raw: (b"", raw[72:-1]))


def _head_without_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.fuzz_reference.zlib.crc32", lambda _: 0)


def _seal_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_files, "verify_tree", lambda *_, **__: [])


def _codec_without_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Codec.decode

    def lenient(self: Codec, queue: str, data: bytes) -> object:
        try:
            return decode(self, queue, data)
        except ContractError as error:
            raise ContractError("events", "SCHEMA_INVALID", error.detail) from error

    monkeypatch.setattr(Codec, "decode", lenient)


def _checksum_over_the_best_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minibot.exchanges.kraken.book.CHECKED_LEVELS", 1)


def _read_any(text: str) -> int:
    return parse_fixed(text, 8)


def _frames_without_check_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minibot.exchanges.binance.messages.PRICES", ParseCache(_read_any))


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("line", _lenient_json),
        ("head", _head_without_check),
        ("seal", _seal_without_root),
        ("envelope", _codec_without_contracts),
        ("frames", _frames_without_check_of_prices),
        ("frames", _checksum_over_the_best_alone),
    ],
)
def test_fuzzer_sees_where_two_readers_part(
    name: str, bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault (lenient line, checksum, blind verify, wrong code) is found in 400 inputs.

    A price of zero and a checksum over too little are found within some more.
    """
    target = TARGETS[name][0]()
    bug(monkeypatch)

    assert judge_piece(target, Piece(name, 1, 0, 4000 if name == "frames" else 400)).wrong


# --- the references ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1.0}', '{"a":1e0}', '{"a":-0}', '{"a":18446744073709551616}', '{"b":1,"a":1}',
        '{"a":1,"a":1}', '{"a": 1}', '{"a":1} ', '[1]', '"a"', "", "{}x", '{"a":NaN}',
        '{"a":"\\u0041"}', '{"a":"\\/"}', '{"a":"\\ud800"}', '{"a":' + "[" * 16 + "]" * 16 + "}",
        "\ufeff{}", '{"a":' + "[" * 5000 + "]" * 5000 + "}", '{"a":"\t"}', '{"a":01}',
    ],
)  # fmt: skip
def test_strict_reader_refuses_every_other_form(text: str) -> None:
    """The strict reader accepts exactly one form of an object."""
    with pytest.raises(reference.Unreadable):
        reference.strict_json(text.encode("utf-8", "surrogatepass"))


def test_strict_judge_of_contracts_agrees_with_the_oracle_on_every_example() -> None:
    """The strict judge agrees with the oracle on every example and knows every keyword."""
    contracts = Contracts.of_project()
    for path in sorted((PROJECT / "tests" / "fixtures" / "contracts").glob("*.json")):
        page = json.loads(path.read_text(encoding="utf-8"))
        schema = contracts.schemas[path.stem]
        for event in [page["valid"], *(case["event"] for case in page["invalid"])]:
            strict = not list(reference.violations(schema, event, schema))
            assert strict == contracts.oracle(path.stem).is_valid(event)
    with pytest.raises(NotImplementedError):
        list(reference.violations({"multipleOf": 2}, 3, {}))


def test_values_made_by_a_contract_mostly_fit_it() -> None:
    """Values made by a contract mostly fit it, so that inputs pass the first check."""
    contracts = Contracts.of_project()
    rnd = Random(3)
    for kind, schema in contracts.schemas.items():
        payload = schema["properties"]["payload"]
        made = [shapes.made(rnd, payload, schema) for _ in range(200)]
        fitting = [
            value for value in made if not list(reference.violations(payload, value, schema))
        ]
        assert len(fitting) > 30, kind
