"""Run profile: complete, layered with known origins, refused with all violations at once."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.cores.profile_keys import DEFINITIONS
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import Config, config_of_manifest, load_config
from minibot.runtime.configuration.config_schema import SCHEMA_PATH, known_keys
from minibot.runtime.configuration.config_sections import sections
from tests.waiting import DEADLINE_S
from tools import config_schema
from tools.config_schema import PAGE, document, page

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "config" / "nore-demo.v1.json"
RAW = load_config(DEMO).raw
PROFILES = ("nore", "nore-demo", "nore-smoke")


def refused(path: Path | str = DEMO, *sets: str, **environ: str) -> tuple[str, ...]:
    """Return the violations of a profile that must be refused."""
    with pytest.raises(ConfigError) as refusal:
        load_config(path, sets, environ)
    assert refusal.value.exit_code == 4
    return refusal.value.violations


def one(*sets: str) -> str:
    """Return the only violation of the demo profile with these keys."""
    violations = refused(DEMO, *sets)
    assert len(violations) == 1, violations
    return violations[0]


def leaves(node: Any, path: str = "") -> Iterator[str]:
    for key, value in node.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:  # An empty section is a value too.
            yield from leaves(value, here)
        else:
            yield here


@pytest.mark.row("N-91", "N-92")
@pytest.mark.parametrize("name", PROFILES)
def test_config_of_each_shipped_profile_loads(name: str) -> None:
    """Each shipped profile is valid, has its name and is NORE."""
    config = load_config(PROJECT / "config" / f"{name}.v1.json")

    assert (config.profile, config.mode) == (name, "NORE")
    assert config.sha256 == load_config(PROJECT / "config" / f"{name}.v1.json").sha256


@pytest.mark.row("N-22", "N-91", "N-92")
def test_config_of_the_night_is_seven_real_hours_on_public_market_data_hosts() -> None:
    """The night's profile has seven hours, no key, and hosts of public market data alone."""
    config = load_config("minibot/config/nore.v1.json")

    assert config.duration_ms == 25_200_000
    assert config.embedded is None
    assert config.speed == "1"
    assert config.binance.rest_url == "https://data-api.binance.vision"
    assert config.binance.stream_url == "wss://data-stream.binance.vision"
    assert config.code.require_manifest
    assert config.ai.required
    assert config.secrets.path is None
    assert config.chaos is None


@pytest.mark.row("U-06")
def test_config_of_the_night_has_the_proposed_numbers() -> None:
    """Ping, outage, error rate, reconnects and staleness are as proposed."""
    binance = load_config(PROJECT / "config" / "nore.v1.json").binance

    assert binance.ping_interval_market_ms == 10_000
    assert binance.outage_stop_market_ms == 120_000
    assert (binance.error_rate_max_percent, binance.error_window_market_ms) == (20, 300_000)
    assert (binance.reconnects_max, binance.reconnect_window_market_ms) == (30, 300_000)
    assert (binance.tick_stale_market_ms, binance.book_stale_market_ms) == (5_000, 3_000)


@pytest.mark.row("N-92")
@pytest.mark.parametrize(
    "key",
    ["mode", "duration_ms", "binance", "queues", "risk", "strategy", "ai", "logging"],
)
def test_config_without_one_of_the_eight_keys_is_refused_by_its_name(
    key: str, tmp_path: Path
) -> None:
    """Each of the eight keys, when missing, gives its own refusal."""
    raw = deepcopy(RAW)
    del raw[key]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(raw), encoding="utf-8")

    assert [text.split(":")[0] for text in refused(path)] == [key]


@pytest.mark.row("N-92", "F146")
@pytest.mark.parametrize("key", sorted(set(leaves(RAW)) - {"risk.night_notional_pace"}))
def test_config_without_any_single_key_is_refused_by_its_name(key: str, tmp_path: Path) -> None:
    """Each key, when missing, is refused by name, because no key has a hidden default."""
    raw = deepcopy(RAW)
    *parents, last = key.split(".")
    node = raw
    for parent in parents:
        node = node[parent]
    del node[last]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(raw), encoding="utf-8")

    violations = refused(path)
    assert any(text.startswith(f"{key}: missing; allowed: ") for text in violations), violations


