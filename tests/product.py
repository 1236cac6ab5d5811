"""Copy of the product for tests that alter it: code, a code list, planted bytecode."""

from __future__ import annotations

import importlib.util
import marshal
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.runs import PROJECT, Completed, clean_environ, run_python

COPIED = ("minibot", "contracts", "config")
COPIED_FILES = ("pyproject.toml", "requirements.lock", "requirements-dev.lock")
UNCHECKED = b"\x01\x00\x00\x00"


def copy_product(folder: Path) -> Path:
    """Return a copy of the product without bytecode."""
    for name in COPIED:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED_FILES:
        shutil.copy2(PROJECT / name, folder / name)
    (folder / "staging").mkdir()
    return folder


def in_product(product: Path, *argv: str, **environ: str) -> Completed:
    """Run Python in a copy of the product to its end."""
    return run_python(argv, product, started_by_a_user() | environ)


def started_by_a_user() -> dict[str, str]:
    """Return the environment without variables that steer a run or place bytecode."""
    return {name: text for name, text in clean_environ().items() if not name.startswith("PYTHON")}


def marking(marker: Path, source: str = "") -> str:
    """Return the text of a module that also leaves a file when it runs."""
    return f"{source}\nopen({str(marker)!r}, 'a').close()\n"


def plant(source: Path, marker: Path) -> Path:
    """Plant bytecode that Python runs unchecked instead of a source; return its file."""
    text = marking(marker, source.read_text(encoding="utf-8"))
    code = compile(text, str(source), "exec", dont_inherit=True)
    target = Path(importlib.util.cache_from_source(str(source)))
    if sys.pycache_prefix is not None:
        target = source.parent / "__pycache__" / target.name
    target.parent.mkdir(exist_ok=True)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED
    target.write_bytes(head + importlib.util.source_hash(text.encode()) + marshal.dumps(code))
    return target


def night_words(var: Path, sets: Mapping[str, str], *flags: str) -> Sequence[str]:
    """Return the arguments of a short night on a synthetic market, in a copy of the product."""
    values = {"embedded.source": "generator:2", "embedded.speed": "20", "duration_ms": "100000"}
    words = ["-m", "minibot.nore_run_v1", "--config", "config/nore-smoke.v1.json"]
    words += ["--var", str(var), "--quiet", *flags]
    for key, value in (values | dict(sets)).items():
        words += ["--set", f"{key}={value}"]
    return words
