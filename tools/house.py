"""Measure the house: its size, the number of its ways and names, its circular imports.

    python3 tools/with_env.py -m tools.house                  this tree
    python3 tools/with_env.py -m tools.house --tree FOLDER    another checkout, such as an old one

Everything is read from the sources alone, so that two trees are measured alike. One line for each
measure; `--names` lists the names behind the counts.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
CORES: Final = {
    "StrategyCore": "strategies",
    "RiskCore": "risk",
    "PaperExecutorNoreV1": "execution",
}
# Attributes for reading alone; any other call from outside the room is an entry point.
SHOWN: Final = frozenset({"facts", "state"})
SHORT_LINES: Final = 80
# First words of docstrings that lead up to their noun instead of naming it.
IDIOM: Final = re.compile(
    r"(What|Who|Whom|Whose|Whether|Where|When|How|Why|That|Of|As|So|Nobody|Nothing|Neither)\b"
    r"|Return what\b"
)
Trees = dict[str, ast.Module]


def module_name(folder: Path, path: Path) -> str:
    """Return the dotted name of a source file."""
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(folder: Path, part: str = "minibot") -> tuple[Trees, dict[str, int]]:
    """Return every module of the product or another part, parsed, and how many lines it has."""
    trees, lines = {}, {}
    for path in sorted((folder / part).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = module_name(folder, path)
        trees[name], lines[name] = ast.parse(text), text.count("\n")
    return trees, lines


def classes(trees: Trees) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield (module, class) of every class at the top of a module."""
    for name, tree in trees.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                yield name, node


def docstrings(trees: Trees) -> Iterator[tuple[str, str]]:
    """Yield (place, first line) of every docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, documented) and (said := ast.get_docstring(node)):
                line = getattr(node, "lineno", 1)
                yield f"{name}:{line}", said.partition("\n")[0]


def in_old_idiom(trees: Trees) -> list[str]:
    """Return place and first line of each docstring that leads up to its noun."""
    return [f"{place} {said}" for place, said in docstrings(trees) if IDIOM.match(said)]


def imports(trees: Trees) -> dict[str, set[str]]:
    """Return the modules of the product that each module imports when it is loaded."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        for node in _loaded(tree.body):
            if isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names if alias.name in trees}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    found[name].add(whole if whole in trees else node.module)
        found[name] = {other for other in found[name] if other in trees and other != name}
    return found


def _loaded(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements that run when a module is loaded; not those for the type checker."""
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        for block in ("body", "orelse"):
            if isinstance(node, ast.If | ast.Try):
                yield from _loaded(getattr(node, block))


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of names that all reach one another, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows.get(name, ())):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


def of_rooms(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows between rooms: the first part of a name below `minibot`."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, others in arrows.items():
        for other in others:
            one, two = name.split(".")[1:2], other.split(".")[1:2]
            if one and two and one != two and name.count(".") > 1 and other.count(".") > 1:
                found[one[0]].add(two[0])
    return found


def ways_in(trees: Trees) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the entry points of each core that are used, and the modules that call them.

    An entry point is a public method, not a property. A module outside the core's room calls it by
    name on a variable named like a core or a port of one.
    """
    methods: dict[str, set[str]] = {}
    for _, owner in classes(trees):
        if owner.name in CORES:
            methods[owner.name] = {
                part.name
                for part in owner.body
                if isinstance(part, ast.FunctionDef)
                and not part.name.startswith("_")
                and not part.decorator_list
                and part.name not in SHOWN
            }
    used: dict[str, set[str]] = {name: set() for name in methods}
    callers: dict[str, set[str]] = defaultdict(set)
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)):
                continue
            called = ast.unparse(node.value)
            if not re.search(r"(core|strategy|risk|execution|executor)s?(\[.*\])?$", called):
                continue
            for core, room in CORES.items():
                is_outside = name.split(".")[1:2] != [room]
                if is_outside and core in methods and node.attr in methods[core]:
                    used[core].add(node.attr)
                    callers[name].add(node.attr)
    return used, callers


def constants_twice(trees: Trees) -> dict[str, list[str]]:
    """Return public constants of one name and one value that more than one module defines."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, tree in trees.items():
        for node in tree.body:
            target = (
                node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            )
            value = getattr(node, "value", None)
            if not isinstance(target, ast.Name) or value is None:
                continue
            if re.fullmatch(r"[A-Z][A-Z0-9_]+", target.id):
                try:
                    found[target.id, repr(ast.literal_eval(value))].append(name)
                except (ValueError, TypeError, SyntaxError):
                    continue
    return {f"{key[0]} = {key[1]:.40}": users for key, users in found.items() if len(users) > 1}


def measures(folder: Path) -> list[tuple[str, int, list[str]]]:
    """Return (measure, count, names behind the count)."""
    trees, lines = parsed(folder)
    class_names = Counter(node.name for _, node in classes(trees) if node.name[0] != "_")
    module_names = Counter(name.rpartition(".")[2] for name in trees)
    arrows = imports(trees)
    used, callers = ways_in(trees)
    idiom = in_old_idiom(trees)
    short = [name for name, count in lines.items() if count < SHORT_LINES]
    twice = constants_twice(trees)
    rows = [
        ("modules", len(trees), list[str]()),
        ("lines", sum(lines.values()), []),
        ("modules that feed a core", len(callers), _listed(callers)),
        *(
            (f"entry points of {core}, called from outside its room", len(names), sorted(names))
            for core, names in used.items()
        ),
        ("class names that stand more than once", *_repeated(class_names)),
        ("module names that stand more than once", *_repeated(module_names)),
        ("docstrings in the old idiom", len(idiom), idiom),
        (f"modules under {SHORT_LINES} lines", len(short), short),
        ("constants defined more than once", len(twice), _listed(twice)),
        ("circles of files", *_groups(circles(arrows))),
        ("circles of rooms", *_groups(circles(of_rooms(arrows)))),
    ]
    return rows


def _listed(found: dict[str, set[str]] | dict[str, list[str]]) -> list[str]:
    return [f"{name}: {', '.join(sorted(users))}" for name, users in sorted(found.items())]


def _repeated(names: Counter[str]) -> tuple[int, list[str]]:
    found = [f"{name} {count}" for name, count in names.most_common() if count > 1]
    return len(found), found


def _groups(found: list[list[str]]) -> tuple[int, list[str]]:
    return len(found), [" - ".join(group) for group in found]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the measures of a tree."""
    parser = argparse.ArgumentParser(prog="python -m tools.house", description="Measure the house.")
    parser.add_argument("--tree", type=Path, default=PROJECT, help="which checkout")
    parser.add_argument("--names", action="store_true", help="also what stands behind each count")
    arguments = parser.parse_args(argv)
    for name, count, behind in measures(arguments.tree):
        print(f"{count:>7,}  {name}")
        if arguments.names:
            print("".join(f"         {line}\n" for line in behind), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
