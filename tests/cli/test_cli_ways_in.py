"""Ways into the command line: `minibot` alone, `help`, mistyped words, a profile of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minibot.cli.main import parsed, verb_parser, verbs
from minibot.cli.main import parser as parser_of
from minibot.cli.support.own_profile import DEMO, profile_for_night
from minibot.kernel.errors import Refusal
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock, note_current
from minibot.runtime.stop import OPERATOR, arm
from minibot.runtime.verb_groups import GROUPS, overview
from tests.runs import ShortRun, verb


def commands(var: Path) -> list[str]:
    """Return the commands that `minibot` alone proposes."""
    done = verb(var, "--json")
    assert done.code == 0, done.err
    return [step["command"].partition(" --var ")[0] for step in done.document["next"]]


def test_every_verb_stands_in_exactly_one_group() -> None:
    """A verb outside the groups would be hidden from `--help`."""
    grouped = [name for _, names in GROUPS.values() for name in names]

    assert sorted(grouped) == sorted(verbs())


def test_help_fits_a_small_terminal(tmp_path: Path) -> None:
    """All verbs are seen at once at 80x24."""
    lines = overview().splitlines()

    assert len(lines) <= 23
    assert max(map(len, lines)) <= 79
    assert verb(tmp_path / "var", "help").out.rstrip("\n") == overview()


def test_help_of_a_verb_is_what_the_verb_itself_prints(tmp_path: Path) -> None:
    """`help VERB` and `VERB --help` are one text; an alias leads to it too."""
    shown = verb(tmp_path / "var", "help", "verify")

    assert shown.out == verb(tmp_path / "var", "verify", "--help").out
    assert "--jobs" in shown.out
    assert verb(tmp_path / "var", "help", "backtesting").code == 0


def test_help_of_a_verb_is_a_document_on_demand(tmp_path: Path) -> None:
    """`--json` gives one document here too, with the verb's own name for an alias."""
    shown = verb(tmp_path / "var", "help", "trade", "--json").document

    assert shown["verb"] == "night"
    assert shown["help"] == verb(tmp_path / "var", "help", "night").out


def test_help_of_tail_says_that_json_is_a_line_for_each_event(tmp_path: Path) -> None:
    """A reader of one document would fail at the second event."""
    shown = verb(tmp_path / "var", "help", "tail")

    assert "one JSON object a line on stdout" in " ".join(shown.out.split())
    assert "one JSON document" not in shown.out


def test_help_lists_each_verb_with_its_line(tmp_path: Path) -> None:
    """`help --all` says of each verb what it does."""
    done = verb(tmp_path / "var", "help", "--all")

    for name, module in verbs().items():
        assert f"  {name:<17}{module.HELP}" in done.out


def test_help_of_an_unknown_verb_names_the_nearest(tmp_path: Path) -> None:
    """A typing error in `help` is not a dead end."""
    done = verb(tmp_path / "var", "help", "verfy")

    assert done.code == 2
    assert "Did you mean verify?" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("verify", "--jsn"), "minibot verify has no flag --jsn. Did you mean --json?"),
        (("night", "--confg=x"), "minibot night has no flag --confg. Did you mean --config?"),
        (("backtest", "--sorce", "x"), "Did you mean --source?"),
        (("backtest", "-s", "mine"), "minibot backtest has no flag -s. Did you mean --strategy?"),
        (("metrics", "-p", "A/USDT"), "minibot metrics has no flag -p. See: minibot metrics "),
        (("verify", "--qqqq"), "minibot verify has no flag --qqqq. See: minibot verify --help"),
        (("verify", "one", "two"), "minibot verify takes no further word: 'two'."),
        (("backtest", "--pairs", "A/USDT", "B/USDT"), "Separate pairs by commas: --pairs "),
        (("tail", "signls"), "Did you mean signals?"),
        (("health", "--max-age", "soon"), "--max-age: expected a whole number, found soon"),
        (("--debug", "report"), "the verb comes first: minibot report --debug ..."),
        (("--json", "list-runs"), "the verb comes first: minibot list-runs --json ..."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistyped_word_is_refused_in_one_line_with_the_nearest(
    words: tuple[str, ...], told: str, short_run: ShortRun
) -> None:
    """No page of flags hides the one that was meant."""
    done = verb(short_run.var, *words)

    assert done.code == 2
    assert told in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "flags_last"),
    [
        ("exchange fault stall --port 1 ms=3000", "exchange fault stall ms=3000 --port 1"),
        ("exchange fault --port 1 stall ms=3000", "exchange fault stall ms=3000 --port 1"),
        ("size BTCUSDT --at 23:57 RUN", "size BTCUSDT RUN --at 23:57"),
        ("runs show A --html latest", "runs show A latest --html"),
        ("runs show --html A B", "runs show A B --html"),
        ("settings a.b=1 --json c.d=2 e.f=3", "settings a.b=1 c.d=2 e.f=3 --json"),
    ],
)
def test_flag_may_stand_between_the_words(words: str, flags_last: str) -> None:
    """A printed command works when its words are put where a user puts them."""
    found, expected = vars(parsed(words.split())), vars(parsed(flags_last.split()))

    assert {**found, "argv": ()} == {**expected, "argv": ()}


