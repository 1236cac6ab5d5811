"""Commands in messages: each acts on the folder and profile of the command line that says it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from minibot.cli.main import parsed, verbs
from minibot.cli.support.output import placed, speaking_of
from minibot.cli.support.profile import profile_of_start
from minibot.runtime.command_place import PLACELESS, PROFILED, Place
from tests.runs import verb

DEMO = "config/nore-demo.v1.json"
LAB = Place("lab", "my.json")
# Words without which a verb's command line is refused.
NEEDED = {
    "config": ["show"],
    "optimise": ["--vary", "strategy.rsi_period=7:28"],
    "service": ["show"],
    "size": ["BTCUSDT"],
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("See: minibot status", "See: minibot status --var lab"),
        ("minibot report R; minibot help", "minibot report --var lab R; minibot help"),
        ("minibot stop then minibot runs", "minibot stop --var lab then minibot runs --var lab"),
        ("`minibot stage apply` again.", "`minibot stage apply --var lab` again."),
        ("See: minibot backtests list", "See: minibot backtests list --var lab"),
        ("minibot verify names it.", "minibot verify --var lab names it."),
        ("Try: minibot alert test", "Try: minibot alert test --config my.json --var lab"),
        ("minibot night -c b.json", "minibot night --var lab -c b.json"),
        ("minibot stop, or --var DIR", "minibot stop --var lab, or --var DIR"),
        ("Choose: minibot night --var DIR", "Choose: minibot night --config my.json --var DIR"),
        ("minibot verify lab/runs/R", "minibot verify lab/runs/R"),
        ("minibot verify --append-only /R", "minibot verify --append-only /R"),
        ("minibot tape check FILE", "minibot tape check FILE"),
        ("minibot verify R. Keep /a/R", "minibot verify --var lab R. Keep /a/R"),
        ("minibot verify --help", "minibot verify --help"),
        ("minibot chaos --list", "minibot chaos --list"),
        ("minibot verify has no flag -x", "minibot verify has no flag -x"),
        ("minibot verify takes no RUN", "minibot verify takes no RUN"),
        ("an older minibot made it", "an older minibot made it"),
        ("minibot trades spot only", "minibot trades spot only"),
        (".venv/bin/minibot status", ".venv/bin/minibot status"),
    ],
)  # fmt: skip
def test_command_in_a_message_names_the_place_unless_it_names_one(text: str, told: str) -> None:
    """A sentence that only speaks of minibot stays as it is."""
    assert LAB.named_in(text) == told
    assert Place().named_in(text) == text


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "watch",
        "stop",
        "report",
        "ready",
        "verify nosuch",
        "backtests show nosuch",
        "model list",
        "list-data",
        "demo --nosuch",
        "service show night",
        "next",
    ],
)
def test_each_command_that_a_verb_names_looks_into_the_folder_of_the_verb(
    tmp_path: Path, words: str
) -> None:
    """Pasted as it stands, a proposed command would otherwise ask another folder."""
    var = tmp_path / "a lab"
    done = verb(var, *words.split())

    for found in re.finditer(r"minibot ([a-z-]+)[^;,`)\n]*", done.out + done.err):
        if found[1] in set(verbs()) - PLACELESS and "--help" not in found[0]:
            assert shlex.quote(str(var)) in found[0]


def test_command_in_a_message_names_the_profile_that_was_typed(tmp_path: Path) -> None:
    """The default profile of the proposed command may be another one; a default is not named."""
    typed = verb(tmp_path, "settings", "--config", DEMO, "--take-back", "duration_ms")
    bare = verb(tmp_path, "settings", "--take-back", "duration_ms")

    assert f"minibot settings --config {DEMO} --var" in typed.err
    assert "minibot settings --var" in bare.err


def test_night_in_a_folder_of_its_profile_names_that_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verbs that take no profile would look into `var` without it."""
    monkeypatch.setenv("MINIBOT__PATHS__VAR", "var/none")
    with speaking_of(Place()):
        profile_of_start(parsed(["night", "--config", DEMO]))

        assert placed("See: minibot report") == "See: minibot report --var var/none"
    profile_of_start(parsed(["night", "--config", DEMO]))  # No verb runs: nothing is remembered.
    assert placed("See: minibot report") == "See: minibot report"


def test_profiled_verbs_take_a_profile() -> None:
    """A flag that the proposed verb does not know would make the command a refusal."""
    for name in sorted(PROFILED):
        arguments = parsed([name, *NEEDED.get(name, ()), "--config", DEMO])

        assert arguments.typed_config == Path(DEMO)
    assert verbs().keys() >= PROFILED | PLACELESS
