"""How verbs speak: one JSON document on stdout with `--json`, lines for people without."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence


def show(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    """Print the document or the lines."""
    if arguments.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for line in lines:
        print(line)
