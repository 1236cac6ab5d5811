"""`minibot service`: systemd user units and Windows tasks, as texts and as installed files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest

from minibot.cli.support import systemd_units
from minibot.cli.support.service_files import (
    TASKS,
    Service,
    task_folder,
    task_text,
    unit_folder,
    unit_text,
)
from minibot.kernel.errors import Refusal
from tests.runs import PROJECT, clean_environ, verb
from tests.waiting import DEADLINE_S

UNSAFE_NAMES = ('quo"te', "it's", "back\\slash")
SAFE_NAMES = ("two words", "100%h", "$HOME", "$$x %% ${A}", "e,;#")
NEEDS_UNITS = pytest.mark.skipif(os.name == "nt", reason="needs a system with systemd's units")
CONFIG = ("-c", "config/paper.v1.json")


def service(folder: Path, *words: str) -> Service:
    """Return a service whose program lies in a folder."""
    return Service("minibot-night", "a night at 22:00", [str(folder / "python"), *words], folder)


def setting(text: str, key: str) -> str:
    """Return the value of a unit's setting, as it is written."""
    (found,) = re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)
    return str(found)


def read_command(line: str) -> list[str]:
    """Return the words that systemd runs for an `ExecStart` in which all words are quoted."""
    assert line.startswith(":")  # Without it $NAME would be replaced.
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', line[1:])
    assert " ".join(f'"{word}"' for word in words) == line[1:]
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in words]


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAFE_NAMES + UNSAFE_NAMES)
def test_unit_runs_the_words_as_they_are(tmp_path: Path, name: str) -> None:
    """Blanks, percent signs, dollars, quotes and backslashes reach the night unchanged."""
    words = ["-m", "minibot", "night", "--set", f"a.b={name}", ""]
    made = Service("minibot-night", "a night", ["/usr/bin/python", *words], tmp_path / name)

    text = unit_text(made)

    assert read_command(setting(text, "ExecStart")) == list(made.argv)
    assert setting(text, "WorkingDirectory").replace("%%", "%") == str(tmp_path / name)


def test_unit_restarts_nothing_and_gives_a_night_time_to_end(tmp_path: Path) -> None:
    """A STOP stays one; a stop of the service reaches the chain alone, and once.

    A role, or the AI, that the kernel kills for its memory is the watchdog's to judge.
    """
    text = unit_text(service(tmp_path))

    assert setting(text, "Restart") == "no"
    assert setting(text, "KillMode") == "mixed"
    assert setting(text, "KillSignal") == "SIGTERM"
    assert int(setting(text, "TimeoutStopSec")) >= 60
    assert setting(text, "OOMPolicy") == "continue"
    assert "RestartSec" not in text


@pytest.mark.parametrize("name", ["two\nlines", "tab\t", "\x7f"])
def test_word_that_no_unit_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    """A line break would begin another setting."""
    with pytest.raises(Refusal, match="control character"):
        unit_text(service(tmp_path, name))


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_program_that_systemd_would_not_run_is_refused(tmp_path: Path, name: str) -> None:
    """systemd ignores such a command; the sentence says so before a unit is written."""
    with pytest.raises(Refusal, match="systemd runs no program"):
        unit_text(service(tmp_path / name))


