"""Signed seal: made by the private key alone, verified with and without the public key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.seal import SIGNATURE_FILE, measure, root_of, sums_of
from minibot.kernel.signature import (
    new_keys,
    parse_public_key,
    public_of,
    sign_run,
)
from minibot.kernel.system import FILES
from minibot.kernel.verify import verify_quick, verify_tree
from tests.kernel.kernel_run import make_run, sealed_run
from tests.kernel.kernel_support import change


@pytest.fixture
def signed(var_dir: Path) -> tuple[Path, str]:
    """Sealed and signed run, and the key that verifies it."""
    run = sealed_run(var_dir)
    private, public = new_keys()
    assert sign_run(run, private) == public == public_of(private)
    return run, public


def rewrite_all(run: Path) -> None:
    """Change the run's manifest and recompute every hash, as the disk's owner can."""
    write_hashed(run / "manifest.json", {**read_hashed(run / "manifest.json"), "run_id": "x"})
    seal = read_hashed(run / "seal.json")
    seal["run_files"]["manifest.json"] = measure(run / "manifest.json", FILES)
    seal["root"] = root_of(seal)
    write_hashed(run / "seal.json", seal)
    (run / "SHA256SUMS").write_bytes(sums_of(seal))


def codes(run: Path, public: str | None) -> list[str]:
    """Return the codes of all findings, equal for both ways of verifying."""
    found = [finding.code for finding in verify_tree(run, public_key=public)]
    assert [finding.code for finding in verify_quick(run, public_key=public)] == found
    return found


@pytest.mark.row("N-40")
def test_signed_run_verifies_by_its_key_and_by_no_other(signed: tuple[Path, str]) -> None:
    """A signed run verifies by its key alone; without one, by the key in its signature."""
    run, public = signed

    assert codes(run, public) == []
    assert codes(run, None) == []
    assert codes(run, new_keys()[1]) == ["SEAL_SIGNATURE"]


def test_rewrite_of_every_hash_is_found_by_the_signature_alone(signed: tuple[Path, str]) -> None:
    """A rewrite of every hash is found by the signature alone, even with an attacker's own key."""
    run, public = signed
    rewrite_all(run)
    assert codes(run, public) == ["SEAL_SIGNATURE"]
    sign_run(run, new_keys()[0])
    assert codes(run, public) == ["SEAL_SIGNATURE"]
    assert codes(run, None) == []
    (run / SIGNATURE_FILE).unlink()
    assert codes(run, public) == ["SEAL_SIGNATURE"]
    assert codes(run, None) == []


@pytest.mark.slow
def test_any_changed_byte_of_the_signature_is_found(signed: tuple[Path, str]) -> None:
    """A flipped bit of the file, or a changed field under a new hash, is found."""
    run, public = signed
    path = run / SIGNATURE_FILE
    for offset in range(path.stat().st_size):
        change(path, offset, 1 << offset % 8)
        found = list(verify_quick(run, public_key=public))
        assert [(finding.file, finding.code) for finding in found] == [
            (SIGNATURE_FILE, "SEAL_SIGNATURE")
        ]
        change(path, offset, 1 << offset % 8)
    good = read_hashed(path)
    for field, value in (
        ("root", "ab" * 32),
        ("public_key", "cd" * 32),
        ("signature", "ef" * 64),
        ("signature", "no hex"),
        ("signature", None),
        ("public_key", 7),
    ):
        write_hashed(path, {**good, field: value})
        assert codes(run, public) == ["SEAL_SIGNATURE"], field


def test_run_without_a_seal_cannot_be_signed(var_dir: Path) -> None:
    """A run without seal has no root and cannot be signed."""
    run = make_run(var_dir)
    with pytest.raises(IntegrityError):
        sign_run(run, new_keys()[0])


@pytest.mark.parametrize("text", ["", "ab", "zz" * 32, "ab" * 33, "a b" * 32])
def test_public_key_that_is_none_is_refused(text: str) -> None:
    """A malformed public key is refused, not taken for "not signed"."""
    with pytest.raises(Refusal):
        parse_public_key(text)


def test_public_key_is_taken_in_either_case() -> None:
    """A public key is accepted in upper and lower case."""
    public = new_keys()[1]

    assert parse_public_key(f" {public.upper()}\n") == public


@pytest.mark.process
def test_kernel_without_a_key_never_loads_the_package() -> None:
    """A night without a key never loads the signature package."""
    code = "import sys, minibot.watchdog.launcher; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
