"""Systemd user units of `minibot service`: written, removed, shown, and made known to systemd."""

from __future__ import annotations

import getpass
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from minibot.cli.support.machine_checks import TOOL_S_MAX, answer_of
from minibot.cli.support.service_files import MARK, Service, unit_folder, unit_text
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, write_atomic

_LINGER: Final = Path("/var/lib/systemd/linger")


class SystemdUnits:
    """Units of this user."""

    def path(self, name: str) -> Path:
        """Return the file of a unit."""
        return unit_folder() / f"{name}.service"

    def text(self, service: Service) -> str:
        """Return the text of a unit."""
        return unit_text(service)

    def install(self, service: Service) -> Iterator[str]:
        """Write a unit and enable it; yield the steps done and the steps to do.

        Raises:
            Refusal: There is a unit of another origin.
        """
        path = self.path(service.name)
        _refuse_foreign(path)
        ensure_folder(path.parent)
        write_atomic(path, unit_text(service).encode())
        yield f"written: {path}"
        yield from _systemctl("daemon-reload")
        yield from _systemctl("enable", path.name)
        yield f"  start now   systemctl --user start {path.name}"
        yield f"  look        systemctl --user status {path.name}"

    def remove(self, name: str, is_dry: bool) -> Iterator[str]:
        """Disable a unit and remove its file; a night that goes on is not ended.

        Raises:
            Refusal: There is a unit of another origin.
        """
        path = self.path(name)
        if not path.exists():
            yield f"not installed: {path}"
            return
        _refuse_foreign(path)
        if is_dry:
            yield f"would remove: {path}"
            return
        yield from _systemctl("disable", path.name)
        path.unlink()
        yield f"removed: {path}"
        yield from _systemctl("daemon-reload")
        yield f"  end what still runs   systemctl --user stop {path.name}"

    def shown(self, name: str) -> Iterator[str]:
        """Yield a unit's state and text."""
        path = self.path(name)
        if not path.exists():
            yield f"not installed: {path}"
            return
        state = (answer_of("systemctl", "--user", "is-active", path.name) or "unknown").strip()
        yield f"{path} ({state})"
        yield ""
        yield from path.read_text(encoding="utf-8").splitlines()

    def hints(self) -> Iterator[str]:
        """Yield obstacles that keep the services from running while no one is logged in."""
        if not lingers():
            yield "lingering is off: they end when you log out, and start when you log in."
            yield "  turn it on  loginctl enable-linger"


def lingers() -> bool:
    """Return whether this user's services run without a session."""
    user = getpass.getuser()
    answer = answer_of("loginctl", "show-user", user, "--property=Linger")
    if answer is not None and "Linger=" in answer:
        return "Linger=yes" in answer
    # Without a session loginctl knows no user; the file is its memory.
    return (_LINGER / user).exists()


def _systemctl(*words: str) -> Iterator[str]:
    """Notify systemd of a change; yield the command to give by hand if that fails."""
    argv = ["systemctl", "--user", *words]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TOOL_S_MAX, check=False
        )
        is_done = done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        is_done = False
    if not is_done:
        yield f"  do this yourself, systemd was not reached:   {shlex.join(argv)}"


def _refuse_foreign(path: Path) -> None:
    if path.exists() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        raise Refusal(f"{path} was not written by minibot.", "Look at it, and move it away.")