@pytest.mark.parametrize(
    ("setting", "bound"),
    [
        ('binance.symbols=["XYZ"]', "5 to 20"),
        ('portfolio.quote_asset="U"', "2 to 15"),
        ('profile="-mine"', "no dash first"),
    ],
)
def test_config_value_that_is_refused_does_not_meet_the_words_of_what_is_allowed(
    setting: str, bound: str
) -> None:
    """A name of the right characters, but too short or begun otherwise, is told the bound."""
    assert bound in one(setting)


def test_config_target_that_begins_with_a_digit_is_told_so() -> None:
    """The name of an alert's target has a bound of its own."""
    assert any("a letter first" in text for text in refused(DEMO, 'alerts.targets={"1st":"A"}'))


def test_config_sections_have_the_keys_of_the_schema() -> None:
    """The committed schema equals the sections (write it: python -m tools.config_schema)."""
    assert SCHEMA_PATH.read_text(encoding="utf-8") == document()


def test_reference_page_has_each_key_of_a_profile() -> None:
    """The page equals the sections and names every key (write: python -m tools.config_schema)."""
    text = page()
    alone, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    rows = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)

    named = set(rows.findall(alone))
    for part in parts:
        section = part.partition("\n")[0]
        named |= {section, *(f"{section}.{key}" for key in rows.findall(part))}

    assert PAGE.read_text(encoding="utf-8") == text
    assert set(known_keys()) <= named


def test_reference_page_has_the_rules_of_the_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has each rule as the sections have it, also one that the schema's file lacks yet."""
    percent = {**DEFINITIONS["percent"], "title": "a part of a hundred"}
    monkeypatch.setattr(config_schema, "DEFINITIONS", {**DEFINITIONS, "percent": percent})

    assert "| `rsi_oversold` | a part of a hundred |" in page()


def test_config_holds_each_section_typed() -> None:
    """Each section has the raw profile's values, with lists as tuples."""
    config = load_config(DEMO)

    for name, cls in sections().items():
        section, raw = getattr(config, name), config.raw.get(name)
        assert isinstance(section, cls) == (raw is not None), name
        for key, value in (raw or {}).items():
            expected = tuple(value) if isinstance(value, list) else value
            assert getattr(section, key) == expected, f"{name}.{key}"


@pytest.mark.row("N-13")
def test_config_keys_are_english_and_carry_their_unit() -> None:
    """A key of a duration names clock and unit; a ratio percent or bps."""
    for key in known_keys():
        assert re.fullmatch(r"[a-z][a-z0-9_.]*", key), key
        last = key.rpartition(".")[2]
        if re.search(r"timeout|interval|(?:^|_)age|stale|latency|ttl|window|grace|backoff", last):
            is_bar_length = last.endswith(("bar_interval", "trend_interval", "bar_intervals"))
            is_table = last == "targets_by_age"  # Of minutes, as in freqtrade.
            assert "_ms" in last or is_bar_length or is_table, key


# --- layers -----------------------------------------------------------------------------------


def test_config_set_beats_environment_beats_file_and_origin_says_so() -> None:
    """--set overrides the environment, which overrides the file; each value knows its origin."""
    config = load_config(
        DEMO,
        ["risk.order_notional=300"],
        {
            "MINIBOT__RISK__ORDER_NOTIONAL": "200",
            "MINIBOT__SEED": "7",
            "MINIBOT_OTHER": "1",
            "PATH": "/bin",
        },
    )

    assert config.raw["risk"]["order_notional"] == "300"
    assert config.origin["risk.order_notional"] == "--set"
    assert (config.seed, config.origin["seed"]) == (7, "MINIBOT__SEED")
    assert config.origin["risk.positions_max"] == "nore.v1.json"
    assert config.origin["profile"] == "nore-demo.v1.json"
    assert set(config.origin) == set(leaves(config.raw))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embedded.speed=30", "30"),
        ("embedded.speed=2.5", "2.5"),
        ("embedded.speed=0.10", "0.10"),
        ("embedded.source=tape:a=b.gz", "tape:a=b.gz"),
        ("embedded.history=null", None),
        ("embedded.port=8080", 8080),
        ('embedded.speed="5"', "5"),
    ],
)
def test_config_set_value_is_json_if_it_parses_else_text(text: str, expected: Any) -> None:
    """A `--set` value is JSON if it parses, else text; decimals keep their characters."""
    config = load_config(DEMO, [text])

    assert config.raw["embedded"][text.split("=")[0].split(".")[1]] == expected


