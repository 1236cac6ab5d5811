"""Rules of the house that an import linter cannot express; `pyproject.toml` holds the others."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.docs.product_sources import parsed_product
from tests.waiting import DEADLINE_S

CORES = ["minibot.strategies.core", "minibot.risk.core", "minibot.execution.core"]
# Modules that would let a decision depend on more than its inputs.
IMPURE = {
    "asyncio", "ctypes", "datetime", "multiprocessing", "numpy", "os", "pathlib",
    "psutil", "random", "secrets", "select", "shutil", "signal", "socket", "subprocess", "tempfile",
    "threading", "time", "uuid",
}  # fmt: skip
# Foreign clients: they test our exchange; the product itself has its own adapters.
FOREIGN = {"binance", "ccxt", "cryptofeed", "freqtrade", "unicorn_binance_websocket_api"}
SOCKETS = {"aiohttp", "http", "requests", "socket", "ssl", "urllib.request", "websocket"}
# Modules outside `exchanges` that may open sockets, and why. The market room opens none.
SOCKET_EXCEPTIONS = {
    "minibot.ai.probes": "tries to open one inside the jail, to prove that it cannot",
    "minibot.ai.jail_linux": "names address families for the filter of system calls",
    "minibot.ops.web.http_server": "listens for the page, on this machine alone",
}
# Modules that start threads by the standard library, whose start may hang, and why.
THREAD_EXCEPTIONS = {
    "minibot.ai.probes": "asks whether the jail allows a thread",
    "minibot.gates.chaos": "plays faults at once, for somebody who waits",
    "minibot.kernel.seal_audit": "hashes a large run, for somebody who waits",
    "minibot.ops.alerts.target_trial": "tries all targets at once, for somebody who waits",
}
# Hosts that the product may call: public market data of the venues, their archives, itself.
HOSTS = {
    "127.0.0.1", "data-api.binance.vision", "data-stream.binance.vision", "data.binance.vision",
}  # fmt: skip
# Addresses that are never called, and why they stand there.
HOST_EXCEPTIONS = {
    ("minibot.cli.support.service_files", "schemas.microsoft.com"): "the name of tasks' language",
    ("config.v1.schema.json", "json-schema.org"): "the name of the schemas' language",
    ("minibot.events.class_schemas", "json-schema.org"): "the same",
    ("minibot.report.plot", "www.w3.org"): "the name of SVG",
    ("minibot.simulator.faults.injector", "www.binance.com"): "in a refusal that is played",
    ("minibot.simulator.faults.injector", "example.invalid"): "where a redirect leads to",
}
# Key files that are no secret, and why they stand in the tree.
KEY_EXCEPTIONS = {
    "tests/exchanges/binance/untrusted_localhost.pem": "self-signed and worthless; proves refusal",
}
# Modules that run text as code, and why.
EXEC_EXCEPTIONS = {
    "minibot.strategies.own": "runs the operator's own strategy, whose text is part of its config",
}
# Modules that ask for an object's id, and why.
ID_EXCEPTIONS = {
    "minibot.strategies.state_codec": "knows an object that it meets again; tells its number alone",
}
# Events pass through one codec; these modules read files without events.
JSON_EXCEPTIONS = {
    "minibot.kernel.canonical": "the codec",
    "minibot.market.universe": "reads the bases of Universe V1",
    "minibot.events.registry": "reads schemas",
    "minibot.events.roles": "reads the roles file",
    "minibot.events.schemas": "writes schemas",
}
ROOMS_OF_EVENTS = {
    "accounting", "ai", "cores", "engine", "events", "execution", "features", "kernel", "market",
    "replay", "report", "risk", "strategies", "watchdog",
}  # fmt: skip
# Imports that a room may make beyond the table of import-linter, module by module.
FINER = {
    "features": {"minibot.events.decimals", "minibot.events.model"},
    "exchanges": {"minibot.kernel.canonical", "minibot.kernel.errors", "minibot.kernel.threads"},
}


@pytest.fixture(scope="module")
def modules(project: Path) -> dict[str, ast.Module]:
    """Every module of the product, parsed; a package by its own name."""
    return {name.removesuffix(".__init__"): tree for name, tree in parsed_product(project).items()}


@cache
def imports(name: str, tree: ast.Module) -> tuple[str, ...]:
    """Return each imported module, and each `from` name as a possible module.

    Imports for the type checker alone are skipped, because they do not exist at run time. The
    rules ask each module many times, and a walk through all of them takes seconds.
    """
    return tuple(_imported(name, tree))


def _imported(name: str, tree: ast.Module) -> Iterator[str]:
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(start: str, modules: dict[str, ast.Module]) -> dict[str, str]:
    """Return every module of the product that `start` imports, with its importer."""
    found = {start: ""}
    queue = [start]
    while queue:
        name = queue.pop()
        for imported in imports(name, modules[name]):
            if imported in modules and imported not in found:
                found[imported] = name
                queue.append(imported)
    return found


def constants(tree: ast.Module) -> Iterator[str]:
    """Yield every text in a module except docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


