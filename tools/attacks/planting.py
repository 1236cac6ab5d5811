"""Planting of foreign code: a product with a code list, bytecode, and marks that it leaves."""

from __future__ import annotations

import importlib.util
import marshal
import sys
from pathlib import Path

from tools.attacks.frame import Done, Found, Lab, NotPlayable

UNCHECKED = b"\x01\x00\x00\x00"
LISTED = {"code.require_manifest": "true"}
VERDICT = "minibot/kernel/verify.py"
REFUSED = "a refusal that names the file, nothing of it executed"
CLEAN = "the true verdict, nothing of it executed"


def product_with_list(lab: Lab) -> Path:
    """Give the lab a copy of the product whose code is listed."""
    product = lab.copy_product()
    done = lab.minibot("stage", "adopt", "--reason", "attack")
    if done.code != 0:
        raise NotPlayable(f"no list: {done.last_words()}")
    return product


def marker_of(lab: Lab) -> Path:
    """Return the file that planted code creates when it runs."""
    return lab.folder / "executed"


def marking(lab: Lab, source: str = "") -> str:
    """Return the text of a module that acts like another one, and leaves its mark."""
    return f"{source}\nopen({str(marker_of(lab))!r}, 'a').close()\n"


def plant(lab: Lab, name: str, product: Path) -> Path:
    """Plant bytecode that Python runs without reading its source; return the file."""
    source = product / name
    text = marking(lab, source.read_text(encoding="utf-8"))
    code = compile(text, str(source), "exec", dont_inherit=True)
    target = source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
    target.parent.mkdir(exist_ok=True)
    head = importlib.util.MAGIC_NUMBER + UNCHECKED
    target.write_bytes(head + importlib.util.source_hash(text.encode()) + marshal.dumps(code))
    return target


def judged(lab: Lab, done: Done, code: int, *words: str) -> Found:
    """Return the finding: exit code, words printed, and whether the planted code ran."""
    was_executed = marker_of(lab).exists()
    said = "planted code was executed" if was_executed else done.last_words()
    return Found(said, done.code, not was_executed and done.code == code and done.says(*words))


def refused_night(lab: Lab, *words: str) -> Found:
    """Start a night under the code list and judge its refusal."""
    return judged(lab, lab.start_night(LISTED).wait(), 2, *words)
