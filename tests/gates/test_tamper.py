"""`minibot tamper-demo`: each trick is found as expected, on a copy of the run."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.cli import tamper_demo
from minibot.gates import tamper
from minibot.gates.tamper import Outcome, demonstrate, digest_of, is_usable
from minibot.gates.tamper_forge import forge_manifest
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from tests.kernel.kernel_run import sealed_run
from tests.kernel.kernel_support import change
from tests.runs import ShortRun


@pytest.fixture(scope="module")
def outcomes(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Outcomes of every trick, each on a copy of a real night."""
    before = digest_of(short_run.run_dir)
    found = list(demonstrate(short_run.run_dir, tmp_path_factory.mktemp("tamper") / "lab"))
    assert digest_of(short_run.run_dir) == before
    return {outcome.trick.name: outcome for outcome in found}


@pytest.mark.row("N-40", "N-82")
def test_every_trick_is_found_by_what_has_to_find_it(outcomes: dict[str, Outcome]) -> None:
    """Every trick is found by the expected verb, at every depth of forged hashes."""
    assert set(outcomes) >= {"edit", "delete", "swap", "splice", "manifest", "rewrite_signed"}
    assert [name for name, outcome in outcomes.items() if not outcome.is_found] == []


@pytest.mark.parametrize(
    ("name", "code", "file"),
    [
        ("edit", "QUEUE_CORRUPT", "queues/fills/inbox.jsonl"),
        ("splice", "RUN_ID_MISMATCH", "fills/inbox.jsonl"),
        ("manifest", "SEAL_MISMATCH", "manifest.json"),
        ("rewrite_signed", "SEAL_SIGNATURE", "seal.sig"),
    ],
)
def test_trick_is_shown_with_its_place(
    outcomes: dict[str, Outcome], name: str, code: str, file: str
) -> None:
    """A trick is printed with code and file, and for a line its number."""
    finding = outcomes[name].finding
    assert finding is not None

    assert (finding.code, finding.file) == (code, file)
    assert (finding.line > 0) == (name in ("edit", "splice"))


def test_what_nothing_on_the_machine_finds_is_said(outcomes: dict[str, Outcome]) -> None:
    """A full rewrite passes verify and replay, and only root or signature reveal it; it is said."""
    fields = outcomes["rewrite"].findings

    assert fields["verify"] == fields["replay"] == ""
    assert fields["published root"]
    assert "not found by verify" in "\n".join(tamper_demo.lines(1, outcomes["rewrite"]))


def test_line_of_a_finding_names_the_place_and_stays_readable(
    outcomes: dict[str, Outcome],
) -> None:
    """A finding's line stays short, even if it quotes a whole event; --json has all of it."""
    long = {name: found for name, found in outcomes.items() if len(str(found.findings)) > 1_000}

    assert long
    for outcome in outcomes.values():
        for line in tamper_demo.lines(1, outcome)[1:]:
            assert len(line) < 300
    for name in long:
        text = "\n".join(tamper_demo.lines(1, outcomes[name]))
        assert "first difference: " in text
        assert "--json" in text


def test_run_that_is_damaged_already_is_refused(tmp_path: Path, short_run: ShortRun) -> None:
    """A run that is already damaged is refused, because the demonstration would prove nothing."""
    copy = tmp_path / "run"
    tamper._copy(short_run.run_dir, copy)
    change(copy / "queues" / "fills" / "inbox.jsonl", 90)
    with pytest.raises(Refusal, match="does not verify as it is"):
        list(demonstrate(copy, tmp_path / "lab"))


def test_run_whose_replay_differs_already_is_refused(tmp_path: Path, short_run: ShortRun) -> None:
    """A run whose replay differs anyway is refused: each trick would seem found by replay."""
    copy = tmp_path / "run"
    tamper._copy(short_run.run_dir, copy)
    tamper._edit_seal(copy)

    with pytest.raises(Refusal, match="replay differs as it is: first difference: "):
        next(demonstrate(copy, tmp_path / "lab"))


@pytest.mark.parametrize("fee", ["10", "1", "1.0", "0", "0.5"])
def test_fee_of_the_manifest_is_changed_whatever_it_was(
    tmp_path: Path, short_run: ShortRun, fee: str
) -> None:
    """A run whose fee is 1 bps gets another one as well, so that there is something to be found."""
    shutil.copyfile(short_run.run_dir / "manifest.json", tmp_path / "manifest.json")

    def set_fee(manifest: dict[str, Any]) -> None:
        manifest["config"]["execution"]["taker_fee_bps"] = fee

    forge_manifest(tmp_path, set_fee)
    tamper._change_fee(tmp_path)

    config = read_hashed(tmp_path / "manifest.json")["config"]
    assert Decimal(config["execution"]["taker_fee_bps"]) != Decimal(fee)


def test_run_without_fills_or_seal_cannot_serve(var_dir: Path, short_run: ShortRun) -> None:
    """A run without fills or seal is refused; without a name a small run is made."""
    run = sealed_run(var_dir)
    (run / "queues" / "fills").rename(run / "queues" / "filled")
    assert "fills" in is_usable(run)
    (run / "seal.json").unlink()
    assert is_usable(run) == "it is not sealed"
    assert is_usable(short_run.run_dir) == ""


@pytest.mark.parametrize(
    ("price", "lowered"),
    [("61234.50", "55111.05"), ("7", "6"), ("0.1234", "0.1110"), ("0.00001", "0.00000")],
)
def test_price_of_a_fill_is_changed_however_small_it_is(price: str, lowered: str) -> None:
    """The trick changes every price, also one below 1, so that there is something to be found."""
    event = {"payload": {"price": price}}

    tamper._cheaper(event)

    assert event["payload"]["price"] == lowered


@pytest.mark.parametrize("is_missed", [False, True])
def test_verb_exits_1_where_a_trick_was_missed(
    short_run: ShortRun,
    outcomes: dict[str, Outcome],
    is_missed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The verb exits 0 when each trick was found, else 1; the document names them all."""

    def played(_run: Path, _lab: Path) -> Iterator[Outcome]:
        yield outcomes["edit"]
        if is_missed:
            yield Outcome(outcomes["edit"].trick, {"verify": ""})

    monkeypatch.setattr(tamper_demo, "demonstrate", played)
    arguments = argparse.Namespace(
        run_name=str(short_run.run_dir), var=str(short_run.var), json=True, debug=False
    )

    assert tamper_demo.run(arguments) == int(is_missed)
    document = json.loads(capsys.readouterr().out)
    assert document["found"] is not is_missed
    assert document["untouched"]
    assert document["tricks"][0]["finding"]["code"] == "QUEUE_CORRUPT"