def test_config_set_of_a_whole_section_replaces_it() -> None:
    """`--set` of a whole section replaces it, with the origin of each key."""
    isolation = '{"linux": "off", "win32": "off", "darwin": "off"}'
    config = load_config(DEMO, [f"ai.isolation_min={isolation}"])

    assert dict(config.ai.isolation_min) == json.loads(isolation)
    assert config.origin["ai.isolation_min.linux"] == "--set"


def test_config_changes_of_a_value_change_the_hash_and_order_of_keys_does_not(
    tmp_path: Path,
) -> None:
    """The hash depends on values, not on the order of keys."""
    shuffled = tmp_path / "profile.json"
    shuffled.write_text(json.dumps(dict(reversed(RAW.items())), indent=1), encoding="utf-8")
    base = load_config(DEMO)

    assert load_config(shuffled).sha256 == base.sha256
    assert load_config(DEMO, ["seed=2"]).sha256 != base.sha256


def test_config_of_manifest_gives_the_same_profile_and_judges_it_again() -> None:
    """A profile from a manifest is the same and is validated again."""
    config = load_config(DEMO, ["seed=5"])
    raw = canonical.decode(canonical.encode(config.raw))
    again = config_of_manifest(raw)

    assert (again.sha256, again.binance, again.seed) == (config.sha256, config.binance, 5)
    raw["mode"] = "LIVE"
    with pytest.raises(ConfigError):
        config_of_manifest(raw)


def test_config_of_manifest_of_a_run_before_a_key_came_is_still_read() -> None:
    """A manifest older than a key is read without it and keeps its hash."""
    raw = canonical.decode(canonical.encode(load_config(DEMO).raw))
    del raw["execution"]["fill_model"]

    again = config_of_manifest(raw)

    assert again.sha256 == sha256(canonical.encode(raw)).hexdigest()
    assert "fill_model" not in again.raw["execution"]


def test_unknown_section_names_where_each_of_its_keys_came_from() -> None:
    """A variable left over in a shell is found by the refusal that it causes."""
    with pytest.raises(ConfigError) as refused:
        load_config(DEMO, ["riks.b=2"], {"MINIBOT__RIKS__A": "1"})

    assert "(MINIBOT__RIKS__A, --set): unknown key" in refused.value.violations[0]


