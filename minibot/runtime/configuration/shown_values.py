"""Values of a profile as an error shows them: bounded, and without secrets.

A person may write a key of an exchange into a profile, where none belongs. The error that refuses
it goes to terminals, reports and logs, so it names the key and never repeats the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from minibot.runtime.configuration.config_files import printable
from minibot.runtime.secrets import names_secret, redact

HIDDEN: Final = "***"
# More characters than `printable` shows.
READ_MAX: Final = 1_000

# Names that belong to real trading. None exists here, and their values are never repeated.
_LIVE: Final = re.compile(
    r"(^|_)(live|api|apikey|key|secret|token|password|passphrase|signature|withdraw|real|leverage)"
    r"(_|$)|apikey|apisecret|secretkey",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"\w+")


def is_live(name: str) -> bool:
    """Return whether a key's name belongs to real trading."""
    return _LIVE.search(name) is not None


def shown_value(path: Sequence[str], value: Any) -> str:
    """Return a value as JSON for an error; hidden if a key on its path names a secret."""
    if any(map(_hides, path)):
        return HIDDEN
    masked = _masked(value)
    text = HIDDEN if masked == HIDDEN else json.dumps(masked)
    return printable(redact.beginning(text, READ_MAX))


def shown_text(text: str) -> str:
    """Return a person's text that is not of the form key=value; hidden if it names a secret."""
    return HIDDEN if _hides(text) else printable(redact.beginning(text, READ_MAX))


def _hides(name: str) -> bool:
    return any(is_live(word) or names_secret(word) for word in _WORD.findall(name))


def _masked(value: Any) -> Any:
    """Return a value with the secrets in it hidden, also one that is next to its name."""
    if isinstance(value, dict):
        if _names_any(value.values()):
            return HIDDEN
        return {key: HIDDEN if _hides(key) else _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return HIDDEN if _names_any(value) else [_masked(item) for item in value]
    return value


def _names_any(values: Any) -> bool:
    return any(
        isinstance(value, str) and (is_live(value) or names_secret(value)) for value in values
    )
