"""Variants in which a golden run is replayed: hash seeds, locales, time zones, compiled, Wine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from minibot.compiled import build_folder, stale
from tools import windows_check
from tools.golden.fixture import PROJECT, Golden
from tools.golden.pythons import Python

REPLAY_S_MAX: Final = 300.0
# Variables that could steer a replay by accident are removed from its environment, then set.
STEERING: Final = ("PYTHONHASHSEED", "LC_ALL", "LANG", "TZ", "MINIBOT_COMPILED")
Digests = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Variant:
    """Variant of a replay: variables of the environment beside PATH and HOME."""

    name: str
    environ: Mapping[str, str] = field(default_factory=dict)


PLAIN: Final = Variant("interpreted, hash seed 0", {"PYTHONHASHSEED": "0"})
OTHERS: Final = (
    Variant("interpreted, hash seed 1", {"PYTHONHASHSEED": "1"}),
    Variant(
        "interpreted, hash seed random, LC_ALL=de_DE.UTF-8, TZ=Asia/Kathmandu",
        {"PYTHONHASHSEED": "random", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Kathmandu"},
    ),
    Variant(
        "interpreted, hash seed random, LC_ALL=C, TZ=America/St_Johns",
        {"PYTHONHASHSEED": "random", "LC_ALL": "C", "TZ": "America/St_Johns"},
    ),
)


def variants(python: Python, *, everything: bool) -> list[Variant]:
    """Return the variants in which a Python replays: the plain one, or all of them."""
    found = [PLAIN, *(OTHERS if everything else OTHERS[1:2])]
    if stale(build_folder(f"cpython-3{python.minor}")) is None:
        found.append(Variant("compiled", {"MINIBOT_COMPILED": "1", "PYTHONHASHSEED": "random"}))
    return found


def replayed(python: Python, variant: Variant, folders: Sequence[Path]) -> Digests | str:
    """Return by run id the result of replaying in a process of this Python, or why it failed."""
    environ = {name: value for name, value in os.environ.items() if name not in STEERING}
    done = subprocess.run(
        [str(python.path), "-m", "tools.golden.child", *map(str, folders)],
        cwd=PROJECT,
        env={**environ, "PYTHONPATH": str(PROJECT), **variant.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=REPLAY_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"
    found: Digests = json.loads(done.stdout)
    return found


def differences(runs: Sequence[Golden], found: Digests) -> list[str]:
    """Return a sentence for each run that differs from its record."""
    wrong = []
    for run in runs:
        seen = found.get(run.run_id, {})
        if not seen.get("identical"):
            wrong.append(f"{run.name}: the replay is not identical")
        elif seen.get("digest") != run.digest:
            wrong.append(f"{run.name}: expected digest {run.digest}, found {seen.get('digest')}")
    return wrong


def under_wine(runs: Sequence[Golden], folders: Sequence[Path]) -> str:
    """Replay under the Windows Python if it exists, and return a sentence about the result.

    Raises:
        ValueError: A digest differs there.
    """
    wine = windows_check.Wine(windows_check.FOLDER)
    if sys.platform != "linux" or not (wine.folder / "minibot.stamp").is_file():
        return "Windows Python: not here: python -m tools.windows_check --install builds it"
    try:
        words = [windows_check.windows_path(folder) for folder in folders]
        said = wine.python("-m", "tools.golden.child", *words)
    except windows_check.Failed as error:
        raise ValueError(f"Windows Python: FAILED: {error}") from error
    finally:
        wine.end()
    lines = [line for line in said.splitlines() if line.startswith("{")]
    wrong = differences(runs, json.loads(lines[-1]) if lines else {})
    if wrong:
        raise ValueError(f"Windows Python under Wine: {'; '.join(wrong)}")
    return "Windows Python under Wine: as recorded"
