"""Page in a real Chromium: a running night acted on, and a record; skipped where there is none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel import canonical
from minibot.ops.one_time_code import Codes
from minibot.ops.web import live_documents, run_routes
from minibot.ops.web.page_server import PageServer
from minibot.ops.web.record_page import RecordPage
from minibot.report.night import Night as Read
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.stop import STOP_KIND
from tests.nights.night import Night
from tests.ops.web.served import served
from tests.runs import ShortRun, verb
from tests.waiting import wait_until
from tools.chromium import Chromium, found_chromium

pytestmark = pytest.mark.process

PHONE_PX, SCREEN_PX = 360, 1200
SETS = ('page={"port":0,"required":true}', "ai.enabled=false", "duration_ms=25200000")
LOST = (
    "net::ERR_CONNECTION_REFUSED",
    "net::ERR_INCOMPLETE",
    "net::ERR_EMPTY",
    "ERR_CONNECTION",
)
"""Complaints of Chromium about a process that is being started again."""
RED_TENTHS = """(() => {
  const shot = chart.chart.takeScreenshot(), found = new Set();
  const wide = chart.chart.timeScale().width() * shot.width / box.clientWidth;
  const {data} = shot.getContext('2d').getImageData(0, 0, shot.width, shot.height);
  for (let at = 0; at < data.length; at += 4)
    if (data[at] > 160 && data[at + 1] < 60 && data[at + 2] < 60)
      found.add(Math.min(10, Math.floor((at / 4 % shot.width) / wide * 10)));
  return [...found];
})()"""
"""Tenths of a chart's width that have a pixel in the colour of a stop; 10 is its scale."""
TABS = "[...document.querySelectorAll('[role=tab]')].filter(t => !t.hidden)"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests of this file."""
    path = found_chromium()
    if path is None:
        pytest.skip("no chromium on this machine; Debian: apt-get install chromium")
    with Chromium(path) as found:
        yield found


@pytest.fixture
def record(short_run: ShortRun, tmp_path: Path) -> Iterator[RecordPage]:
    """The page of a finished run."""
    found = RecordPage(Read.open(short_run.run_dir), Var(tmp_path / "var"), 0)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    """A night with a page, which trades; it is killed where its test failed."""
    found = Night(tmp_path / "var", SETS, source="generator:2", speed="5")
    try:
        found.await_trading()
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.communicate()


def text(browser: Chromium, name: str) -> str:
    """Return the text of an element as it is on the screen."""
    return str(browser.ask(f"at('{name}').innerText"))


def enter(
    browser: Chromium, url: str, code: str, width: int = SCREEN_PX, scheme: str = "light"
) -> None:
    """Log in by a one-time code, with the keyboard alone."""
    browser.open(url, width, prefers_color_scheme=scheme)
    wait_until(lambda: browser.holds("!at('login').hidden"), "the page asks for the code")
    browser.ask("document.querySelector('[name=code]').focus()")
    browser.type(code)
    browser.press("Enter")
    wait_until(
        lambda: browser.holds("typeof at === 'function' && !at('main').hidden && live !== null"),
        "the page is open",
    )


def outside(browser: Chromium, url: str) -> list[str]:
    """Return every request that did not go to the page's own server."""
    return [each for each in browser.requests if not each.startswith((url, "data:", "about:"))]


