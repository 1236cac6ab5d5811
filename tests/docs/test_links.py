"""References in documents: links, anchors, files in code spans, verbs and flags exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from minibot.cli.main import ALIASES, Parser, parser, verbs
from tools import commands as reference

LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]+\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
# A path in a code span: at least one slash or a known ending, no blanks, no placeholder.
PATH = re.compile(r"^[\w./-]+$")
ENDINGS = (".md", ".py", ".json", ".tsv", ".toml", ".lock", ".txt", ".yml", ".gz", ".cmd")
# Written by a run or a deployment, so absent from a fresh clone.
WRITTEN = ("var/", "staging/", "strategies/", ".venv")
WRITTEN_NAMES = {
    "acks.jsonl", "clock.json", "cursor.json", "current.json", "deadletter.jsonl", "deployed.json",
    "run.lock",
    "inbox.jsonl", "manifest.json", "metrics.json", "seal.json", "segments.json",
    "stop_journal.jsonl", "limits.py", "report.html", "quarantine/", "report/", "writer.lock",
}  # fmt: skip
# Names that a later issue brings, or that other projects use.
ELSEWHERE = {
    "minibot/ops/", "minibot/screener/", "minibot/store/", "deploy/", "scripts/replay_cli.py",
    "minibot/tools/nore_run_v1.py", "minibot/config", "minibot/var", "minibot/contracts",
    "minibot/tools", "internal/x", "cmd/cryptorun", "minibot/", "queues/", "readers/",
    "rest-api.md", "web-socket-streams.md", "docker-compose.yml", "fill.v2.schema.json",
}  # fmt: skip
# The page lists files of a run; tests/tools/test_file_faults.py checks it.
OF_A_RUN = "docs/reference/files.md"
ROOTS = ("", "docs", "minibot", "docs/reference", "tools", "contracts", "config")


def documents(project: Path) -> list[Path]:
    """Return every document for people."""
    found = [project / "README.md", project / "CHANGELOG.md", *(project / "docs").rglob("*.md")]
    return sorted(found)


def without_fences(text: str) -> str:
    """Return the text without its fenced blocks."""
    return FENCE.sub("", text)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, in GitHub's form."""
    headings = re.findall(r"^#+ (.+)$", without_fences(path.read_text("utf-8")), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.row("S-02")
def test_links_of_every_document_lead_to_files_and_headings_that_exist(project: Path) -> None:
    """Every link leads to an existing file and heading."""
    dead = []
    for document in documents(project):
        for target in LINK.findall(document.read_text("utf-8")):
            if re.match(r"https?://", target):
                continue
            name, _, anchor = target.partition("#")
            path = (document.parent / name).resolve() if name else document
            if not path.exists():
                dead.append(f"{document.name}: {target}")
            elif anchor and anchor not in anchors(path):
                dead.append(f"{document.name}: {target} has no such heading")

    assert dead == []


def mentioned(text: str) -> Iterator[str]:
    """Yield every code span that looks like a path of the project."""
    for span in SPAN.findall(without_fences(text)):
        if PATH.match(span) and (span.endswith(ENDINGS) or span.endswith("/")):
            yield span


def stands(project: Path, document: Path, name: str, names: set[str]) -> bool:
    """Tell whether a mentioned path exists, or is of a kind that no clone holds."""
    if name.startswith(WRITTEN) or name in ELSEWHERE or name in WRITTEN_NAMES:
        return True
    if any((project / root / name).exists() for root in ROOTS) or (document.parent / name).exists():
        return True
    return "/" not in name and name in names


def test_every_picture_is_shown_on_a_page(project: Path) -> None:
    """A picture that no page shows grows old unseen."""
    shown = {
        (page.parent / link).resolve()
        for page in documents(project)
        for link in IMAGE.findall(page.read_text("utf-8"))
    }

    assert set((project / "docs" / "pictures").resolve().iterdir()) <= shown


@pytest.mark.row("S-02", "S-08", "B-14")
def test_files_that_documents_mention_exist(project: Path) -> None:
    """Every path in a code span names a file or folder of the clone, or of a run."""
    names = {
        path.name
        for top in ("minibot", "tools", "tests", "config", "contracts", "docs")
        for path in (project / top).rglob("*")
    }

    missing = [
        f"{document.relative_to(project)}: {name}"
        for document in documents(project)
        if document != project / OF_A_RUN
        for name in mentioned(document.read_text("utf-8"))
        if not stands(project, document, name, names)
    ]

    assert missing == []


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield verb and arguments of each `minibot VERB ...` in spans and fenced blocks."""
    blocks = [*SPAN.findall(without_fences(text)), *"\n".join(FENCE.findall(text)).splitlines()]
    for block in blocks:
        found = re.search(r"(?:^|-m )minibot ([a-z][a-z-]+)(.*)$", block.split("   ")[0])
        if found:
            yield found[1], found[2].split()


@pytest.mark.slow
@pytest.mark.row("C-24", "N-118")
def test_verbs_that_documents_mention_exist_with_their_flags(project: Path) -> None:
    """Every `minibot` command in a document is known to the parser, flags included."""
    names = [*verbs(), *(alias for alias, verb in ALIASES.items() if verb in verbs())]
    known = {name: command_help(name) for name in names}

    wrong = []
    for document in documents(project):
        for verb, words in commands(document.read_text("utf-8")):
            flags = [re.sub(r"[^\w-].*", "", word) for word in words if word.startswith("--")]
            if verb not in known:
                wrong.append(f"{document.name}: minibot {verb}")
            else:
                wrong += [
                    f"{document.name}: minibot {verb} {flag}"
                    for flag in flags
                    if flag not in known[verb]
                ]

    assert wrong == []


TOOL = re.compile(r"-m (tools\.[a-z_.]+)((?: [^`|#\n ]+)*)")


def source_of(project: Path, module: str) -> str:
    """Return the source of a module, or of all modules of a package; empty without one."""
    path = project / Path(*module.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return "\n".join(file.read_text("utf-8") for file in files if file.is_file())


def test_tools_that_documents_mention_exist_with_their_flags(project: Path) -> None:
    """Every `python -m tools.NAME --flag` in a document exists."""
    wrong = []
    mentioned = 0
    for document in documents(project):
        for module, words in TOOL.findall(document.read_text("utf-8")):
            mentioned += 1
            source = source_of(project, module.rstrip("."))
            flags = re.findall(r"--[a-z][\w-]*", words)
            wrong += [
                f"{document.name}: {module} {flag}".strip()
                for flag in ["", *flags]
                if not source or (f'"{flag}"' not in source and flag)
            ]

    assert mentioned > 20
    assert wrong == []


@pytest.mark.row("C-24")
def test_reference_of_commands_is_what_the_parser_says() -> None:
    """docs/reference/commands.md equals the parser (write it: python -m tools.commands)."""
    assert reference.DOCUMENT.read_text(encoding="utf-8") == reference.document()


def test_reference_of_commands_has_the_help_as_the_terminal_shows_it() -> None:
    """A percent sign, which a help text writes twice, stands there once."""
    line = next(line for line in reference.document().splitlines() if "10bps" in line)

    assert line == "| `--fee` | of each fill, as 0.1% or 10bps |"


@cache
def whole() -> Parser:
    """Return the parser of all verbs, which takes longer to make than to ask."""
    return parser()


def command_help(verb: str) -> str:
    """Return the help text of a verb."""
    for action in whole()._actions:
        if isinstance(action.choices, dict) and verb in action.choices:
            return str(action.choices[verb].format_help())
    raise KeyError(verb)


@pytest.mark.row("C-24")
@pytest.mark.parametrize("verb", sorted(verbs()))
def test_verb_has_help_with_an_example_and_a_sentence_for_every_flag(verb: str) -> None:
    """Every verb's --help shows an example, and a sentence for each flag."""
    text = command_help(verb)
    (command,) = [
        action.choices[verb]
        for action in whole()._actions
        if isinstance(action.choices, dict) and verb in action.choices
    ]

    silent = [action.dest for action in command._actions if not action.help]

    assert silent == []
    assert "example: " in text
    assert {"--json", "--var", "--debug"} <= set(re.findall(r"--[\w-]+", text))
