"""Codec of events, to bytes and back, with validation on both sides of a queue.

An event written satisfies its contract, and its writer may write it; an event read is judged again,
as if a stranger had written it. A refusal names the fault catalogue's reason code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from minibot.events import reasons
from minibot.events.fast_codec import Quick, Row
from minibot.events.model import Event, JsonObject, Payload
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import ContractError

# Half the limit of a stop_journal's detail: leaves room for additions on its way.
DETAIL_CHARS_MAX: Final = 2000


class Codec:
    """Encodes and decodes the events of one run."""

    def __init__(
        self,
        contracts: Contracts,
        roles: Roles,
        run_id: str,
        cmdline_hashes: Mapping[str, AbstractSet[str]],
        component: str = "events",
    ) -> None:
        """Bind the codec to a run.

        Args:
            contracts: The registered schemas.
            roles: The role x type table.
            run_id: The only run whose events are accepted.
            cmdline_hashes: For each role the command line hashes in the manifest.
            component: The component that a STOP names: the role that encodes and decodes.
        """
        self.contracts = contracts
        self.roles = roles
        self.run_id = run_id
        self.component = component
        self._hashes = {role: frozenset(hashes) for role, hashes in cmdline_hashes.items()}
        self._quick = Quick(contracts, roles, run_id, self._hashes)

    def encode(self, queue: str, event: Event) -> bytes:
        """Return the canonical JSON of an event that may be written to a queue.

        Raises:
            ContractError: The event breaks its contract or its writer may not write it here.
        """
        json = self._quick.encode(queue, event)
        if json is not None:
            return json
        envelope = event.to_json()
        try:
            self._judge(queue, envelope)
            return canonical.encode(envelope)
        except ValueError as error:
            # A value without canonical JSON: a float, bytes, a lone surrogate.
            raise self._error(reasons.SCHEMA_INVALID, f"{queue}: {error}") from error

    def encode_all(self, queue: str, events: Sequence[Event]) -> list[bytes]:
        """Return the canonical JSON of events that may be written to a queue; see `encode`.

        Raises:
            ContractError: As for `encode`, for the first refused event.
        """
        jsons = self._quick.encode_many(queue, events) if events[1:] else None
        return [self.encode(queue, event) for event in events] if jsons is None else jsons

    def encode_roots(
        self,
        queue: str,
        source: str,
        cmdline_hash: str,
        ids: Sequence[bytes],
        roots: Sequence[tuple[Payload, int]],
    ) -> list[bytes] | None:
        """Return the canonical JSON of events without an input; None means: use `encode_all`.

        It takes payloads of one type with their times, without making events of them first.

        Args:
            queue: The queue.
            source: The writing role.
            cmdline_hash: Hash of its command line.
            ids: An id for each payload, as `position_ids` makes them; they are not checked.
            roots: The payloads, at least one, each with its time in Unix milliseconds.
        """
        return self._quick.encode_roots(queue, source, cmdline_hash, ids, roots)

    def decode(self, queue: str, json: bytes) -> Event:
        """Return the typed event of a line of a queue.

        Raises:
            ContractError: With SCHEMA_INVALID (also for JSON that is not canonical),
                SCHEMA_VERSION, TYPE_UNKNOWN, SOURCE_FORBIDDEN, RUN_ID_MISMATCH,
                CMDLINE_HASH_INVALID or CMDLINE_HASH_MISMATCH. An unknown type comes before all
                that follows from a contract, SCHEMA_VERSION among it.
        """
        event = self._quick.decode(queue, json)
        if event is not None:
            return event
        try:
            envelope = canonical.decode(json)
        except ValueError as error:
            raise self._error(reasons.SCHEMA_INVALID, f"{queue}: {error}") from error
        self._judge(queue, envelope)
        return Event.from_json(envelope)

    def decode_many(self, queue: str, jsons: Sequence[bytes]) -> list[Event] | None:
        """Return the events of the first lines, as `decode` would; None to use `decode` for each.

        It stops before the first line of another type, so it may return fewer events than it got
        lines, of which there is at least one. For lines of one type from one writer, as in
        `market_ticks`, it is many times faster than one by one. None says nothing about the lines.
        """
        return self._quick.decode_many(queue, jsons)

    def decode_row(self, queue: str, jsons: Sequence[bytes]) -> Row | None:
        """Return times and payloads of the events of `decode_many`, which makes no event."""
        return self._quick.decode_row(queue, jsons)

    def decode_all(self, queue: str, jsons: Sequence[bytes]) -> list[Event]:
        """Return the events of lines of a queue, as fast as possible; some hundred at once.

        Raises:
            ContractError: As for `decode`, for the first refused line.
        """
        events: list[Event] = []
        while len(events) < len(jsons):
            rest = jsons[len(events) :]
            events += self.decode_many(queue, rest) or [self.decode(queue, rest[0])]
        return events

    def _judge(self, queue: str, envelope: JsonObject) -> None:
        type_ = envelope.get("type")
        if not isinstance(type_, str) or type_ not in self.contracts:
            self._refuse_type(queue, envelope)
        if not self.contracts.validate(envelope):
            self._refuse_content(queue, envelope)
        source = envelope["source"]
        if not self.roles.allows(queue, envelope["type"], source):
            self.roles.check(queue, envelope["type"], source, self.component)
        if envelope["run_id"] != self.run_id:
            detail = f"{queue}: run_id {envelope['run_id']}, expected {self.run_id}"
            raise self._error(reasons.RUN_ID_MISMATCH, detail)
        if envelope["cmdline_hash"] not in self._hashes.get(source, ()):
            detail = f"{queue}: {source} is not known by {envelope['cmdline_hash']}"
            raise self._error(reasons.CMDLINE_HASH_MISMATCH, detail)

    def _refuse_type(self, queue: str, envelope: JsonObject) -> None:
        if "type" not in envelope or not isinstance(envelope["type"], str):
            code = reasons.SCHEMA_INVALID
        else:
            code = reasons.TYPE_UNKNOWN
        raise self._error(code, f"{queue}: {self.contracts.explain(envelope)[0]}")

    def _refuse_content(self, queue: str, envelope: JsonObject) -> None:
        """Raise the error with the most specific code for an event that its schema refused."""
        findings = self.contracts.explain(envelope) or ["refused by the compiled schema"]
        places = {finding.partition(":")[0] for finding in findings}
        if "$.schema" in places or "$.v" in places:
            code = reasons.SCHEMA_VERSION
        elif "$.run_id" in places:
            code = reasons.RUN_ID_MISMATCH
        elif "$.cmdline_hash" in places or "cmdline_hash" not in envelope:
            code = reasons.CMDLINE_HASH_INVALID
        else:
            code = reasons.SCHEMA_INVALID
        raise self._error(code, f"{queue}: " + "; ".join(findings)[:DETAIL_CHARS_MAX])

    def _error(self, reason_code: str, detail: str) -> ContractError:
        return ContractError(self.component, reason_code, detail)
