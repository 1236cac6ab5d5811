"""Generator of nearly valid JSON: by a contract, broken in its values, form or bytes.

A tree keeps objects as lists of pairs, so that keys may repeat in any order. It holds raw text for
values in a form that no encoder would write.
"""

from __future__ import annotations

import copy
import functools
import importlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

# Python has no public parser of patterns; this one shows what a contract accepts.
sre: Any = importlib.import_module("re._constants")
sre_parser: Any = importlib.import_module("re._parser")

Node = Any
"""A leaf, a list, an `Obj` or a `Raw`."""


class Obj(list[tuple[str, Node]]):
    """Object as a list of pairs."""


@dataclass(frozen=True)
class Raw:
    """Text put into the JSON unchanged."""

    text: str


DRAWS: Final = 3
NUMBERS: Final = (
    "1.0", "1e0", "10e-1", "-0", "-0.0", "0.0", "+1", "01", "1.", ".5", "0x1", "1_000", "NaN",
    "Infinity", "-Infinity", "1E400", "1e-400", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "-9223372036854775808", "-9223372036854775809", "1" * 60, "-", "9" * 5000, "1e5", "5E3",
    "\u0661", "1\u00a0",
)  # fmt: skip
STRINGS: Final = (
    "", " ", "\n", "x\n", "\nx", "\r", "\t", "\0", "\x1f", "\x7f", "\u0085", "\u00a0", "\u2028",
    "\ufeff", "\u0130", "\u0661\u0662", "\uff11", "\U0001f600", "e\u0301", "\u00e9", "null", "0",
    "-0", "1e3", "00", "+1", "1.", ".1", "0.0", "1.0", "-1", "NaN", "1" * 21, "0." + "1" * 19,
    "a" * 40, "A" * 41, "BTCUSDT\n", "btcusdt", "\\", '"', "/", "</script>", "${x}", "\ud800",
)  # fmt: skip
WORDS: Final = (
    "true", "false", "null", "[]", "{}", "[[]]", '{"":0}', '""', "0", "1", "-1", "2", "nul", "True",
    "'x'", "[1,]", "{,}", "undefined", "/**/1", '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0041"',
    '"\\/"', '"\\u001F"', '"\\x41"', '"\\u12"', '"a', '"\\"', "[" * 40 + "]" * 40,
)  # fmt: skip
BYTES: Final = (
    b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xff", b"\x00", b"\x7f",
    b"\xc3", b" ", b"\n", b"\r", b",", b"}", b"{", b'"', b"\\", b"0", b".0", b"e0", b":",
    b"\xe2\x80\xa8",
)  # fmt: skip


def tree_of(value: Any) -> Node:
    """Return a JSON value as a tree."""
    if isinstance(value, dict):
        return Obj((key, tree_of(value[key])) for key in sorted(value))
    if isinstance(value, list):
        return [tree_of(item) for item in value]
    return value


def emit(node: Node) -> str:
    """Return the text of a tree, without spaces, pairs in their order."""
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, Obj):
        return "{" + ",".join(f"{_text(key)}:{emit(item)}" for key, item in node) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(emit, node)) + "]"
    return _text(node)


def data_of(node: Node) -> bytes:
    """Return the bytes of a tree; lone surrogates become the bytes that UTF-8 forbids."""
    return emit(node).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- values by contract -----------------------------------------------------------------------


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with its reference in place."""
    if "$ref" in schema:
        return {**root["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
    return schema


def made(rnd: Random, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Return a value that usually fits a schema, often at one of its bounds."""
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rnd.choice(schema["enum"])
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = rnd.choice(kind)
    if kind == "object":
        return _made_object(rnd, schema, root)
    if kind == "array":
        low, high = schema.get("minItems", 0), min(schema.get("maxItems", 4), 6)
        count = rnd.choice((low, min(low + 1, high), rnd.randint(low, max(low, high))))
        return [made(rnd, schema.get("items", {}), root) for _ in range(count)]
    if kind == "integer":
        low, high = schema.get("minimum", -(2**63)), schema.get("maximum", 2**64 - 1)
        return rnd.choice((low, high, rnd.randint(low, high), rnd.randint(low, min(high, low + 9))))
    if kind == "boolean":
        return rnd.random() < 0.5
    if kind == "null":
        return None
    if "pattern" in schema:
        return _made_text(rnd, schema)
    low, high = schema.get("minLength", 0), schema.get("maxLength", 60)
    size = rnd.choice((low, min(low + 3, high), rnd.randint(low, min(high, low + 30))))
    letters = 'abc XYZ 019 .:-_\u00e9\u2028\U0001f600"\\/\t\x7f'
    return "".join(rnd.choice(letters) for _ in range(size))


