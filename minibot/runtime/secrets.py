"""Secrets: the only module that reads their file and removes them from text.

The file lies outside the project's tree (N-11): its path comes from the config key `secrets.path`
or the environment variable `MINIBOT_SECRETS_FILE`. The night trades without any secret; a profile
may ask for one to sign seals or to address alerts. All values of at least six characters are known
here, so that no text of a log line, event or dump can carry them (N-12). A secret is never returned
as text by accident: `Secrets` shows names, and a value leaves it through `reveal`.

File: one JSON object, or `NAME=value` lines as in a `.env` file; `#` starts a comment line. A name
that occurs twice is refused: one of its values would never be removed from text.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from minibot.kernel.errors import Refusal
from minibot.kernel.files import is_endless

ENVIRONMENT_KEY: Final = "MINIBOT_SECRETS_FILE"
REDACTED: Final = "[redacted]"
FILE_BYTES_MAX: Final = 65_536
# Shorter values also occur in ordinary text ("1", "true"), which would be redacted.
SECRET_LENGTH_MIN: Final = 6
# Patterns take time on a long text, so only this much of its beginning is searched.
TEXT_READ_MAX: Final = 20_000
# No secret that only its pattern reveals, such as a password in a URL, is longer.
PATTERN_LENGTH_MAX: Final = 2_000
EXIT_CONFIG: Final = 4
_NAME_ANOTHER: Final = "name the right file in secrets.path, or none: the night needs no secret."

_NAMED: Final = (
    r"(?:api[_-]?key|api[_-]?secret|secret(?:[_-]?key)?|access[_-]?key|private[_-]?key"
    r"|passw(?:or)?d|passphrase|token|signature|listenkey|client[_-]?secret)"
)
_NAME_OF_SECRET: Final = re.compile(r"(?i)" + _NAMED + r"$")
_PATTERNS: Final = (
    # A private key in PEM form up to its end, or as far as the text goes.
    (
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
        ),
        REDACTED,
    ),
    # Authorization: Bearer abc, Authorization: Basic abc; of any other scheme two words go, as the
    # first may be the scheme or the secret itself.
    (
        re.compile(
            r"(?i)(authorization[\"']?\s*[:=]\s*[\"']?)"
            r"(?:((?:bearer|basic)\s+)[^\s\"',]+"
            r"|[^\s\"',]+(?:(?<!\[redacted\])[ \t]+[^\s\"',]+)?)"
        ),
        r"\1\2" + REDACTED,
    ),
    (re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{16,}"), r"\1 " + REDACTED),
    # scheme://user:password@host
    (re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@"), r"\1" + REDACTED + "@"),
    # "api_key": "abc", apiKey=abc, X-MBX-APIKEY: abc, signature=abc
    (
        re.compile(r"(?i)(" + _NAMED + r"[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,;}\[]{4,}"),
        r"\1" + REDACTED,
    ),
    # Binance keys and secrets: 64 letters and digits of both cases; a sha256 has one case only.
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]*[a-z])(?=[A-Za-z0-9]*[A-Z])[A-Za-z0-9]{64}"
            r"(?![A-Za-z0-9])"
        ),
        REDACTED,
    ),
)


class Secrets:
    """Secrets of one file by name; printing the object shows only names."""

    def __init__(self, values: Mapping[str, str], path: Path | None) -> None:
        self._values = dict(values)
        self.path = path

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(sorted(self._values))

    def reveal(self, name: str) -> str:
        """Return the value of a secret; KeyError without one."""
        return self._values[name]

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self.names)})"

    __str__ = __repr__


class Redactor:
    """Redactor: removes known secret values, and texts that look like a key."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: tuple[str, ...] = ()
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """Add values to look for, in each spelling in which they may leave the process."""
        spellings = {
            spelling
            for value in values
            for part in (value, *value.split())
            if len(part) >= SECRET_LENGTH_MIN
            for spelling in (part, json.dumps(part)[1:-1], quote(part, safe=""))
        }
        # Longest first, so that a secret that contains another is removed whole.
        self._values = tuple(sorted({*self._values, *spellings}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return the text without secrets; text without any comes back unchanged."""
        for value in self._values:
            text = text.replace(value, REDACTED)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def beginning(self, text: str, length_max: int) -> str:
        """Return the beginning of a text, cut once its secrets are removed.

        Only the first `TEXT_READ_MAX` characters of a text are searched. A secret at the end of
        that part may be cut and so stay unknown: its last `PATTERN_LENGTH_MAX` characters, or as
        many as the longest known value has, are never returned.
        """
        found = self(text[:TEXT_READ_MAX])
        if len(text) > TEXT_READ_MAX:
            longest = len(self._values[0]) if self._values else 0
            found = found[: max(0, len(found) - max(longest, PATTERN_LENGTH_MAX))]
        return found[:length_max]


def names_secret(key: str) -> bool:
    """Return whether a field of this name holds a secret, whatever its value looks like."""
    return _NAME_OF_SECRET.search(key) is not None


redact: Final = Redactor()
"""The redactor of this process: `redact(text) -> str`; it knows what `load_secrets` read."""


def load_secrets(path: str | None, project: Path, environ: Mapping[str, str]) -> Secrets:
    """Return the secrets of the file that config or environment names; none without a file.

    Args:
        path: Config key `secrets.path`; None reads the environment variable.
        project: Root of the checkout; a file below it is refused, whatever link leads there.
        environ: Environment of the process.

    Raises:
        Refusal: The file is inside the project's tree, missing, unreadable, open to others, or not
            a secrets file. The message names the path, never the content.
    """
    named = path if path is not None else environ.get(ENVIRONMENT_KEY)
    if not named:
        return Secrets({}, None)
    file = Path(os.path.expanduser(named))
    refuse_inside(file, project)
    secrets = Secrets(_parse(_read(file), file), file)
    redact.learn(secrets.reveal(name) for name in secrets.names)
    return secrets


def refuse_inside(file: Path, project: Path) -> None:
    """Refuse a secrets path inside the project's tree, as written and as its links resolve.

    Raises:
        Refusal: CONFIG_PATH_ESCAPE, with the exit code of a configuration.
    """
    root = project.resolve()
    for place in (Path(os.path.abspath(file)), Path(os.path.realpath(file))):
        if place.is_relative_to(root) or place.is_relative_to(project):
            raise Refusal(
                f"CONFIG_PATH_ESCAPE: secrets.path {file} lies inside the project's tree {root};",
                "keep secrets outside it (for example in a folder of your home) and set "
                f"secrets.path or {ENVIRONMENT_KEY} to that file.",
                EXIT_CONFIG,
            )


def _read(file: Path) -> str:
    """Return the file's text after checking its kind, size and mode."""
    not_plain = Refusal(
        f"secrets file {file} is not a plain file of at most {FILE_BYTES_MAX} bytes;",
        _NAME_ANOTHER,
        EXIT_CONFIG,
    )
    if is_endless(file):  # Opening a FIFO would wait for a writer.
        raise not_plain
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > FILE_BYTES_MAX:
                raise not_plain
            if sys.platform != "win32" and status.st_mode & 0o077:
                mode = status.st_mode & 0o777
                raise Refusal(
                    f"PERMISSIONS_UNSAFE: secrets file {file} is open to others (mode {mode:o});",
                    f"chmod 600 {file}",
                    EXIT_CONFIG,
                )
            return opened.read(FILE_BYTES_MAX).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise Refusal(
            f"secrets file {file} cannot be read: {why};", _NAME_ANOTHER, EXIT_CONFIG
        ) from None


def _parse(text: str, file: Path) -> dict[str, str]:
    """Return names and values of a JSON object or of `NAME=value` lines."""
    if text.lstrip().startswith("{"):
        return _once(_leaves("", _json_object(text, file)), file)
    values: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip().removeprefix("export ")
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals or not name.strip():
            raise _malformed(file, f"line {number} is not NAME=value")
        values.append((name.strip(), value.strip().strip("\"'")))
    return _once(values, file)


def _once(pairs: Iterable[tuple[str, Any]], file: Path) -> dict[str, Any]:
    """Return pairs of name and value as a mapping; refuse a name that occurs twice, or no text."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _malformed(file, "a name appears twice")
        try:
            f"{name}{value}".encode()
        except UnicodeEncodeError:
            why = "a name or value holds half a letter (a lone surrogate)"
            raise _malformed(file, why) from None
        values[name] = value
    return values


def _json_object(text: str, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, file))
    except (ValueError, RecursionError) as error:
        # The message of the JSON parser names a position; its document is not shown.
        raise _malformed(file, str(error)) from None
    assert isinstance(found, dict)  # It begins with a brace.
    return found


def _leaves(prefix: str, value: object) -> Iterable[tuple[str, str]]:
    """Yield dotted name and text of every string or number in nested JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(f"{prefix}.{index}", item)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield prefix, str(value)


def _malformed(file: Path, why: str) -> Refusal:
    return Refusal(
        f"secrets file {file} is malformed: {why};",
        "write one JSON object, or lines of NAME=value.",
        EXIT_CONFIG,
    )