# The words of `replay-tool` are another verb's.
@pytest.mark.parametrize("name", sorted({*verbs()} - {"replay-tool"}))
def test_every_verb_takes_its_words_with_a_flag_between(name: str) -> None:
    """No verb's words depend on where a flag stands."""
    command = verb_parser(parser_of(name), name)
    words = [
        next(iter(action.choices or [f"WORD{at}"]))
        for at, action in enumerate(command._actions)
        if not action.option_strings
    ]
    needed = [
        each
        for action in command._actions
        if action.required and action.option_strings
        for each in (action.option_strings[-1], "2025-06-02T01:00")
    ]
    between = [each for word in words for each in ("--debug", word)] or ["--debug"]

    found = vars(parsed([name, *needed, *between]))

    assert {**found, "argv": ()} == {
        **vars(parsed([name, *needed, *words, "--debug"])),
        "argv": (),
    }


def test_minibot_alone_proposes_a_night_where_nothing_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first screen is a way in, not a list of fifty verbs."""
    monkeypatch.chdir(tmp_path)

    assert commands(tmp_path / "var")[0] == "minibot night"
    assert not (tmp_path / "var").exists()


@pytest.mark.usefixtures("run_goes_on")
def test_minibot_alone_proposes_to_watch_a_running_night(tmp_path: Path) -> None:
    """The verbs that act on it are one look away."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop):
        folder.mkdir(mode=0o700)
    with RunLock(var):
        note_current(var, "20251120_000000")

        assert commands(var.root)[0] == "minibot status"
        assert "minibot stop" in commands(var.root)


@pytest.mark.usefixtures("run_goes_on")
def test_minibot_alone_leads_from_a_stop_to_its_reason_first(tmp_path: Path) -> None:
    """Removing the flag comes after reading why it stands, also before the run is sealed."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop):
        folder.mkdir(mode=0o700)
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")
        verb(var.root, "kill")
        during = commands(var.root)

    found = commands(var.root)

    assert found[0] == "minibot status"
    assert found[-1].startswith("minibot clear-stop")
    assert during == found


def test_minibot_alone_leads_from_a_finished_night_to_its_report(short_run: ShortRun) -> None:
    """Result first, proof next."""
    assert commands(short_run.var)[0] == "minibot report"
    assert "minibot verify" in commands(short_run.var)


def test_commands_of_another_folder_name_it(short_run: ShortRun) -> None:
    """A command that is typed as it stands acts on the folder that was asked about."""
    commands_there = [
        step["command"] for step in verb(short_run.var, "next", "--json").document["next"]
    ]

    assert commands_there
    assert all(str(short_run.var) in command for command in commands_there)


def test_new_config_writes_ten_lines_that_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file holds what a trader changes, not every key, and means what `--set` said."""
    monkeypatch.chdir(tmp_path)

    done = verb(tmp_path / "var", "new-config", "eth", "--set", 'binance.symbols=["ETHUSDT"]')

    assert done.code == 0, done.err
    path = tmp_path / "eth.json"
    assert len(path.read_text().splitlines()) <= 12
    config = load_config(path)
    assert config.exchange.symbols == ("ETHUSDT",)
    assert config.profile == "eth"
    assert config.layer_of("risk.night_notional_pace") == "base"


def test_new_config_leaves_no_file_where_a_value_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key is named, exit code 4, and the name stays free."""
    monkeypatch.chdir(tmp_path)

    done = verb(tmp_path / "var", "new-config", "eth", "--set", "risk.order_notionl=500")

    assert done.code == 4
    assert "risk.order_notional" in done.err
    assert list(tmp_path.iterdir()) == []


def test_new_config_overwrites_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that somebody has edited stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eth.json").write_text("mine")

    done = verb(tmp_path / "var", "new-config", "eth")

    assert done.code == 2
    assert (tmp_path / "eth.json").read_text() == "mine"


def test_night_without_config_takes_the_one_profile_here_else_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two profiles are a question to the user, never a guess; other files do not count."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"extends": "x"}))
    (tmp_path / "broken.json").write_text("{")
    assert profile_for_night(tmp_path)[0] == DEMO

    verb(tmp_path / "var", "new-config", "one")
    path, why = profile_for_night(tmp_path)
    assert path == Path("one.json")
    assert "one.json" in why

    verb(tmp_path / "var", "new-config", "two")
    with pytest.raises(Refusal, match=r"one\.json, two\.json"):
        profile_for_night(tmp_path)


def test_config_takes_the_file_as_a_word(tmp_path: Path) -> None:
    """`config check FILE` judges that file; two names for it are refused."""
    done = verb(tmp_path / "var", "config", "check", "config/paper.v1.json", "--json")

    assert done.document["profile"] == "paper"
    both = ("config/paper.v1.json", "--config", "config/nore-demo.v1.json")
    assert verb(tmp_path / "var", "config", "check", *both).code == 2
