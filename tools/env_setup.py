"""Set-up of `.venv` from nothing, in five steps, with its stamp written last.

Called by `tools/with_env.py` alone, under the set-up lock. Every failure is a `Refused` with one
message: what happened, and what to do next.
"""

from __future__ import annotations

import locale
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from glob import glob
from typing import Final

from tools.environment import (
    DEV_LOCK_FILE,
    LOCK_FILE,
    MARK,
    PROJECT,
    SETUP_LOCK,
    STAMP,
    USE_LOCK,
    VENV,
    Refused,
    base_python,
    clean_environ,
    is_current,
    lock_sha256,
    read_stamp,
    say,
    try_lock,
    venv_python,
    wait_for_lock,
    write_stamp,
)

# The environment plus what pip unpacks beside it meanwhile.
FREE_MB_MIN: Final = 500
DEV_FREE_MB_MIN: Final = 700
PYTHON: Final = ".".join(str(part) for part in sys.version_info[:3])
PYTHON_SHORT: Final = ".".join(str(part) for part in sys.version_info[:2])
REQUIRED_IMPORTS: Final = (
    "aiohttp, cryptography, filelock, jsonschema, jsonschema_rs, librt, msgspec, nanoarrow, "
    "numpy, orjson, portalocker, psutil, requests, rich, websocket"
)
# The AI loads the native library alone: the Python package would need scipy.
LOAD_LIGHTGBM: Final = (
    "import ctypes, importlib.util, pathlib; "
    "package = pathlib.Path(importlib.util.find_spec('lightgbm').origin).parent; "
    "ctypes.CDLL(str(next(package.glob('*/lib_lightgbm.*'))))"
)
NETWORK_SIGNS: Final = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "NameResolutionError",
    "name resolution",
    "ProxyError",
    "SSLError",
    "Connection reset",
    "Network is unreachable",
)


def bring_up_to_date(dev: bool = False) -> None:
    """Set up, alone in this folder, unless another set-up has just done it.

    With `dev` the packages of checks and tools come on top; where the rest stands, they alone.
    """
    setup_lock = wait_for_lock(SETUP_LOCK, "another set-up")
    try:
        if is_current(dev):
            return
        use_lock = None if sys.platform == "win32" else try_lock(USE_LOCK)
        if use_lock is None and sys.platform != "win32":
            raise Refused(
                ".venv lacks packages of requirements.lock or requirements-dev.lock, but a\n"
                "program that this tool started still runs on it (a night, a test run). End it,\n"
                f"then repeat; or use .venv as it stands: {venv_python()} -m minibot status"
            )
        try:
            if is_current() and read_stamp().get("dev") is None:
                add_checks(setup_lock)
            else:
                set_up(setup_lock, dev)
        finally:
            if use_lock is not None:
                os.close(use_lock)
    finally:
        os.close(setup_lock)


def add_checks(setup_lock: int) -> None:
    """Install the packages of checks and tools into an environment that runs minibot already."""
    started = time.time()
    require_space(DEV_FREE_MB_MIN - FREE_MB_MIN)
    total = count_packages(DEV_LOCK_FILE)
    say(f"adding up to {total} packages for tests, each checked against its sha256")
    install([DEV_LOCK_FILE], total, setup_lock)
    write_stamp(dev=True)
    say(f"ready after {int(time.time() - started + 0.5)} s")


def set_up(setup_lock: int, dev: bool) -> None:
    """Make `.venv` from nothing; the stamp is written last, so that half of it is never trusted."""
    started = time.time()
    locks = [LOCK_FILE, DEV_LOCK_FILE] if dev else [LOCK_FILE]
    for lock in locks:
        lock_sha256(lock)  # Refuses an incomplete clone before anything is moved away.
    require_venv_module()
    require_readable_name()
    clear_the_way()
    require_space(DEV_FREE_MB_MIN if dev else FREE_MB_MIN)
    say(f"[1/5] making .venv with Python {PYTHON} from {base_python()}")
    make_venv()
    total = sum(count_packages(lock) for lock in locks)
    say(f"[2/5] fetching up to {total} packages, each checked against its sha256")
    install(locks, total, setup_lock)
    say("[4/5] putting minibot itself on the path")
    link_project()
    say("[5/5] checking that everything loads")
    check_loads()
    write_stamp(dev)
    say(f"ready after {int(time.time() - started + 0.5)} s")


def count_packages(lock: str) -> int:
    """Return how many packages a lock file names."""
    with open(lock, encoding="utf-8") as lines:
        return sum("==" in line for line in lines)


