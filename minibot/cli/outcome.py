"""What a trader reads when a run has ended: the summary, the verdicts, and where the files are."""

from __future__ import annotations

import sys

from minibot.watchdog.launcher import Outcome


def judge(outcome: Outcome, *, proof: bool, as_json: bool) -> int:
    """Print how a run ended and return its exit code."""
    print(f"{outcome.run_dir.name}: {outcome.reason_code} {outcome.detail}", file=sys.stderr)
    return outcome.exit_code