def _made_text(rnd: Random, schema: Mapping[str, Any]) -> str:
    """Return a text of a pattern; one that a second pattern excludes, as of a zero, is rare."""
    also = [part["pattern"] for part in schema.get("allOf", ()) if "pattern" in part]
    for _ in range(DRAWS):
        text = fitting(rnd, schema["pattern"])[: schema.get("maxLength", 1000)]
        if all(re.search(pattern, text) for pattern in also):
            break
    return text


def _made_object(rnd: Random, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    wanted = set(schema.get("required", ()))
    value = {
        name: made(rnd, inner, root)
        for name, inner in schema.get("properties", {}).items()
        if name in wanted or rnd.random() < 0.5
    }
    further = schema.get("additionalProperties")
    if isinstance(further, dict):
        for _ in range(rnd.randrange(4)):
            value[fitting(rnd, "^[A-Z_]{1,12}$")] = made(rnd, further, root)
    return value


def fitting(rnd: Random, pattern: str) -> str:
    """Return a text that a pattern of our contracts matches, often at its shortest or longest."""
    return _from(rnd, _parsed(pattern))


@functools.cache
def _parsed(pattern: str) -> Any:
    return sre_parser.parse(pattern)


def _from(rnd: Random, tokens: Any) -> str:
    out = []
    for op, argument in tokens:
        if op is sre.LITERAL:
            out.append(chr(argument))
        elif op is sre.IN:
            out.append(rnd.choice(_letters(tuple(argument))))
        elif op is sre.MAX_REPEAT:
            low, high, inner = argument
            count = rnd.choice((low, int(high), rnd.randint(low, int(high))))
            if inner[0][0] is sre.IN:
                out += rnd.choices(_letters(tuple(inner[0][1])), k=count)
            else:
                out += [_from(rnd, inner) for _ in range(count)]
        elif op is sre.SUBPATTERN:
            out.append(_from(rnd, argument[3]))
        elif op is sre.BRANCH:
            out.append(_from(rnd, rnd.choice(argument[1])))
        elif op is not sre.AT:
            raise NotImplementedError(f"{op} in a contract's pattern")
    return "".join(out)


@functools.cache
def _letters(choices: tuple[Any, ...]) -> str:
    """Return every letter of a class such as `[a-z0-9_]`."""
    return "".join(
        chr(value) if kind is sre.LITERAL else "".join(map(chr, range(value[0], value[1] + 1)))
        for kind, value in choices
    )


def bounds_of(rnd: Random, schema: Mapping[str, Any], value: Any) -> list[Any]:
    """Return values at, just inside and just outside every bound that a schema states."""
    found: list[Any] = []
    for keyword in ("minimum", "maximum"):
        if keyword in schema:
            found += [schema[keyword] + step for step in (-1, 0, 1)]
    text = value if isinstance(value, str) else "a"
    for keyword in ("minLength", "maxLength"):
        if keyword in schema:
            for size in (schema[keyword] - 1, schema[keyword], schema[keyword] + 1):
                if 0 <= size <= 70_000:
                    found.append((text + (text or "a") * (size // max(1, len(text)) + 1))[:size])
                    found.append("\U0001f600" * size if size < 3000 else "\u00e9" * size)
    for keyword in ("minItems", "maxItems"):
        if keyword in schema and isinstance(value, list) and value:
            for size in (schema[keyword] - 1, schema[keyword], schema[keyword] + 1):
                if 0 <= size <= 3000:
                    found.append((value * (size // len(value) + 1))[:size])
    if "maxProperties" in schema and isinstance(value, Obj) and value:
        for size in (schema["maxProperties"], schema["maxProperties"] + 1):
            found.append(Obj((f"K_{n:05d}", value[0][1]) for n in range(min(size, 3000))))
    for option in schema.get("enum", ()):
        if isinstance(option, str) and rnd.random() < 0.3:
            found += [option, option.lower(), option + " ", option + "\n", option[:-1]]
    if "const" in schema:
        found += [schema["const"], f"{schema['const']}", f"{schema['const']}x", True]
    if "pattern" in schema:
        good = fitting(rnd, schema["pattern"])
        at = rnd.randrange(len(good) + 1)
        found += [good, good + "\n", "\n" + good, good + " ", good.upper(), good[:-1], good * 2]
        found += [good[:at] + rnd.choice("0aZ_-. \u0661\u00e9\n") + good[at:]]
        found += [good[:at] + rnd.choice("0aZ_-. \u0661\u00e9\n") + good[at + 1 :]]
    return found


# --- changes of a tree ------------------------------------------------------------------------


@dataclass
class Place:
    """Value's place in a tree: its holder, its position there, and its schema, if any."""

    holder: Any
    at: int
    schema: Mapping[str, Any] | None = field(repr=False)

    @property
    def value(self) -> Node:
        """Value at this place."""
        item = self.holder[self.at]
        return item[1] if isinstance(self.holder, Obj) else item

    def put(self, value: Node) -> None:
        """Put another value at this place."""
        if isinstance(self.holder, Obj):
            self.holder[self.at] = (self.holder[self.at][0], value)
        else:
            self.holder[self.at] = value


def places(node: Node, schema: Mapping[str, Any] | None, root: Mapping[str, Any]) -> list[Place]:
    """Return every value below a node, with its schema."""
    found: list[Place] = []
    schema = resolved(schema, root) if schema else {}
    if isinstance(node, Obj):
        known, further = schema.get("properties", {}), schema.get("additionalProperties")
        for at, (key, item) in enumerate(node):
            inner = known.get(key, further if isinstance(further, dict) else None)
            found.append(Place(node, at, resolved(inner, root) if inner else None))
            found += places(item, inner, root)
    elif isinstance(node, list):
        inner = schema.get("items")
        for at, item in enumerate(node):
            found.append(Place(node, at, resolved(inner, root) if inner else None))
            found += places(item, inner, root)
    return found


def change_value(
    rnd: Random, node: Obj, schema: Mapping[str, Any], root: Mapping[str, Any]
) -> None:
    """Change one value of a tree; the form stays canonical where the value has one."""
    found = places(node, schema, root)
    if not found:
        return
    place = rnd.choice(found)
    for _ in range(3):  # Prefer leaves of the payload to the whole payload.
        if isinstance(place.value, Obj | list):
            place = rnd.choice(found)
    kind = rnd.randrange(12)
    if kind < 5 and place.schema:
        options = bounds_of(rnd, place.schema, place.value)
        if options:
            place.put(rnd.choice(options))
            return
    if kind < 7:
        place.put(rnd.choice((None, True, False, 0, 1, -1, "", "x", [], Obj(), 2**63, -(2**63))))
    elif kind == 7:
        place.put(rnd.choice(STRINGS))
    elif kind == 8:
        place.put(copy.deepcopy(rnd.choice(found).value))  # The new value may contain this place.
    elif kind == 9:
        _rewrap(rnd, place)
    elif place.schema is not None:
        place.put(tree_of(made(rnd, place.schema, root)))
    else:
        place.put(rnd.choice(STRINGS))


def _rewrap(rnd: Random, place: Place) -> None:
    value = place.value
    for _ in range(rnd.choice((1, 1, 2, 12, 13, 14, 15, 16, 17))):
        value = [value] if rnd.random() < 0.5 else Obj([("k", value)])
    place.put(value)


def change_keys(rnd: Random, node: Obj, schema: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    """Remove, add, double or rename a key."""
    objects = [node] + [p.value for p in places(node, schema, root) if isinstance(p.value, Obj)]
    obj = rnd.choice(objects[: 1 + rnd.randrange(len(objects))])
    kind = rnd.randrange(8)
    if not obj or kind == 0:
        obj.append(
            (rnd.choice(("zz", "a", "", "payload", "\u00e9", "A" * 50)), rnd.choice(STRINGS))
        )
    elif kind <= 2:
        del obj[rnd.randrange(len(obj))]
    elif kind == 3:
        key, value = rnd.choice(obj)
        obj.append((key, rnd.choice((value, None, 0, "x"))))
    elif kind == 4:
        at = rnd.randrange(len(obj))
        key, value = obj[at]
        obj[at] = (
            rnd.choice((key.upper(), key + " ", key + "\0", key[:-1], "\ufeff" + key)),
            value,
        )
    else:
        _add_known(rnd, node, obj, schema, root)


def _add_known(rnd: Random, node: Obj, obj: Obj, schema: Any, root: Mapping[str, Any]) -> None:
    """Add one of the payload's optional fields, valid or null."""
    payload = next((value for key, value in node if key == "payload"), None)
    inner = schema.get("properties", {}).get("payload", {})
    if not isinstance(payload, Obj) or not inner.get("properties"):
        return
    missing = sorted(inner["properties"].keys() - {key for key, _ in payload})
    if missing:
        name = rnd.choice(missing)
        value = made(rnd, inner["properties"][name], root)
        payload.append((name, rnd.choice((tree_of(value), tree_of(value), None, [], 0))))


def change_form(rnd: Random, node: Obj) -> None:
    """Write the same or nearly the same in another form than the canonical one."""
    found = places(node, None, {})
    if not found:
        return
    kind = rnd.randrange(6)
    place = rnd.choice(found)
    if kind == 0:
        place.put(Raw(rnd.choice(NUMBERS)))
    elif kind == 1:
        place.put(Raw(rnd.choice(WORDS)))
    elif kind == 2:
        numbers = [p for p in found if type(p.value) is int]
        if numbers:
            place = rnd.choice(numbers)
            form = rnd.choice(("{}.0", "{}e0", "{}0e-1", "-{}", "0{}", "+{}", " {}", "{}E+00"))
            place.put(Raw(form.format(place.value)))
    elif kind == 3:
        texts = [p for p in found if isinstance(p.value, str)]
        if texts:
            place = rnd.choice(texts)
            place.put(Raw(_escaped(rnd, place.value)))
    elif kind == 4:
        objects = [node] + [p.value for p in found if isinstance(p.value, Obj)]
        rnd.shuffle(rnd.choice(objects))
    else:
        place.put(Raw(rnd.choice((" {}", "{} ", "\n{}", "\t{}", "{}\r")).format(emit(place.value))))


def _escaped(rnd: Random, text: str) -> str:
    """Return the JSON of a text in another spelling."""
    plain = _text(text)
    if not text:
        return plain
    at = rnd.randrange(len(text))
    code = f"\\u{ord(text[at]) & 0xFFFF:04{rnd.choice('xX')}}"
    return _text(text[:at])[:-1] + code + _text(text[at + 1 :])[1:]


def sort_keys(node: Node) -> None:
    """Sort the pairs of every object; repeated keys are kept."""
    for child in node:
        value = child[1] if isinstance(node, Obj) else child
        if isinstance(value, list):
            sort_keys(value)
    if isinstance(node, Obj):
        node.sort(key=lambda pair: pair[0])


# --- changes of bytes -------------------------------------------------------------------------


def change_bytes(rnd: Random, data: bytes, other: bytes = b"") -> bytes:
    """Return the bytes with one fault."""
    at = rnd.randrange(len(data) + 1)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: _flipped(data, min(at, len(data) - 1), rnd.randrange(8)),
        lambda: data[:at] + rnd.choice(BYTES) + data[at:],
        lambda: data[:at] + data[at + 1 + rnd.randrange(3) :],
        lambda: data[:at],
        lambda: data + rnd.choice(BYTES),
        lambda: data[:at] + other[max(0, min(at, len(other)) - rnd.randrange(40)) :],
        lambda: data[:at] + data[max(0, at - rnd.randrange(1, 30)) :],
        lambda: data[:at] + rnd.randbytes(rnd.randrange(1, 5)) + data[at + 1 :],
    )
    return rnd.choice(kinds)() if data else rnd.choice(BYTES)


def _flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