@NEEDS_UNITS
@pytest.mark.process
@pytest.mark.parametrize("name", SAFE_NAMES)
def test_systemd_finds_the_program_of_the_unit(tmp_path: Path, name: str) -> None:
    """`systemd-analyze verify` reads the unit as it is meant, in a folder with an odd name too."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "python").write_text("#!/bin/sh\n")
    (folder / "python").chmod(0o700)
    unit = tmp_path / "minibot-night.service"
    unit.write_text(unit_text(service(folder, "-m", f"--set=a={name}")))

    good = verified(analyze, unit)
    (folder / "python").unlink()
    bad = verified(analyze, unit)

    assert good == (0, "")
    assert bad[0] != 0
    assert "python" in bad[1]


def verified(analyze: str, unit: Path) -> tuple[int, str]:
    """Return the exit code of `systemd-analyze verify` and what it says of the unit."""
    done = subprocess.run(
        [analyze, "--user", "--man=no", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(unit.parent)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if "--user" in done.stderr and "unrecognized" in done.stderr:
        pytest.skip("systemd-analyze of this version verifies no user units")
    lines = [line for line in done.stderr.splitlines() if unit.name in line]
    return done.returncode, "\n".join(lines)


def test_windows_task_runs_the_words_and_restarts_nothing(tmp_path: Path) -> None:
    """The task has no limit of three days, no restart, and its words as Windows splits them."""
    made = service(tmp_path / "two words", "-m", "minibot", "--set", 'a.b="x & y"', "<z>")

    root = ElementTree.fromstring(task_text(made, "HOME\\trader").partition("\n")[2])

    found = {element.tag.removeprefix(f"{{{TASKS}}}"): element.text for element in root.iter()}
    assert found["Command"] == made.argv[0]
    assert found["Arguments"] == subprocess.list2cmdline(made.argv[1:])
    assert found["WorkingDirectory"] == str(tmp_path / "two words")
    assert found["UserId"] == "HOME\\trader"
    assert found["ExecutionTimeLimit"] == "PT0S"
    assert found["MultipleInstancesPolicy"] == "IgnoreNew"
    assert "RestartOnFailure" not in found


@pytest.mark.parametrize("word", ["%PATH%", "a%b%c", "$(Arg0)"])
def test_windows_task_refuses_what_would_be_replaced(tmp_path: Path, word: str) -> None:
    """Task Scheduler has no way to write these; one percent sign is fine."""
    with pytest.raises(Refusal, match="Task Scheduler would replace"):
        task_text(service(tmp_path, word), "trader")
    assert "100% sure" in task_text(service(tmp_path, "100% sure"), "trader")


def test_folder_of_the_tasks_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows keeps files of programs per user there."""
    monkeypatch.setenv("LOCALAPPDATA", str(PROJECT))

    assert task_folder() == PROJECT / "minibot"


# --- installed --------------------------------------------------------------------------------


class Machine:
    """Home and tools of a user: each tool notes its words and answers as told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "log"
        self._tools = folder / "tools"
        self._tools.mkdir()
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        monkeypatch.setenv("PATH", f"{self._tools}{os.pathsep}{os.environ['PATH']}")
        self.tool("systemctl")
        self.tool("loginctl", "Linger=yes")

    def tool(self, name: str, answer: str = "", code: int = 0) -> None:
        """Give a tool an answer and an exit code."""
        path = self._tools / name
        path.write_text(
            f'#!/bin/sh\necho "{name} $*" >> "{self.log}"\necho "{answer}"\nexit {code}\n'
        )
        path.chmod(0o700)

    def told(self) -> list[str]:
        """Return the command lines of the tools so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Machine of a test; skipped where scripts are no programs."""
    if os.name == "nt":
        pytest.skip("needs tools that are shell scripts")
    return Machine(tmp_path, monkeypatch)


@pytest.mark.process
def test_install_writes_the_unit_and_enables_it(machine: Machine, tmp_path: Path) -> None:
    """The unit names this Python, absolute files, and the evening; systemd is told."""
    words = ("--every-evening", "21:30", "--zone", "Europe/Berlin", "--set", "portfolio.cash=500")
    done = verb(tmp_path / "var", "service", "install", "night", *CONFIG, *words)

    assert done.code == 0, done.err
    unit = unit_folder() / "minibot-night.service"
    assert unit.parent == tmp_path / "config" / "systemd" / "user"
    command = read_command(setting(unit.read_text(), "ExecStart"))
    assert command == [
        *(sys.executable, "-m", "minibot", "night"),
        *("--config", str(PROJECT / "config/paper.v1.json"), "--set", "portfolio.cash=500"),
        *("--var", str(tmp_path / "var"), "--every-evening", "21:30"),
        *("--zone", "Europe/Berlin", "--quiet"),
    ]
    assert machine.told()[:2] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable minibot-night.service",
    ]
    assert "lingering" not in done.out


@pytest.mark.process
def test_command_of_the_unit_is_one_that_the_night_takes(machine: Machine, tmp_path: Path) -> None:
    """The verb itself parses and judges the command that the service would start."""
    verb(tmp_path / "var", "service", "install", "night", *CONFIG)
    unit = unit_folder() / "minibot-night.service"
    words = read_command(setting(unit.read_text(), "ExecStart"))[3:]
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "STOP.flag").write_bytes(b"stopped\n")

    done = verb(tmp_path / "var", *words)

    assert done.code == 2
    assert "STOP.flag" in done.err


@pytest.mark.process
def test_install_says_when_lingering_is_off(machine: Machine, tmp_path: Path) -> None:
    """Without it the night ends with the session, which nobody expects."""
    machine.tool("loginctl", "Linger=no")

    done = verb(tmp_path / "var", "service", "install", "night", *CONFIG)

    assert "lingering is off" in done.out
    assert "loginctl enable-linger" in done.out


@pytest.mark.process
def test_lingering_is_read_from_its_file_where_loginctl_cannot_say(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a session answers too."""
    machine.tool("loginctl", "", 1)
    monkeypatch.setattr(systemd_units, "_LINGER", tmp_path)
    monkeypatch.setenv("LOGNAME", "trader")

    before = systemd_units.lingers()
    (tmp_path / "trader").touch()

    assert (before, systemd_units.lingers()) == (False, True)


