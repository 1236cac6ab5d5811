"""Document of a backtest as one JSON object: profile, source, every figure, every trade.

It holds no wall-clock time, and no path but those in the source words, so equal words, files and
profiles give equal bytes on every machine. The word of a run names its folder: as the command line
wrote it, or in full if the command line gave the run's id. So the same run gives another
document if its folder is written another way. The document's id is made from profile, sources,
their files and decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minibot.backtest.sources.source_words import RUN
from minibot.events.model import JsonObject
from minibot.exchanges.tapes.tape import DEMO_TAPE
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.files import hash_file
from minibot.report.figures import day
from minibot.report.run_kind import read_seal
from minibot.runtime.paths import resolve
from minibot.simulator.sources.sources import find

if TYPE_CHECKING:
    from minibot.backtest.report.review import Review

SCHEMA: Final = "minibot.backtest"
ID_HEX: Final = 8


def document_of(reviews: Mapping[str, Review], words: Iterable[str]) -> JsonObject:
    """Return the document of a backtest.

    Args:
        reviews: By fill assumption, the profile's own first.
        words: The source words as they were given.
    """
    review = next(iter(reviews.values()))
    body: JsonObject = {
        "schema": SCHEMA,
        "v": 1,
        **review.to_json(),
        "band": [
            {"name": name, "digest": each.result.digest, "figures": dict(each.figures)}
            for name, each in reviews.items()
        ],
        "files": files_behind(words, review.result.config),
        "config": review.result.config,
    }
    return {"id": id_of(body), **body}


def id_of(body: JsonObject) -> str:
    """Return the id: name of the profile, first and last day, eight digits of a hash.

    The hash covers the profile, the source words, their files and the digest of each assumption's
    decisions. Source words are covered as written, so a run whose folder is written another way
    has another id. Figures are not covered: a build that computes another figure keeps the id.
    """
    named = {key: body[key] for key in ("config", "digest", "files", "sources")}
    named["band"] = [[each["name"], each["digest"]] for each in body["band"]]
    span = "_".join(day(body[key]).replace("-", "") for key in ("from_ts", "to_ts"))
    digits = sha256(canonical.encode(named)).hexdigest()[:ID_HEX]
    return f"{body['profile']}_{span}_{digits}"


def files_behind(words: Iterable[str], config: JsonObject) -> JsonObject:
    """Return `files_of` by source word, and the same of a profile's feeds by their keys.

    The file of `embedded.history` is not among them.
    """
    given = list(words)
    found = {word: files_of(word) for word in given}
    for key, path in _feeds(given, config).items():
        found[key] = {path.name: hash_file(path)[1]} if path.is_file() else {}
    return found


def _feeds(words: Sequence[str], config: JsonObject) -> dict[str, Path]:
    """Return the file of each feed by its key; none if a recorded run brings the values itself."""
    if any(word.startswith(f"{RUN}:") for word in words):
        return {}
    feeds: dict[str, str] = config["market"].get("feeds") or {}
    return {f"market.feeds.{name}": resolve(path) for name, path in sorted(feeds.items())}


def files_of(word: str) -> JsonObject:
    """Return the sha256 of each file behind a source word, by name; empty if synthetic.

    A sealed run is named by the root of its seal, which covers its files.
    """
    kind, _, rest = word.partition(":")
    if kind == "generator":
        return {}
    if kind == "tape" and rest == "demo":
        return {DEMO_TAPE.name: hash_file(DEMO_TAPE)[1]}
    found: JsonObject = {}
    for path in _named(rest):
        if path.is_file():
            found[path.name] = hash_file(path)[1]
        elif path.is_dir():
            found.update(_folder(path))
    return found


@contextmanager
def unchanged(words: Iterable[str], config: JsonObject) -> Iterator[None]:
    """Refuse, at the end of a `with`, files of sources and feeds that changed in it.

    Compared backtests each read their files again, in separate processes.

    Raises:
        Refusal: A file changed, appeared or disappeared.
    """
    given = list(words)
    places = {word: _places(word) for word in given}
    places |= {key: [path] for key, path in _feeds(given, config).items()}
    before = {name: _stamps(paths) for name, paths in places.items()}
    yield
    for name, stamps in before.items():
        if _stamps(places[name]) != stamps:
            raise Refusal(
                f"{name}: changed while it was read; its results are of different data.",
                "Try again once nothing writes to it, such as a download.",
            )


def _places(word: str) -> list[Path]:
    """Return the files and folders behind a source word.

    A synthetic market has none, nor has a run, whose lines never change.
    """
    kind, _, rest = word.partition(":")
    return [] if kind in ("generator", RUN) else _named(rest)


def _named(text: str) -> list[Path]:
    """Return the paths of one file or folder, or else of several between commas."""
    path = find(text)
    return [path] if path.exists() else [find(name) for name in text.split(",")]


def _stamps(paths: Iterable[Path]) -> dict[Path, tuple[int, int, int]]:
    """Return identity, size and time of change of each file, also of those in folders."""
    files = [file for path in paths for file in (path, *path.rglob("*")) if file.is_file()]
    return {
        file: (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        for file in files
        for stat in [file.stat()]
    }


def _folder(folder: Path) -> JsonObject:
    root = read_seal(folder).get("root")
    if root is not None:
        return {folder.name: str(root)}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hash_file(path)[1] for path in files}