def require_venv_module() -> None:
    """Refuse a Python with a missing or incomplete `venv`, as on Debian; name the package."""
    try:
        import ensurepip
        import venv
    except ImportError as error:
        raise Refused(
            f"this Python has no complete 'venv' module ({error}). On Debian and Ubuntu:\n"
            f"  sudo apt-get install python{PYTHON_SHORT}-venv\n"
            "Elsewhere install Python from python.org; then repeat the command."
        ) from error
    del ensurepip, venv


def path_file_encoding() -> str:
    """Return the encoding in which this Python reads path files: before 3.13 the locale's."""
    return "utf-8" if sys.version_info >= (3, 13) else locale.getencoding()


def require_readable_name() -> None:
    """Refuse a folder whose name a path file cannot hold, as of other letters on Windows."""
    encoding = path_file_encoding()
    try:
        PROJECT.encode(encoding)
    except UnicodeEncodeError as error:
        raise Refused(
            f"{PROJECT}: its name has letters outside {encoding}, so that Python {PYTHON_SHORT}\n"
            "would not find minibot. Move it to a folder with another name, or use Python 3.13+;\n"
            "then repeat."
        ) from error


def clear_the_way() -> None:
    """Remove the remains of an interrupted or older set-up; set a foreign folder aside."""
    for name in os.listdir(PROJECT):
        if name.startswith(".venv-old-"):
            shutil.rmtree(os.path.join(PROJECT, name), ignore_errors=True)
    if not os.path.lexists(VENV):
        return
    ours = os.path.exists(MARK) or os.path.exists(STAMP)
    target = os.path.join(PROJECT, f".venv-old-{os.getpid()}")
    if not ours:
        count = 1
        while os.path.lexists(os.path.join(PROJECT, f".venv-aside-{count}")):
            count += 1
        target = os.path.join(PROJECT, f".venv-aside-{count}")
        say(f".venv was not made by this tool: kept as {os.path.basename(target)}")
    try:
        os.rename(VENV, target)
    except OSError as error:
        raise Refused(
            f".venv cannot be moved away ({error}): a program that runs from it still holds it.\n"
            "End that program (a night, a test run, an editor), then repeat."
        ) from error
    if ours:
        shutil.rmtree(target, ignore_errors=True)


def require_space(needed_mb: int) -> None:
    """Refuse before downloading what would not fit."""
    free_mb = shutil.disk_usage(PROJECT).free // 1_000_000
    if free_mb < needed_mb:
        raise Refused(
            f"the environment needs {needed_mb} MB of free space in {PROJECT}, found {free_mb} MB"
        )


def make_venv() -> None:
    """Create the environment with pip in it.

    pip's wheel, which Python brings along, is only unpacked: to install it takes ten times as long,
    as that compiles all of it, and setuptools too.
    """
    import venv

    os.mkdir(VENV)
    with open(MARK, "w", encoding="utf-8") as mark:
        mark.write("made by tools/with_env.py; not complete without minibot-env.json\n")
    wheel = bundled_pip()
    try:
        venv.EnvBuilder(with_pip=wheel is None, symlinks=os.name != "nt").create(VENV)
        if wheel is not None:
            with zipfile.ZipFile(wheel) as files:
                files.extractall(site_packages())
            write_command("pip")
    except subprocess.CalledProcessError as error:
        output = error.output or b""
        text = output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output)
        raise Refused("pip cannot be put into .venv:\n" + text[-2000:]) from error
    except zipfile.BadZipFile as error:
        raise Refused(
            f"pip cannot be put into .venv: {wheel}: {error}.\n"
            "This Python is damaged: install it anew, then repeat."
        ) from error


def bundled_pip() -> str | None:
    """Return the path of the pip wheel of `ensurepip`; None where it lies elsewhere."""
    import ensurepip

    own = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
    # Debian and Fedora keep the wheels of all Pythons in one folder.
    folders = [own, sysconfig.get_config_var("WHEEL_PKG_DIR")]
    found = [path for folder in folders if folder for path in glob(f"{folder}/pip-*.whl")]
    return found[0] if found else None


def site_packages() -> str:
    """Return the folder of packages of the environment."""
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    return sysconfig.get_path("purelib", scheme, {"base": VENV, "platbase": VENV})


