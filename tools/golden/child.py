"""Replays runs in a process of its own: `python -m tools.golden.child DIR...`, one JSON object.

Every Python and Wine import it, so it imports nothing but the replay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from minibot.engine.role_replay import replay_run


def main() -> int:
    """Print by run id whether the replay is identical, and its digest."""
    found = {}
    for name in sys.argv[1:]:
        replay = replay_run(Path(name))
        found[replay.run_id] = {"digest": replay.digest, "identical": replay.is_identical}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
