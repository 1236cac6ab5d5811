"""`minibot new-config`: five questions, at a terminal or as flags, and the overlay they make."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.support.evening_questions import QUESTIONS, RISK_PROFILES, scaled
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.configuration.config_files import SHIPPED
from tests.runs import PROJECT, Completed, clean_environ, verb
from tests.waiting import DEADLINE_S

CTRL_D = "\x04"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder of the verb."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, *words: str) -> Config:
    """Return the profile that a command line without a terminal writes."""
    done = verb(folder / "var", "new-config", "mine", *words)
    assert done.code == 0, done.err
    checked = verb(folder / "var", "config", "check", "mine.json")
    assert checked.code == 0, checked.err
    return load_config(folder / "mine.json")


class Terminal:
    """Verb at a terminal of its own: typed text goes in, questions and output come out."""

    def __init__(self, folder: Path, *words: str) -> None:
        pty: Any = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "minibot", "new-config", "mine", *words],
            cwd=folder,
            env=clean_environ() | {"PYTHONPATH": str(PROJECT)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.shown = ""

    def read_to(self, text: str) -> None:
        """Read what is shown up to a text; an `OSError` there is the end of the process."""
        while text not in self.shown:
            self.shown += os.read(self._ours, 4096).decode()

    def type(self, *lines: str) -> None:
        """Type texts, each followed by Enter but for a control character."""
        for line in lines:
            os.write(self._ours, (line if line == CTRL_D else f"{line}\n").encode())

    def end(self) -> Completed:
        """Read to the end of the process."""
        while True:
            try:
                part = os.read(self._ours, 4096)
            except OSError:  # Linux says so when the other side is closed.
                break
            if not part:
                break
            self.shown += part.decode()
        code = self.process.wait(DEADLINE_S)
        os.close(self._ours)
        return Completed(code, self.shown, "")


def asked(folder: Path, lines: Sequence[str], *words: str) -> Completed:
    """Return the verb's screen at a terminal where lines are typed."""
    terminal = Terminal(folder, *words)
    terminal.read_to("quote asset")
    terminal.type(*lines)
    return terminal.end()


# --- answers and what they set ----------------------------------------------------------------


def test_flags_without_a_terminal_write_what_they_say(folder: Path) -> None:
    """Each question is a flag, so a script can make a profile."""
    config = written(
        folder,
        *("--quote", "USDC", "--cash", "2500", "--pairs", "eth/usdc,BTC/USDC"),
        *("--risk", "careful", "--at-end", "carry", "--alerts", "none"),
    )

    assert config.portfolio.quote_asset == "USDC"
    assert config.portfolio.cash == "2500"
    assert config.exchange.symbols == ("ETHUSDC", "BTCUSDC")
    assert config.risk.profile == "conservative"
    assert (config.portfolio.at_end, config.portfolio.start_from) == ("carry", "carry")
    assert (config.alerts, config.guard) == (None, None)


def test_alerts_by_a_program_make_both_sections(folder: Path) -> None:
    """The program's words stay as they were quoted, and the guard tells by it too."""
    program = Path(sys.executable)
    config = written(folder, "--alerts", f"run '{program}' -c 'a  b' \"c\"")

    assert config.alerts is not None
    assert config.guard is not None
    assert config.alerts.commands == {"local": [str(program), "-c", "a  b", "c"]}
    assert config.alerts.targets is None
    assert config.alerts.required


def test_alerts_by_a_target_name_its_address_and_hold_none(folder: Path) -> None:
    """The profile names the secret alone, and the verb says where the address belongs."""
    done = verb(folder / "var", "new-config", "mine", "--alerts", "my-phone")
    config = load_config(folder / "mine.json")

    assert config.alerts is not None
    assert config.guard is not None
    assert config.alerts.targets == {"my-phone": "MY_PHONE"}
    assert "MY_PHONE=address" in done.out
    assert "minibot alert test" in done.out


def test_program_named_by_its_path_is_found_from_any_folder(folder: Path) -> None:
    """A service starts it from another folder than the one in which the person sat."""
    program = folder / ("alarm.bat" if os.name == "nt" else "alarm.sh")
    program.write_text("exit 0\n")
    program.chmod(0o700)

    config = written(folder, "--alerts", f"run ./{program.name} loud")

    assert config.alerts is not None
    assert config.alerts.commands is not None
    assert config.alerts.commands == {"local": [str(program), "loud"]}


def test_alerts_that_set_names_are_kept_and_not_asked_for(folder: Path) -> None:
    """A whole section of `--set` is taken as it is, without a default that nobody wanted."""
    section = '{"required":false,"level_min":"info","per_minute_max":3,"commands":{"a":["x"]}}'
    done = verb(folder / "var", "new-config", "mine", "--set", f"alerts={section}")
    config = load_config(folder / "mine.json")

    assert config.alerts is not None
    assert config.alerts.commands == {"a": ["x"]}
    assert config.guard is None
    assert "--alerts" not in done.err


