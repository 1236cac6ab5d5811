"""Bad arguments to verbs: refused in words, in bounded time, without a traceback."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from minibot.cli import strategy_check
from minibot.cli.main import guarded, run
from minibot.events import roles as roles_module
from minibot.kernel.files import is_endless
from minibot.runtime.configuration.config import load_config
from minibot.strategies.trial_process import tried
from tests.runs import PROJECT, clean_environ, verb

pytestmark = [pytest.mark.campaign, pytest.mark.process]

DEMO = PROJECT / "config" / "nore-demo.v1.json"
WINDOWS = sys.platform == "win32"
LOOPING = """
from minibot.strategies.protocol import ClosedBar, Decision, Needs, Settings, Strategy, View


class Looping(Strategy):
    @staticmethod
    def needs(settings: Settings) -> Needs:
        return Needs(intervals=("1s",), history=5)

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        n = 0
        while n >= 0:
            n += {step}
"""


@pytest.mark.skipif(WINDOWS, reason="forks and FIFOs are missing on Windows")
def test_verbs_take_a_seeded_share_of_bad_words_without_a_trace() -> None:
    """Each verb survives a seeded share of bad arguments; `tools.fuzz_verbs` has thousands."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.fuzz_verbs", "--cases", "40", "--seed", "7"],
        cwd=PROJECT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("where", "value"),
    [("profile", '"\\ud800"'), ("risk", '{"\\udfff": 1}'), ("binance", '["\\udc80"]')],
    ids=["value", "key", "list"],
)
def test_half_a_letter_in_a_profile_is_refused_by_its_key(
    where: str, value: str, tmp_path: Path, var_dir: Path
) -> None:
    """Half a surrogate pair is refused by its key, in a file and by `--set`."""
    raw = deepcopy(load_config(DEMO).raw)
    raw[where] = json.loads(value)
    path = tmp_path / "half.json"
    path.write_text(json.dumps(raw), encoding="utf-8")

    filed = verb(var_dir, "config", "check", "--config", str(path))
    typed = verb(var_dir, "config", "check", "--config", str(DEMO), "--set", f"{where}={value}")

    for done in (filed, typed):
        assert done.code == 4
        assert where in done.err
        assert "holds half a letter" in done.err


def fifo(folder: Path, name: str = "fifo.py") -> Path:
    path = folder / name
    if sys.platform != "win32":
        os.mkfifo(path)
    return path


@pytest.mark.skipif(WINDOWS, reason="FIFOs and /dev/zero are missing on Windows")
def test_what_never_ends_is_no_file_to_read(tmp_path: Path, var_dir: Path) -> None:
    """A FIFO without writer and a device without end are refused as files."""
    pipe, bars = str(fifo(tmp_path)), fifo(tmp_path, "BTCUSDT-1m-2025-01-01.csv")

    done = {
        words: verb(var_dir, *words)
        for words in (
            ("config", "check", "--config", pipe),
            ("config", "check", "--config", "/dev/zero"),
            ("strategy-check", pipe),
            ("verify", pipe),
            ("verify", "/dev/zero"),
            ("replay-manifest", "--check", pipe),
            ("backtest", "--source", f"tape:{pipe}"),
            ("backtest", "--source", f"klines:{bars}"),
        )
    }

    assert {words: each.code for words, each in done.items()} == {
        words: 4 if words[0] == "config" else 2 for words in done
    }
    assert all("not a regular file" in each.err for each in done.values())
    assert not is_endless(tmp_path)
    assert not is_endless(tmp_path / "missing")


