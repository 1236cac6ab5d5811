"""`minibot completion`: what a shell offers for a line, asked by the shells themselves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from minibot.cli.completion import SHELLS
from minibot.cli.main import ALIASES, COMPLETING, verbs
from tests.runs import PROJECT, ShortRun, clean_environ, run_python, verb
from tests.waiting import DEADLINE_S

pytest.importorskip("argcomplete", reason="needs the extra completion")

ASK_BASH = """
source "$SCRIPT"
COMP_LINE="$LINE"
COMP_POINT=${#LINE}
COMP_TYPE=9
COMP_WORDS=($LINE)
[[ "$LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function_name=$(complete -p minibot | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function_name" minibot "${COMP_WORDS[$COMP_CWORD]}" "" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""
ASK_ZSH = """
autoload -Uz compinit is-at-least && compinit -u -d "$DUMP"
source "$SCRIPT"
_describe() { printf '%s\\n' "${(P@)2}" }
BUFFER="$LINE"
CURSOR=${#LINE}
words=(${(z)LINE})
_python_argcomplete minibot
"""
ASK_FISH = 'source "$SCRIPT"; complete --do-complete "$LINE"'
ASK_POWERSHELL = """
. $env:SCRIPT
(TabExpansion2 -inputScript $env:LINE -cursorColumn $env:LINE.Length).CompletionMatches |
    ForEach-Object { $_.CompletionText }
"""
ASKS = {
    "bash": (["bash", "--norc", "-c"], ASK_BASH),
    "zsh": (["zsh", "-f", "-c"], ASK_ZSH),
    "fish": (["fish", "--no-config", "-c"], ASK_FISH),
    "powershell": (["pwsh", "-NoProfile", "-Command"], ASK_POWERSHELL),
}


def offered(shell: str, folder: Path, line: str) -> list[str]:
    """Return the shell's offers for a line with the cursor at its end."""
    argv, ask = ASKS[shell]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is missing")
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    command = tools / "minibot"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m minibot "$@"\n')
    command.chmod(0o700)
    script = folder / f"minibot.{'ps1' if shell == 'powershell' else shell}"
    script.write_text(verb(folder / "var", "completion", shell).out)
    done = subprocess.run(
        [*argv, ask],
        cwd=folder,
        env={
            **clean_environ(),
            **{"PYTHONPATH": str(PROJECT), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
            **{"SCRIPT": str(script), "LINE": line, "DUMP": str(folder / "dump")},
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    # Some shells offer a description behind each word.
    lines = done.stdout.splitlines()
    return [word.split("\t")[0].split(":")[0].strip() for word in lines if word.strip()]


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_shell_offers_the_verbs_that_begin_so(tmp_path: Path, shell: str) -> None:
    """Each shell loads its script and completes a verb."""
    assert set(offered(shell, tmp_path, "minibot new-")) == {"new-config", "new-strategy"}


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_shell_offers_the_runs_of_the_var_that_is_named(
    tmp_path: Path, short_run: ShortRun, shell: str
) -> None:
    """A run's id is found by its first letters, so nobody types it."""
    line = f"minibot verify --var {short_run.var} {short_run.run_id[:3]}"

    assert offered(shell, tmp_path, line) == [short_run.run_id]


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash"])
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("minibot night --conf", ["--config"]),
        ("minibot night --config mi", ["mine.json"]),
        ("minibot config check config/pap", ["config/paper.v1.json"]),
        ("minibot night --set portfolio.ca", ["portfolio.cash="]),
        ("minibot new-config --at-e", ["--at-end"]),
        ("minibot help veri", ["verify"]),
        ("minibot report lat", ["latest"]),
        ("minibot backtesting --sourc", ["--source"]),
        ("minibot service insta", ["install"]),
    ],
    ids=lambda value: value.removeprefix("minibot ") if isinstance(value, str) else "",
)
def test_shell_offers_flags_profiles_and_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, line: str, wanted: Sequence[str]
) -> None:
    """The words typed most are offered: profiles here and shipped, keys, choices."""
    monkeypatch.chdir(tmp_path)
    assert verb(tmp_path / "var", "new-config", "mine").code == 0

    found = [word.rstrip() for word in offered(shell, tmp_path, line)]

    assert found == wanted


@pytest.mark.process
def test_shell_offers_every_verb_and_alias(tmp_path: Path) -> None:
    """An empty line offers all of them, although none is imported."""
    found = {word.rstrip() for word in offered("bash", tmp_path, "minibot ")}

    assert found >= {*verbs(), *ALIASES}


@pytest.mark.parametrize("shell", SHELLS)
def test_script_names_the_command(tmp_path: Path, shell: str) -> None:
    """The script of each shell is for `minibot`; as JSON it is one document."""
    done = verb(tmp_path / "var", "completion", shell, "--json")

    assert done.code == 0
    assert done.document["script"] + "\n" == verb(tmp_path / "var", "completion", shell).out
    assert "minibot" in done.document["script"]


@pytest.mark.process
def test_other_verbs_never_load_the_completion(tmp_path: Path) -> None:
    """The start of a verb is not slowed: argcomplete is imported where a shell asks alone."""
    code = (
        "import json, sys\n"
        "from minibot.cli.main import run\n"
        f"code = run(['runs', '--var', {str(tmp_path / 'var')!r}])\n"
        "print(json.dumps([code, sorted(m for m in sys.modules if 'argcomplete' in m)]))\n"
    )

    done = run_python(["-c", code], PROJECT, clean_environ())

    assert json.loads(done.out.splitlines()[-1]) == [0, []], done.err


@pytest.mark.process
def test_completion_of_a_verb_imports_that_verb_alone(tmp_path: Path) -> None:
    """The shell waits for the answer, so no other verb is loaded for it."""
    code = (
        "import json, sys\n"
        "from minibot.cli.support.completing import asked_parser\n"
        "asked_parser('minibot stop --wa')\n"
        "names = [m for m in sys.modules if m.startswith('minibot.cli.') and m.count('.') == 2]\n"
        "print(json.dumps(sorted(names)))\n"
    )

    done = run_python(["-c", code], PROJECT, clean_environ())

    assert json.loads(done.out) == ["minibot.cli.main", "minibot.cli.stop", "minibot.cli.support"]


@pytest.mark.process
def test_shell_gets_nothing_where_the_extra_is_missing(tmp_path: Path) -> None:
    """Without argcomplete a shell offers nothing, and the verb says what to install."""
    blocked = tmp_path / "blocked"
    (blocked / "argcomplete").mkdir(parents=True)
    (blocked / "argcomplete" / "__init__.py").write_text(
        "raise ModuleNotFoundError('argcomplete', name='argcomplete')\n"
    )
    environ = clean_environ() | {"PYTHONPATH": f"{blocked}{os.pathsep}{PROJECT}"}

    asked = run_python(
        ["-m", "minibot"],
        tmp_path,
        environ | {COMPLETING: "1", "COMP_LINE": "minibot ver", "COMP_POINT": "11"},
    )

    assert (asked.code, asked.out, asked.err) == (2, "", "")
