"""python -m minibot VERB: everything but the night run itself."""

from __future__ import annotations

import sys

from minibot.environment import hand_over


def main() -> int:
    """Run one verb and return its exit code."""
    hand_over("minibot")
    from minibot.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