def is_one_of(imported: str, names: set[str]) -> bool:
    """Tell whether an imported name is one of `names` or lies within one."""
    return any(imported == name or imported.startswith(name + ".") for name in names)


@pytest.mark.slow
@pytest.mark.row("N-02", "N-60", "D-23")
@pytest.mark.parametrize("core", CORES)
def test_core_and_all_it_imports_know_neither_clock_nor_disk_nor_chance(
    core: str, modules: dict[str, ast.Module]
) -> None:
    """A core and all its imports know no clock, disk or chance: only inputs decide."""
    impure = [
        f"{name} imports {imported}"
        for name in reached(core, modules)
        for imported in imports(name, modules[name])
        if is_one_of(imported, IMPURE)
    ]

    assert impure == []


@pytest.mark.slow
@pytest.mark.row("N-02")
@pytest.mark.parametrize("core", CORES)
def test_core_reaches_its_own_room_events_cores_and_features_alone(
    core: str, modules: dict[str, ast.Module]
) -> None:
    """A core imports its own room, events, cores and features alone."""
    own = core.split(".")[1]
    allowed = {f"minibot.{room}" for room in (own, "cores", "accounting", "events", "features")}
    # `line` hashes given bytes; ids are such hashes.
    allowed |= {f"minibot.kernel.{name}" for name in ("canonical", "codes", "errors", "line")}

    strangers = [
        f"{name} (by {by})"
        for name, by in reached(core, modules).items()
        if not is_one_of(name, allowed) and name not in ("minibot", "minibot.kernel")
    ]

    assert strangers == []


@pytest.mark.slow
@pytest.mark.row("N-02", "N-60")
@pytest.mark.parametrize("core", CORES)
def test_core_and_all_it_imports_call_neither_open_nor_hash_nor_id(
    core: str, modules: dict[str, ast.Module]
) -> None:
    """A core and all its imports never call open, hash or id, which differ between processes."""
    called = [
        f"{name}, line {node.lineno}: {node.func.id}()"
        for name in reached(core, modules)
        for node in ast.walk(modules[name])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"open", "id", "hash", "input", "print", "eval", "exec", "__import__"}
        and name.split(".")[1] not in ("accounting", "cores", "events")
        and not (node.func.id == "exec" and name in EXEC_EXCEPTIONS)
        and not (node.func.id == "id" and name in ID_EXCEPTIONS)
    ]

    assert called == []


@pytest.mark.slow
@pytest.mark.row("N-24", "N-57")
def test_sockets_are_opened_by_exchanges_alone(modules: dict[str, ast.Module]) -> None:
    """Only `exchanges` opens sockets; each exception is named with its reason."""
    users = {
        name
        for name, tree in modules.items()
        if any(is_one_of(imported, SOCKETS) for imported in imports(name, tree))
        and name.split(".")[1] not in ("exchanges", "simulator")
    }

    assert users == set(SOCKET_EXCEPTIONS)


@pytest.mark.slow
def test_threads_are_started_where_a_start_cannot_hang(modules: dict[str, ast.Module]) -> None:
    """Threads begin by `kernel.threads`; each exception is named with its reason."""
    users = {
        name
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", ""))
        in ("Thread", "Timer", "ThreadPoolExecutor")
    }

    assert users == set(THREAD_EXCEPTIONS)


