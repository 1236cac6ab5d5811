"""Fuzz target for events: the codec against the strict reader and the contracts.

An input is the queue's name, a NUL and the bytes of an event. An event that the strict reader and
the contracts accept must be accepted by the codec with the same content, and written again as the
same bytes. An event that they refuse must be refused by the codec with the same reason code, in
reading and in writing.
"""

from __future__ import annotations

import inspect
import json
import zlib
from pathlib import Path
from random import Random
from typing import Any, Final

from minibot.events.codec import Codec
from minibot.events.model import PAYLOAD_CLASSES, Event
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.errors import ContractError
from tools import fuzz_json as shapes
from tools import fuzz_reference as reference
from tools.fuzz_target import Verdict

PROJECT: Final = Path(__file__).resolve().parent.parent
EXAMPLES: Final = PROJECT / "tests" / "fixtures" / "contracts"
LINEAGE: Final = ("cause_ids", "tick_seq")
SIDES: Final = {"ack": "acks", "dead_letter": "deadletter"}
# The slow validator sees a share of the inputs; the strict reader, which it confirms, sees all.
ORACLE_SHARE: Final = 64
WRITTEN_SHARE: Final = 4


class EnvelopeTarget:
    """Events as bytes."""

    name = "envelope"

    def __init__(self) -> None:
        self._contracts = Contracts.of_project()
        roles = Roles.load(PROJECT / "config" / "roles.v1.json")
        self._examples = [_example(kind)["valid"] for kind in PAYLOAD_CLASSES]
        run_id = self._examples[0]["run_id"]
        hashes = {event["source"]: event["cmdline_hash"] for event in self._examples}
        self._codec = Codec(
            self._contracts, roles, run_id, {role: {text} for role, text in hashes.items()}
        )
        self._rules = reference.Rules(self._contracts.schemas, run_id, hashes, roles.allows)
        self._queues = [self._queue_of(event) for event in self._examples]
        self._kept = {
            kind: {*inspect.signature(cls).parameters, *LINEAGE}
            for kind, cls in PAYLOAD_CLASSES.items()
        }
        self._judged = 0

    def seeds(self) -> list[bytes]:
        """Return every recorded example, valid and invalid."""
        found = []
        for event, queue in zip(self._examples, self._queues, strict=True):
            page = _example(event["type"])
            for each in [event, *(case["event"] for case in page["invalid"])]:
                found.append(queue.encode() + b"\0" + reference.written(each))
        return found

    def make(self, rnd: Random) -> bytes:
        """Return an input: a valid event, usually with one fault."""
        at = rnd.randrange(len(self._examples))
        event, queue = self._examples[at], self._queues[at]
        schema = self._contracts.schemas[event["type"]]
        if rnd.random() < 0.3:
            event = self._made(rnd, event, schema)
        node = shapes.tree_of(event)
        for _ in range(rnd.choice((0, 1, 1, 1, 2, 3))):
            change = shapes.change_keys if rnd.random() < 0.3 else shapes.change_value
            change(rnd, node, schema, schema)
        shapes.sort_keys(node)
        if rnd.random() < 0.2:
            shapes.change_form(rnd, node)
        data = shapes.data_of(node)
        if rnd.random() < 0.1:
            data = shapes.change_bytes(rnd, data, reference.written(rnd.choice(self._examples)))
        if rnd.random() < 0.03:
            queue = rnd.choice((*self._queues, "health/parts/risk_role", "nowhere", ""))
        return queue.encode() + b"\0" + data

    def judge(self, data: bytes) -> Verdict:
        """Judge the codec against the references."""
        name, _, content = data.partition(b"\0")
        queue = name.decode("utf-8", "replace")
        try:
            value = reference.strict_json(content)
        except reference.Unreadable as error:
            return self._compare(queue, content, None, "SCHEMA_INVALID", str(error).split(":")[0])
        code = reference.envelope_code(self._rules, queue, value)
        self._judged += 1
        if self._judged % ORACLE_SHARE == 0:
            wrong = self._oracle_differs(value)
            if wrong:
                return Verdict("oracle", wrong)
        kind = value.get("type")
        why = kind if isinstance(kind, str) and kind in self._contracts else "no type"
        verdict = self._compare(queue, content, value, code, why)
        # The slow validator words a refusal, so a share of the refused inputs is enough.
        if verdict.wrong or (code and zlib.crc32(content) % WRITTEN_SHARE):
            return verdict
        return self._write(queue, value, verdict)

    # --- reading ------------------------------------------------------------------------------

    def _compare(self, queue: str, content: bytes, value: Any, code: str, why: Any) -> Verdict:
        label = f"{code or 'good'} {why}"
        try:
            event = self._codec.decode(queue, content)
        except ContractError as error:
            if error.reason_code == code:
                return Verdict(label)
            found = f"{error.reason_code}: {error}"
            return Verdict(label, f"decode: expected {code or 'an event'}, found {found}")
        if code:
            return Verdict(label, f"decode: expected {code}, found an event")
        wanted = reference.written(self._known(value))
        read = reference.written(event.to_json())
        if wanted != read:
            return Verdict(label, f"decode: expected {wanted!r}, found {read!r}")
        return Verdict(label)

    def _known(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return an event without the fields that its class lacks; null counts as absent."""
        kept = self._kept[value["type"]]
        payload = {
            key: item for key, item in value["payload"].items() if key in kept and item is not None
        }
        plain = {key: item for key, item in value.items() if key != "ts_iso"}
        return {**plain, "payload": payload}

    def _oracle_differs(self, value: dict[str, Any]) -> str:
        """Return where the slow validator, the compiled one and the strict reader differ."""
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in self._contracts:
            return ""
        schema = self._contracts.schemas[kind]
        strict = next(reference.violations(schema, value, schema), None) is None
        slow = self._contracts.oracle(kind).is_valid(value)
        fast = self._contracts.validate(value)
        if strict == slow == fast:
            return ""
        return f"strict {strict}, jsonschema {slow}, compiled {fast}"

    # --- writing ------------------------------------------------------------------------------

    def _write(self, queue: str, value: dict[str, Any], verdict: Verdict) -> Verdict:
        """Let the codec write the same event; it has to refuse what it must not write."""
        try:
            event = Event.from_json(value)
            plain = event.to_json()
        except (KeyError, TypeError, AttributeError, ValueError):
            return verdict  # No such event can be made in memory.
        code = reference.envelope_code(self._rules, queue, plain)
        try:
            found = self._codec.encode(queue, event)
        except ContractError as error:
            if code == error.reason_code:
                return verdict
            wanted = code or "bytes"
            return Verdict(verdict.label, f"encode: expected {wanted}, found {error}")
        if code:
            return Verdict(verdict.label, f"encode: expected {code}, found {found!r}")
        wanted_bytes = reference.written(plain)
        if found != wanted_bytes:
            return Verdict(verdict.label, f"encode: expected {wanted_bytes!r}, found {found!r}")
        return verdict

    # --- making -------------------------------------------------------------------------------

    def _made(self, rnd: Random, event: dict[str, Any], schema: Any) -> dict[str, Any]:
        """Return an event with a payload generated from its contract."""
        made: dict[str, Any] = shapes.made(rnd, schema, schema)
        payload = {**made["payload"]}
        kept: dict[str, Any] = {**event, "ts": made["ts"], "id": made["id"], "payload": payload}
        if rnd.random() < 0.1:
            kept["ts_iso"] = "2026-11-20T10:00:00.000Z"
        return kept

    def _queue_of(self, event: dict[str, Any]) -> str:
        if event["type"] in SIDES:
            return SIDES[event["type"]]
        writes = self._codec.roles.roles[event["source"]].writes
        return next(queue for queue, types in writes.items() if event["type"] in types)


def _example(kind: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((EXAMPLES / f"{kind}.json").read_text(encoding="utf-8"))
    return page
