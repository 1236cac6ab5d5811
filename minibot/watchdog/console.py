"""End of the operator's console: its window closes, the user logs off, or Windows shuts down.

Python turns only Ctrl-C and Ctrl-Break into signals. For the others Windows calls a handler and
ends the process some five seconds later, or as soon as the handler returns.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from queue import SimpleQueue

if sys.platform == "win32":
    import ctypes
    import threading
    from ctypes import wintypes
    from types import TracebackType
    from typing import Final

    _NAMES: Final = {2: "CTRL_CLOSE", 5: "CTRL_LOGOFF", 6: "CTRL_SHUTDOWN"}
    # An orderly end has this long; the rest of the five seconds is for a STOP and the seal.
    ORDERLY_S: Final = 1.5
    REST_S: Final = 10.0
    _Handler = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)

    class ConsoleEvents:
        """Handler of the console's end: puts an interrupt at once, one more `ORDERLY_S` later."""

        def __init__(self, interrupts: SimpleQueue[str]) -> None:
            self._interrupts = interrupts
            self._ended = threading.Event()
            self._handler = _Handler(self.take)  # Kept here: Windows holds no reference.

        def __enter__(self) -> None:
            ctypes.windll.kernel32.SetConsoleCtrlHandler(self._handler, True)

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            self._ended.set()
            ctypes.windll.kernel32.SetConsoleCtrlHandler(self._handler, False)

        def take(self, event: int) -> bool:
            """Handle one event, in a system thread; False leaves it to the next handler."""
            name = _NAMES.get(event)
            if name is None:
                return False
            self._interrupts.put(name)
            if not self._ended.wait(ORDERLY_S):
                self._interrupts.put(name)
                self._ended.wait(REST_S)
            return True

    def console_events(interrupts: SimpleQueue[str]) -> AbstractContextManager[None]:
        """Return a context that turns the end of the console into interrupts."""
        return ConsoleEvents(interrupts)

else:

    def console_events(interrupts: SimpleQueue[str]) -> AbstractContextManager[None]:
        """Return a context that does nothing: the end of a terminal is a signal here."""
        return nullcontext()