@pytest.mark.slow
@pytest.mark.row("N-24")
def test_hosts_that_the_product_names_are_the_venues(
    modules: dict[str, ast.Module], project: Path
) -> None:
    """Hosts in code and profiles are the venues' alone: no news, no cloud, no telemetry."""
    texts = {name: "\n".join(constants(tree)) for name, tree in modules.items()}
    for path in sorted((project / "config").glob("*.json")):
        texts[path.name] = path.read_text(encoding="utf-8")

    found = {
        f"{name}: {host}"
        for name, text in texts.items()
        for host in re.findall(r"(?:https?|wss?)://([\w-]+(?:\.[\w-]+)+)", text)
        if host not in HOSTS and (name, host) not in HOST_EXCEPTIONS
    }

    assert found == set()


@pytest.mark.slow
@pytest.mark.row("B-49")
def test_product_uses_no_client_of_others(modules: dict[str, ast.Module]) -> None:
    """The product imports no foreign client."""
    users = {
        name
        for name, tree in modules.items()
        if any(is_one_of(imported, FOREIGN) for imported in imports(name, tree))
    }

    assert users == set()
    assert any(is_one_of(name, {"minibot.exchanges.binance"}) for name in modules)


@pytest.mark.slow
def test_package_of_a_venue_is_known_to_exchanges_alone(
    project: Path, modules: dict[str, ast.Module]
) -> None:
    """A venue's package is imported by `exchanges` alone; the import contract names every room."""
    venues = {
        f"minibot.exchanges.{path.parent.name}"
        for path in (project / "minibot" / "exchanges").glob("*/messages.py")
    }
    strangers = {
        name: imported
        for name, tree in modules.items()
        for imported in imports(name, tree)
        if is_one_of(imported, venues) and not is_one_of(name, {"minibot.exchanges"})
    }
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("a venue is known by the port alone")
    )
    rooms = {f"minibot.{path.parent.name}" for path in (project / "minibot").glob("*/__init__.py")}

    assert strangers == {}
    assert len(venues) >= 2
    assert set(contract["forbidden_modules"]) == venues
    assert set(contract["source_modules"]) == rooms - {"minibot.exchanges"}


@pytest.mark.slow
@pytest.mark.row("S-14")
def test_events_pass_through_one_codec(modules: dict[str, ast.Module]) -> None:
    """One module imports a JSON library for events in the rooms that handle them."""
    users = {
        name
        for name, tree in modules.items()
        if name.split(".")[1:2] and name.split(".")[1] in ROOMS_OF_EVENTS
        if any(is_one_of(imported, {"json", "orjson"}) for imported in imports(name, tree))
    }

    assert users - set(JSON_EXCEPTIONS) == set()


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted(FINER))
def test_room_takes_from_others_only_the_modules_named(
    room: str, modules: dict[str, ast.Module]
) -> None:
    """Features import numbers alone, and exchanges nothing of the kernel that touches a disk."""
    taken = {
        imported
        for name, tree in modules.items()
        if name.startswith(f"minibot.{room}.")
        for imported in imports(name, tree)
        if imported in modules
        and imported.split(".")[1:2] not in ([room], [])
        and len(imported.split(".")) > 2
    }
    if room == "exchanges":
        taken = {name for name in taken if name.startswith("minibot.kernel")}

    assert taken - FINER[room] == set()


@pytest.mark.slow
def test_no_module_is_called_after_nothing(modules: dict[str, ast.Module]) -> None:
    """No module is called `utils`, `helpers`, `common` or `manager`."""
    empty_words = re.compile(r"(^|_)(utils?|helpers?|common|managers?|misc)(_|$)")

    assert [name for name in modules if empty_words.search(name.split(".")[-1])] == []


