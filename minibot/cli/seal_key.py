"""minibot seal-key: make a key pair, so that an attacker with the disk cannot forge a night."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.support.output import show
from minibot.kernel.errors import Refusal
from minibot.kernel.files import write_atomic
from minibot.kernel.signature import new_keys
from minibot.runtime.paths import PROJECT
from minibot.runtime.secrets import refuse_inside
from minibot.runtime.signing import SECRET_NAME

HELP = "make a key pair for signing seals: the private key into a file, the public one for config"
EXAMPLE = "minibot seal-key --to ~/minibot-secrets.env"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "--to", type=Path, required=True, help="a new secrets file outside the project's tree"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the private key into a new file and print the public one; 0.

    It is 2 for a file that exists or has no folder, and 4 for one in the project's tree.
    """
    path = Path(arguments.to).expanduser().absolute()
    refuse_inside(path, PROJECT)
    if path.exists():
        raise Refusal(f"{path} already exists.", "Name a new file; its line may be copied.")
    if not path.parent.is_dir():
        raise Refusal(f"{path.parent} is not a folder.", "Make it first.")
    private, public = new_keys()
    write_atomic(path, f"{SECRET_NAME}={private}\n".encode())
    document = {"public_key": public, "secrets_file": str(path)}
    lines = [
        f"private key: {path} (keep a copy elsewhere; who has it can sign)",
        f"public key:  {public}",
        f"in the profile: secrets.path={path} secrets.seal_public_key={public}",
        f"in the morning: minibot verify latest --public-key {public}",
    ]
    show(arguments, document, lines)
    return 0
