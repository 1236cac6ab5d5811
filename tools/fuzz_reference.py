"""Reference of the fuzzer: strict readers by the standard library alone.

They are written from `docs/ARCH.md` and the contracts, not from the product's code, and are slow
where that makes them plainer. Nothing here imports minibot.
"""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

DEPTH_MAX: Final = 16
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1
SLOT: Final = struct.Struct(">IQQ32sQI")
FINDINGS_MAX: Final = 20


class Unreadable(Exception):
    """Refusal of bytes that the format does not allow; the message says why."""


# --- canonical JSON ---------------------------------------------------------------------------


def strict_json(data: bytes) -> dict[str, Any]:
    """Return the object of canonical JSON; each object has exactly one form.

    Raises:
        Unreadable: Anything else.
    """
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_without_twins,
            parse_float=_no_number,
            parse_constant=_no_number,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON: {error}") from error
    if type(value) is not dict:
        raise Unreadable("not an object")
    if _depth(value) > DEPTH_MAX:
        raise Unreadable("too deep")
    if written(value) != data:
        raise Unreadable("not the one form")
    return value


def written(value: Any) -> bytes:
    """Return the canonical form of a value; bytes that no file can hold where it has none."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) != len(pairs):
        raise Unreadable("a key stands twice")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise Unreadable(f"a float: {text[:40]}")


def _integer(text: str) -> int:
    number = int(text)
    if not INT_MIN <= number <= INT_MAX:
        raise Unreadable("an integer of more than 64 bits")
    return number


def _depth(value: Any) -> int:
    # Level by level, because a deep value must not exhaust the stack.
    depth, level = 0, [value]
    while level and depth <= DEPTH_MAX:
        inner = [item for item in level if isinstance(item, dict | list)]
        depth += bool(inner)
        level = [
            child for item in inner for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth + bool([item for item in level if isinstance(item, dict | list)])


# --- contracts --------------------------------------------------------------------------------

_SILENT: Final = {"$schema", "$id", "$defs", "title", "description", "then", "else"}
_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


def violations(schema: Mapping[str, Any], value: Any, root: Any, path: str = "$") -> Iterator[str]:
    """Yield the path of each violation of a contract.

    Raises:
        NotImplementedError: The contract uses a keyword that this reader does not know.
    """
    for keyword, wanted in schema.items():
        if keyword in _SILENT:
            continue
        if keyword == "$ref":
            yield from violations(root["$defs"][wanted.rpartition("/")[2]], value, root, path)
        elif keyword == "allOf":
            for part in wanted:
                yield from violations(part, value, root, path)
        elif keyword == "if":
            holds = next(violations(wanted, value, root, path), None) is None
            yield from violations(schema.get("then" if holds else "else", {}), value, root, path)
        elif keyword == "not":
            if next(violations(wanted, value, root, path), None) is None:
                yield path
        elif keyword == "properties":
            if isinstance(value, dict):
                for name in wanted.keys() & value.keys():
                    yield from violations(wanted[name], value[name], root, f"{path}.{name}")
        elif keyword == "additionalProperties":
            yield from _additional(schema, wanted, value, root, path)
        elif keyword == "items":
            if isinstance(value, list):
                for number, item in enumerate(value):
                    yield from violations(wanted, item, root, f"{path}[{number}]")
        elif keyword == "required":
            if isinstance(value, dict):
                yield from [path] * len(set(wanted) - value.keys())
        elif not _holds(keyword, wanted, value):
            yield path


def _additional(
    schema: Mapping[str, Any], wanted: Any, value: Any, root: Any, path: str
) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    further = value.keys() - schema.get("properties", {}).keys()
    if wanted is False and further:
        yield path
    elif isinstance(wanted, dict):
        for name in further:
            yield from violations(wanted, value[name], root, f"{path}.{name}")


def _holds(keyword: str, wanted: Any, value: Any) -> bool:
    if keyword == "type":
        names = [wanted] if isinstance(wanted, str) else wanted
        return any(type(value) in _KINDS[name] for name in names)
    if keyword in ("const", "enum"):
        among = [wanted] if keyword == "const" else wanted
        return any(type(item) is type(value) and item == value for item in among)
    if keyword in ("minimum", "maximum"):
        if type(value) is not int:
            return True
        return bool(value >= wanted if keyword == "minimum" else value <= wanted)
    sized = {"Length": str, "Items": list, "Properties": dict}.get(keyword[3:])
    if sized is not None:
        if type(value) is not sized:
            return True
        return bool(len(value) >= wanted if keyword[:3] == "min" else len(value) <= wanted)
    if keyword == "pattern":
        return type(value) is not str or _matches(wanted, value)
    if keyword == "uniqueItems":
        if type(value) is not list or not wanted:
            return True
        return len({json.dumps(item, sort_keys=True) for item in value}) == len(value)
    raise NotImplementedError(keyword)


def _matches(pattern: str, text: str) -> bool:
    if pattern.startswith("^") and pattern.endswith("$"):
        return _pattern(pattern[1:-1]).fullmatch(text) is not None
    return _pattern(pattern).search(text) is not None


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


class Rules(NamedTuple):
    """Rules for an envelope beside its contract."""

    schemas: Mapping[str, Any]
    run_id: str
    hashes: Mapping[str, str]
    granted: Any
    """(queue, type, source) -> bool: the role x type table."""


def envelope_code(rules: Rules, queue: str, value: dict[str, Any]) -> str:
    """Return the reason code with which an event must be refused; empty for a valid one."""
    kind = value.get("type")
    if not isinstance(kind, str):
        return "SCHEMA_INVALID"
    schema = rules.schemas.get(kind)
    if schema is None:
        return "TYPE_UNKNOWN"
    places = set(sorted(violations(schema, value, schema))[:FINDINGS_MAX])
    if places & {"$.schema", "$.v"}:
        return "SCHEMA_VERSION"
    if "$.run_id" in places:
        return "RUN_ID_MISMATCH"
    if "$.cmdline_hash" in places or (places and "cmdline_hash" not in value):
        return "CMDLINE_HASH_INVALID"
    if places:
        return "SCHEMA_INVALID"
    if not rules.granted(queue, kind, value["source"]):
        return "SOURCE_FORBIDDEN"
    if value["run_id"] != rules.run_id:
        return "RUN_ID_MISMATCH"
    if value["cmdline_hash"] != rules.hashes.get(value["source"]):
        return "CMDLINE_HASH_MISMATCH"
    return ""


# --- files ------------------------------------------------------------------------------------


def strict_line(line: bytes) -> bytes:
    """Return the JSON of a queue's line.

    Raises:
        Unreadable: The line is not `sha256:<hex>:{...}` with the right digest and one line end.
    """
    match = re.fullmatch(rb"sha256:([0-9a-f]{64}):(\{[^\r\n]*\})\n", line)
    if match is None:
        raise Unreadable("no line")
    if sha256(match[2]).hexdigest().encode() != match[1]:
        raise Unreadable("another digest")
    return match[2]


def strict_hashed(data: bytes) -> dict[str, Any]:
    """Return the object of a file that carries its own sha256.

    Raises:
        Unreadable: It is damaged.
    """
    if data[-1:] != b"\n":
        raise Unreadable("cut off")
    value = strict_json(data[:-1])
    body = {name: item for name, item in value.items() if name != "sha256"}
    if value.get("sha256") != sha256(written(body)).hexdigest():
        raise Unreadable("another digest")
    if type(value.get("generation")) is not int or value["generation"] < 1:
        raise Unreadable("no generation")
    return value


def strict_head(raw: bytes) -> tuple[int, int, int, bytes] | None:
    """Return (segment, offset, lines, chain) of the valid newer slot; None without a valid one."""
    good = []
    for at in (0, 64):
        slot = raw[at : at + 64]
        if len(slot) == 64 and zlib.crc32(slot[:60]) == int.from_bytes(slot[60:], "big"):
            segment, offset, lines, chain, sequence, _ = SLOT.unpack(slot)
            if segment:
                good.append((sequence, -at, (segment, offset, lines, chain)))
    if not good:
        return None
    # No writer makes two slots with one number; if both have one, the second counts.
    return max(good, key=lambda slot: (slot[0], -slot[1]))[2]


def strict_segments(data: bytes, stem: str) -> list[tuple[str, int, int, str, str, str]]:
    """Return the entries of a manifest of segments.

    Raises:
        Unreadable: The manifest is damaged, or an entry does not continue the one before.
    """
    value = strict_hashed(data)
    entries = []
    chain = "00" * 32
    try:
        for number, entry in enumerate(value["segments"], 1):
            sizes = entry["size"], entry["lines"]
            if any(type(size) is not int or size < 1 for size in sizes):
                raise Unreadable("no size")
            chains = [bytes.fromhex(entry[f"chain_{side}"]) for side in ("before", "after")]
            if [len(each) for each in chains] != [32, 32] or chains[0].hex() != chain:
                raise Unreadable("another chain")
            if entry["name"] != f"{stem}.{number:06d}.jsonl":
                raise Unreadable("another name")
            chain = chains[1].hex()
            entries.append((entry["name"], *sizes, entry["sha256"], chains[0].hex(), chain))
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(repr(error)) from error
    return entries


def strict_cursor(data: bytes, run_id: str, queue: str, reader: str) -> tuple[Any, ...] | None:
    """Return (seq, segment, offset, chain) of a cursor; None where it says "nothing read yet".

    Raises:
        Unreadable: The cursor is damaged, is no position, or belongs to another reader.
    """
    value = strict_hashed(data)
    try:
        counts = [value[name] for name in ("seq", "segment", "offset")]
        chain = bytes.fromhex(value["chain"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(repr(error)) from error
    if any(type(count) is not int or count < 0 for count in counts) or counts[1] < 1:
        raise Unreadable("no count")
    if len(chain) != 32 or (counts[0] == 0) != (chain == bytes(32)):
        raise Unreadable("no chain")
    if value.get("run_id") is None and counts == [0, 1, 0]:
        return None
    if [value.get(key) for key in ("run_id", "queue", "reader")] != [run_id, queue, reader]:
        raise Unreadable("somebody else's")
    return (*counts, chain)