@pytest.mark.process
def test_systemd_that_is_not_reached_is_told_with_the_commands(
    machine: Machine, tmp_path: Path
) -> None:
    """The unit is written all the same, and the rest can be done by hand."""
    machine.tool("systemctl", "", 1)

    done = verb(tmp_path / "var", "service", "install", "night", *CONFIG)

    assert done.code == 0
    assert "systemctl --user enable minibot-night.service" in done.out
    assert (unit_folder() / "minibot-night.service").exists()


@pytest.mark.process
@pytest.mark.parametrize("action", ["install", "remove"])
def test_dry_run_shows_and_changes_nothing(machine: Machine, tmp_path: Path, action: str) -> None:
    """`--dry-run` prints the file in full and writes none."""
    done = verb(tmp_path / "var", "service", action, "night", *CONFIG, "--dry-run")

    assert done.code == 0
    assert machine.told() == []
    assert not unit_folder().exists()
    assert action == "remove" or f'ExecStart=:"{sys.executable}"' in done.out


@pytest.mark.process
def test_remove_takes_away_what_install_wrote(machine: Machine, tmp_path: Path) -> None:
    """Installed, shown, removed: nothing is left, and a second removal says so."""
    verb(tmp_path / "var", "service", "install", "night", *CONFIG)
    shown = verb(tmp_path / "var", "service", "show", "night")
    removed = verb(tmp_path / "var", "service", "remove", "night")
    again = verb(tmp_path / "var", "service", "remove", "night")

    assert "Restart=no" in shown.out
    assert removed.code == again.code == 0
    assert list(unit_folder().iterdir()) == []
    assert "systemctl --user disable minibot-night.service" in machine.told()
    assert "not installed" in again.out


@pytest.mark.process
def test_document_of_a_removal_names_what_was_removed(machine: Machine, tmp_path: Path) -> None:
    """A script that reads it would take a unit that stays for one that is gone."""
    verb(tmp_path / "var", "service", "install", "night", *CONFIG)
    remove = ("service", "remove", "--json")

    dry, done, again = (verb(tmp_path / "var", *remove, *more) for more in (["--dry-run"], [], []))

    assert dry.document == again.document == {"removed": []}
    assert done.document == {"removed": ["night"]}


@pytest.mark.process
@pytest.mark.parametrize("action", ["install", "remove"])
def test_unit_of_another_origin_is_never_touched(
    machine: Machine, tmp_path: Path, action: str
) -> None:
    """A unit that a person wrote under this name stays as it is."""
    unit = unit_folder() / "minibot-night.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/bin/true\n")

    done = verb(tmp_path / "var", "service", action, "night", *CONFIG)

    assert done.code == 2
    assert "was not written by minibot" in done.err
    assert "ExecStart=/bin/true" in unit.read_text()


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--every-evening", "24:10"), 2, "expected a time of day"),
        (("--zone", "Mars"), 2, "not a time zone"),
        (("--set", "risk.order_notionl=1"), 4, "risk.order_notional"),
    ],
)
def test_install_refuses_what_the_night_would_refuse(
    machine: Machine, tmp_path: Path, words: Sequence[str], code: int, told: str
) -> None:
    """The fault is told now, not at 22:00 in a log that nobody reads."""
    done = verb(tmp_path / "var", "service", "install", "night", *CONFIG, *words)

    assert done.code == code
    assert told in done.err
    assert not unit_folder().exists()


