"""Files generated from the classes of events, the reason codes and the role x type table.

    python -m minibot.events.schemas                    write the files that differ
    python -m minibot.events.schemas --check            exit 1 when a file is stale
    python -m minibot.events.schemas --skeleton TYPE    print a first draft of a type's examples

The generated files are the schemas of `contracts/`, their pins in `config/contracts.v1.json`,
`docs/reference/reasons.md`, the tables of `docs/DATA_CONTRACTS.md` and that of writers in
`docs/SPEC.md`. A test fails where a committed file differs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from minibot.events.class_schemas import envelope_schema, payload_schema
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.reference_pages import reasons_page, with_contracts, with_writers
from minibot.events.registry import PROJECT, schema_sha256
from minibot.events.roles import PATH, Roles
from minibot.events.skeletons import skeleton
from minibot.kernel.files import write_atomic

SUFFIX: Final = ".v1.schema.json"


def contracts_config(schemas: dict[str, JsonObject]) -> JsonObject:
    """Return the content of `config/contracts.v1.json` for the given schemas by name."""
    paths = {name: f"contracts/{name}{SUFFIX}" for name in schemas}
    return {
        "schema": "minibot.contracts",
        "v": 1,
        "envelope": paths["envelope"],
        "types": {name: paths[name] for name in PAYLOAD_CLASSES},
        "sha256": {paths[name]: schema_sha256(schema) for name, schema in schemas.items()},
    }


def contracts() -> dict[str, JsonObject]:
    """Return the schema of the envelope and of each payload by name, as their classes say."""
    of_types = {name: payload_schema(cls) for name, cls in PAYLOAD_CLASSES.items()}
    return {"envelope": envelope_schema(), **of_types}


def generated(project: Path | None = None) -> dict[Path, bytes]:
    """Return every generated file with the content that it should have.

    Raises:
        FileNotFoundError: A page with a generated part is missing.
    """
    project = project or PROJECT
    schemas = contracts()
    fields, writers = (project / "docs" / name for name in ("DATA_CONTRACTS.md", "SPEC.md"))
    roles = Roles.load(project / "config" / PATH.name)
    return {
        **{project / "contracts" / f"{name}{SUFFIX}": _page(schemas[name]) for name in schemas},
        project / "config" / "contracts.v1.json": _page(contracts_config(schemas)),
        project / "docs" / "reference" / "reasons.md": reasons_page().encode(),
        fields: with_contracts(fields.read_text(encoding="utf-8"), schemas).encode(),
        writers: with_writers(writers.read_text(encoding="utf-8"), roles).encode(),
    }


def stale(project: Path | None = None) -> dict[Path, bytes]:
    """Return the generated files that are missing or say something else, with their content."""
    return {
        path: content
        for path, content in generated(project).items()
        if not path.is_file() or path.read_bytes().replace(b"\r\n", b"\n") != content
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the files that differ and name them; with --check exit 1 instead."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--check", action="store_true", help="exit 1 when a file is stale")
    flags.add_argument(
        "--skeleton", metavar="TYPE", choices=PAYLOAD_CLASSES, help="print where examples begin"
    )
    arguments = flags.parse_args(argv)
    if arguments.skeleton:
        print(_page(skeleton(PAYLOAD_CLASSES[arguments.skeleton])).decode(), end="")
        return 0
    found = stale()
    for path, content in found.items():
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        word = "stale" if arguments.check else "written"
        print(f"{word}: {path.relative_to(PROJECT).as_posix()}")
    return int(arguments.check and bool(found))


def _page(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
