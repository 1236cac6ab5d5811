"""Data verbs as users call them: answers, exit codes, one document with --json."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from minibot.data.columns import Columns
from minibot.data.klines import open_klines
from minibot.data.treatment import clock_text
from tests.data.archive_server import ArchiveServer
from tests.data.data_files import MINUTE_MS, OPEN_MS, row, write_rows
from tests.runs import ShortRun, make_run, raw_events, verb
from tests.simulator.embedded_exchange import ORIGIN_MS, Exchange, market, trade, write_tape

GOOD = [row(number) for number in range(30)]
WITH_GAP = [*GOOD[:10], *GOOD[12:]]


def test_data_check_tells_what_is_in_a_file_and_exits_by_its_trouble(tmp_path: Path) -> None:
    """`data check` exits 0 for a clean file, 1 for a gap, and 0 with the option that settles it."""
    good = write_rows(tmp_path / "BTCUSDT-1m-a.csv", GOOD)
    bad = write_rows(tmp_path / "BTCUSDT-1m-b.csv", WITH_GAP)

    fine = verb(tmp_path, "data", "check", str(good))
    both = verb(tmp_path, "data", "check", str(good), str(bad), "--json")
    settled = verb(tmp_path, "data", "check", str(bad), "--gaps", "keep")

    assert (fine.code, both.code, settled.code) == (0, 1, 0)
    assert "30 rows" in fine.out
    assert [report["is_clean"] for report in both.document["files"]] == [True, False]
    (trouble,) = both.document["files"][1]["troubles"]
    assert (trouble["code"], trouble["count"], trouble["places"][0]["row"]) == ("gaps", 2, 11)


def test_data_check_of_a_folder_goes_on_after_a_file_that_is_none(tmp_path: Path) -> None:
    """`data check` of a folder names an unreadable file, checks the rest and fails."""
    write_rows(tmp_path / "BTCUSDT-1m-a.csv", GOOD)
    (tmp_path / "BTCUSDT-1m-b.csv").write_text("time,last\n1,2\n")
    write_rows(tmp_path / "BTCUSDT-1m-c.csv", GOOD)

    done = verb(tmp_path, "data", "check", str(tmp_path), "--json")

    assert done.code == 1
    assert [report["rows"] for report in done.document["files"]] == [30, 30]
    assert "BTCUSDT-1m-b.csv" in done.document["unreadable"][0]


@pytest.mark.parametrize("word", ["tape:demo", "run:latest"])
def test_data_check_of_ticks_names_the_verbs_that_check_them(tmp_path: Path, word: str) -> None:
    """Ticks are converted, not checked as a file; the refusal does not miss a file of that name."""
    done = verb(tmp_path, "data", "check", word)

    assert done.code == 2
    assert "minibot tape check" in done.err


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "jsonl.gz", "json", "json.gz", "zip"])
def test_folder_of_data_stands_for_its_files_of_every_form(tmp_path: Path, form: str) -> None:
    """`data check` and `data convert` of a folder take the rows of all its files."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_rows(folder / "BTCUSDT-1m-a.json", GOOD[:10])
    write_rows(folder / f"BTCUSDT-1m-b.{form}", GOOD[10:])

    checked = verb(tmp_path, "data", "check", str(folder), "--json")
    made = verb(tmp_path, "data", "convert", str(folder), "--out", str(tmp_path), "--json")

    assert (checked.code, made.code) == (0, 0), checked.err + made.err
    assert sum(report["rows"] for report in checked.document["files"]) == len(GOOD)
    (written,) = made.document
    assert len(open_klines(Path(written["path"])).klines) == len(GOOD)


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("check", "nowhere.csv"), 2, "nowhere.csv"),
        (("convert", "BTCUSDT-1m.csv"), 4, "--out"),
        (("convert", "BTCUSDT-1m.csv", "--out", "out"), 2, "--gaps keep|flat"),
        (("convert", "tape:nowhere", "--out", "out"), 2, "nowhere"),
        (("convert", "run:nowhere", "--out", "out"), 2, "nowhere"),
        (("check", "--gaps", "perhaps", "BTCUSDT-1m.csv"), 2, ""),
        (("check", "--interval", "7m", "BTCUSDT-1m.csv"), 4, "--interval"),
        (("check", "--symbol", "B", "BTCUSDT-1m.csv"), 4, "--symbol"),
        (("convert", "--interval", "1mo", "BTCUSDT-1m.csv", "--out", "out"), 4, "--interval"),
        (("convert", "--symbol", "../x", "BTCUSDT-1m.csv", "--out", "out"), 4, "--symbol"),
    ],
)
def test_data_verb_that_cannot_run_says_why(
    words: tuple[str, ...], code: int, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A data verb that cannot run says why in one sentence, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "BTCUSDT-1m.csv", WITH_GAP)

    done = verb(tmp_path / "var", "data", *words)

    assert done.code == code
    assert what in done.err
    assert "Traceback" not in done.err
    assert "error of minibot itself" not in done.err
    assert not (tmp_path / "out").exists()