@pytest.mark.row("B-60", "D-15")
def test_running_night_is_read_halted_resumed_and_killed_from_the_page(
    chromium: Chromium, night: Night
) -> None:
    """Orders reach the run's record; the page outlives its process; nothing outside is asked."""
    wait_until((night.var / "ops" / "page.json").is_file, "the page has its address")
    answer = verb(night.var, "page", "--json").document
    url = answer["url"]
    enter(chromium, url, answer["code"])

    # What is on the screen is what the launcher said.
    wait_until(lambda: equity(chromium) == told(night), "equity of a status is on the screen")
    wait_until(lambda: night.lines("fills") >= 2, "a trade")
    wait_until(lambda: "BTCUSDT" in text(chromium, "trades"), "the trade is on the screen")
    wait_until(lambda: "BTCUSDT" in text(chromium, "symbols"), "its price is on the screen")
    assert text(chromium, "verdict") == "all is well so far"

    press(chromium, "halt")
    wait_until(lambda: "halt" in journaled(night), "the halt is journaled")
    wait_until(lambda: "halted" in text(chromium, "verdict"), "the halt is on the screen")
    press(chromium, "resume")
    wait_until(lambda: "resume" in journaled(night), "the resumption is journaled")
    wait_until(lambda: "halted" not in text(chromium, "verdict"), "it is on the screen")
    assert len(chromium.dialogs) == 2
    assert chromium.complaints == []

    # Its process dies and is started again.
    first = wait_until(lambda: night.role("minibot.ops.process"), "ops runs")
    first.kill()
    psutil.wait_procs([first])
    dead_ms = chromium.ask("Date.now()")
    wait_until(lambda: chromium.holds(f"heardMs > {dead_ms} + 500"), "the page goes on")
    assert text(chromium, "notice") == ""

    press(chromium, "kill")
    code, words = night.end()
    assert code == 10, words
    assert len(chromium.dialogs) == 2
    wait_until(lambda: "the run has ended" in text(chromium, "notice"), "the page says so")
    assert text(chromium, "state") == "STOPPED"
    run_dir = night.run_dirs()[-1]
    (stop,) = [
        event.payload.to_json()
        for _, event in Recorded.open(run_dir).events("stop_journal/parts/watchdog_role")
    ]
    assert stop["reason_code"] == "OPERATOR_KILL"
    # The new process has no status yet when the page asks it first.
    assert [
        each
        for each in chromium.complaints
        if not any(word in each for word in LOST)
        and not ("409 (Conflict)" in each and each.endswith("/api/v1/live"))
    ] == []
    assert outside(chromium, url) == []


