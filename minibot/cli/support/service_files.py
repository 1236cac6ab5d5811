"""Service files: systemd user units and Windows tasks that start a night every evening, and guard.

Neither starts anything again: what STOPPED stays stopped until a person has looked. Both are plain
texts from a command line, so that they are checked without being installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.kernel.errors import Refusal

MARK: Final = "Written by minibot service install"
"""Text of every file that this verb wrote; it changes and removes no unit without it.

A Windows task is known by its name alone.
"""

STOP_S: Final = 300
"""Time for a night to close positions, drain and seal before it is killed, in seconds."""

TASKS: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# systemd's own `string_is_safe`, which it applies only to a program's path.
_UNSAFE: Final = frozenset("\"'\\")
# Task Scheduler replaces both, and knows no way to write them as they are.
_REPLACED: Final = re.compile(r"%[^%]+%|\$\(")


@dataclass(frozen=True, slots=True)
class Service:
    """Service: its name, its purpose in one line, and its command with absolute paths.

    Attributes:
        argv: The command; its first word is the path of a program.
        folder: Working folder.
    """

    name: str
    purpose: str
    argv: Sequence[str]
    folder: Path


def unit_text(service: Service) -> str:
    """Return a systemd user unit.

    Raises:
        Refusal: A word cannot stand in a unit.
    """
    if unsafe := set(service.argv[0]) & _UNSAFE:
        letters = " or ".join(sorted(unsafe))
        raise Refusal(
            f"{service.argv[0]}: systemd runs no program whose path holds {letters}.",
            "Rename the folder.",
        )
    # `:` keeps systemd from replacing $NAME in the command. By default systemd ends the whole unit
    # when the kernel kills one of its processes for memory.
    command = " ".join(_unit_word(word) for word in service.argv)
    return f"""# {MARK}; minibot service remove takes it away.
[Unit]
Description={_plain(service.purpose)}

[Service]
Type=exec
WorkingDirectory={_plain(str(service.folder))}
ExecStart=:{command}
Restart=no
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec={STOP_S}
OOMPolicy=continue

[Install]
WantedBy=default.target
"""


def _unit_word(word: str) -> str:
    """Return a word of a unit's command, quoted: specifiers and escapes stay as they are typed."""
    text = _plain(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _plain(text: str) -> str:
    """Return a text with its percent signs doubled, as systemd reads them in every setting."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise Refusal(f"{text!r} holds a control character.", "Rename it; no unit can name it.")
    return text.replace("%", "%%")


def task_text(service: Service, user: str) -> str:
    """Return a Windows task as XML, started when its user logs on.

    Args:
        service: The service.
        user: The user's name, with the domain before a backslash.

    Raises:
        Refusal: A word holds what Task Scheduler would replace.
    """
    for word in (*service.argv, str(service.folder)):
        if _REPLACED.search(word):
            raise Refusal(
                f"{word}: Task Scheduler would replace what stands between % or after $(.",
                "Rename the folder or file.",
            )
    task = ElementTree.Element("Task", {"version": "1.2", "xmlns": TASKS})
    _put(task, "RegistrationInfo", Description=f"{service.purpose}. {MARK}")
    logon = _put(ElementTree.SubElement(task, "Triggers"), "LogonTrigger", Enabled="true")
    ElementTree.SubElement(logon, "UserId").text = user
    principal = _put(
        ElementTree.SubElement(task, "Principals"),
        "Principal",
        UserId=user,
        LogonType="InteractiveToken",
        RunLevel="LeastPrivilege",
    )
    principal.set("id", "Author")
    # No RestartOnFailure; without a limit a night would be ended after three days.
    _put(
        task,
        "Settings",
        MultipleInstancesPolicy="IgnoreNew",
        DisallowStartIfOnBatteries="false",
        StopIfGoingOnBatteries="false",
        AllowHardTerminate="true",
        StartWhenAvailable="false",
        Enabled="true",
        ExecutionTimeLimit="PT0S",
        Priority="5",
    )
    actions = ElementTree.SubElement(task, "Actions", {"Context": "Author"})
    _put(
        actions,
        "Exec",
        Command=service.argv[0],
        Arguments=subprocess.list2cmdline(service.argv[1:]),
        WorkingDirectory=str(service.folder),
    )
    ElementTree.indent(task)
    body = ElementTree.tostring(task, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{body}\n'


def _put(parent: ElementTree.Element, name: str, **texts: str) -> ElementTree.Element:
    """Add an element with children that hold texts, in their order."""
    element = ElementTree.SubElement(parent, name)
    for child, text in texts.items():
        ElementTree.SubElement(element, child).text = text
    return element


def unit_folder() -> Path:
    """Return the folder of this user's units."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "systemd" / "user"


def task_folder() -> Path:
    """Return the folder in which the XML of this user's tasks is kept."""
    return Path(os.environ.get("LOCALAPPDATA", str(Path.home()))) / "minibot"
