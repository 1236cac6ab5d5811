"""Start a module so that it executes listed sources of minibot and no bytecode of the tree.

    python -I -S -X pycache_prefix=FOLDER minibot/listed.py MODULE [ARGUMENTS ...]

Python runs a script from its source, whatever bytecode lies beside it, so this small script is the
first code of minibot in the process. FOLDER is private to one run or one verb: bytecode is read
from there alone, and the run's other processes find what its first one compiles. From here on each
module of minibot comes from this tree, by its name in the list, and a source is executed only if it
has the listed sha256: no package beside a module, no library, no bytecode without a source and no
install elsewhere can take its place. With `-S` no `.pth` file, `sitecustomize` or `usercustomize`
is run either: the folder of the packages is put on the path here (Windows goes without `-S`,
because a package of its own is found by a `.pth` file). The list is `list.json` in FOLDER, made at
first from `staging/deployed.json`. Without either any source of this tree is accepted, as on a
machine that only verifies another one's record.

`minibot.environment` restarts processes this way, `minibot.runtime.interpreter` starts children.
Standard library alone. docs/THREATS.md says what remains open.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DEPLOYED = os.path.join(PROJECT, "staging", "deployed.json")
PACKAGE = "minibot"
LIST = "list.json"
# Prefix of a private folder's name; the id of the process that removes it follows.
PREFIX = "minibot-code-"
SCRIPT = "-c"
CANNOT_RUN = 2
REMEDY = "`minibot stage status` shows all that differs."

is_on = False
"""Whether this process executes listed sources alone."""
folder: "str | None" = None
"""The private folder of this process, None where `is_on` is False."""
files: "dict[str, str] | None" = None
"""Path to sha256 of what may be executed; None takes this tree as it is."""


class NotListed(ImportError):
    """A source differs from the list; the message names it."""


class ListedLoader(SourceFileLoader):
    """Loader of one module from its source, which has to have the sha256 of the list."""

    def __init__(self, fullname: str, path: str, sha256: "str | None") -> None:
        super().__init__(fullname, path)
        self._sha256 = sha256

    def get_data(self, path: str) -> bytes:
        """Return the content of a file; a source is compared with the list first."""
        data = super().get_data(path)
        if path == self.path and self._sha256 not in (None, _sha256(data)):
            name = os.path.relpath(path, PROJECT).replace(os.sep, "/")
            raise NotListed(f"{name} has changed: it is not what staging/deployed.json lists")
        return data


class Guard(MetaPathFinder):
    """Finder of every module of minibot in this tree, and of no other.

    Args:
        files: Path from the project's root, with slashes, to sha256; None accepts any source.
    """

    def __init__(self, files: "dict[str, str] | None") -> None:
        self._files = files

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        """Return the spec of a module of minibot; None for other modules."""
        if fullname.partition(".")[0] != PACKAGE:
            return None
        stem = fullname.replace(".", "/")
        for name, is_package in ((f"{stem}/__init__.py", True), (f"{stem}.py", False)):
            file = os.path.join(PROJECT, *name.split("/"))
            if self._files is None:
                if not os.path.isfile(file):
                    continue
                loader = ListedLoader(fullname, file, None)
            elif name in self._files:
                loader = ListedLoader(fullname, file, self._files[name])
            else:
                continue
            inner = [os.path.dirname(file)] if is_package else None
            return spec_from_file_location(
                fullname, file, loader=loader, submodule_search_locations=inner
            )
        raise ModuleNotFoundError(f"no listed module is called {fullname}", name=fullname)


def flags(private: str) -> "list[str]":
    """Return the flags of a Python that reads bytecode from a private folder alone."""
    return ["-I", *([] if os.name == "nt" else ["-S"]), "-X", "pycache_prefix=" + private]


def add_packages() -> None:
    """Put the packages of this Python's environment on the path, unless they are there already."""
    import site

    home = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    if os.path.isfile(os.path.join(home, "pyvenv.cfg")):
        sys.prefix = sys.exec_prefix = home
    sys.path += [path for path in site.getsitepackages([sys.prefix]) if os.path.isdir(path)]


def files_of(private: str) -> "dict[str, str] | None":
    """Return the list in a private folder, made from the deployed one if it has none yet.

    Raises:
        ValueError: It is damaged.
    """
    own = os.path.join(private, LIST)
    for path in (own, DEPLOYED):
        try:
            with open(path, "rb") as file:
                found = json.load(file)["files"]
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if path == DEPLOYED:
            with open(own, "x", encoding="utf-8") as file:
                json.dump({"files": found}, file)
        return None if found is None else dict(found)
    return None


def remove(private: str) -> None:
    """Remove a private folder; files that cannot be removed are left to the system."""
    import shutil

    shutil.rmtree(private, ignore_errors=True)


def begin() -> str:
    """Guard this process and return its private folder.

    Raises:
        ValueError: The command line has no private folder, or the list is damaged.
    """
    global is_on, folder, files
    private = sys._xoptions.get("pycache_prefix")
    if not isinstance(private, str) or not sys.flags.isolated:
        raise ValueError("start it with -I -X pycache_prefix=FOLDER")
    if sys.flags.no_site:
        add_packages()
    files = files_of(private)
    sys.meta_path.insert(0, Guard(files))
    if os.path.basename(private).startswith(f"{PREFIX}{os.getpid()}-"):
        atexit.register(remove, private)  # First registered, last called.
    # Workers of a pool are started with their parent's flags, which lack the folder. There is no
    # public way to add flags, and typeshed lists no private one.
    given = subprocess._args_from_interpreter_flags  # type: ignore[attr-defined]
    again = [*flags(private)[-2:], os.path.abspath(__file__)]
    subprocess._args_from_interpreter_flags = lambda: [*given(), *again]  # type: ignore[attr-defined]
    is_on, folder = True, private
    return private


def main() -> int:
    """Run a module, or the script of a pool's worker, under the guard."""
    sys.modules["minibot.listed"] = sys.modules["__main__"]
    if len(sys.argv) < 2:
        return _refuse("name the module to run", "")
    try:
        begin()
    except (OSError, ValueError) as error:
        return _refuse(str(error), "See minibot/listed.py and docs/THREATS.md.")
    sys.argv = sys.argv[1:]
    try:
        if sys.argv[0] == SCRIPT:  # `-c TEXT ...`, as multiprocessing starts workers.
            text = sys.argv.pop(1)
            exec(compile(text, "<worker>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except NotListed as error:
        return _refuse(str(error), REMEDY)
    return 0


def _refuse(why: str, remedy: str) -> int:
    sys.stderr.write(f"refused: {why}. {remedy}\n")
    return CANNOT_RUN


def _sha256(data: bytes) -> str:
    from hashlib import sha256

    return sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
