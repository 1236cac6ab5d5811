"""Images that a crash may leave: every allowed choice of surviving pages, sizes and names.

Three sets of rules. `ext4`: operations on names survive in order; a file grows only over pages that
were written, except for the last one. `xfs`: names in order; a size may survive without its data,
which then reads as zeroes. `posix`: as `xfs`, and each operation on names survives on its own.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

from tools.crash_sim.disk import FOLDER, ROOT, Entry, Node, SimFiles, apply_change

RULES: Final = ("ext4", "xfs", "posix")
# All subsets up to this number of things, a sample of them above.
PAGES_EXHAUSTIVE: Final = 4
NAMES_EXHAUSTIVE: Final = 3
NEVER: Final = -1

Page = tuple[Node, int]


class Pick(NamedTuple):
    """Choice of a file's content on the disk.

    Attributes:
        node: Identity of the file.
        size: Size of the file.
        pages: (page, version, number of its first bytes; negative for all of them).
    """

    node: int
    size: int
    pages: tuple[tuple[int, int, int], ...]


class Choice(NamedTuple):
    """One way a crash can go; enough to make its image again.

    Attributes:
        kind: `process`: nothing is lost. `power`: unsynced data may be lost.
        names: Pending operations on names that survive.
        picks: Content of each file that was not synced.
    """

    kind: str
    names: tuple[int, ...] = ()
    picks: tuple[Pick, ...] = ()


PROCESS: Final = Choice("process")


class Image(NamedTuple):
    """Image of a whole disk, comparable: paths with the number of their content, and the contents.

    Attributes:
        entries: (path, index into contents; NEVER for a folder), sorted.
        contents: Bytes of each file, once even if it has two names.
        boot: Number of the machine's start that finds the image.
    """

    entries: tuple[tuple[str, int], ...]
    contents: tuple[bytes, ...]
    boot: int

    def mount(self, page_bytes: int, *, is_ordered: bool, is_tracking: bool) -> SimFiles:
        """Return a file system with this image on its disk and in its cache."""
        files = SimFiles(page_bytes, self.boot, is_ordered=is_ordered, is_tracking=is_tracking)
        nodes = [Node(number, data) for number, data in enumerate(self.contents, 1)]
        for path, at in self.entries:
            files.put(path, FOLDER if at == NEVER else nodes[at])
        return files

    def read(self, path: str) -> bytes:
        """Return the content at a path; empty without a file."""
        for name, at in self.entries:
            if name == path and at != NEVER:
                return self.contents[at]
        return b""


class _Layout(NamedTuple):
    """Layout of names after a crash: surviving operations, and the files that they leave."""

    survived: tuple[int, ...]
    entries: tuple[tuple[str, int], ...]
    nodes: tuple[Node, ...]


def images(
    files: SimFiles, rules: str, rng: random.Random, extra: int
) -> Iterator[tuple[Choice, Image]]:
    """Yield crash images of the present file system: all small choices, then samples.

    Args:
        files: The file system; not changed.
        rules: `ext4`, `xfs` or `posix`.
        rng: Source of the samples above the exhaustive bounds.
        extra: Number of added images with older versions, torn pages and odd sizes.
    """
    yield PROCESS, whole(files)
    layouts = _kept_layouts(files, rules, rng)
    dirty = [node for node in files.nodes() if not node.is_clean]
    has_grown = any(len(node.disk) != len(node.data) for node in dirty)
    pages = [(node, page) for node in dirty for page in sorted(node.versions)]
    for mask, is_grown in product(_masks(len(pages), rng), (True, False)[: 1 + has_grown]):
        written = {page for bit, page in enumerate(pages) if mask >> bit & 1}
        picked = {
            node: _made(node, _plain(node, written, is_grown, rules, files.page_bytes), files)
            for node in dirty
        }
        for layout in layouts:
            yield _state(layout, picked, files.boot)
    for _ in range(extra if dirty else 0):
        picked = {node: _made(node, _drawn(node, rules, rng, files), files) for node in dirty}
        yield _state(rng.choice(layouts), picked, files.boot)


def image_of(files: SimFiles, choice: Choice) -> Image:
    """Return the image of a choice over the present file system."""
    if choice.kind == PROCESS.kind:
        return whole(files)
    nodes = {node.number: node for node in files.nodes()}
    picked = {nodes[pick.node]: _made(nodes[pick.node], pick, files) for pick in choice.picks}
    return _state(_survived(files, choice.names), picked, files.boot)[1]


def whole(files: SimFiles) -> Image:
    """Return the view of every process as an image."""
    layout: _Layout | None = files.kept.get("whole")
    if layout is None:
        layout = files.kept["whole"] = _layout(files.names, ())
    contents = tuple(bytes(node.data) for node in layout.nodes)
    return Image(layout.entries, contents, files.boot)


def choice_from(raw: Any) -> Choice:
    """Return a choice from its JSON."""
    kind, names, picks = raw
    return Choice(
        kind,
        tuple(names),
        tuple(
            Pick(node, size, tuple((page, version, cut) for page, version, cut in pages))
            for node, size, pages in picks
        ),
    )


def _state(
    layout: _Layout, picked: dict[Node, tuple[Pick, bytes]], boot: int
) -> tuple[Choice, Image]:
    choice = Choice("power", layout.survived, tuple(pick for pick, _ in picked.values()))
    contents = tuple(picked[node][1] if node in picked else node.disk for node in layout.nodes)
    return choice, Image(layout.entries, contents, boot + 1)


# --- names ------------------------------------------------------------------------------------


def _kept_layouts(files: SimFiles, rules: str, rng: random.Random) -> list[_Layout]:
    """Return the layouts, computed once for as long as no name changes."""
    kept = files.kept.get("layouts")
    if kept is None:
        kept = files.kept["layouts"] = _layouts(files, rules, rng)
    layouts: list[_Layout] = kept
    return layouts


def _layouts(files: SimFiles, rules: str, rng: random.Random) -> list[_Layout]:
    """Return all layouts of names: every prefix of the journal, or every subset."""
    count = len(files.pending)
    if rules != "posix":
        subsets = [tuple(range(end)) for end in range(count + 1)]
    else:
        subsets = [
            tuple(at for at in range(count) if mask >> at & 1)
            for mask in _masks(count, rng, NAMES_EXHAUSTIVE, 6)
        ]
    return [_survived(files, subset) for subset in subsets]


def _survived(files: SimFiles, subset: tuple[int, ...]) -> _Layout:
    names = dict(files.disk_names)
    for at in subset:
        apply_change(names, files.pending[at])
    return _layout(names, subset)


def _layout(names: dict[str, Entry], survived: tuple[int, ...]) -> _Layout:
    """Return names in order, each file once; entries of a lost folder are lost."""
    entries: list[tuple[str, int]] = []
    nodes: dict[Node, int] = {}
    kept = set()
    for path in sorted(names):
        if path != ROOT and path.rpartition(os.sep)[0] not in kept:
            continue
        kept.add(path)
        entry = names[path]
        at = nodes.setdefault(entry, len(nodes)) if isinstance(entry, Node) else NEVER
        entries.append((path, at))
    return _Layout(survived, tuple(entries), tuple(nodes))


# --- data -------------------------------------------------------------------------------------


def _masks(
    count: int, rng: random.Random, exhaustive: int = PAGES_EXHAUSTIVE, samples: int = 12
) -> Sequence[int]:
    """Return subsets of a number of things as bits: all of them, or none, all and a sample."""
    if count <= exhaustive:
        return range(1 << count)
    return [0, (1 << count) - 1, *(rng.getrandbits(count) for _ in range(samples))]


def _plain(node: Node, written: set[Page], is_grown: bool, rules: str, page_bytes: int) -> Pick:
    """Return a file of which some pages were written whole, in their newest version."""
    pages = [
        (page, len(versions) - 1, NEVER)
        for page, versions in sorted(node.versions.items())
        if (node, page) in written
    ]
    size = len(node.data) if is_grown else len(node.disk)
    return _allowed(node, Pick(node.number, size, tuple(pages)), rules, page_bytes)


def _drawn(node: Node, rules: str, rng: random.Random, files: SimFiles) -> Pick:
    """Return any state of a file: older pages, a torn one, a size of some moment or between."""
    pages = []
    torn = rng.choice(sorted(node.versions)) if node.versions and rng.random() < 0.5 else NEVER
    for page, versions in sorted(node.versions.items()):
        version = rng.randrange(-1, len(versions))
        if page == torn:
            version = max(version, 0)
            pages.append((page, version, rng.randrange(len(versions[version]) + 1)))
        elif version >= 0:
            pages.append((page, version, NEVER))
    sizes = [len(node.disk), *node.sizes]
    size = rng.choice(sizes) if rng.random() < 0.75 else rng.randint(min(sizes), max(sizes))
    return _allowed(node, Pick(node.number, size, tuple(pages)), rules, files.page_bytes)


def _allowed(node: Node, pick: Pick, rules: str, page_bytes: int) -> Pick:
    """Return the pick with the size that the rules allow for these pages."""
    if rules != "ext4" or pick.size <= len(node.disk):
        return pick
    written = {page for page, _, _ in pick.pages}
    first = len(node.disk) // page_bytes
    for page in range(first, -(-pick.size // page_bytes)):
        if page not in written:
            # The page's blocks were not written, so the size ends within it and it reads as zeroes.
            return pick._replace(size=min(pick.size, (page + 1) * page_bytes))
    return pick


def _made(node: Node, pick: Pick, files: SimFiles) -> tuple[Pick, bytes]:
    page_bytes = files.page_bytes
    pages = []
    for page, version, cut in pick.pages:
        data = node.versions[page][version]
        if cut != NEVER:
            at = page * page_bytes
            data = data[:cut] + node.disk[at + cut : at + page_bytes]
        pages.append((page, data))
    return pick, node.content(pick.size, pages, page_bytes)
