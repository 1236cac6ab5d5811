"""Second process of `minibot probe`: waits for each line and reports when it woke.

`python -m minibot.watchdog.waker ROOT HOPS`; prints `ready`, and at the end the monotonic times in
nanoseconds on one line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from minibot.events.names import TICKS
from minibot.kernel.files import FILES
from minibot.kernel.head import head_path
from minibot.kernel.queue import INBOX, open_reader, queue_folder
from minibot.kernel.wakeup import Waiter

WAIT_S: Final = 5.0


def main(argv: list[str]) -> int:
    """Wait for the requested number of lines; return 1 if they stop coming."""
    root, hops = Path(argv[0]), int(argv[1])
    reader = open_reader(root, TICKS)
    waiter = Waiter([head_path(queue_folder(root, TICKS), INBOX)])
    woke: list[int] = []
    print("ready", flush=True)
    while len(woke) < hops:
        if not waiter.wait(WAIT_S):
            return 1
        moment = FILES.monotonic_ns()
        while reader.read(1):  # A line that came after waking has a later time.
            woke.append(moment)
            moment = FILES.monotonic_ns()
    waiter.close()
    reader.close()
    print(*woke, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