def install(locks: list[str], total: int, setup_lock: int) -> None:
    """Install lock files with pip, a line of progress now and then.

    pip inherits the set-up lock: if this process is killed, the next set-up still waits for that
    pip to end instead of working in the same folder.
    """
    command = [venv_python(), "-m", "pip", "install", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--progress-bar", "off"]
    command += ["--disable-pip-version-check"]
    if locks == [LOCK_FILE]:
        # Half of what pip would compile is never imported; `check_loads` compiles the rest.
        command += ["--no-compile"]
    command += [word for lock in locks for word in ("-r", lock)]
    environ = dict(clean_environ(), PIP_USER="0", PYTHONUNBUFFERED="1")
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=() if sys.platform == "win32" else (setup_lock,),
    )
    assert process.stdout is not None  # Always set with PIPE; the assertion tells the type checker.
    lines = []
    try:
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            lines.append(line)
            show_progress(line, lines, total)
        code = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if code != 0:
        raise Refused(explain_pip(lines))


def show_progress(line: str, lines: list[str], total: int) -> None:
    """Reduce pip's output to every tenth package, large downloads, warnings and the install."""
    found = ("Collecting ", "Processing ")
    if line.startswith(found):
        count = sum(item.startswith(found) for item in lines)
        if count % 10 == 0:
            say(f"      {count} of up to {total}")
    elif line.lstrip().startswith("Downloading ") and " MB)" in line:
        say("      downloading {} ({}".format(line.split()[1].split("-")[0], line.split("(")[-1]))
    elif "Retrying (" in line and not any("Retrying (" in item for item in lines[:-1]):
        say("      the package index does not answer; pip tries again")
    elif line.startswith("Installing collected packages"):
        say("[3/5] installing")


def explain_pip(lines: list[str]) -> str:
    """Return one message for a failed pip: what happened and what to do next."""
    text = "\n".join(lines)
    tail = "\n".join("  pip: " + line for line in lines if line.strip())[-1500:]
    if "DO NOT MATCH THE HASHES" in text:
        return (
            "a package differs from its sha256 in the lock file and was refused. A proxy or\n"
            "mirror may have changed it; pip cache purge, then repeat.\n" + tail
        )
    if any(sign in text for sign in NETWORK_SIGNS):
        return (
            "no package index was reached: the first start needs the network once (or an index of\n"
            "your own, named in pip's configuration). Check connection and proxy, then repeat; it\n"
            "starts over cleanly.\n" + tail
        )
    if "No space left" in text or "Errno 28" in text:
        return f"the disk is full: free {DEV_FREE_MB_MIN} MB, then repeat.\n" + tail
    if "No matching distribution" in text:
        return (
            f"a locked package has no ready-made file for this system or Python {PYTHON_SHORT}.\n"
            "Use Python 3.11 to 3.14 on Linux (glibc), macOS or Windows; or the index was not\n"
            "reached: check network, proxy and pip's configuration.\n" + tail
        )
    return "pip could not install the locked packages.\n" + tail


def link_project() -> None:
    """Put the project on the environment's path and its command `minibot` beside `python`.

    A path file instead of an editable install: nothing is built, so nothing is fetched for it.
    """
    path = os.path.join(site_packages(), "minibot.pth")
    with open(path, "w", encoding=path_file_encoding()) as file:
        file.write(PROJECT + "\n")
    write_command("minibot")


def write_command(name: str) -> None:
    """Write a command beside `python` that runs the package of this name."""
    folder = os.path.dirname(venv_python())
    if os.name == "nt":
        with open(os.path.join(folder, f"{name}.cmd"), "w", encoding="utf-8") as file:
            file.write(f'@"%~dp0python.exe" -m {name} %*\n')
        return
    script = os.path.join(folder, name)
    with open(script, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {shlex.quote(venv_python())} -m {name} "$@"\n')
    os.chmod(script, 0o755)


def check_loads() -> None:
    """Import the packages that minibot needs; name a system library that is missing."""
    failure = failure_of("import " + REQUIRED_IMPORTS)
    if failure:
        raise Refused("installed, but it does not load here:\n" + failure)
    failure = failure_of(LOAD_LIGHTGBM)
    if not failure:
        return
    say(f"note: lightgbm does not load ({failure.strip().splitlines()[-1]})")
    if sys.platform == "win32":
        remedy = "install the Microsoft Visual C++ Redistributable (vcomp140.dll)"
    elif sys.platform == "darwin":
        remedy = "brew install libomp"
    else:
        remedy = "sudo apt-get install libgomp1 (Debian, Ubuntu); elsewhere the package libgomp"
    say(f"note: {remedy}; until then the AI runs its baseline, marked as such")


def failure_of(code: str) -> str:
    """Return the error output of a line of Python in the environment, empty if it succeeds.

    It keeps its bytecode whatever the shell's variables say: every later start is quicker by that.
    """
    environ = clean_environ()
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    result = subprocess.run(
        [venv_python(), "-c", code],
        env=environ,
        cwd=VENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return result.stdout.decode("utf-8", "replace")[-1500:] if result.returncode else ""
