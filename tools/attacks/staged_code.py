"""Attacks on staged deployment: a refused file must leave nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

from tools.attacks.frame import Found, Lab, NotPlayable, attack
from tools.attacks.planting import plant


def _refused_add(lab: Lab, source: Path, path: str, *words: str) -> Found:
    """Add a file that must be refused, then one that must be accepted."""
    product = lab.project
    refused = lab.minibot("stage", "add", str(source), path)
    pending = [path for path in (product / "staging" / "pending").rglob("*") if path.is_file()]
    good = lab.folder / "good.md"
    good.write_text("good\n")
    taken = lab.minibot("stage", "add", str(good), "docs/good.md")
    is_sound = refused.code == 2 and refused.says(*words) and not pending and taken.code == 0
    said = f"{len(pending)} files stay pending" if pending else refused.last_words()
    return Found(said, refused.code, is_sound)


@attack("A8", "stage add of a file that exists, without --replace", "refused, nothing pending")
def refused_stage_add(lab: Lab) -> Found:
    """Add a file that exists, without --replace."""
    lab.copy_product()
    source = lab.folder / "limits.py"
    source.write_text("x = 1\n")
    return _refused_add(lab, source, "minibot/risk/limits.py", "exists already")


@attack("A8", "stage add of a link to a file outside", "refused, nothing pending")
def linked_stage_add(lab: Lab) -> Found:
    """Add a link to a file outside the project."""
    lab.copy_product()
    source = lab.folder / "link.py"
    source.symlink_to("/etc/hostname")
    return _refused_add(lab, source, "minibot/risk/fresh.py", "is a link")


@attack("A8", "stage add of bytecode into a cache folder", "refused, nothing pending")
def bytecode_stage_add(lab: Lab) -> Found:
    """Add bytecode to a cache folder."""
    product = lab.copy_product()
    source = plant(lab, "minibot/risk/limits.py", product)
    path = source.relative_to(product).as_posix()
    return _refused_add(lab, source, path, "bytecode")


@attack("A8", "stage add of a FIFO", "refused at once, nothing pending")
def fifo_stage_add(lab: Lab) -> Found:
    """Add a FIFO."""
    lab.copy_product()
    if not hasattr(os, "mkfifo"):
        raise NotPlayable("this system has no FIFOs")
    source = lab.folder / "fifo.py"
    os.mkfifo(source)
    return _refused_add(lab, source, "minibot/risk/fresh.py", "is not a file")