def test_key_that_set_names_is_laid_over_the_answer_about_alerts(folder: Path) -> None:
    """One key of the section can be chosen beside the answer."""
    config = written(folder, "--alerts", "telegram", "--set", "alerts.level_min=info")

    assert config.alerts is not None
    assert config.alerts.level_min == "info"
    assert config.alerts.targets == {"telegram": "TELEGRAM"}


def test_answers_that_nobody_gave_are_told_with_their_flag(folder: Path) -> None:
    """A script sees which defaults it took, and how to choose."""
    done = verb(folder / "var", "new-config", "mine", "--cash", "5000")

    lines = [line for line in done.err.splitlines() if line.startswith("without --")]
    assert [line.split(":")[0] for line in lines] == [
        f"without {question.flag}" for question in QUESTIONS if question.name != "cash"
    ]


@pytest.mark.parametrize("name", RISK_PROFILES)
def test_risk_profile_is_the_shipped_one_at_its_cash(folder: Path, name: str) -> None:
    """The named sets are those of the shipped profiles, key for key."""
    config = written(folder, "--risk", name)

    assert config.raw["risk"] == load_config(SHIPPED / RISK_PROFILES[name]).raw["risk"]


@pytest.mark.parametrize("name", RISK_PROFILES)
def test_risk_profile_keeps_its_shares_with_another_cash(folder: Path, name: str) -> None:
    """Amounts shrink with the cash, so the risk policy still allows them; counts stay."""
    config = written(folder, "--risk", name, "--cash", "1000")
    shipped = load_config(SHIPPED / RISK_PROFILES[name])

    for key in ("order_notional", "position_notional_max", "night_loss_hard", "day_notional_soft"):
        full = Decimal(getattr(shipped.risk, key))
        assert Decimal(getattr(config.risk, key)) == full / 10, key
    assert config.risk.positions_max == shipped.risk.positions_max
    assert config.strategy.touch_notional_min == "50"


def test_scaled_amount_never_grows_by_rounding() -> None:
    """A limit is rounded down, so no share of the cash is exceeded."""
    assert scaled("500", Fraction(1, 3)) == "166.66666666"
    assert scaled("200", Fraction(1)) == "200"


def test_set_is_stronger_than_an_answer_and_answers_its_question(folder: Path) -> None:
    """`--set` stays what it was: the last word."""
    sets = ("--set", "portfolio.cash=2000", "--set", "risk.positions_max=2")
    config = written(folder, *sets, "--cash", "9000", "--risk", "bold")

    assert config.portfolio.cash == "2000"
    assert config.risk.positions_max == 2
    assert config.risk.order_notional == "200"


@pytest.mark.parametrize(
    ("risk", "most"), [("careful", "400"), ("standard", "800"), ("bold", "2000")]
)
def test_dearest_entry_is_told_as_risk_would_size_it(folder: Path, risk: str, most: str) -> None:
    """By the bounds of the profile's sizing, not by an amount that this sizing does not read."""
    done = verb(folder / "var", "new-config", "mine", "--defaults", "--risk", risk)
    words = ("BTCUSDT", "--config", "mine.json", "--price", "100000", "--atr", "1")
    sized = verb(folder / "var", "size", *words)

    assert f"entries up to {most} USDT" in done.out
    assert f" for {most};" in sized.out


def test_typed_amount_that_sizes_nothing_is_refused(folder: Path) -> None:
    """An amount an order that the risk profile's sizing would not heed makes no file."""
    sets = ("--set", "risk.order_notional=100")
    done = verb(folder / "var", "new-config", "mine", "--defaults", *sets)

    assert done.code == 4
    assert "risk.order_notional" in done.err
    assert not (folder / "mine.json").exists()


