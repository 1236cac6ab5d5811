"""Syntax trees of the project, parsed once for all the rules that are held against them."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path


def parsed_product(project: Path) -> dict[str, ast.Module]:
    """Return every module of the product by its dotted name; packages end in `__init__`."""
    return parsed(project, "minibot")


@cache
def parsed(project: Path, part: str) -> dict[str, ast.Module]:
    """Return every module below a folder of the project, parsed, by its dotted name.

    Millions of nodes that nobody frees make each collection of garbage slow, so none runs
    meanwhile, and the nodes are put out of its sight.
    """
    gc.disable()
    try:
        return {
            ".".join(path.relative_to(project).with_suffix("").parts): ast.parse(
                path.read_bytes(), str(path)
            )
            for path in sorted((project / part).rglob("*.py"))
        }
    finally:
        gc.freeze()
        gc.enable()
