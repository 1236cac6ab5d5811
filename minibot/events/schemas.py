"""Generator of files from reason codes and schemas: `python -m minibot.events.schemas`.

The `reason_code` enums inside the schemas, the pins in `config/contracts.v1.json`,
`docs/reference/reasons.md`, and the tables of `docs/DATA_CONTRACTS.md`: a test compares each with
the file in the tree.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.reason import BUSINESS_GROUP, END_GROUP, GROUPS, STOP_GROUP
from minibot.events.reasons import CLEARED, REFUSED, codes
from minibot.events.reference_pages import reasons_page, with_contracts_section
from minibot.events.registry import schema_sha256
from minibot.kernel.files import write_atomic

PROJECT: Final = Path(__file__).resolve().parents[2]
SUFFIX: Final = ".v1.schema.json"

_ENDS: Final = tuple(code for code in codes(END_GROUP) if code not in (CLEARED, REFUSED))
_STOPS: Final = codes(STOP_GROUP)


def with_enums(type_: str, schema: JsonObject) -> JsonObject:
    """Return a payload's schema with its `reason_code` enums filled from the closed list."""
    code = schema["properties"].get("reason_code")
    if code is None:
        return schema
    code["enum"] = list(_allowed(type_))
    if type_ == "risk_action":
        _enum_of(schema["then"])["enum"] = list(_STOPS)
        _enum_of(schema["else"])["enum"] = list(codes(BUSINESS_GROUP))
    if type_ == "stop_journal":
        by_kind = {"STOP": _STOPS, "END": _ENDS, "CLEAR": (CLEARED,), "REFUSED": (REFUSED,)}
        for branch in schema["allOf"]:
            kind = branch["if"]["properties"]["kind"]["const"]
            _enum_of(branch["then"])["enum"] = list(by_kind[kind])
    return schema


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


def generated(project: Path = PROJECT) -> dict[Path, bytes]:
    """Return every generated file with the content that it should have."""
    files: dict[Path, bytes] = {}
    schemas: dict[str, JsonObject] = {}
    for name in ("envelope", *PAYLOAD_CLASSES):
        path = project / "contracts" / f"{name}{SUFFIX}"
        schema = json.loads(path.read_bytes())
        schemas[name] = schema if name == "envelope" else with_enums(name, schema)
        files[path] = _page(schemas[name])
    files[project / "config" / "contracts.v1.json"] = _page(contracts_config(schemas))
    files[project / "docs" / "reference" / "reasons.md"] = reasons_page().encode()
    page = project / "docs" / "DATA_CONTRACTS.md"
    text = page.read_text(encoding="utf-8")
    files[page] = with_contracts_section(text, schemas).encode()
    return files


def main() -> int:
    """Rewrite the files that differ and print their names."""
    for path, content in generated().items():
        if not path.exists() or path.read_bytes().replace(b"\r\n", b"\n") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
            print(f"written: {path.relative_to(PROJECT).as_posix()}")
    return 0


def _allowed(type_: str) -> tuple[str, ...]:
    by_type = {
        "signal": (BUSINESS_GROUP,),
        "order_result": (BUSINESS_GROUP,),
        "risk_action": (BUSINESS_GROUP, STOP_GROUP),
        "stop_journal": (STOP_GROUP, END_GROUP),
        "dead_letter": GROUPS,
    }
    return codes(*by_type[type_])


def _enum_of(branch: JsonObject) -> JsonObject:
    found: JsonObject = branch["properties"]["reason_code"]
    return found


def _page(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