def test_data_convert_writes_columns_that_read_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`data convert` joins klines of two files; the document has sha256 and treatments."""
    monkeypatch.chdir(tmp_path)
    paths = [write_rows(tmp_path / f"BTCUSDT-1m-{n}.csv", GOOD[n : n + 10]) for n in (0, 10, 20)]

    done = verb(tmp_path, "data", "convert", *map(str, paths), "--out", "columns", "--json")

    (written,) = done.document
    assert done.code == 0
    klines = open_klines(Path(written["path"])).klines
    assert klines == [kline for path in paths for kline in open_klines(path)]
    with Columns(Path(written["path"])) as columns:
        assert columns.sha256 == written["sha256"]
        assert columns.header["sources"][0]["name"] == "BTCUSDT-1m-0.csv"


def test_data_convert_of_several_files_tells_what_was_settled(tmp_path: Path) -> None:
    """A series with trouble in one of its files is not called clean."""
    doubled = write_rows(tmp_path / "BTCUSDT-1m-a.csv", [*GOOD[:5], GOOD[4]])
    clean = write_rows(tmp_path / "BTCUSDT-1m-b.csv", GOOD[5:])
    words = ("--duplicates", "first", "--out", str(tmp_path / "out"))

    done = verb(tmp_path / "var", "data", "convert", str(doubled), str(clean), *words)

    assert done.code == 0, done.err
    assert "1 duplicates" in done.out
    assert f"row 6, {clock_text(OPEN_MS + 4 * MINUTE_MS)}" in done.out
    assert doubled.name in done.out
    assert "nothing is wrong" not in done.out


def test_data_convert_names_its_file_by_the_symbol_that_a_pair_means(tmp_path: Path) -> None:
    """A pair with a slash names no folder: `columns:` finds what was converted."""
    path = write_rows(tmp_path / "BTCUSDT-1m.csv", GOOD)
    words = ("--symbol", "BTC/USDT", "--out", str(tmp_path / "out"))

    done = verb(tmp_path / "var", "data", "convert", str(path), *words)

    assert done.code == 0, done.err
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["BTCUSDT-1m.columns"]


def test_ticks_of_one_symbol_from_two_inputs_are_refused(tmp_path: Path) -> None:
    """Ticks of one symbol from two inputs are refused, as one file would replace the other."""
    tape = write_tape(tmp_path / "tape.gz", market(2))
    words = (f"tape:{tape}", f"tape:{tape}", "--out", str(tmp_path / "out"))

    done = verb(tmp_path / "var", "data", "convert", *words)

    assert done.code == 2
    assert "from two inputs" in done.err


def test_data_convert_of_a_night_holds_every_tick_of_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """`data convert` of a night holds every tick of the queue, with time and price."""
    ticks = [
        event
        for event in raw_events(short_run.run_dir, "market_ticks")
        if event["type"] == "market_tick"
    ]

    done = verb(
        *(short_run.var, "data", "convert", f"run:{short_run.run_id}"),
        *("--out", str(tmp_path), "--json"),
    )

    assert done.code == 0
    with Columns(Path(done.document[0]["path"])) as columns:
        assert columns.column("ts").tolist() == [event["ts"] for event in ticks]
        assert columns.column("bid").tolist() == [
            round(float(event["payload"]["bid"]) * 10**8) for event in ticks
        ]


@pytest.mark.process
def test_data_convert_of_a_night_has_the_symbols_that_were_played(
    tmp_path: Path, var_dir: Path
) -> None:
    """The source's symbols are converted, not those that the profile lists."""
    source = {"embedded__source": "generator:2:ETHUSDT,BNBUSDT", "duration_ms": "20000"}
    night = make_run(var_dir, "--quiet", "--no-proof", ai__enabled="false", **source)
    ticks = Counter(
        event["payload"]["symbol"]
        for event in raw_events(night.run_dir, "market_ticks")
        if event["type"] == "market_tick"
    )

    done = verb(
        *(var_dir, "data", "convert", f"run:{night.run_id}"),
        *("--out", str(tmp_path / "out"), "--json"),
    )

    assert done.code == 0, done.err
    assert set(ticks) == {"ETHUSDT", "BNBUSDT"}
    assert {each["symbol"]: each["rows"] for each in done.document} == ticks


