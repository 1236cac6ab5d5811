"""Reason codes: the closed list, and the files generated from it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minibot.cores.core_profile import VENUE
from minibot.events import reasons, schemas
from minibot.events.reason import BUSINESS_GROUP, END_GROUP, FEED_GROUP, GROUPS, STOP_GROUP, define
from minibot.events.reasons import REASONS, codes

PROJECT = Path(__file__).resolve().parents[2]

# The fault catalogue's list, word for word, without our additions.
CATALOGUE = """
OPERATOR_KILL QUEUE_CORRUPT QUEUE_TRUNCATED QUEUE_CHAIN QUEUE_TAIL_TOO_LONG QUEUE_MISSING
QUEUE_REPLACED QUEUE_FOREIGN_WRITE QUEUE_LOCKED QUEUE_MANIFEST CURSOR_AHEAD CURSOR_CORRUPT
CURSOR_FOREIGN_RUN CURSOR_REGRESSED SCHEMA_INVALID SCHEMA_VERSION TYPE_UNKNOWN SOURCE_FORBIDDEN
RUN_ID_MISMATCH CMDLINE_HASH_INVALID CMDLINE_HASH_MISMATCH EVENT_ID_CONFLICT IO_ENOSPC IO_EIO
IO_FSYNC IO_RENAME IO_READONLY FD_EXHAUSTED DISK_LOW ATOMICITY_VIOLATION ROLE_CRASH_LOOP ROLE_HUNG
ROLE_MEMORY WATCHDOG_LOST CONSUMER_LAG CLOCK_JUMP EXCHANGE_UNREACHABLE EXCHANGE_ERROR_RATE
EXCHANGE_BANNED FEED_STALE FEED_INVALID RISK_LIMIT AI_ISOLATION_BREACH AI_ISOLATION_UNAVAILABLE
CONFIG_INVALID CONFIG_PATH_ESCAPE PERMISSIONS_UNSAFE SECRET_IN_OUTPUT REAL_ORDER_ATTEMPT
NONDETERMINISM
"""
ENDS = {"DURATION_REACHED", "SOURCE_ENDED", "COMPLETED", "OPERATOR", "CLEARED", "REFUSED"}


def test_reasons_hold_every_stop_code_of_the_catalogue() -> None:
    """Each STOP code and planned end of the catalogue is on the list, in its group."""
    assert set(CATALOGUE.split()) <= set(codes(STOP_GROUP))
    assert set(codes(END_GROUP)) == ENDS


def test_reasons_are_constants_named_as_their_code() -> None:
    """Each code is a module attribute, its own name in upper case."""
    for code in REASONS:
        assert getattr(reasons, code.upper()) == code
    assert all(code.isupper() for code in codes(STOP_GROUP, END_GROUP))
    assert all(code.islower() for code in codes(BUSINESS_GROUP, FEED_GROUP))


def test_reasons_each_have_one_sentence_of_meaning_and_one_of_remedy() -> None:
    """Each code has one sentence of meaning and one of remedy."""
    for reason in REASONS.values():
        for sentence in (reason.meaning, reason.remedy):
            assert re.fullmatch(r"[A-Z][^|\n]{8,160}\.", sentence), (reason.code, sentence)


def test_reasons_that_no_code_raises_say_so() -> None:
    """Each code is used outside of its list, or its meaning says that no build raises it."""
    lists = {"business_codes.py", "stop_codes.py", "codes.py", "reasons.py"}
    sources = [
        re.sub(r"^from .* import (\([^)]*\)|.*)$", "", path.read_text(encoding="utf-8"), flags=re.M)
        for path in (PROJECT / "minibot").rglob("*.py")
        if path.name not in lists
    ]
    words = {word for source in sources for word in re.findall(r"\b[A-Z][A-Z_]+\b", source)}
    unraised = {code for code in REASONS if code.upper() not in words}

    assert unraised == {code for code in REASONS if "no build" in REASONS[code].meaning}


def test_reasons_defined_twice_are_refused() -> None:
    """A code defined twice is refused."""
    with pytest.raises(ValueError, match="QUEUE_CORRUPT"):
        define(STOP_GROUP, "QUEUE_CORRUPT", "x", "y")


@pytest.mark.row("N-116")
def test_generated_files_stand_in_the_tree_as_generated() -> None:
    """Enums, pins and the page of reasons equal `python -m minibot.events.schemas`."""
    differing = [
        path.relative_to(PROJECT).as_posix()
        for path, content in schemas.generated().items()
        if not path.is_file() or path.read_bytes().replace(b"\r\n", b"\n") != content
    ]

    assert differing == []


@pytest.mark.parametrize(
    ("type_", "groups"),
    [
        ("signal", (BUSINESS_GROUP,)),
        ("order_result", (BUSINESS_GROUP,)),
        ("risk_action", (BUSINESS_GROUP, STOP_GROUP)),
        ("stop_journal", (STOP_GROUP, END_GROUP)),
        ("dead_letter", GROUPS),
    ],
)
def test_schema_enum_of_reason_codes_equals_the_list(type_: str, groups: tuple[str, ...]) -> None:
    """A schema allows exactly the codes of its groups."""
    path = PROJECT / "contracts" / f"{type_}.v1.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))

    assert schema["properties"]["reason_code"]["enum"] == list(codes(*groups))


def test_words_of_a_reason_name_no_venue() -> None:
    """Meaning and remedy hold for a night on any venue: they name no venue's section."""
    named = [
        code for code, reason in REASONS.items() if f"{VENUE}." in reason.meaning + reason.remedy
    ]

    assert named == []
