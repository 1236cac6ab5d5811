"""Targets of alerts: addresses of the secrets file, and programs of this machine.

Each message has its own process with a bound on its time. No program is started by a shell.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.ops.alerts.alert import Alert
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.interpreter import python_argv
from minibot.runtime.paths import PROJECT
from minibot.runtime.secrets import Secrets, load_secrets, redact
from minibot.watchdog.run_manifest import child_environ

SCHEMES: Final = ("json", "jsons", "slack", "tgram", "mailto", "mailtos", "ntfy", "ntfys")
"""Supported kinds of addresses; the library knows a hundred more, which are untested."""
SEND_S: Final = 20.0
"""Longest time for one message, after which its process is killed."""
SENDER: Final = "minibot.ops.alerts.send"
REPEAT: Final = "[repeat?] "
REPEATED: Final = "Perhaps a repeat: it was on its way when a process ended or a host fell silent."
_SCHEME: Final = re.compile(r"^([a-z]+)://", re.IGNORECASE)


class Outcome(NamedTuple):
    """Outcome of a message: sent or not, why not, and whether it may have arrived all the same."""

    is_sent: bool
    why: str = ""
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """Message to a target: one alert, or a digest of several.

    Attributes:
        alerts: Alerts in the message.
        is_repeat: True if the target may have the message already.
    """

    alerts: tuple[Alert, ...]
    title: str
    body: str
    level: str
    is_repeat: bool

    def to_json(self) -> JsonObject:
        """Return the program's standard input."""
        return {
            "schema": "minibot.alert",
            "title": self.title,
            "body": self.body,
            "level": self.level,
            "is_repeat": self.is_repeat,
            "alerts": [each.to_json() for each in self.alerts[:20]],
        }


def message_of(alert: Alert, *, is_repeat: bool) -> Message:
    """Return the message of one alert; a repeat says that it is one."""
    title, body = alert.title, alert.text
    if is_repeat:
        title, body = f"{REPEAT}{title}", f"{REPEATED}\n{body}"
    return Message((alert,), title, body, alert.level, is_repeat)


class Target(Protocol):
    """Target of alerts, owned by one delivery; one thread at a time calls `send`."""

    name: str

    def send(self, message: Message) -> Outcome:
        """Send a message, within `SEND_S`."""
        ...

    def cancel(self) -> None:
        """End a message under way; by any thread."""
        ...


class _ProcessTarget:
    """Target that is reached by a process for each message."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._is_given_up = False

    def cancel(self) -> None:
        """Kill the process of a message under way."""
        process = self._process
        if process is not None and process.poll() is None:
            self._is_given_up = True
            _kill(process)

    def _run(self, argv: Sequence[str], given: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Return exit code and output of a process.

        Raises:
            OSError: It cannot be started.
            subprocess.TimeoutExpired: It was killed.
        """
        self._is_given_up = False
        process = self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.DEVNULL,
            env={**child_environ(os.environ), "NETRC": os.devnull},
            start_new_session=sys.platform != "win32",
        )
        try:
            output, _ = process.communicate(given, timeout_s)
            return process.returncode, output or b""
        finally:
            if process.poll() is None:
                _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            self._process = None

    _output = subprocess.DEVNULL


class AddressTarget(_ProcessTarget):
    """Target with an Apprise address.

    Args:
        name: As the profile calls it.
        url: The address, a secret.
    """

    _output = subprocess.PIPE

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name)
        self._url = url

    def send(self, message: Message) -> Outcome:
        """Send a message in its own process."""
        given = canonical.encode(
            {
                "url": self._url,
                "title": message.title,
                "body": message.body or message.title,
                "level": message.level,
            }
        )
        try:
            code, output = self._run(python_argv(SENDER), given, SEND_S)
        except subprocess.TimeoutExpired:
            return Outcome(False, f"no answer within {SEND_S:.0f} s", in_doubt=True)
        except OSError as error:
            return Outcome(False, f"its process does not start: {error}")
        try:
            found = canonical.decode(output.rstrip(b"\r\n"))
            return Outcome(bool(found["ok"]), redact(str(found["why"])), bool(found["in_doubt"]))
        except (ValueError, KeyError):
            return Outcome(False, f"its process ended with exit code {code}", in_doubt=True)


class CommandTarget(_ProcessTarget):
    """Target that is a program of this machine.

    Args:
        name: As the profile calls it.
        argv: The program and its words.
    """

    def __init__(self, name: str, argv: Sequence[str]) -> None:
        super().__init__(name)
        self._argv = tuple(argv)

    def send(self, message: Message) -> Outcome:
        """Start the program with the message on its standard input; exit code 0 means sent."""
        given = canonical.encode(message.to_json()) + b"\n"
        try:
            code, _ = self._run(self._argv, given, SEND_S)
        except subprocess.TimeoutExpired:
            return Outcome(False, f"did not end within {SEND_S:.0f} s and was killed", True)
        except OSError as error:
            return Outcome(False, f"{self._argv[0]} does not start: {error.strerror or error}")
        # How far a killed program came is unknown; on Windows no exit code shows the kill.
        is_killed = code < 0 or (code != 0 and self._is_given_up)
        return Outcome(code == 0, "" if code == 0 else f"exit code {code}", is_killed)


def secrets_of(path: str | None) -> Secrets:
    """Return the secrets that hold the addresses.

    Args:
        path: `secrets.path` of the profile; the environment may name another file.

    Raises:
        Refusal: The file is missing, unsafe or damaged.
    """
    return load_secrets(path, PROJECT, os.environ)


def targets_of(section: AlertsSection, secrets: Secrets) -> tuple[list[Target], list[str]]:
    """Return the targets of a profile, and a sentence for each entry without a usable address."""
    found: list[Target] = [
        CommandTarget(name, argv) for name, argv in (section.commands or {}).items()
    ]
    faults = []
    for name, secret in (section.targets or {}).items():
        try:
            found.append(AddressTarget(name, address_of(name, secret, secrets)))
        except Refusal as error:
            faults.append(str(error))
    faults += [] if found or faults else ["alerts has neither targets nor commands."]
    return found, faults


def address_of(name: str, secret: str, secrets: Secrets) -> str:
    """Return the address of a target; the message of a refusal never holds it.

    Raises:
        Refusal: The secret is missing, or its address is of a kind that is not supported.
    """
    if secret not in secrets.names:
        where = "no secrets file is named" if secrets.path is None else f"not in {secrets.path}"
        raise Refusal(
            f"alerts: the address of {name} is missing: {secret} ({where}).",
            "Write it there as NAME=address and name the file by secrets.path.",
            4,
        )
    url = secrets.reveal(secret)
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in SCHEMES:
        raise Refusal(
            f"alerts: {secret} is not an address that {name} can have.",
            f"It begins with one of: {', '.join(f'{each}://' for each in SCHEMES)}",
            4,
        )
    return url


def names_of(section: AlertsSection) -> Iterator[str]:
    """Yield the names of all targets of a profile, also of entries without a usable address."""
    yield from section.commands or {}
    yield from section.targets or {}


if sys.platform == "win32":

    def _kill(process: subprocess.Popen[bytes]) -> None:
        with suppress(OSError):
            process.kill()

else:

    def _kill(process: subprocess.Popen[bytes]) -> None:
        """Kill a process with all that it started, which are in its session's group."""
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