def test_config_is_frozen() -> None:
    """A loaded profile is frozen."""
    config = load_config(DEMO)
    for node, field in ((config, "seed"), (config.binance, "symbols"), (config.ai, "enabled")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(node, field, 1)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.row("N-22", "F146")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mode=LIVE", ["mode", '"LIVE"', '"NORE"']),
        (f"risk.{'x.' * 700}x=1", ["risk.x.x", "702 names"]),
        (f"risk={'[' * 700}{']' * 700}", ["risk"]),
        (f"risk.x={'[' * 400}{']' * 400}", ["risk.x", "unknown key"]),
        ("risk.max_drawdwn=3", ["risk.max_drawdwn", "3", "unknown key", "risk.drawdown_bps"]),
        ("duration_ms=-5", ["duration_ms", "-5", "whole number from 1000"]),
        ("duration_ms=0", ["duration_ms", "0"]),
        ("embedded.speed=fast", ["embedded.speed", '"fast"', "decimal number"]),
        ("embedded.speed=0", ["embedded.speed"]),
        ("embedded.speed=-1", ["embedded.speed"]),
        ("embedded.speed=1e3", ["embedded.speed"]),
        ("embedded.speed=NaN", ["embedded.speed"]),
        ("embedded.port=1.5", ["embedded.port", "1.5"]),
        ("embedded.port=true", ["embedded.port", "true"]),
        ("embedded.source=video:x", ["embedded.source", "tape:FILE"]),
        ("embedded.source=generator:x", ["embedded.source", "whole number"]),
        ("risk.order_notional=0", ["risk.order_notional", "above zero"]),
        ("risk.order_notional=-1", ["risk.order_notional"]),
        ("risk.positions_max=0", ["risk.positions_max"]),
        ("riks.order_notional=1", ["riks", "did you mean risk?"]),
        ("qwxzj=3", ["qwxzj", "unknown key; minibot config show lists all keys"]),
        ("risk.xylophone=3", ["risk.xylophone", "unknown key; minibot config show lists"]),
        ("foo.bar=3", ["foo", "unknown key; minibot config show lists all keys"]),
        ("ema_fast=3", ["ema_fast", "did you mean strategy.ema_fast?"]),
        ("binance.outage_stop_market_ms=119999", ["120000", "300000"]),
        ("binance.outage_stop_market_ms=300001", ["120000", "300000"]),
        ("binance.symbols=[]", ["binance.symbols"]),
        ("binance.symbols=[\"btcusdt\"]", ["binance.symbols"]),
        ("binance.transport=carrier", ["binance.transport", "websocket-client"]),
        ("ai.permitted_queues=[\"order_intents\"]", ["ai.permitted_queues", "order_intents"]),
        ("ai.isolation_min.linux=none", ["ai.isolation_min.linux", "jail"]),
        ("seed.x=1", ["seed.x", "seed is 1"]),
        ("nonsense", ["nonsense", "section.key=value"]),
        ("=1", ["section.key=value"]),
    ],
)  # fmt: skip
def test_config_with_one_wrong_value_names_key_value_and_what_is_allowed(
    text: str, words: list[str]
) -> None:
    """A wrong value is refused with key, value and the allowed ones."""
    output = one(text)

    assert all(word in output for word in words), output


@pytest.mark.row("N-22", "X-04")
@pytest.mark.parametrize(
    "key",
    ["live", "binance.api_key", "binance.secret_key", "binance.apiSecret", "live_trading",
     "execution.real_orders", "secrets.token", "binance.withdraw", "risk.leverage", "api"],
)  # fmt: skip
def test_config_with_a_live_key_is_refused_by_the_rule_and_keeps_its_value_to_itself(
    key: str,
) -> None:
    """A key for real trading is refused by its rule without showing its value (I8)."""
    text = one(f"{key}=marker-7f3a")

    assert "N-22" in text
    assert key in text
    assert "marker-7f3a" not in text


SECRET = "marker-7f3a"


