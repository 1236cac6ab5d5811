"""O9: what the extras `web` and `alerts` add to the disk and to the launcher's import."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from typing import Final

from minibot.runtime.extras import ALERTS, WEB
from tools.bench.first_hour import BLOCK_BYTES, BY_CPU, LAUNCHER, MB, timed
from tools.bench.frame import Limit, Measure, median
from tools.bench.machine import PROJECT

EXTRAS: Final = ("web", "alerts")
SIZE: Final = Limit(80, 50, is_most=True)
OVER: Final = Limit(1.05, 1.0, is_most=True)
"""1.0x as the issue asks, less the noise of a process's start."""
WITHOUT: Final = "import sys; sys.modules.update(dict.fromkeys({names!r}))\nimport {launcher}"
PAIRS_MIN: Final = 15
"""An import takes a quarter of a second, and the system counts CPU in hundredths."""
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_ASKED: Final = re.compile(r"extra\s*==")
_OTHER: Final = re.compile(r"(sys_platform|platform_system|os_name)\s*==\s*['\"](\w+)['\"]")


def extras(repeats: int) -> list[Measure]:
    """Return the size of both extras beside the rest, and the launcher's import with and without.

    Args:
        repeats: Pairs of imports, by turns.
    """
    return [size(), over_none(repeats)]


def size() -> Measure:
    """Return the size of the packages that only the extras bring."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    base = closure(project["dependencies"])
    asked = [name for each in EXTRAS for name in project["optional-dependencies"][each]]
    found = closure(asked)
    name = "extras web and alerts, installed, MB more"
    if missing := sorted(name for name, is_here in found.items() if not is_here):
        note = [f"not measured: not installed: {', '.join(missing)}"]
        return Measure("O9", name, None, "MB", SIZE, notes=note)
    sizes = {each: installed_mb(each) for each in found if each not in base}
    largest = sorted(sizes, key=lambda each: -sizes[each])[:5]
    told = ", ".join(f"{each} {sizes[each]:.1f}" for each in largest)
    notes = [f"{len(sizes)} packages, by their own files on the disk; largest, MB: {told}"]
    return Measure("O9", name, sum(sizes.values()), "MB", SIZE, notes=notes)


def closure(asked: Iterable[str]) -> dict[str, bool]:
    """Return the packages that some requirements bring, by normal name: whether it is installed.

    A requirement of another system, or of an extra, brings nothing.
    """
    found: dict[str, bool] = {}
    waiting = list(asked)
    while waiting:
        text, _, marker = waiting.pop().partition(";")
        if _ASKED.search(marker) or is_elsewhere(marker):
            continue
        named = _NAME.match(text.strip())
        if named is None:
            continue
        name = re.sub(r"[-_.]+", "-", named[0]).lower()
        if name in found:
            continue
        try:
            waiting += metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            # A condition that is not understood, as of an older Python, asks for what is not here.
            if not marker:
                found[name] = False
            continue
        found[name] = True
    return found


def is_elsewhere(marker: str) -> bool:
    """Return whether a condition names another system than this one."""
    here = {sys.platform, os.name, {"win32": "Windows", "darwin": "Darwin"}.get(sys.platform, "")}
    if sys.platform == "linux":
        here.add("Linux")
    return any(name not in here for _, name in _OTHER.findall(marker))


def installed_mb(name: str) -> float:
    """Return the size of a package's own files, in MB of a million bytes."""
    found = 0
    for path in metadata.files(name) or ():
        try:
            stat = os.lstat(path.locate())
        except OSError:
            continue  # Bytecode that was listed and is not there.
        found += getattr(stat, "st_blocks", -(-stat.st_size // BLOCK_BYTES)) * BLOCK_BYTES
    return found / MB


def over_none(repeats: int) -> Measure:
    """Return the launcher's import with the extras installed over one that finds none of them."""
    names = [*WEB, *ALERTS]
    plain = [sys.executable, "-c", f"import {LAUNCHER}"]
    without = [sys.executable, "-c", WITHOUT.format(names=names, launcher=LAUNCHER)]
    has: list[float] = []
    none: list[float] = []
    for _ in range(max(repeats, PAIRS_MIN) + 1):
        has.append(timed(plain).cpu_s)
        none.append(timed(without).cpu_s)
    samples = {"extras here, CPU s": has[1:], "extras hidden, CPU s": none[1:]}
    over = median(has[1:]) / median(none[1:])
    return Measure(
        *("O9", "launcher's import, extras here over hidden", over, "x"),
        OVER,
        samples,
        notes=[BY_CPU, "pairs by turns; must and goal are 1.0x, 5 % of it is noise"],
    )
