"""Words that name a source of history, and the event orders of a recorded run.

A separate module lets a command line name sources without loading one.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = "columns"
RUN: Final = "run"
LOGGED: Final = "logged"
RULE: Final = "rule"
