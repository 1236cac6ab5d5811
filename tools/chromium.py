"""Chromium for tests and pictures: an installed one, driven through its pipe, without a network.

It is told what to do by the DevTools protocol over two pipes, so that no port is opened and no
library is needed. It loads files and pages of this machine alone.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psutil

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
# A slow machine with other work needs its time; one that never answers ends the test.
ANSWER_S: Final = 120
END_S: Final = 20
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
READ_BYTES: Final = 1 << 16
KEYS: Final = {
    "Tab": 9,
    "Enter": 13,
    "ArrowLeft": 37,
    "ArrowRight": 39,
}
"""Keys that `press` knows, with their codes."""
CALLS: Final = ("error", "assert")
"""Calls of `console` that are complaints."""

# Parts of answers to a question that another page's coming cut off, or met with no page there.
LEFT: Final = ("navigated or closed", "default execution context")


class ChromiumError(RuntimeError):
    """Chromium did not start, ended, or refused a command."""


class LeftPageError(ChromiumError):
    """The page was left before it answered."""


def found_chromium() -> str | None:
    """Return the path of an installed Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page, for a `with`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._number = 0
        self._session = ""
        self._target = ""
        self._buffer = b""
        self._messages: list[dict[str, Any]] = []
        self._complaints: list[str] = []
        self._requests: list[str] = []
        self._dialogs: list[str] = []
        self._folder: str = ""
        self._pid: int = 0
        self._to: int = -1
        self._from: int = -1

    def __enter__(self) -> Chromium:
        if sys.platform == "win32":
            raise ChromiumError("Chromium is driven by descriptors that Windows does not pass on.")
        import fcntl

        self._folder = tempfile.mkdtemp(prefix="minibot-chromium-")
        commands, self._to = os.pipe()
        self._from, answers = os.pipe()
        # Chromium reads descriptor 3 and writes 4: ours lie above, so that none is overwritten.
        high = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (commands, answers)]
        devnull = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, fd, at) for fd, at in zip(high, (3, 4), strict=True)]
        words = [self._path, *FLAGS, f"--user-data-dir={self._folder}", "about:blank"]
        self._pid = os.posix_spawn(
            self._path, words, os.environ, file_actions=[*devnull, *pipes], setsid=True
        )
        for each in (commands, answers, *high):
            os.close(each)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def show(self, path: Path, width: int, height: int = 900, **features: str) -> None:
        """Load a file in a window of a size.

        Args:
            path: The page.
            width: Of the window, CSS pixels.
            height: Of the window.
            features: `media` (screen, print), and media features such as `prefers_color_scheme`.
        """
        self.open(path.resolve().as_uri(), width, height, **features)

    def open(self, url: str, width: int, height: int = 900, **features: str) -> None:
        """Load a page of a server on this machine; see `show`.

        Each has a page of its own: one that polls a server that has ended would complain in the
        next one's name.
        """
        self._new_page()
        media = features.pop("media", "")
        named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._call("Emulation.setEmulatedMedia", {"media": media, "features": named})
        self._resize(width, height)
        self._call("Page.navigate", {"url": url})
        self._await_event("Page.loadEventFired")

    def _new_page(self) -> None:
        """Replace the page by an empty one of which nothing is kept yet."""
        former, self._session = self._target, ""
        self._target = str(self._call("Target.createTarget", {"url": "about:blank"})["targetId"])
        if former:
            self._call("Target.closeTarget", {"targetId": former})
        to_page = {"targetId": self._target, "flatten": True}
        self._session = str(self._call("Target.attachToTarget", to_page)["sessionId"])
        for kept in (self._messages, self._complaints, self._requests, self._dialogs):
            kept.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    @property
    def complaints(self) -> list[str]:
        """Errors on the page's console since it was opened."""
        return list(self._complaints)

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for since it was opened."""
        return list(self._requests)

    @property
    def dialogs(self) -> list[str]:
        """Questions of the page since it was opened; each was answered with yes."""
        return list(self._dialogs)

    def press(self, key: str) -> None:
        """Press and release a key of `KEYS`, as at the keyboard."""
        told: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self._call("Input.dispatchKeyEvent", {"type": "keyDown", **told, **text})
        self._call("Input.dispatchKeyEvent", {"type": "keyUp", **told})

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self._call("Input.insertText", {"text": text})

    def _resize(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", metrics)

    def ask(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        said = self._call("Runtime.evaluate", {"expression": script, "returnByValue": True})
        if "exceptionDetails" in said:
            raise ChromiumError(str(said["exceptionDetails"]))
        return said["result"].get("value")

    def holds(self, script: str) -> bool:
        """Return whether an expression holds in the page; False while another page comes."""
        try:
            return bool(self.ask(script))
        except LeftPageError:
            return False

    def picture(self, path: Path, width: int, height: int) -> None:
        """Write the top of the page as a PNG of a size."""
        self._resize(width, height)
        shot = self._call("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(shot["data"]))

    # --- the pipe -----------------------------------------------------------------------------

    def _call(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        number = self._post(method, params)
        deadline = time.monotonic() + ANSWER_S
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == number:
                if "error" in answer:
                    if any(words in str(answer["error"].get("message", "")) for words in LEFT):
                        raise LeftPageError(method)
                    raise ChromiumError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _post(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a command and return its number, by which its answer comes."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params or {}}
        if self._session:
            message["sessionId"] = self._session
        self._send(json.dumps(message).encode() + b"\0")
        return self._number

    def _note(self, message: dict[str, Any]) -> None:
        """Keep an event of the page; a question of it is answered with yes."""
        if message.get("sessionId", "") != self._session:
            return  # A former page's last words.
        self._messages.append(message)
        method, told = message.get("method"), message.get("params", {})
        if method == "Page.javascriptDialogOpening":
            self._dialogs.append(str(told["message"]))
            self._post("Page.handleJavaScriptDialog", {"accept": True})
        elif method == "Network.requestWillBeSent":
            self._requests.append(str(told["request"]["url"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self._complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and told["type"] in CALLS:
            self._complaints.append(str(told["args"]))
        elif method == "Runtime.exceptionThrown":
            self._complaints.append(str(told["exceptionDetails"]))

    def _send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._to, data) :]

    def _await_event(self, method: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not any(message.get("method") == method for message in self._messages):
            self._note(self._next(deadline, method))

    def _next(self, deadline: float, awaited: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise ChromiumError(f"no answer to {awaited} within {ANSWER_S} s")
            read = os.read(self._from, READ_BYTES)
            if not read:
                raise ChromiumError(f"Chromium ended before it answered {awaited}")
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def _end(self) -> None:
        os.close(self._to)
        os.close(self._from)  # Chromium ends with its pipe.
        try:
            psutil.Process(self._pid).wait(timeout=END_S)
        except psutil.TimeoutExpired:
            if sys.platform != "win32":
                os.killpg(self._pid, signal.SIGKILL)
            psutil.Process(self._pid).wait()
        except psutil.NoSuchProcess:
            pass
        shutil.rmtree(self._folder, ignore_errors=True)
