"""Attacks with code that is on no list: planted bytecode, modules that shadow listed ones."""

from __future__ import annotations

import json
import os
import sys

import psutil

from tools.attacks.frame import Found, Lab, attack
from tools.attacks.planting import (
    CLEAN,
    LISTED,
    REFUSED,
    VERDICT,
    judged,
    marking,
    plant,
    product_with_list,
    refused_night,
)


@attack("A1", "unchecked bytecode in risk/limits.py before a night under the list", REFUSED)
def planted_limits(lab: Lab) -> Found:
    """Plant unchecked bytecode of risk/limits.py before a night under the code list."""
    product = product_with_list(lab)
    plant(lab, "minibot/risk/limits.py", product)
    return refused_night(lab, "loaded code", "minibot/risk/__pycache__/limits")


@attack("A1", "unchecked bytecode in a module of the kernel before a night", REFUSED)
def planted_kernel(lab: Lab) -> Found:
    """Plant unchecked bytecode of a kernel module before a night."""
    product = product_with_list(lab)
    plant(lab, "minibot/kernel/journal.py", product)
    return refused_night(lab, "loaded code", "minibot/kernel/__pycache__/journal")


@attack("A1", "bytecode of another code under the stamp of its source before a night", REFUSED)
def planted_stamped(lab: Lab) -> Found:
    """Plant bytecode of other code under its source's own stamp before a night."""
    product = product_with_list(lab)
    planted = plant(lab, "minibot/risk/core.py", product)
    found = (product / "minibot/risk/core.py").stat()
    stamp = int(found.st_mtime).to_bytes(4, "little") + found.st_size.to_bytes(4, "little")
    data = planted.read_bytes()
    planted.write_bytes(data[:4] + bytes(4) + stamp + data[16:])
    return refused_night(lab, "is not what its source compiles to")


@attack("A1", "unchecked bytecode planted while a night runs, then a role is killed", CLEAN)
def planted_during_a_night(lab: Lab) -> Found:
    """Plant unchecked bytecode while a night runs, then kill a role."""
    product = product_with_list(lab)
    night = lab.start_night(LISTED | {"duration_ms": "300000"})
    night.wait_for_fills()
    for name in ("role", "core", "limits", "sizing"):
        if (product / f"minibot/risk/{name}.py").exists():
            plant(lab, f"minibot/risk/{name}.py", product)
    night.roles()["risk_role"].kill()
    done = night.wait()
    return judged(lab, done, 0)


@attack("A1", "unchecked bytecode in the modules of verify, then a proof under the list", CLEAN)
def planted_verify(lab: Lab) -> Found:
    """Plant unchecked bytecode in the modules of verify, then prove under the code list."""
    run = lab.finished_run()
    product = product_with_list(lab)
    for name in (VERDICT, "minibot/cli/verify.py", "minibot/report/proof.py"):
        plant(lab, name, product)
    return judged(lab, lab.minibot("verify", run.name), 0, "clean")


@attack("A1", "unchecked bytecode in the modules of replay, then a proof under the list", CLEAN)
def planted_replay(lab: Lab) -> Found:
    """Plant unchecked bytecode in the modules of replay, then prove under the code list."""
    run = lab.finished_run()
    product = product_with_list(lab)
    for name in ("minibot/engine/role_replay.py", "minibot/risk/core.py", "minibot/cli/replay.py"):
        plant(lab, name, product)
    return judged(lab, lab.minibot("replay", run.name), 0, "identical")


@attack("A1", "unchecked bytecode everywhere, verify started by the starter's own path", CLEAN)
def planted_first_module(lab: Lab) -> Found:
    """Plant unchecked bytecode everywhere, then start verify by the starter's own path."""
    run = lab.finished_run()
    product = product_with_list(lab)
    for name in ("__init__", "__main__", "environment", "listed", "kernel/verify"):
        plant(lab, f"minibot/{name}.py", product)
    private = lab.folder / "private"
    private.mkdir()
    flags = ["-I", "-S", "-X", f"pycache_prefix={private}"]
    words = ("minibot", "verify", str(run))
    done = lab.command(sys.executable, *flags, str(product / "minibot/listed.py"), *words)
    return judged(lab, done, 0, "clean")


@attack("A1", "a package without sources beside kernel/verify.py, then a proof", CLEAN)
def sourceless_package(lab: Lab) -> Found:
    """Plant a package without sources beside kernel/verify.py, then prove."""
    run = lab.finished_run()
    product = product_with_list(lab)
    folder = product / VERDICT.removesuffix(".py")
    folder.mkdir()
    (folder / "__init__.py").write_text(marking(lab))
    plant(lab, f"{VERDICT.removesuffix('.py')}/__init__.py", product).rename(
        folder / "__init__.pyc"
    )
    (folder / "__init__.py").unlink()
    return judged(lab, lab.minibot("verify", run.name), 0, "clean")


