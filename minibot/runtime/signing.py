"""Signing of runs' seals: by which key, if any.

`secrets.seal_public_key` pins the key by which every seal has to verify; null, as shipped, leaves
seals unsigned. The private key is only in the secrets file, outside the project's tree, as
`seal_private_key`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.kernel.signature import public_of, sign_run
from minibot.runtime.paths import PROJECT
from minibot.runtime.secrets import EXIT_CONFIG, Secrets, load_secrets

SECRET_NAME: Final = "seal_private_key"


def public_key_of(config: JsonObject) -> str | None:
    """Return the key that a profile pins, None if its seals are not signed."""
    # Manifests of runs older than signatures lack this key.
    key: str | None = config["secrets"].get("seal_public_key")
    return key


def private_key(public_key: str, secrets: Secrets) -> str:
    """Return the private key that belongs to a pinned public one.

    Raises:
        Refusal: The secrets file has no private key, or a different one.
    """
    if SECRET_NAME not in secrets.names:
        raise _refused(f"the secrets file has no {SECRET_NAME}")
    key = secrets.reveal(SECRET_NAME)
    try:
        found = public_of(key)
    except ValueError:
        raise _refused(f"{SECRET_NAME} is not a key of 64 hex digits") from None
    if found != public_key:
        raise _refused(f"{SECRET_NAME} belongs to the public key {found}, not to {public_key}")
    return key


def sign_if_pinned(run_dir: Path, config: JsonObject, environ: Mapping[str, str]) -> str | None:
    """Sign the seal of a run if its profile pins a key; return that key, else None.

    Raises:
        Refusal: The secrets file cannot be read or lacks the key.
        RunStop: The seal is damaged, or the disk refuses.
    """
    public_key = public_key_of(config)
    if public_key is None:
        return None
    secrets = load_secrets(config["secrets"]["path"], PROJECT, environ)
    return sign_run(run_dir, private_key(public_key, secrets))


def _refused(why: str) -> Refusal:
    return Refusal(
        f"seals cannot be signed: {why};",
        "make a pair with `minibot seal-key`, or set secrets.seal_public_key to null.",
        EXIT_CONFIG,
    )
