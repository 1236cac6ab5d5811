"""Certificate for loopback, for clients that insist on TLS; useless anywhere else."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, write_atomic

CERTIFICATE: Final = "cert.pem"
KEY: Final = "key.pem"
LIFE: Final = timedelta(days=365)
# A client whose clock is slow must not find that the certificate is not valid yet.
BACKDATED: Final = timedelta(days=1)


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """Return the folder's certificate and its key, made there if neither exists.

    Raises:
        Refusal: The certificate has expired; its clients would have to trust a new one.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    if not certificate.exists() and not key.exists():
        _make(folder)
    if _has_expired(certificate):
        raise Refusal(
            f"{certificate} has expired, and every client refuses it.",
            f"Remove it and {KEY} beside it: new ones are made, which your clients have to trust.",
        )
    return certificate, key


def _has_expired(certificate: Path) -> bool:
    """Return whether a certificate is out of date; one that cannot be read is told by its user."""
    try:
        end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return end < datetime.now(UTC)


def _make(folder: Path) -> None:
    ensure_folder(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "minibot loopback exchange")])
    now = datetime.now(UTC)
    hosts = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        # The certificate is its own authority: a client that trusts it trusts nothing else by it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_atomic(folder / KEY, private)
    write_atomic(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