def tracked(project: Path) -> list[Path]:
    """Return the files that git would commit: tracked, and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(command, cwd=project, check=True, capture_output=True)
    paths = [project / name for name in result.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.process
@pytest.mark.row("N-13")
def test_code_and_contracts_are_written_in_english(project: Path) -> None:
    """No Cyrillic letter stands in any Python or JSON file."""
    cyrillic = re.compile("[\u0400-\u04ff]")

    found = [
        path.relative_to(project).as_posix()
        for path in tracked(project)
        if path.suffix in (".py", ".json") and cyrillic.search(path.read_text(encoding="utf-8"))
    ]

    assert found == []


@pytest.mark.process
@pytest.mark.row("N-11")
def test_no_secret_file_is_in_the_tree(project: Path) -> None:
    """No `.env`, key or certificate file would be committed."""
    secret = re.compile(r"(^|/)(\.env(\..*)?|.*\.(pem|key|p12|pfx|jks)|id_(rsa|ed25519).*)$")

    names = [path.relative_to(project).as_posix() for path in tracked(project)]

    assert {name for name in names if secret.search(name)} - set(KEY_EXCEPTIONS) == set()


@pytest.mark.process
@pytest.mark.row("D-44")
def test_product_is_no_notebook_and_knows_no_leverage(project: Path) -> None:
    """No notebook file is in the tree and no contract or profile has a leverage field."""
    names = [path for path in tracked(project) if path.suffix == ".ipynb"]

    leverage = [
        f"{path.name}: {key}"
        for folder in ("contracts", "config")
        for path in sorted((project / folder).glob("*.json"))
        for key in keys(json.loads(path.read_text(encoding="utf-8")))
        if re.search(r"leverage|margin", key, re.I)
    ]

    assert names == []
    assert leverage == []


def keys(value: Any) -> Iterator[str]:
    """Yield every key of nested JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


@pytest.mark.row("S-10", "S-12", "S-13")
def test_pyproject_asks_for_strict_types_and_a_python_that_is_tested(project: Path) -> None:
    """Python 3.11 or later, mypy strict over everything, and ruff with docstrings are demanded."""
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))

    assert settings["project"]["requires-python"] == ">=3.11"
    assert settings["tool"]["mypy"]["strict"] is True
    assert set(settings["tool"]["mypy"]["files"]) == {"minibot", "tools", "tests"}
    assert {"E", "F", "D", "B"} <= set(settings["tool"]["ruff"]["lint"]["select"])
    assert settings["tool"]["pytest"]["ini_options"]["testpaths"] == ["tests"]


@pytest.mark.row("S-52", "S-55", "S-66", "C-22")
@pytest.mark.parametrize(
    "command",
    [
        "ruff check .",
        "ruff format --check .",
        "mypy --platform",
        "lint_imports",
        "tools.rows --check",
        "tools.faults --check",
        "pytest",
        "minibot gate all",
        "minibot verify",
        "minibot replay",
        "tools/independent_check.py",
        "tools.windows_check",
    ],
)
def test_ci_runs_every_check_whole(project: Path, command: str) -> None:
    """CI runs each check over everything, and any failure fails the run."""
    script = (project / ".ci/run").read_text(encoding="utf-8")

    assert command in script
    assert "set -uo pipefail" in script
    assert "|| true" not in script


@pytest.mark.row("S-66")
def test_ci_workflow_runs_on_push_and_pull_requests_with_the_same_steps(project: Path) -> None:
    """The workflow calls the script that everybody can run, on Linux and Windows."""
    text = (project / ".github/workflows/ci.yml").read_text(encoding="utf-8")

    assert "pull_request:" in text
    assert "branches: [main]" in text
    assert text.count(".ci/run") >= 2
    assert "windows-latest" in text
    assert "upload-artifact" in text


@pytest.mark.process
@pytest.mark.row("N-122")
@pytest.mark.parametrize("source", ["minibot.kernel", "minibot.ai"])
def test_import_linter_contract_breaks_when_a_room_reaches_where_it_must_not(
    project: Path, tmp_path: Path, source: str
) -> None:
    """An import planted in a copy breaks its contract and is named."""
    copy = tmp_path / "copy"
    for path in tracked(project):
        relative = path.relative_to(project)
        if relative.parts[0] == "minibot" and path.suffix == ".py":
            (copy / relative).parent.mkdir(parents=True, exist_ok=True)
            (copy / relative).write_bytes(path.read_bytes())
    (copy / "pyproject.toml").write_bytes((project / "pyproject.toml").read_bytes())
    target = "minibot.risk"
    room = copy / source.replace(".", "/") / "__init__.py"
    room.write_text(room.read_text(encoding="utf-8") + f"\nimport {target}\n", encoding="utf-8")

    script = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; "
        "sys.exit(lint_imports(no_cache=True))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=copy, capture_output=True, check=False, timeout=DEADLINE_S,
    )  # fmt: skip

    assert result.returncode == 1
    assert f"{source} is not allowed to import {target}" in result.stdout.decode()