@pytest.mark.row("N-12", "N-22")
@pytest.mark.parametrize(
    "overlay",
    [
        {"broker": {"api_key": SECRET}},
        {"broker": {"login": [{"clientSecret": SECRET}, {"private-key": SECRET}]}},
        {"binance": {"login": {"secret": SECRET}}},
        {"api": {"value": SECRET}},
        {"binance": {"password": {"value": SECRET}}},
        {"binance": {"rest_url": ["api_key", SECRET]}},
        {"binance": {"rest_url": {"name": "api_key", "value": SECRET}}},
        {"binance": {"rest_url": f"https://me:{SECRET}@example.com"}},
        {"broker": f"api_key={SECRET}"},
    ],
)
def test_config_error_never_shows_a_secret_below_beside_or_within_a_value(
    tmp_path: Path, overlay: dict[str, Any]
) -> None:
    """A secret in a refused value is hidden, wherever in it the key stands that names it."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"extends": "nore.v1.json", **overlay}))

    with pytest.raises(ConfigError) as refusal:
        load_config(path)

    text = "\n".join([str(refusal.value), *refusal.value.violations])
    assert next(iter(overlay)) in text
    assert SECRET not in text


@pytest.mark.row("N-12", "N-22")
@pytest.mark.parametrize(
    "sets",
    [
        [f"broker.api_key={SECRET}"],
        [f"broker.auth.token={SECRET}"],
        [f'broker={{"password":"{SECRET}"}}'],
        [f"broker.api_key={SECRET}", "broker.api_key.more=1"],
        [f"broker.api_key:{SECRET}"],
        [f"api_key {SECRET}"],
        [f"..api_key={SECRET}"],
    ],
)
def test_config_error_of_a_set_never_shows_a_secret(sets: list[str]) -> None:
    """A secret after `--set` is hidden, also in a text that is no key and value."""
    text = "\n".join(refused(DEMO, *sets))

    assert SECRET not in text


@pytest.mark.row("N-12", "N-22")
@pytest.mark.parametrize("name", ["MINIBOT__BROKER__API_KEY", "MINIBOT__API__VALUE__X"])
def test_config_error_of_the_environment_never_shows_a_secret(name: str) -> None:
    """A secret in a variable is hidden, also below a section that does not exist."""
    text = "\n".join(refused(DEMO, **{name: SECRET}))

    assert SECRET not in text


@pytest.mark.row("N-12", "N-22")
@pytest.mark.parametrize(
    "text",
    ['{"api_key": 918273645546372819918273}', '{"extends": {"api_key": "918273645546372819"}}'],
)
def test_config_file_that_is_refused_whole_never_shows_a_secret(tmp_path: Path, text: str) -> None:
    """A file that is no profile at all is refused without showing its numbers or its base."""
    path = tmp_path / "mine.json"
    path.write_text(text)

    with pytest.raises(ConfigError) as refusal:
        load_config(path)

    assert "918273645" not in str(refusal.value)


def test_config_tells_all_violations_at_once() -> None:
    """Violations of layer, schema and rules come in one refusal, each once."""
    violations = refused(
        DEMO,
        "mode=LIVE",
        "risk.max_drawdwn=3",
        "risk.night_loss_soft=300",
        "strategy.ema_fast=50",
        "embedded.speed=61",
        "paths.var=../x",
        "bogus",
        MINIBOT__SEED="x",
        MINIBOT__NO__SUCH="1",
    )

    keys = {re.split(r"[ :]", text.removeprefix("--set "))[0] for text in violations}
    assert keys == {
        "mode", "risk.max_drawdwn", "risk.night_loss_soft", "strategy.ema_fast",
        "embedded.speed", "paths.var", "bogus", "seed", "no",
    }  # fmt: skip
    assert len(violations) == len(keys)


def test_config_violation_says_where_the_value_comes_from() -> None:
    """A violation names file, variable or --set as its origin."""
    assert "(--set)" in one("seed=x")
    assert "(MINIBOT__SEED)" in refused(DEMO, MINIBOT__SEED="x")[0]


def test_variables_of_one_key_in_other_letters_are_refused() -> None:
    """Two values of a key are told, and none counts in silence."""
    named = {"MINIBOT__SEED": "7", "minibot__seed": "8"}

    assert refused(DEMO, **named) == ("minibot__seed: MINIBOT__SEED is set, too",)


def test_key_of_an_absent_simulation_names_a_profile_that_has_one() -> None:
    """A key of `embedded` in a profile of a real market is refused with the way to a simulated."""
    (violation,) = refused(PROJECT / "config" / "nore.v1.json", "embedded.speed=5")

    assert "--config config/nore-demo.v1.json" in violation


FILES = {
    "half.json": b'{"mode": "NORE",',
    "list.json": b"[1, 2]",
    "text.json": b"mode: NORE\n",
    "nothing.json": b"",
    "binary.json": b"\x1f\x8b\xff\xfe\x00\x01",
    "twice.json": b'{"mode": "NORE", "mode": "NORE"}',
    "nan.json": b'{"seed": NaN}',
    "deep.json": b"[" * 100_000,
    "huge.json": b" " * 1_000_001,
}


@pytest.mark.parametrize("name", [*FILES, "none.json", "folder.json"])
def test_config_file_that_is_no_profile_is_one_message_with_its_name(
    name: str, tmp_path: Path
) -> None:
    """A file that is no profile is one message with its name, exit 4."""
    path = tmp_path / name
    if name == "folder.json":
        path.mkdir()
    elif name in FILES:
        path.write_bytes(FILES[name])

    with pytest.raises(ConfigError, match=re.escape(name)) as refusal:
        load_config(path)
    assert refusal.value.exit_code == 4
    assert refusal.value.violations == ()  # One message without a list of keys.
    assert refusal.value.remedy


def test_config_of_an_empty_object_names_every_missing_section(tmp_path: Path) -> None:
    """An empty object names every missing section once."""
    path = tmp_path / "empty.json"
    path.write_text("{}", encoding="utf-8")
    missing = [text.split(":")[0] for text in refused(path)]

    assert sorted(missing) == sorted(RAW)


def test_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """A byte order mark is ignored."""
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + DEMO.read_bytes())

    assert load_config(path).sha256 == load_config(DEMO).sha256


@pytest.mark.row("N-91", "N-119", "X-16")
@pytest.mark.parametrize("prefix", ["config/", "minibot/config/", "./minibot/config/"])
def test_config_path_is_found_in_both_spellings_from_any_folder(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both spellings of a profile's path name the same file from any folder."""
    for folder in (PROJECT, tmp_path):
        monkeypatch.chdir(folder)
        assert load_config(f"{prefix}nore.v1.json").profile == "nore"