def test_page_whose_process_is_gone_tells_no_run_that_goes_on(
    chromium: Chromium, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State of the run is unknown until the process answers again; that of an ended run is kept."""
    monkeypatch.setattr(live_documents, "STALE_MS", 10**9)  # The test gives one status.
    with served(short_run, tmp_path) as page:
        enter(chromium, f"http://{page.host}/", Codes(page.var.page_code).make())
        assert text(chromium, "state") == "RUNNING"
        assert "s of market time" in text(chromium, "account")
        assert text(chromium, "page-verb") == f"minibot page --var {page.var.root}"
        page.server.close()
        wait_until(lambda: "no answer" in text(chromium, "notice"), "its process is missed")
        assert "goes on" not in text(chromium, "notice")
        assert text(chromium, "notice").endswith(f"see minibot status --var {page.var.root}")
        wait_until(lambda: text(chromium, "state") == "NO NEWS", "the state is not known")
        assert "s of market time" not in text(chromium, "account")
        assert re.search(r"no news of this run for \d+ s", text(chromium, "verdict"))

        again = PageServer(Manifest.load(page.var.run(page.run_id)), page.var, page.port)
        try:
            again.take(page.status())
            wait_until(lambda: text(chromium, "state") == "RUNNING", "it answers again")
            assert text(chromium, "notice") == ""
            ended = {"kind": STOP_KIND, "reason_code": "ROLE_HUNG", "detail": "it hung"}
            again.take(page.status() | {"ended": ended})
        finally:
            again.close()
        wait_until(lambda: text(chromium, "notice"), "its process is missed")
        assert text(chromium, "notice").startswith("the run has ended")
        assert text(chromium, "state") == "STOPPED"
    assert outside(chromium, f"http://{page.host}/") == []


def test_order_without_an_answer_stays_on_the_screen(
    chromium: Chromium, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator whose kill was lost does not read that all is well once the process is back."""
    monkeypatch.setattr(live_documents, "STALE_MS", 10**9)  # The test gives one status.
    lost = 'no answer to "Kill at once"'
    with served(short_run, tmp_path) as page:
        enter(chromium, f"http://{page.host}/", Codes(page.var.page_code).make())
        page.server.close()
        wait_until(lambda: text(chromium, "state") == "NO NEWS", "its process is missed")
        press(chromium, "kill")
        wait_until(lambda: text(chromium, "notice").startswith(lost), "the order is lost")
        wait_until(lambda: "; no answer from" in text(chromium, "notice"), "it asks once more")
        assert text(chromium, "notice").startswith(lost)

        again = PageServer(Manifest.load(page.var.run(page.run_id)), page.var, page.port)
        try:
            again.take(page.status())
            wait_until(lambda: text(chromium, "state") == "RUNNING", "it answers again")
            assert text(chromium, "notice").startswith(lost)
            press(chromium, "halt")
            said = f"halt was sent to {page.run_id}."
            wait_until(lambda: text(chromium, "notice") == said, "an order that came through")
        finally:
            again.close()
        assert [each["kind"] for each in page.asked()] == ["halt"]


def test_page_whose_stream_is_silent_but_open_tells_no_run_that_goes_on(
    chromium: Chromium, short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tunnel without a network, or a process that stands still, closes no connection."""
    monkeypatch.setattr(live_documents, "STALE_MS", 10**9)  # The test gives one status.
    with served(short_run, tmp_path) as page, monkeypatch.context() as frozen:
        enter(chromium, f"http://{page.host}/", Codes(page.var.page_code).make())
        wait_until(lambda: text(chromium, "state") == "RUNNING", "it is heard")
        frozen.setattr(run_routes, "STREAM_S", 10**6)
        given_up = "asked?.signal?.addEventListener('abort', fail)"
        silent = f"(_, asked) => new Promise((_, fail) => {{ {given_up} }})"
        chromium.ask(f"var answering = fetch; fetch = {silent}; 0")
        wait_until(lambda: text(chromium, "state") == "NO NEWS", "the silence is noticed")
        assert "no answer" in text(chromium, "notice")
        assert re.search(r"no news of this run for \d+ s", text(chromium, "verdict"))

        frozen.undo()
        chromium.ask("fetch = answering; 0")
        wait_until(lambda: text(chromium, "state") == "RUNNING", "it is heard again")
        wait_until(lambda: text(chromium, "notice") == "", "nothing is missed")
        # Its figures stay the same: only signs of life come.
        goes_on = "beatMs > heardMs + SILENT_MS && at('state').innerText === 'RUNNING'"
        wait_until(lambda: chromium.holds(goes_on), "a stream without figures is no silence")


def press(browser: Chromium, order: str) -> None:
    """Press an order's button with its tab shown; a question is answered with yes."""
    browser.ask("at('tab-act').click()")
    browser.ask(f"document.querySelector('[data-act={order}]').click()")


def equity(browser: Chromium) -> str:
    """Return the equity on the screen."""
    boxes = "[...document.querySelectorAll('#account div')]"
    found = browser.ask(f"{boxes}.find(d => d.innerText.startsWith('equity')).lastChild.innerText")
    return str(found)


def told(night: Night) -> str | None:
    """Return the equity of the launcher's status as the page writes it.

    None until risk's first heartbeat with an equity has reached the launcher.
    """
    raw = (night.var / "ops" / "status.json").read_bytes().rstrip(b"\n")
    heartbeat: dict[str, Any] = canonical.decode(raw)["roles"]["risk_role"]["heartbeat"] or {}
    found = heartbeat.get("facts", {}).get("equity")
    return found if found is None else f"{float(found):,.2f}"


def journaled(night: Night) -> list[str]:
    """Return the types of all events of the running night's `control`."""
    recorded = Recorded.open(night.run_dirs()[-1])
    return [event.type for _, event in recorded.events("control")]


def test_record_is_read_with_the_keyboard_alone(chromium: Chromium, record: RecordPage) -> None:
    """Every tab by arrow keys, a second explained by typing, no order to press."""
    enter(chromium, record.url, record.make_code())
    assert text(chromium, "state") == "ENDED"
    assert chromium.ask(f"{TABS}.map(t => t.innerText)") == [
        "Now", "Chart", "Risk", "Machine", "Nights", "Settings",
    ]  # fmt: skip
    assert chromium.ask("[...document.querySelectorAll('[data-act]')].every(b => !b.offsetParent)")

    chromium.ask("at('tab-now').focus()")
    chromium.press("ArrowRight")
    wait_until(lambda: "signal: BUY" in text_of_table(chromium, "marks"), "the chart has marks")
    assert "fill: SELL" in text_of_table(chromium, "marks")
    assert "exit by risk" in text_of_table(chromium, "marks")
    assert chromium.ask("views.prices.lines[0].points.length") > 50
    chromium.ask("at('second').focus()")
    chromium.type(chromium.ask("clock(views.prices.marks[0].ts)"))
    chromium.press("Enter")
    wait_until(lambda: "recorded in this second" in text(chromium, "explained"), "an explanation")

    # The same second by the chart's own cursor.
    chromium.ask("at('prices').focus()")
    chromium.press("ArrowLeft")
    chromium.press("Enter")
    wait_until(lambda: "BTCUSDT:" in text(chromium, "explained"), "the second at the cursor")
    shown = {"risk": "left", "machine": "tick read", "nights": "no run yet", "settings": "Profile"}
    for name, words in shown.items():
        chromium.ask("document.querySelector('[aria-selected=true]').focus()")
        chromium.press("ArrowRight")
        wait_until(lambda w=words, n=name: w in text(chromium, n), name)  # type: ignore[misc]
        if name == "risk":  # Each limit with its unit.
            left = text(chromium, "headroom")
            assert re.search(r"^drawdown\s+[\d,]+\.\d+ bps$", left, re.MULTILINE)
            assert re.search(r"^cash\s+[\d,]+\.\d\d USDT$", left, re.MULTILINE)
    assert chromium.complaints == []
    assert outside(chromium, record.url) == []


def test_setting_is_staged_and_taken_back_on_the_page(
    chromium: Chromium, record: RecordPage
) -> None:
    """A setting is chosen, added, staged and taken back; a refusal says why and stages nothing."""
    enter(chromium, record.url, record.make_code())
    chromium.ask("at('tab-settings').click()")
    wait_until(lambda: "Profile" in text(chromium, "settings-of"), "the settings are shown")

    stage_setting(chromium, "strategy.score_min", "77")
    wait_until(lambda: "strategy.score_min" in text(chromium, "staged"), "it is staged")
    assert "60 to 77" in text(chromium, "change-table")
    assert chromium.complaints == []
    stage_setting(chromium, "strategy.score_min", "999")
    wait_until(lambda: "not staged: strategy.score_min = 999" in text(chromium, "notice"), "why")
    chromium.ask("at('setting-reason').value = 'x'.repeat(2001); at('stage').click()")
    wait_until(
        lambda: "not staged: why: String" in text(chromium, "notice"),
        "the fault of a body of another form",
    )
    chromium.ask("at('setting-reason').value = ''")
    chromium.ask("document.querySelector('#staged button').click()")
    wait_until(lambda: "nothing" in text(chromium, "staged"), "it is taken back")
    assert "999" in text(chromium, "pending")

    chromium.ask("at('setting').value = 'risk.positions_max'; fitInput()")
    assert "names no policy" in text(chromium, "allowed")
    assert chromium.ask("at('add').disabled")


def stage_setting(browser: Chromium, key: str, value: str) -> None:
    """Fill in the form for one setting and press its buttons."""
    browser.ask(f"at('setting').value = '{key}'; fitInput(); at('value-text').value = '{value}'")
    browser.ask("at('add').click(); at('stage').click()")


def text_of_table(browser: Chromium, name: str) -> str:
    """Return the text of a table, also while it is folded."""
    return str(browser.ask(f"at('{name}').textContent"))


def test_trade_opened_on_another_day_has_its_date(chromium: Chromium, record: RecordPage) -> None:
    """A carried position was not bought tonight, whatever its time of day says."""
    enter(chromium, record.url, record.make_code())
    closed_ts = 1_772_445_600_000  # 2026-03-02 10:00 UTC.

    def opened(ago_ms: int) -> object:
        return chromium.ask(f"opened({{opened_ts: {closed_ts - ago_ms}, closed_ts: {closed_ts}}})")

    assert opened(HOUR_MS) == "09:00:00"
    assert opened(11 * HOUR_MS) == "2026-03-01 23:00:00"


def test_page_of_an_ended_run_tells_of_no_trade_right_now(
    chromium: Chromium, record: RecordPage
) -> None:
    """Decisions of an ended run are its last ones, not what keeps it from trading."""
    enter(chromium, record.url, record.make_code())

    assert text(chromium, "why-title") == "Last decisions"
    chromium.ask("live.ended = null, show()")
    assert text(chromium, "why-title") == "Why no trade right now"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_and_follows_the_readers_colours(
    chromium: Chromium, record: RecordPage, scheme: str
) -> None:
    """Tables alone scroll sideways; text stands out from its ground."""
    enter(chromium, record.url, record.make_code(), PHONE_PX, scheme)
    for tab in ("now", "chart", "risk", "machine", "nights", "settings"):
        chromium.ask(f"at('tab-{tab}').click()")
        assert chromium.ask("document.documentElement.scrollWidth") <= PHONE_PX, tab
    ground = chromium.ask("getComputedStyle(document.body).backgroundColor")
    ink = chromium.ask("getComputedStyle(document.body).color")
    assert (brightness(ground) < 0.5) == (scheme == "dark")
    assert abs(brightness(ground) - brightness(ink)) > 0.6
    assert chromium.complaints == []


def test_locks_are_whole_on_a_phone(chromium: Chromium, record: RecordPage) -> None:
    """The end of a lock is read without scrolling sideways."""
    enter(chromium, record.url, record.make_code(), PHONE_PX)
    lock = {
        "scope": "BTCUSDT",
        "reason_code": "stoploss_guard",
        "until_ts": 0,
        "left_ms": 5_400_000,
    }
    chromium.ask("at('tab-risk').click()")
    chromium.ask(f"live.locks = [{json.dumps(lock)}], show()")

    assert "5400 s" in text(chromium, "locks")
    assert chromium.holds("at('locks').scrollWidth <= at('locks').parentElement.clientWidth")


def test_tables_of_a_page_need_no_scrolling_sideways_on_a_phone(
    chromium: Chromium, record: RecordPage
) -> None:
    """Each row of many figures is a card, in which every figure has its name."""
    enter(chromium, record.url, record.make_code(), PHONE_PX)
    wait_until(lambda: "BTCUSDT" in text_of_table(chromium, "trades"), "the trades are there")
    shown = "[...document.querySelectorAll('.cards')].filter(t => t.offsetParent)"

    assert chromium.ask(f"{shown}.length") >= 2
    assert chromium.ask(f"{shown}.filter(t => t.scrollWidth > t.parentElement.clientWidth)") == []
    names = "[...at('trades').rows[1].cells].map(c => getComputedStyle(c, '::before').content)"
    assert chromium.ask(names)[:3] == ['"trade"', '"symbol"', '"net"']


def test_names_and_values_of_settings_are_not_broken_on_a_phone(
    chromium: Chromium, record: RecordPage
) -> None:
    """A key that is to be typed elsewhere is read in one piece."""
    enter(chromium, record.url, record.make_code(), PHONE_PX)
    chromium.ask("at('tab-settings').click()")
    wait_until(lambda: chromium.holds("at('setting-table').rows.length > 9"), "the settings")

    broken = chromium.ask("""[...document.querySelectorAll('#setting-table td')].filter(cell => {
        if (/\\s/.test(cell.textContent) || cell.textContent.length > 30) return false;
        const range = document.createRange();
        range.selectNodeContents(cell);
        return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1;
    }).map(cell => cell.textContent)""")

    assert broken == []


def brightness(colour: str) -> float:
    """Return how bright `rgb(...)` is, from 0 to 1."""
    parts = [float(each) for each in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(parts) / 3 / 255


def test_wrong_code_is_told_without_an_error(chromium: Chromium, record: RecordPage) -> None:
    """The page says what to do; the console stays clean."""
    record.make_code()
    chromium.open(record.url, SCREEN_PX)
    wait_until(lambda: chromium.holds("!at('login').hidden"), "the page asks for the code")
    chromium.ask("document.querySelector('[name=code]').focus()")
    chromium.type("wrong")
    chromium.press("Enter")
    wait_until(
        lambda: chromium.ask(
            "typeof at === 'function' && at('notice').innerText.includes('too old')"
        ),
        "the page says so",
    )
    assert chromium.complaints == []


def test_table_of_trades_holds_the_newest_and_says_how_many_there_are(
    chromium: Chromium, record: RecordPage
) -> None:
    """The page of more trades than one answer holds asks for the last of them."""
    enter(chromium, record.url, record.make_code())
    wait_until(lambda: "BTCUSDT" in text_of_table(chromium, "trades"), "the trades are there")
    assert chromium.ask("at('trades-shown').hidden")
    every = chromium.ask("at('trades').rows.length") - 1

    chromium.ask("var whole = ask")
    chromium.ask("ask = path => whole(path.replace('limit=500&offset=-500', 'limit=1&offset=-1'))")
    chromium.ask("past()")
    wait_until(
        lambda: text(chromium, "trades-shown") == f"the newest 1 of {every}", "one trade is shown"
    )
    assert chromium.ask("at('trades').rows.length") - 1 == 1


def test_trade_is_named_by_its_number_and_shows_its_result_on_a_phone(
    chromium: Chromium, record: RecordPage, short_run: ShortRun
) -> None:
    """The number is what `explain --trade` takes; what it earned needs no scrolling sideways."""
    enter(chromium, record.url, record.make_code(), PHONE_PX)
    wait_until(lambda: "BTCUSDT" in text_of_table(chromium, "trades"), "the trades are there")
    number, symbol, net, *_ = (
        chromium.ask(f"at('trades').rows[1].cells[{each}].innerText") for each in range(3)
    )
    story = verb(short_run.var, "explain", short_run.run_id, "--trade", number).out

    assert f"Trade {number}: " in story
    assert symbol in story.splitlines()[0]
    assert f"net {net} " in story
    assert chromium.holds(
        "at('trades').rows[1].cells[2].getBoundingClientRect().right < innerWidth"
    )


def test_small_amounts_are_not_told_as_zero(chromium: Chromium, record: RecordPage) -> None:
    """A loss of less than a cent is none of nothing, and no quantity has an exponent."""
    enter(chromium, record.url, record.make_code())

    assert chromium.ask("amount('-0.00042')") == "-0.00042"
    assert chromium.ask("amount('-0.005')") == "-0.01"
    assert chromium.ask("amount('0')") == "0.00"
    assert chromium.ask("amount('1234.5')") == "1,234.50"
    assert chromium.ask("quantity('0.00000010')") == "0.0000001"
    assert chromium.ask("quantity('1500000.0')") == "1,500,000"
    assert chromium.ask("price('0.00000066')") == "0.00000066"
    assert chromium.ask("price(0.00000066)") == "0.00000066"
    assert chromium.ask("price(61340.095)") == "61,340.095"


def test_chart_takes_many_points_and_shows_every_extreme(
    chromium: Chromium, record: RecordPage
) -> None:
    """A hundred thousand points are in view at once; a gap stays one; later points are added."""
    enter(chromium, record.url, record.make_code())
    chromium.ask("at('tab-chart').click()")
    # A chart of its own: the page goes on to fill its other two.
    chromium.ask("var box = document.createElement('div'); box.className = 'chart'")
    chromium.ask("at('chart').prepend(box); var chart = new Chart(box, null)")
    value = "n === 77777 ? 500 : n === 5 ? null : n % 100"
    chromium.ask(f"var many = Array.from({{length: 100000}}, (_, n) => [n * 1000, {value}])")
    show = "chart.show('many', [{points: many, style: 'accent'}, {points: [], style: 'bad'}])"
    chromium.ask(show)

    scale, line = "chart.chart.timeScale()", "chart.series[0].line"
    wait_until(
        lambda: chromium.ask(f"{scale}.getVisibleLogicalRange().to >= 99998"), "all is in view"
    )
    assert chromium.ask(f"{scale}.getVisibleLogicalRange().from") <= 1
    top = f"{line}.priceScale().getVisibleRange().to"
    wait_until(lambda: chromium.holds(f"{top} >= 500"), "the extreme is in view")
    assert chromium.ask(f"{line}.data().length") == 99_999
    assert chromium.ask(f"{line}.dataByIndex(5) === null")
    chromium.ask(f"many.push([100000400, 7], [100000900, 8]); {show}")
    assert chromium.ask(f"{line}.data().length") == 100_000
    assert chromium.ask(f"{line}.dataByIndex(100000).value") == 8
    assert chromium.complaints == []


def test_chart_draws_a_stop_only_while_it_holds(chromium: Chromium, record: RecordPage) -> None:
    """Between two positions no stop is in force: nothing joins the two, no label keeps the last."""
    enter(chromium, record.url, record.make_code())
    chromium.ask("at('tab-chart').click()")
    chromium.ask("var box = document.createElement('div'); box.className = 'chart'")
    chromium.ask("at('chart').prepend(box); var chart = new Chart(box, null)")
    stop = "n < 100 ? 90 : n >= 800 && n < 900 ? 95 : null"
    chromium.ask("var prices = Array.from({length: 1000}, (_, n) => [n * 1000, 100 + n % 7])")
    chromium.ask(f"var stops = Array.from({{length: 1000}}, (_, n) => [n * 1000, {stop}])")
    lines = "[{points: prices, style: 'accent'}, {points: stops, style: 'bad'}]"
    chromium.ask(f"chart.show('drawn', {lines})")
    wait_until(
        lambda: chromium.ask("chart.chart.timeScale().getVisibleLogicalRange().to >= 998"),
        "all is in view",
    )

    tenths = set(chromium.ask(RED_TENTHS))
    assert {0, 8} <= tenths <= {0, 1, 7, 8, 9}
    chromium.ask("prices.push([1000000, 100]); stops.push([1000000, 95])")
    chromium.ask(f"chart.show('drawn', {lines})")
    assert 10 in chromium.ask(RED_TENTHS)
    assert chromium.complaints == []


def test_chart_library_is_the_published_file_and_names_its_maker(project: Path) -> None:
    """The library is unchanged since it was published; licence, notice and link go with it."""
    assets = project / "minibot" / "ops" / "web" / "assets"
    library = (assets / "lightweight-charts.js").read_bytes()
    notice = (assets / "lightweight-charts.NOTICE").read_text(encoding="utf-8")

    assert hashlib.sha256(library).hexdigest() in notice
    assert "Apache License" in (assets / "lightweight-charts.LICENSE").read_text(encoding="utf-8")
    page = (assets / "page.html").read_text(encoding="utf-8")
    assert "https://www.tradingview.com/" in page
    assert "https://www.tradingview.com/" in notice
