"""Attacks by code that an environment loads: `.pth` files, `sitecustomize`, a changed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.attacks.frame import Done, Found, Lab, NotPlayable, attack
from tools.attacks.planting import LISTED, judged, marker_of, marking, product_with_list

# Hooks leave no mark in the very first process, as nothing can protect that one.
LATER = "import sys\nif any('listed.py' in word for word in sys.orig_argv):\n    "


def own_environment(lab: Lab) -> tuple[str, Path]:
    """Make an environment with this one's packages; return its Python and its package folder."""
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(lab.folder / "env")],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0 or os.name == "nt":
        raise NotPlayable("no second environment can be made here")
    packages = next((lab.folder / "env" / "lib").glob("python*")) / "site-packages"
    for entry in Path(sys.prefix, *packages.parts[-3:]).iterdir():
        if entry.suffix != ".pth" and not (packages / entry.name).exists():
            (packages / entry.name).symlink_to(entry)
    return str(lab.folder / "env" / "bin" / "python"), packages


def verified(lab: Lab, python: str, **environ: str) -> Done:
    """Verify the lab's finished run with another Python."""
    words = ("-m", "minibot", "verify", "latest", "--var", str(lab.var))
    return lab.command(python, *words, environ=environ)


@attack("A1", "a .pth file, sitecustomize and usercustomize in the environment", "none is run")
def hooks_of_the_environment(lab: Lab) -> Found:
    """Plant all three hooks that Python runs at every start, then verify under the code list."""
    lab.finished_run()
    product_with_list(lab)
    python, packages = own_environment(lab)
    hook = LATER + marking(lab).strip() + "\n"
    (packages / "hook.py").write_text(hook)
    (packages / "hook.pth").write_text("import hook\n")
    for name in ("sitecustomize", "usercustomize"):
        (packages / f"{name}.py").write_text(hook)
    return judged(lab, verified(lab, python), 0, "clean")


@attack(
    "A1", "pyvenv.cfg that lets in packages of the system, PYTHONHOME that is right", "not used"
)
def system_packages_let_in(lab: Lab) -> Found:
    """Let system packages into the environment, then look for their folder on a proof's path."""
    product = product_with_list(lab)
    python, _ = own_environment(lab)
    config = lab.folder / "env" / "pyvenv.cfg"
    text = config.read_text().replace("= false", "= true")
    config.write_text(text)
    private = lab.folder / "private"
    private.mkdir()
    flags = ["-I", "-S", "-X", f"pycache_prefix={private}", str(product / "minibot/listed.py")]
    said = lab.command(
        *(python, *flags, "-c", "import sys; print(sys.path)"),
        environ={"PYTHONHOME": sys.base_prefix},
    )
    system = str(Path(sys.base_prefix) / "lib") + os.sep
    is_open = any(word.startswith(system) and "-packages" in word for word in said.out.split("'"))
    text = "packages of the system are on the path" if is_open else "they are not on the path"
    return Found(text, said.code, said.code == 0 and not is_open)


@attack("A1", "a package of the environment is changed before a night", "a refusal that names it")
def changed_package(lab: Lab) -> Found:
    """Add a line to a module of a package that every role imports."""
    product_with_list(lab)
    python, packages = own_environment(lab)
    source = (packages / "filelock").resolve()
    (packages / "filelock").unlink()
    shutil.copytree(source, packages / "filelock")
    with (packages / "filelock" / "_api.py").open("a") as file:
        file.write(f"\n{LATER}{marking(lab).strip()}\n")
    words = ["-m", "minibot.nore_run_v1", "--config", "config/nore-smoke.v1.json", "--quiet"]
    sets = [word for key, value in LISTED.items() for word in ("--set", f"{key}={value}")]
    done = lab.command(python, *words, *sets, "--var", str(lab.var))
    # The preflight itself imports the package before it checks it.
    marker_of(lab).unlink(missing_ok=True)
    return judged(lab, done, 2, "filelock/_api.py has changed")