@pytest.mark.parametrize("faults", ['["\\ud800"]', "[" * 20 + "]" * 20])
def test_config_that_a_manifest_cannot_hold_is_refused(faults: str) -> None:
    """Open parts of a profile that no manifest can hold are refused."""
    assert "manifest" in one(f"embedded.faults={faults}")


def test_config_number_over_64_bits_is_no_number(tmp_path: Path) -> None:
    """A number over 64 bits is refused in a file, and is text after --set."""
    assert "whole number" in one(f"seed={2**64}")
    path = tmp_path / "large.json"
    path.write_text(json.dumps({**RAW, "seed": 2**64}), encoding="utf-8")
    with pytest.raises(ConfigError, match="64 bits"):
        load_config(path)


@pytest.mark.parametrize("key", ["a\x1b[31m", "risk.\u202e", "x" * 5000])
def test_config_with_a_hostile_key_is_told_in_plain_characters(key: str) -> None:
    """A hostile key is shown in plain characters and bounded length."""
    text = one(f"{key}=1")

    assert text.isprintable()
    assert len(text) < 1000


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(leaves(RAW))),
    st.one_of(
        st.none(), st.booleans(), st.integers(-10, 10**12), st.text(max_size=20),
        st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers()),
    ),
)  # fmt: skip
def test_config_with_any_value_anywhere_loads_or_is_refused_in_words(key: str, value: Any) -> None:
    """Any value anywhere gives a profile or a printable ConfigError."""
    text = f"{key}={json.dumps(value)}"
    try:
        lines: tuple[str, ...] | None = None
        assert isinstance(load_config(DEMO, [text]), Config)
    except ConfigError as refusal:
        lines = refusal.violations

    assert lines is None or lines
    assert all(sentence.isprintable() and len(sentence) < 1000 for sentence in lines or ())


@pytest.mark.process
@pytest.mark.row("N-22")
def test_config_in_a_fresh_process_refuses_without_a_traceback() -> None:
    """A fresh process loads and refuses profiles without a traceback."""
    code = (
        "from minibot.runtime.configuration.config import load_config\n"
        "from minibot.kernel.errors import ConfigError\n"
        "try: load_config('config/nore-demo.v1.json', ['mode=LIVE'])\n"
        "except ConfigError as e: raise SystemExit(e.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert (done.returncode, done.stderr) == (4, b"")
