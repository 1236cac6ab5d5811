"""Signature of a seal: Ed25519 over its root, next to it in `seal.sig`.

The owner of the disk can recompute all hashes, but not a signature without the private key. It is
optional: without a key no run is signed, and without a signature the audit loads no cryptography.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minibot.kernel.audit import Finding
from minibot.kernel.errors import IntegrityError, Refusal, RunStop
from minibot.kernel.files import FILES, Files, StrPath, read_hashed, write_hashed
from minibot.kernel.seal import SEAL_FILE, SIGNATURE_FILE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ed25519

KEY_HEX: Final = 64
# Names the signed object, so that a signature made for another purpose does not verify.
_PURPOSE: Final = b"minibot seal v1\n"


def new_keys() -> tuple[str, str]:
    """Return a new private key and its public one, each 64 hex digits."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate()
    return private.private_bytes_raw().hex(), private.public_key().public_bytes_raw().hex()


def public_of(private_key: str) -> str:
    """Return the public key of a private one.

    Raises:
        ValueError: It is not a key of 64 hex digits.
    """
    return _private(private_key).public_key().public_bytes_raw().hex()


def sign_run(run_dir: StrPath, private_key: str, *, files: Files = FILES) -> str:
    """Sign the seal of a run; return the public key under which it verifies.

    Raises:
        ValueError: The private key is not a key of 64 hex digits.
        IntegrityError: The seal is missing or damaged, or a signature there is damaged.
        RunStop: The disk refuses.
    """
    run = Path(run_dir)
    key = _private(private_key)
    root = str(read_hashed(run / SEAL_FILE, files=files)["root"])
    public = key.public_key().public_bytes_raw().hex()
    obj = {
        "schema": "minibot.signature",
        "v": 1,
        "algorithm": "Ed25519",
        "root": root,
        "public_key": public,
        "signature": key.sign(_PURPOSE + root.encode()).hex(),
    }
    write_hashed(run / SIGNATURE_FILE, obj, files=files)
    return public


def signature_findings(
    run_dir: StrPath, root: str, public_key: str | None, *, files: Files = FILES
) -> Iterator[Finding]:
    """Yield the faults of the signature over a seal's root.

    Args:
        run_dir: The run's folder.
        root: The root of its seal.
        public_key: The key that must have signed. With None a signature, if present, has to verify
            by the key that it names, which proves only that nothing changed by accident.
        files: The seam to the system.
    """
    path = Path(run_dir) / SIGNATURE_FILE
    if files.stat(path) is None:
        if public_key is not None:
            yield _finding(f"a signature by {public_key}", "none")
        return
    try:
        obj = read_hashed(path, files=files)
    except RunStop as error:
        expected = error.expected if isinstance(error, IntegrityError) else ""
        yield _finding(expected or "a whole signature", error.detail)
        return
    stated, signature = obj.get("public_key"), obj.get("signature")
    if public_key is not None and stated != public_key:
        yield _finding(f"a signature by {public_key}", f"one by {stated}")
    elif obj.get("root") != root:
        yield _finding(f"a signature of root {root}", f"one of {obj.get('root')}")
    elif not _is_signed(root, stated, signature):
        yield _finding(f"a right signature by {stated}", f"{signature}")


def parse_public_key(text: str) -> str:
    """Return a public key given by a person, in lower case.

    Raises:
        Refusal: It is not a key of 64 hex digits.
    """
    key = text.strip().lower()
    try:
        if len(bytes.fromhex(key)) * 2 == len(key) == KEY_HEX:
            return key
    except ValueError:
        pass
    raise Refusal(f"{text.strip()[:80]!r} is not a public key.", "Give its 64 hex digits.")


def _is_signed(root: str, public_key: object, signature: object) -> bool:
    if not isinstance(public_key, str) or not isinstance(signature, str):
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        key = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), _PURPOSE + root.encode())
    except (ValueError, InvalidSignature):
        return False
    return True


def _private(private_key: str) -> ed25519.Ed25519PrivateKey:
    # Loaded only with a key: a night without one saves its time and memory.
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))


def _finding(expected: str, found: str) -> Finding:
    return Finding(SIGNATURE_FILE, 0, 0, "SEAL_SIGNATURE", expected, found)
