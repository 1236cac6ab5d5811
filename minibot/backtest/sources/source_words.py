"""Words that name a source of history, and the event orders of a recorded run.

They stand apart so that a command line that only speaks of sources loads none.
"""

from __future__ import annotations

from typing import Final

COLUMNS: Final = "columns"
RUN: Final = "run"
LOGGED: Final = "logged"
RULE: Final = "rule"