@attack("A1", "a library put before kernel/verify.py, then a night under the list", REFUSED)
def planted_library(lab: Lab) -> Found:
    """Plant a library that shadows kernel/verify.py, then run a night under the code list."""
    product = product_with_list(lab)
    (product / VERDICT).with_suffix(".abi3.so").write_bytes(b"\x7fELF")
    return refused_night(lab, "verify.abi3.so", "not deployed")


@attack("A1", "modules in the working folder named as packages that verify imports", CLEAN)
def shadowing_modules(lab: Lab) -> Found:
    """Plant modules in the working folder under the names of packages that verify imports."""
    run = lab.finished_run()
    product = product_with_list(lab)
    for name in ("orjson", "msgspec", "argparse", "sitecustomize", "usercustomize"):
        (product / f"{name}.py").write_text(marking(lab))
    private = {"HOME": str(product)}
    # Python would look into the working folder first, so the starter is named by its path.
    folder = lab.folder / "private"
    folder.mkdir()
    flags = ["-I", "-S", "-X", f"pycache_prefix={folder}"]
    words = ("minibot", "verify", str(run))
    done = lab.command(
        sys.executable, *flags, str(product / "minibot/listed.py"), *words, environ=private
    )
    return judged(lab, done, 0, "clean")


@attack("A1", "sitecustomize and a stand-in for orjson on PYTHONPATH of a night", CLEAN)
def foreign_python_path(lab: Lab) -> Found:
    """Plant sitecustomize and a false orjson on the PYTHONPATH of a night."""
    product_with_list(lab)
    folder = lab.folder / "path"
    folder.mkdir()
    # Only processes of the night count: the first one runs whatever its caller put on its path.
    text = f"import sys\nif any('runtime.role' in word for word in sys.orig_argv):{marking(lab)}"
    text = text.replace(":\nopen", ":\n    open")
    for name in ("sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(text)
    done = lab.start_night(LISTED, environ={"PYTHONPATH": str(folder)}).wait()
    return judged(lab, done, 0)


@attack("A1", "a library in LD_PRELOAD when a night under the list is started", CLEAN)
def preloaded_library(lab: Lab) -> Found:
    """Plant a library in LD_PRELOAD, then start a night under the code list."""
    product_with_list(lab)
    night = lab.start_night(LISTED, environ={"LD_PRELOAD": "/nonexistent/library.so"})
    night.wait_for_run()
    seen = [
        name
        for name, process in night.roles().items()
        if any(word.startswith(("LD_", "PYTHONPATH")) for word in process.environ())
    ]
    done = night.wait()
    found = judged(lab, done, 0)
    return Found(
        f"{seen} have it" if seen else found.said, done.code, found.is_expected and not seen
    )


@attack("A1", "an install of minibot elsewhere on the path of the Python that proves", CLEAN)
def install_elsewhere(lab: Lab) -> Found:
    """Plant another minibot on the path of the Python that proves."""
    run = lab.finished_run()
    elsewhere = lab.folder / "elsewhere" / "minibot"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.py").write_text(marking(lab))
    product = product_with_list(lab)
    folder = lab.folder / "private"
    folder.mkdir()
    flags = ["-I", "-S", "-X", f"pycache_prefix={folder}"]
    words = ("minibot", "verify", str(run))
    done = lab.command(
        *(sys.executable, *flags, str(product / "minibot/listed.py"), *words),
        environ={"PYTHONPATH": str(elsewhere.parent)},
    )
    return judged(lab, done, 0, "clean")


@attack("A1", "a source edited after it was listed, then a proof", REFUSED)
def edited_verify(lab: Lab) -> Found:
    """Edit a source after it was listed, then prove."""
    run = lab.finished_run()
    product = product_with_list(lab)
    with (product / VERDICT).open("a") as file:
        file.write(marking(lab))
    return judged(lab, lab.minibot("verify", run.name), 2, f"{VERDICT} has changed")


@attack("A1", "bytecode that its source does not compile to, then stage status", "exit 1, named")
def bytecode_in_status(lab: Lab) -> Found:
    """Plant bytecode that differs from its source, then ask stage status."""
    product = product_with_list(lab)
    planted = plant(lab, "minibot/risk/limits.py", product)
    done = lab.minibot("stage", "status")
    return judged(lab, done, 1, planted.relative_to(product).as_posix())


@attack("A1", "Ctrl-C for a night that started again under the list", "ends in order, exit 0")
def interrupted_under_the_list(lab: Lab) -> Found:
    """Interrupt (Ctrl-C) a night that restarted itself under the code list."""
    product_with_list(lab)
    night = lab.start_night(LISTED | {"duration_ms": "900000"})
    run = night.wait_for_fills()
    manifest = json.loads((run / "manifest.json").read_bytes())
    words = psutil.Process(night.process.pid).cmdline()
    argv = manifest["processes"]["watchdog_role"]["argv"]
    folder = next(word for word in words if word.startswith("pycache_prefix=")).partition("=")[2]
    night.process.send_signal(2)
    done = night.wait()
    is_left = os.path.exists(folder)
    found = judged(lab, done, 0)
    said = "its private folder stays" if is_left else found.said
    return Found(said, done.code, found.is_expected and not is_left and words == list(argv))