@pytest.mark.parametrize("name", ["MINIBOT__PORTFOLIO__CASH", "MINIBOT_SECRETS_FILE"])
def test_install_refuses_a_profile_that_rests_on_the_shells_variables(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A service has no variable of the shell: its nights would trade with other values."""
    monkeypatch.setenv(name, "500")

    done = verb(tmp_path / "var", "service", "install", "night", *CONFIG)

    assert done.code == 2
    assert f"{name}: set in this shell" in done.err
    assert not unit_folder().exists()


@pytest.mark.process
def test_guard_is_left_out_where_it_could_tell_nobody(machine: Machine, tmp_path: Path) -> None:
    """A profile without alerts gets the night alone, and is told; the guard alone is refused."""
    both = verb(tmp_path / "var", "service", "install", *CONFIG)
    guard = verb(tmp_path / "var", "service", "install", "guard", *CONFIG)

    assert [path.name for path in unit_folder().iterdir()] == ["minibot-night.service"]
    assert "the night alone" in both.err
    assert guard.code == 2


ALERTS = {
    "required": False,
    "level_min": "warning",
    "per_minute_max": 5,
    "commands": {"local": ["true"]},
}
ALERTED = (f"alerts={json.dumps(ALERTS)}", 'guard={"quiet_ms":20000}')


@pytest.mark.process
@pytest.mark.parametrize("sets", [ALERTED[:1], ALERTED], ids=["alerts alone", "with its section"])
@pytest.mark.parametrize("what", [(), ("both",), ("guard",)], ids=["default", "both", "guard"])
def test_guard_of_a_profile_with_alerts_gets_a_unit(
    machine: Machine, tmp_path: Path, what: Sequence[str], sets: Sequence[str]
) -> None:
    """A night has its guard unless a person asks for one of the two; systemd takes both units."""
    words = [word for text in sets for word in ("--set", text)]
    done = verb(tmp_path / "var", "service", "install", *what, *CONFIG, *words)

    assert done.code == 0, done.err
    expected = {"minibot-guard.service"} | (
        {"minibot-night.service"} if what != ("guard",) else set()
    )
    units = {path.name: path for path in unit_folder().iterdir()}
    assert units.keys() == expected
    guard = units["minibot-guard.service"].read_text()
    assert read_command(setting(guard, "ExecStart")) == [
        *(sys.executable, "-m", "minibot", "guard"),
        *("--config", str(PROJECT / "config/paper.v1.json"), *words),
        *("--var", str(tmp_path / "var")),
    ]
    assert setting(guard, "Restart") == "no"
    assert {f"systemctl --user enable {name}" for name in expected} <= set(machine.told())
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing")
    assert {name: verified(analyze, path) for name, path in units.items()} == {
        name: (0, "") for name in expected
    }


@pytest.mark.process
def test_command_of_the_guards_unit_is_one_that_the_guard_takes(
    machine: Machine, tmp_path: Path
) -> None:
    """The service's own command watches, with the time of its section, and ends when told."""
    words = [word for text in ALERTED for word in ("--set", text)]
    verb(tmp_path / "var", "service", "install", "guard", *CONFIG, *words)
    text = (unit_folder() / "minibot-guard.service").read_text()
    (tmp_path / "var").mkdir(exist_ok=True)

    guard = subprocess.Popen(
        read_command(setting(text, "ExecStart")),
        cwd=setting(text, "WorkingDirectory"),
        env=clean_environ(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert guard.stderr is not None
        output = guard.stderr.readline()
        guard.send_signal(signal.SIGTERM)
        code = guard.wait(DEADLINE_S)
    finally:
        guard.kill()
        guard.communicate()

    assert f"watching {tmp_path / 'var'}, 20 s of quiet" in output
    assert code == 0