def test_data_convert_writes_no_file_without_ticks(tmp_path: Path) -> None:
    """A symbol without a tick has no file; a source without any is refused."""
    unquoted = trade(5, 1, s="ETHUSDT")
    some = write_tape(
        tmp_path / "some.gz", sorted([*market(2), unquoted], key=lambda line: line[0])
    )
    none = write_tape(tmp_path / "none.gz", [unquoted])
    out = tmp_path / "out"

    fine = verb(tmp_path / "var", "data", "convert", f"tape:{some}", "--out", str(out))
    refused = verb(tmp_path / "var", "data", "convert", f"tape:{none}", "--out", str(out))

    assert (fine.code, refused.code) == (0, 2)
    assert "no market ticks" in refused.err
    assert [each.name for each in out.iterdir()] == ["BTCUSDT-ticks.columns"]


def test_download_data_takes_archive_files_and_list_data_shows_them(tmp_path: Path) -> None:
    """`download-data` fetches archive files once, and `list-data` shows them."""
    with ArchiveServer() as server:
        words = (
            *("download-data", "--pairs", "BTC/USDT,ETH/USDT", "--intervals", "15m,1h"),
            *("--from", "2024-12-31", "--to", "2025-01-02", "--source", "archive"),
            *("--archive-url", server.url),
        )
        first = verb(tmp_path, *words)
        asked = len(server.paths)
        again = ("--pairs", "BTCUSDT,BTC/USDT,ETHUSDT", "--intervals", "15m,1h,1h")
        second = verb(tmp_path, *words, *again, "--json")

    listed = verb(tmp_path, "list-data", "--gaps", "--verify", "--json")

    assert (first.code, second.code, listed.code) == (0, 0, 0), first.err
    assert len(server.paths) == asked == 16
    assert [each["files"] for each in second.document] == [[]] * 4
    shown = [(each["symbol"], each["interval"], each["rows"]) for each in listed.document]
    assert shown == [
        *(("BTCUSDT", "15m", 192), ("BTCUSDT", "1h", 48)),
        *(("ETHUSDT", "15m", 192), ("ETHUSDT", "1h", 48)),
    ]
    assert {each["bars_missing"] for each in listed.document} == {0}


def test_list_data_names_gaps_and_changed_files(tmp_path: Path) -> None:
    """`list-data` names a missing day and a changed file."""
    common = ("--pairs", "BTCUSDT", "--intervals", "1h", "--source", "archive")
    with ArchiveServer() as server:
        for start, end in (("2025-01-01", "2025-01-02"), ("2025-01-03", "2025-01-04")):
            done = verb(
                *(tmp_path, "download-data", *common, "--from", start, "--to", end),
                *("--archive-url", server.url),
            )
            assert done.code == 0, done.err
    path = tmp_path / "data" / "embedded" / "BTCUSDT" / "1h" / "BTCUSDT-1h-2025-01-03.zip"
    path.write_bytes(path.read_bytes() + b"x")

    plain = verb(tmp_path, "list-data", "--gaps")
    verified = verb(tmp_path, "list-data", "--verify", "--json")

    assert plain.code == 0
    assert " 24 " in plain.out
    assert "missing 2025-01-02 00:00:00 .. 2025-01-03 00:00:00" in plain.out
    assert verified.code == 1
    assert verified.document[0]["changed"] == [path.name]


def test_list_data_names_files_that_are_gone(tmp_path: Path) -> None:
    """`list-data` names missing files, lists the rest, and fails the check."""
    with ArchiveServer() as server:
        verb(
            *(tmp_path, "download-data", "--pairs", "BTCUSDT", "--source", "archive"),
            *("--intervals", "1h", "--from", "2025-01-01", "--to", "2025-01-03"),
            *("--archive-url", server.url),
        )
    names = ["BTCUSDT-1h-2025-01-01.zip", "BTCUSDT-1h-2025-01-02.zip"]
    for count, name in enumerate(reversed(names), 1):
        (tmp_path / "data" / "embedded" / "BTCUSDT" / "1h" / name).unlink()

        plain = verb(tmp_path, "list-data")
        verified = verb(tmp_path, "list-data", "--verify", "--json")

        assert plain.code == 0
        assert f"GONE {name}" in plain.out
        assert verified.code == 1
        assert verified.document[0]["gone"] == names[-count:]
        assert verified.document[0]["rows"] == 48 - 24 * count
        assert (verified.document[0]["first_ts"] is not None) is (count < len(names))


