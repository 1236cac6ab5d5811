"""python -m minibot.nore_run_v1 --config config/nore.v1.json: the night run.

A Python without the environment hands over to `.venv` if that exists, else it says in one line how
to make it. The run itself is `watchdog.launcher`; this file parses the command line, prints, and
judges the finished run.
"""

from __future__ import annotations

import sys

from minibot.environment import hand_over


def main(argv: list[str] | None = None) -> int:
    """Run one night and return its exit code."""
    from minibot.cli.night import main as run

    return run(sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    hand_over("minibot.nore_run_v1")
    sys.exit(main())
