"""`/api/v3/exchangeInfo`: rules of every symbol, cached until a rule changes.

Four hundred symbols are a megabyte; only the server's time differs from call to call.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from operator import is_
from typing import Any, Final
from weakref import WeakKeyDictionary

import orjson

from minibot.simulator.server.limits import Rates
from minibot.simulator.server.parameters import ApiError, Parameters, bad_combination, not_valid
from minibot.simulator.venue.venue import Venue

_KEPT_MAX: Final = 8
_DEFAULT_PERMISSIONS: Final = frozenset({"SPOT", "MARGIN", "LEVERAGED"})
_PERMISSION: Final = re.compile(r"^(SPOT|MARGIN|LEVERAGED|TRD_GRP_\d{3})\Z")
_TIME: Final = b'"serverTime":0,'

_kept: WeakKeyDictionary[Venue, _Kept] = WeakKeyDictionary()


class _Kept:
    """Cache of answers, valid until any of their contents changes."""

    def __init__(self) -> None:
        self._rules: tuple[Mapping[str, Any], ...] = ()
        self._made_of: tuple[Any, ...] = ()
        self._answers: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()

    def get(
        self, rules: tuple[Mapping[str, Any], ...], made_of: tuple[Any, ...], asked: tuple[Any, ...]
    ) -> bytes | None:
        """Return the cached answer; None if there is none or something has changed.

        Rules are replaced, never changed in place: the same objects have the same contents.
        """
        is_same = len(rules) == len(self._rules) and all(map(is_, rules, self._rules))
        if not is_same or made_of != self._made_of:
            self._rules, self._made_of = rules, made_of
            self._answers.clear()
        return self._answers.get(asked)

    def put(self, asked: tuple[Any, ...], answer: bytes) -> None:
        """Keep an answer; with too many, the oldest is dropped."""
        self._answers[asked] = answer
        if len(self._answers) > _KEPT_MAX:
            self._answers.popitem(last=False)


def exchange_info(venue: Venue, rates: Rates, parameters: Parameters) -> orjson.Fragment:
    """Return the answer as JSON text.

    Raises:
        ApiError: A parameter is wrong, or a symbol is not listed.
    """
    names = parameters.symbols(venue.listed())
    status = parameters.status()
    permissions = _permissions(parameters)
    if names is not None and (status is not None or permissions is not None):
        raise bad_combination()
    shows_sets = parameters.flag("showPermissionSets", default=True)
    asked = (
        None if names is None else tuple(names),
        status,
        permissions,
        shows_sets,
    )
    made_of = (tuple(venue.statuses.values()), frozenset(venue.delisted), rates)
    kept = _kept.setdefault(venue, _Kept())
    answer = kept.get(tuple(venue.infos.values()), made_of, asked)
    if answer is None:
        chosen = _chosen(venue, names, status, permissions)
        answer = orjson.dumps(_body(venue, rates, chosen, shows_sets=shows_sets))
        kept.put(asked, answer)
    time_now = b'"serverTime":%d,' % venue.server_time_ms()
    return orjson.Fragment(answer.replace(_TIME, time_now, 1))


def _permissions(parameters: Parameters) -> frozenset[str] | None:
    """Return the requested permissions: one word, or a JSON list of words."""
    text = parameters.get("permissions")
    if text is None:
        return None
    try:
        asked = orjson.loads(text) if text.startswith("[") else [text]
    except orjson.JSONDecodeError:
        asked = []
    if not asked or not all(isinstance(item, str) and _PERMISSION.match(item) for item in asked):
        raise not_valid("permissions")
    if len(set(asked)) < len(asked):
        raise ApiError(-1101, "Duplicate values for a parameter detected.")
    return frozenset(asked)


def _chosen(
    venue: Venue, names: list[str] | None, status: str | None, permissions: frozenset[str] | None
) -> list[str]:
    if names is not None:
        return names
    wanted = _DEFAULT_PERMISSIONS if permissions is None else permissions
    return [
        symbol
        for symbol in venue.listed()
        if status in (None, venue.statuses[symbol]) and wanted & _granted(venue.infos[symbol])
    ]


def _granted(info: Mapping[str, Any]) -> frozenset[str]:
    """Return every permission that a symbol names: `permissions` in recordings before 2024.

    An entry without permissions counts as spot, the only market played here.
    """
    sets = info.get("permissionSets") or []
    named = {name for names in sets for name in names} | set(info.get("permissions") or ())
    return frozenset(named) or _DEFAULT_PERMISSIONS


def _body(venue: Venue, rates: Rates, names: list[str], *, shows_sets: bool) -> dict[str, Any]:
    entries = []
    for symbol in names:
        entry = {**venue.infos[symbol], "status": venue.statuses[symbol]}
        if not shows_sets:
            entry["permissionSets"] = []
        entries.append(entry)
    return {
        "timezone": "UTC",
        "serverTime": 0,
        "rateLimits": rates.listed(),
        "exchangeFilters": [],
        "symbols": entries,
    }