def test_own_strategy_gets_no_key_that_it_does_not_read(folder: Path) -> None:
    """Another cash and another strategy make a profile that starts."""
    config = written(folder, "--cash", "1000", "--set", "strategy.name=rsi_band")

    assert config.layer_of("strategy.touch_notional_min") == "base"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--quote", "us$"), "--quote: 'us$' is not an asset"),
        (("--cash", "1,000"), "--cash: '1,000' is not an amount"),
        (("--cash", "0"), "--cash: '0' is too little"),
        (("--cash", "-5"), "--cash: '-5' is not an amount"),
        (("--pairs", "ETH/BTC"), "--pairs: 'ETH/BTC' is paid in BTC, not in USDT"),
        (("--pairs", "ETH"), "--pairs: 'ETH' is not paid in USDT: expected such as ETH/USDT"),
        (("--pairs", "ETH/USDT,ETHUSDT"), "--pairs: ETHUSDT is named twice"),
        (("--pairs", ""), "--pairs: '' is not paid in USDT"),
        (("--risk", "wild"), "--risk: 'wild' is unknown: expected careful or standard or bold"),
        (("--at-end", "keep"), "--at-end: 'keep' is unknown: expected close or carry"),
        (("--alerts", "My Phone"), "--alerts: 'My Phone' is not a target's name"),
        (("--alerts", "9lives"), "--alerts: '9lives' is not a target's name"),
        (("--alerts", "a" * 41), "is not a target's name"),
        (("--alerts", "run"), "--alerts: run names no program"),
        (("--alerts", "run no-such-program"), "--alerts: 'no-such-program' is not a program"),
        (("--alerts", "run it's"), "a quotation mark is missing"),
        (("--alerts", "run a" + " b" * 20), "expected at most 20 words"),
        (("--alerts", "run a ''"), "expected at most 20 words of 1 to 500 letters"),
        (("--set", "portfolio.cash=much"), "--set portfolio.cash: 'much' is not an amount"),
        (("--set", 'risk={"positions_max": 1}'), "risk: a whole section; set its keys one by one"),
        (("--set", "cash"), "new-config: nothing was written. Write --set section.key=value."),
        (("--set", r'strategy.name="\ud800"'), "holds half a letter"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_answer_that_cannot_be_is_refused_in_one_sentence(
    folder: Path, words: tuple[str, ...], told: str
) -> None:
    """The sentence names the flag, the answer and what is expected; no file is left."""
    done = verb(folder / "var", "new-config", "mine", *words)

    assert done.code == 4
    assert told in done.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("words", [("tgram://SESAME/1",), ("run x tgram://SESAME/1",)])
def test_address_given_as_an_answer_is_refused_and_not_repeated(
    folder: Path, words: tuple[str, ...]
) -> None:
    """A profile and a log keep what they are given, so an address never gets there."""
    done = verb(folder / "var", "new-config", "mine", "--alerts", *words)

    assert done.code == 4
    assert "the secrets file" in done.err
    assert "SESAME" not in done.err + done.out
    assert list(folder.iterdir()) == []


# --- at a terminal ----------------------------------------------------------------------------


@pytest.mark.process
def test_terminal_is_asked_and_enter_takes_the_default(folder: Path) -> None:
    """A trader answers in a minute, and sees at once which answer cannot be."""
    lines = ["", "lots", "4000", "SOL/EUR", "SOL/USDT", "", "carry", "My Phone", "phone"]

    done = asked(folder, lines)

    assert done.code == 0, done.out
    assert "'lots' is not an amount" in done.out
    assert "'SOL/EUR' is paid in EUR, not in USDT" in done.out
    assert "'My Phone' is not a target's name" in done.out
    config = load_config(folder / "mine.json")
    assert config.portfolio.cash == "4000"
    assert config.exchange.symbols == ("SOLUSDT",)
    assert config.risk.profile == "balanced"
    assert config.portfolio.start_from == "carry"
    assert config.alerts is not None
    assert config.alerts.targets == {"phone": "PHONE"}


@pytest.mark.process
def test_terminal_is_not_asked_what_a_flag_or_set_says(folder: Path) -> None:
    """Answers that are given are not asked for again."""
    terminal = Terminal(
        folder, "--quote", "USDT", "--cash", "500", "--set", "portfolio.at_end=close"
    )
    terminal.read_to("Pairs")
    terminal.type("", "bold", "")

    done = terminal.end()

    assert done.code == 0, done.out
    assert "quote asset" not in done.out
    assert "Positions at the end" not in done.out
    config = load_config(folder / "mine.json")
    assert config.risk.profile == "aggressive"
    assert config.alerts is None


@pytest.mark.process
def test_terminal_with_defaults_is_asked_nothing(folder: Path) -> None:
    """`--defaults` writes at once, also at a terminal."""
    done = Terminal(folder, "--defaults").end()

    assert done.code == 0, done.out
    assert (folder / "mine.json").exists()


@pytest.mark.process
def test_end_of_input_leaves_no_file(folder: Path) -> None:
    """Ctrl-D in the middle changes nothing."""
    done = asked(folder, ["", CTRL_D])

    assert done.code == 2
    assert "Nothing was written" in done.out
    assert list(folder.iterdir()) == []


@pytest.mark.process
def test_interrupt_leaves_no_file(folder: Path) -> None:
    """Ctrl-C in the middle changes nothing, and no traceback is shown."""
    terminal = Terminal(folder)
    terminal.read_to("quote asset")
    terminal.type("")
    terminal.read_to("Starting cash")
    terminal.process.send_signal(signal.SIGINT)

    done = terminal.end()

    assert done.code == 2
    assert "Nothing was written" in done.out
    assert "Traceback" not in done.out
    assert list(folder.iterdir()) == []
