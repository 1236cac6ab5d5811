"""Windows tasks of `minibot service`: written as XML, handed to Task Scheduler, shown, removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from minibot.cli.support.machine_checks import TOOL_S_MAX, answer_of
from minibot.cli.support.service_files import Service, task_folder, task_text
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, write_atomic


class WindowsTasks:
    """Tasks of this user."""

    def path(self, name: str) -> Path:
        """Return the XML file of a task."""
        return task_folder() / f"{name}.xml"

    def text(self, service: Service) -> str:
        """Return the XML of a task."""
        domain, user = os.environ.get("USERDOMAIN", ""), os.environ.get("USERNAME", "")
        return task_text(service, f"{domain}\\{user}" if domain else user)

    def install(self, service: Service) -> Iterator[str]:
        """Write a task's XML and hand it to Task Scheduler; yield the steps done and to do.

        Raises:
            Refusal: Task Scheduler refuses it.
        """
        path = self.path(service.name)
        ensure_folder(path.parent)
        write_atomic(path, self.text(service).encode("utf-16"))
        yield f"written: {path}"
        _schtasks("/Create", "/TN", service.name, "/XML", str(path), "/F")
        yield f"  start now   schtasks /Run /TN {service.name}"
        yield f"  look        schtasks /Query /TN {service.name} /V /FO LIST"

    def remove(self, name: str, is_dry: bool) -> Iterator[str]:
        """Delete a task and its XML; a night that goes on is not ended.

        Raises:
            Refusal: Task Scheduler refuses it.
        """
        path = self.path(name)
        if not path.exists():
            yield f"not installed: {path}"
            return
        if is_dry:
            yield f"would remove: {path}"
            return
        _schtasks("/Delete", "/TN", name, "/F")
        path.unlink()
        yield f"removed: {path}"
        yield "  end what still runs   minibot stop"

    def shown(self, name: str) -> Iterator[str]:
        """Yield a task's state and XML."""
        path = self.path(name)
        if not path.exists():
            yield f"not installed: {path}"
            return
        yield str(path)
        yield from (answer_of("schtasks", "/Query", "/TN", name, "/FO", "LIST") or "").splitlines()
        yield from path.read_text(encoding="utf-16").splitlines()

    def hints(self) -> Iterator[str]:
        """Yield obstacles that keep the tasks from running while no one is logged on."""
        yield "They start when you log on, and end when you log off: lock the screen instead."


def _schtasks(*words: str) -> None:
    """Run schtasks.

    Raises:
        Refusal: It is missing, refuses or hangs.
    """
    argv = ["schtasks", *words]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TOOL_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal(f"schtasks: {error}.", f"By hand: {subprocess.list2cmdline(argv)}") from error
    if done.returncode:
        why = (done.stderr or done.stdout).strip()
        raise Refusal(f"schtasks: {why}.", f"By hand: {subprocess.list2cmdline(argv)}")
