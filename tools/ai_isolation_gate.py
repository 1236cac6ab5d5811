"""`minibot gate ai_isolation` under the name that its specification gives it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from minibot.cli.main import run  # Imported only now, because the line above sets the path.

if __name__ == "__main__":
    sys.exit(run(["gate", "ai_isolation", *sys.argv[1:]]))
