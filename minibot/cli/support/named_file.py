"""File that a user names for a verb to write, and the refusal where it cannot be written."""

from __future__ import annotations

from pathlib import Path

from minibot.kernel.errors import Refusal, RunStop


def named_file(named: Path | None) -> Path | None:
    """Return the file that a flag names; None without the flag.

    Raises:
        Refusal: There is a folder of that name; further files would be written next to it.
    """
    if named is None:
        return None
    path = Path.cwd() / named
    if path.is_dir():
        raise Refusal(f"{path} is a folder.", "Name a file, such as one in it.")
    return path


def write_named(path: Path, content: bytes) -> None:
    """Write a file whole; an existing one is replaced.

    Raises:
        Refusal: The disk, or the place, does not allow it.
    """
    # Imported here because `--help` writes nothing.
    from minibot.kernel.files import write_atomic

    try:
        write_atomic(path, content)
    except (RunStop, OSError) as error:
        reason = error.detail if isinstance(error, RunStop) else error
        remedy = "Free space, or name another place."
        raise Refusal(f"{path} was not written: {reason}.", remedy) from error
