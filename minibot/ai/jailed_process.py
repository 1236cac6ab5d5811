"""Sandboxed process as its parent sees it: two pipes that never block the parent.

Frames go into a bounded buffer that a thread empties; when it is full, market rows are dropped and
counted. A second thread splits the output into lines, limited in length and number; a child that
sends faster than the parent reads blocks in its own pipe. Its error stream is read to the end, and
the last part is kept.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.ai.frames import READ_BYTES, Frame, FrameError, LineSplitter, encode_frame
from minibot.ai.inherited_environment import environment
from minibot.kernel.files import ensure_folder
from minibot.kernel.threads import DaemonThread
from minibot.runtime.interpreter import program_environ

BUFFER_BYTES_MAX: Final = 1 << 20
LINES_MAX: Final = 256
LAST_WORDS_BYTES: Final = 2000
KILL_WAIT_S: Final = 5.0


class JailedProcess:
    """One sandboxed process, started at once.

    Args:
        argv: Its command line.
        folder: Its working folder.
        line_bytes_max: A longer line from it breaks the connection.
        buffer_bytes_max: Above this, droppable frames are dropped.

    Raises:
        OSError: The system provides no process, or no thread for it.
        RunStop: The working folder cannot be made.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        line_bytes_max: int,
        buffer_bytes_max: int = BUFFER_BYTES_MAX,
    ) -> None:
        ensure_folder(folder)
        self.argv = tuple(argv)
        self.dropped = 0
        self.broken = ""
        self._buffer_bytes_max = buffer_bytes_max
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._incoming: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._last_words = b""
        self._process = self._start(folder)
        self._threads = [
            DaemonThread(target, f"ai-{name}")
            for name, target in (
                ("send", self._send_all),
                ("receive", lambda: self._receive_all(line_bytes_max)),
                ("words", self._read_words),
            )
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            self.kill()
            raise OSError(errno.EAGAIN, str(error)) from error

    def _start(self, folder: Path) -> subprocess.Popen[bytes]:
        # Its own session, so that a Ctrl-C on the terminal reaches only the launcher.
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS
            flags |= subprocess.DETACHED_PROCESS  # As the clerk: without it a window would open.
        return subprocess.Popen(
            self.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=folder,
            env={**environment(os.environ), **program_environ()},
            close_fds=True,
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Return whether the process is still running."""
        return self._process.poll() is None

    @property
    def last_words(self) -> str:
        """Return the end of its error output, printable."""
        return self._last_words.decode("ascii", "backslashreplace").strip()

    def send(self, frame: Frame, *, may_drop: bool = False) -> bool:
        """Put a frame into the buffer; return False when it was dropped instead.

        It is dropped for want of room, or because the process has closed its output.
        Frames that may not be dropped are few, and their senders limit them; they have four times
        the room.
        """
        line = encode_frame(frame)
        room = self._buffer_bytes_max * (1 if may_drop else 4)
        with self._changed:
            if self._ended or (self._outgoing and self._outgoing_bytes + len(line) > room):
                self.dropped += 1
                return False
            self._outgoing.append(line)
            self._outgoing_bytes += len(line)
            self._changed.notify_all()
        return True

    def wait_until_taken(self, timeout_s: float) -> bool:
        """Return whether everything sent has left the buffer, waiting up to `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._outgoing or self._ended, timeout_s)

    def receive(self, timeout_s: float = 0.0) -> list[bytes]:
        """Return the received lines, waiting up to `timeout_s` for the first."""
        with self._changed:
            if not self._incoming and timeout_s > 0.0:
                self._changed.wait_for(lambda: self._incoming or self._ended, timeout_s)
            lines = list(self._incoming)
            self._incoming.clear()
            self._changed.notify_all()
        return lines

    @property
    def has_closed(self) -> bool:
        """Return whether its output has ended or broke, so that nothing more is sent to it.

        Its last lines may still be unread, unlike with `has_ended`.
        """
        with self._changed:
            return self._ended

    @property
    def has_ended(self) -> bool:
        """Return whether no more lines can come: the pipe has ended, and all lines were read."""
        with self._changed:
            return self._ended and not self._incoming

    def kill(self) -> int | None:
        """Kill the process and return its exit code; None if even that takes too long."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._process.kill()
        try:
            code = self._process.wait(KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            return None
        for thread in self._threads:
            thread.join(KILL_WAIT_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        return code

    # --- threads ------------------------------------------------------------------------------

    def _send_all(self) -> None:
        stream = self._process.stdin
        if stream is None:
            return
        while (line := self._next_line()) is not None:
            try:
                data = memoryview(line)
                while data:
                    data = data[os.write(stream.fileno(), data) :]
            except OSError:
                # The process is gone; the end of its other pipe shows that to the reader.
                return

    def _next_line(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._outgoing or self._ended)
            if self._ended:
                return None
            line = self._outgoing.popleft()
            self._outgoing_bytes -= len(line)
            self._changed.notify_all()
            return line

    def _receive_all(self, line_bytes_max: int) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        splitter = LineSplitter(line_bytes_max)
        try:
            while data := os.read(stream.fileno(), READ_BYTES):
                for line in splitter.take(data):
                    if not self._deliver(line):
                        return
        except FrameError as error:
            self.broken = str(error)
        except OSError as error:
            self.broken = f"pipe: {error}"
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _deliver(self, line: bytes) -> bool:
        """Hand a line over, waiting while too many are unread; False once the reader has gone."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._incoming) < LINES_MAX or self._ended)
            if self._ended:
                return False
            self._incoming.append(line)
            self._changed.notify_all()
            return True

    def _read_words(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        try:
            while data := os.read(stream.fileno(), READ_BYTES):
                self._last_words = (self._last_words + data)[-LAST_WORDS_BYTES:]
        except OSError:
            return