@pytest.mark.parametrize(
    "words",
    [
        ("--pairs", "BTC/USDT", "--from", "2999-01-01", "--to", "2999-02-01"),
        ("--pairs", "BTC/USDT", "--from", "0001-01-01"),
        ("--pairs", "BTC/USDT", "--from", "2025-01-01", "--archive-url", "http://127.0.0.1/x"),
        ("--pairs", "BTC/USDT", "--from", "yesterday"),
        ("--pairs", "../../x", "--from", "2025-01-01"),
        ("--pairs", "X", "--from", "2025-01-01", "--source", "archive"),
        ("--pairs", "BTC/USDT", "--intervals", "7m", "--from", "2025-01-01"),
        ("--pairs", "BTC/USDT", "--from", "2025-01-02", "--to", "2025-01-01"),
        ("--pairs", "BTC/USDT", "--from", "2025-01-01", "--archive-url", "ftp://x"),
    ],
)
def test_download_of_nonsense_is_a_configuration_error(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    """A nonsensical download is a configuration error, before any request or file."""
    done = verb(tmp_path / "var", "download-data", *words)

    assert done.code == 4
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("span", "wrong"),
    [
        (("--from", "2999-01-01"), "--from '2999-01-01': has not come yet"),
        (("--from", "2025-01-01", "--to", "soon"), "--to 'soon': not a date"),
        (("--from", "soon"), "--from 'soon': not a date"),
        (("--from", "2025-01-02", "--to", "2025-01-01"), "not before --to '2025-01-01'"),
    ],
)
def test_download_of_a_wrong_span_names_the_flag_at_fault(
    span: tuple[str, ...], wrong: str, tmp_path: Path
) -> None:
    """Each date is judged by itself; a flag that was not given is not blamed."""
    done = verb(tmp_path / "var", "download-data", "--pairs", "BTC/USDT", *span)

    assert wrong in done.err
    assert "None" not in done.err
    assert len(done.err.splitlines()) == 2


def test_download_that_is_refused_exits_1_and_names_the_file(tmp_path: Path) -> None:
    """A refused download exits 1, names the file and stores nothing of it."""
    with ArchiveServer() as server:
        server.fault = lambda path, body: b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
        done = verb(
            *(tmp_path, "download-data", "--pairs", "BTC/USDT", "--source", "archive"),
            *("--from", "2025-01-01", "--to", "2025-01-02", "--archive-url", server.url),
        )

    assert done.code == 1
    assert "REFUSED BTCUSDT-1m-2025-01-01.zip" in done.out
    assert "not there: 2025-01-01 00:00:00 .. 2025-01-02 00:00:00" in done.out


def test_download_of_a_pair_that_the_archive_does_not_have_exits_1(tmp_path: Path) -> None:
    """A mistyped pair brings nothing, and a script has to notice; its open tail may yet come."""
    with ArchiveServer(end="2000-01-01", months_end="2000-01-01") as server:
        words = ("download-data", "--pairs", "BTCUSTD", "--source", "archive", "--from")
        address = ("--archive-url", server.url)
        past = verb(tmp_path, *words, "2025-01-01", "--to", "2025-01-03", *address, "--json")
        tail = verb(tmp_path, *words, "2025-01-01", *address)

    assert (past.code, tail.code) == (1, 1)
    assert past.document[0]["not_there"] == past.document[0]["missing"] != []
    assert past.document[0]["troubles"] == []
    assert "not there: 2025-01-01 00:00:00 .. " in tail.out
    assert "not available yet: " in tail.out


def test_list_data_without_any_says_how_to_get_some(tmp_path: Path) -> None:
    """`list-data` of an empty var is not an error and says how to get data."""
    done = verb(tmp_path, "list-data")

    assert done.code == 2
    assert "download-data" in done.err


@pytest.mark.process
def test_download_by_rest_works_against_the_embedded_exchange(tmp_path: Path) -> None:
    """A REST download works against the embedded exchange, bar by bar."""
    last_ms = ORIGIN_MS // MINUTE_MS * MINUTE_MS
    back = (last_ms - OPEN_MS) // MINUTE_MS
    rows = [row(number, volume=f"{number % 89 + 100}.5") for number in range(back - 1200, back)]
    history = write_rows(tmp_path / "BTCUSDT-1m.jsonl", rows)
    tape = write_tape(tmp_path / "tape.gz", market(2))
    first = clock_text(last_ms - 1200 * MINUTE_MS).replace(" ", "T")
    words = ("download-data", "--pairs", "BTC/USDT", "--from", first, "--source", "rest", "--json")

    with Exchange(f"tape:{tape}", "--history", f"klines:{history}") as exchange:
        first_call = verb(tmp_path / "var", *words, "--rest-url", exchange.base)
        second_call = verb(tmp_path / "var", *words, "--rest-url", exchange.base)

    assert (first_call.code, second_call.code) == (0, 0), first_call.err
    assert first_call.document[0]["troubles"] == []
    assert first_call.document[0]["rows"] == 1200
    assert second_call.document[0]["rows"] == 0
    stored = open_klines(tmp_path / "var" / "data" / "embedded" / "BTCUSDT" / "1m").klines
    assert [kline[2:7] for kline in stored] == [kline[2:7] for kline in open_klines(history)]