@pytest.mark.parametrize("name", ["", "x" * 300, "\udcff", "a\0b"])
@pytest.mark.parametrize("words", [("verify",), ("replay",), ("report",), ("explain",)])
def test_name_that_is_none_is_refused(words: tuple[str, ...], name: str, var_dir: Path) -> None:
    """An empty name is not the working folder, and a name that is too long is not looked up."""
    done = verb(var_dir, *words, name)

    assert done.code == 2
    assert "is not a run id under" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("page", "latest", "--port", "70000"), "0 to 65535"),
        *(
            (("probe", "--seconds", text), "seconds from 0.1 to 3600")
            for text in ("1e999", "inf", "nan", "3601", "0")
        ),
    ],
)
def test_number_beyond_its_bounds_is_refused(
    words: tuple[str, ...], told: str, var_dir: Path
) -> None:
    """A number that no port or measurement can have is refused with its bounds."""
    done = verb(var_dir, *words)

    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize(
    ("failing", "told"),
    [
        (lambda: os.listdir("/no/such/file"), "/no/such/file: No such file or directory."),
        (lambda: "x".encode("no-such-codec"), "an error of minibot itself"),
        (lambda: os.stat("a\0b"), "a name holds a NUL"),
    ],
    ids=["system", "own", "nul"],
)
@pytest.mark.parametrize("debug", [False, True])
def test_error_that_nobody_foresaw_is_one_line_and_a_trace_with_debug(
    failing: Callable[[], object],
    told: str,
    debug: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An unforeseen error ends the verb with 2 and one line; `--debug` adds the traceback."""

    def run(_: argparse.Namespace) -> int:
        failing()
        return 0

    code = guarded(argparse.Namespace(run=run, var=None, debug=debug))

    text = capsys.readouterr().err
    assert code == 2
    assert told in text.splitlines()[0]
    assert ("Traceback" in text) == debug


@pytest.mark.skipif(WINDOWS, reason="/dev/full and closed descriptors are missing on Windows")
@pytest.mark.parametrize(
    ("redirected", "code"), [(">&-", 0), (">/dev/full", 2), (">&- 2>&- <&-", 0), ("<&-", 0)]
)
@pytest.mark.parametrize("words", [("config", "check"), ("--help",)], ids=["verb", "help"])
def test_streams_that_are_closed_or_full_end_no_verb_with_a_trace(
    words: tuple[str, ...], redirected: str, code: int
) -> None:
    """Closed or full output streams cause no traceback, and lost output no exit code 0."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {redirected}', "sh", sys.executable, "-m", "minibot", *words],
        cwd=PROJECT,
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_trial_without_an_end_is_ended_and_its_line_told(tmp_path: Path) -> None:
    """An endless trial, which runs in a separate process, is ended and its line reported."""
    path = tmp_path / "looping.py"
    path.write_text(LOOPING.format(step=1), encoding="utf-8")

    text = tried(path, limit_s=1)

    # On a busy machine the first second may pass before the file is loaded.
    assert "the trial had not ended after 1 s" in text
    assert "looping.py" in text


@pytest.mark.row("N-124")
def test_trial_names_a_folder_with_an_umlaut_where_the_code_page_is_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that speaks in Windows' code page names its file's folder as it is."""
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    path = tmp_path / "J\u00fcrgen" / "broken.py"
    path.parent.mkdir()
    path.write_text("import\n", encoding="utf-8")

    assert "J\u00fcrgen" in tried(path)


def test_check_of_an_endless_strategy_exits_1_with_its_line(tmp_path: Path, var_dir: Path) -> None:
    """A check of an endless strategy exits 1 with its line; one that ends is tried as before."""
    path, fine = tmp_path / "J\u00fcrgen" / "looping.py", tmp_path / "fine.py"
    path.parent.mkdir()
    path.write_text(LOOPING.format(step=1), encoding="utf-8")
    fine.write_text(LOOPING.format(step=-1), encoding="utf-8")

    done = verb(var_dir, "strategy-check", str(path), "--limit", "10")

    assert done.code == 1
    assert any(f"looping.py, line {line} (in on_bar)" in done.out for line in (12, 13))
    assert strategy_check.examined(fine)[3] == ""


def test_trial_whose_process_is_killed_is_a_failure(tmp_path: Path) -> None:
    """A trial whose process was killed counts as a failure."""
    path = tmp_path / "deep.py"
    body = "def f(n: int) -> int:\n    return f(n + 1)\n\n\nf(0)\n"
    path.write_text(body, encoding="utf-8")

    assert "deep.py" in tried(path)


def test_broken_table_of_roles_is_refused_by_its_name_and_not_by_a_trace(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A broken table of roles is refused with file and reason, not with a traceback."""
    path = tmp_path / "roles.v1.json"
    path.write_text('{"roles": {}, "queues": {}', encoding="utf-8")
    monkeypatch.setattr(roles_module, "PATH", path)
    roles_module.Roles.of_project.cache_clear()
    try:
        code = run(["replay", "latest", "--var", str(tmp_path / "var")])
    finally:
        monkeypatch.undo()
        roles_module.Roles.of_project.cache_clear()

    assert code == 4
    assert "roles.v1.json: cannot be read" in capsys.readouterr().err
