"""Telegram chat of a night, against a server on loopback that speaks the bot API as documented."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from minibot.events.names import AI_ROLE, STRATEGY_ROLE
from minibot.kernel.errors import Refusal
from minibot.ops.alerts import answers
from minibot.ops.alerts import telegram as chats
from minibot.ops.alerts.answers import ANSWERS
from minibot.ops.alerts.telegram import TelegramChat, token_and_chat
from minibot.ops.entry_bars import ENDING
from minibot.ops.figures_of_role import facts_of
from minibot.ops.live_status import LiveStatus
from minibot.runtime.paths import Var
from minibot.runtime.running import STALE_MS
from minibot.watchdog.ending import Phase
from tests.nights.night import Night
from tests.ops.alert_hosts import Got, WebHost
from tests.ops.web.served import status_of
from tests.runs import ShortRun
from tests.waiting import wait_until

TOKEN = "123456:sesame-opens-this"
CHAT = 4711


class BotServer:
    """Server of the bot API: what waits for the bot, and what the bot said.

    Attributes:
        said: Texts that the bot sent, with the chat.
        waiting: Updates that it has not taken.
        refused: Answers that the server still refuses.
        refusal: The status with which it refuses.
        refused_text: Answers with this text in them are refused for good.
    """

    def __init__(self) -> None:
        self.said: list[tuple[int, str]] = []
        self.waiting: list[dict[str, Any]] = []
        self.conflicts = 0
        self.refused = 0
        self.refusal = 400
        self.refused_text = ""
        self._last = 0
        self.host = WebHost(answer=self._answer)

    def write(self, text: str, chat: int = CHAT, age_s: int = 0) -> None:
        """Write a message in a chat."""
        self._last += 1
        kind = "private" if chat > 0 else "group"
        message = {
            "message_id": self._last,
            "date": int(time.time()) - age_s,
            "chat": {"id": chat, "type": kind},
            "from": {"id": chat, "is_bot": False, "first_name": "O"},
            "text": text,
        }
        self.waiting.append({"update_id": self._last, "message": message})

    def ask(self, text: str) -> str:
        """Write a message and return the answer."""
        before = len(self.said)
        self.write(text)
        wait_until(lambda: len(self.said) > before, f"{text} is answered")
        return self.said[-1][1]

    def _answer(self, got: Got) -> Any:
        form = {name: values[0] for name, values in parse_qs(got.body).items()}
        method = got.path.rpartition("/")[2]
        result: Any = True
        is_text = self.refused_text and self.refused_text in form.get("text", "")
        is_refused = method == "sendMessage" and bool(self.refused > 0 or is_text)
        if is_refused or self.host.status == self.refusal:
            self.host.status = self.refusal if is_refused else 200
        if method == "getMe":
            result = {"id": 1, "is_bot": True, "first_name": "bot", "username": "bot"}
        elif method == "getUpdates":
            offset = int(form.get("offset", 0))
            self.waiting = [each for each in self.waiting if each["update_id"] >= offset]
            result = list(self.waiting)
        elif is_refused:
            self.refused = max(0, self.refused - 1)
            return {"ok": False, "error_code": self.refusal, "description": "Bad Request: not now"}
        elif method == "sendMessage":
            self.said.append((int(form["chat_id"]), form["text"]))
            chat = {"id": int(form["chat_id"]), "type": "private"}
            result = {"message_id": 1, "date": 1, "chat": chat, "text": form["text"]}
        return {"ok": True, "result": result}


def chat_with(
    server: BotServer, var: Var, run_id: str, *, may_act: bool, chat_id: int = CHAT
) -> TelegramChat:
    """Return the chat of a run at a server."""
    base_url = server.host.url("http", "/bot")
    return TelegramChat(var, run_id, TOKEN, chat_id, may_act=may_act, base_url=base_url)


@pytest.mark.process
def test_chat_asks_pauses_and_stops_a_night(tmp_path: Path) -> None:
    """From a phone: questions are answered, and the night ends in order once it is confirmed."""
    server = BotServer()
    night = Night(tmp_path / "var", ["ai.enabled=false"])
    night.await_trading()
    var = Var(night.var)
    live = LiveStatus(var.status)
    wait_until(live.look, "there is a status")
    assert live.latest is not None
    run_id = live.latest["run_id"]
    with server.host:
        chat = chat_with(server, var, run_id, may_act=True)
        assert server.ask("/status") == "No status yet."
        chat.take(live.latest)
        assert run_id in server.ask("/status@bot")
        assert "Result" in server.ask("/profit")
        assert "market_role: " in server.ask("/health")
        assert "position" in server.ask("/stops").lower() or "stop" in server.said[-1][1]
        assert server.ask("/why")
        assert "/stop" in server.ask("hello")
        assert "not the code" in _wrong(server, server.ask("/stop"))
        assert "Nothing waits" in server.ask("/yes 0000")
        assert night.process.poll() is None

        assert "halt was sent" in server.ask(_code(server.ask("/pause")))
        assert "end was sent" in server.ask(_code(server.ask("/stop")))
        code, text = night.end()
        chat.close()

    assert code == 0, text
    assert {chat_id for chat_id, _ in server.said} == {CHAT}


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[TelegramChat]:
    """A chat to which nobody writes."""
    server = BotServer()
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=False)
        yield chat
        chat.close()


@pytest.mark.process
@pytest.mark.parametrize("command", list(ANSWERS))
def test_answer_from_an_old_status_says_so_before_anything_else(
    silent: TelegramChat, short_run: ShortRun, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A launcher that hangs is not told as a run that goes on; a run that ended has no news."""
    status = status_of(short_run)
    ended = {"kind": "STOP", "reason_code": "ROLE_HUNG", "detail": "it hung"}

    def told(age_ms: int, **changes: Any) -> str:
        monkeypatch.setattr(answers, "wall_ms", lambda: status["written_ms"] + age_ms)
        silent.take(status | changes)
        return silent.answer(f"/{command}")

    assert told(STALE_MS + 1).startswith("No news of this run for 5 s; its last news:\n")
    assert ": running" not in told(STALE_MS + 1)
    assert "No news" not in told(STALE_MS)
    assert "No news" not in told(10**9, ended=ended)


def test_why_names_the_condition_that_fails_in_words(short_run: ShortRun) -> None:
    """The first check that failed is told with what it needs, not as a program holds it."""
    status = status_of(short_run)
    decisions = facts_of(status, STRATEGY_ROLE)["decisions"]
    failed = {"name": "rsi", "value": "41.9", "threshold": "<= 30"}
    decisions["BTCUSDT"] |= {"reason": "HOLD: no setup", "against": failed}

    lines = answers.why_answer(status).splitlines()

    assert "BTCUSDT: HOLD: no setup (rsi 41.9, needs <= 30)" in lines


@pytest.mark.parametrize("command", ["status", "why"])
def test_answer_says_that_a_real_market_sends_no_price(short_run: ShortRun, command: str) -> None:
    """A run without prices is not told as one that only finds no setup."""
    status = status_of(short_run) | {"host": "stream.example:443", "ended": None}
    answer = answers.ANSWERS[command]
    fresh = status | {"market": status["market"] | {"price_ms": status["now_ms"] - 29_999}}
    silent = status | {"market": status["market"] | {"price_ms": status["now_ms"] - 30_000}}

    assert "no price from" not in answer(fresh)
    assert "no price from stream.example:443 since " in answer(silent)


def test_why_says_that_a_run_which_ends_buys_nothing(short_run: ShortRun) -> None:
    """From the announced end on risk refuses every entry, as the page says too."""
    status = status_of(short_run)

    assert ENDING not in answers.why_answer(status)
    assert answers.why_answer(status | {"phase": Phase.CLOSING.value}).startswith(f"{ENDING}\n")
    over = status | {"phase": Phase.DRAINED.value, "ended": {"reason_code": "END", "kind": "END"}}
    assert ENDING not in answers.why_answer(over)


def test_health_is_silent_of_an_ai_that_the_profile_has_not(short_run: ShortRun) -> None:
    """An AI that nobody asked for has not failed."""
    status = status_of(short_run) | {"ai_off": True}
    without = {name: each for name, each in status["roles"].items() if name != AI_ROLE}

    assert "; AI off\n" in answers.health_answer(status)
    assert "AI" not in answers.health_answer(status | {"roles": without})


def _code(question: str) -> str:
    """Return the confirmation that a question asks for."""
    return question.rpartition(": ")[2]


def _wrong(server: BotServer, question: str) -> str:
    """Return the answer to a wrong code."""
    right = _code(question).rpartition(" ")[2]
    return server.ask(f"/yes {(int(right) + 1) % 10_000:04d}")


@pytest.mark.process
def test_other_chats_and_old_messages_are_passed_over(tmp_path: Path) -> None:
    """A stranger learns nothing, and a /stop of last night stops nothing."""
    server = BotServer()
    with server.host:
        server.write("/status", chat=999)
        server.write("/stop", age_s=3600)
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        server.ask("/status")
        chat.close()

    assert server.said == [(CHAT, "No status yet.")]


@pytest.mark.process
@pytest.mark.parametrize(("chat_id", "may_act"), [(CHAT, False), (-CHAT, True)])
def test_chat_acts_only_where_it_may_and_not_in_a_group(
    tmp_path: Path, chat_id: int, may_act: bool
) -> None:
    """Without the profile's leave, or in a group, nothing is even asked."""
    server = BotServer()
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=may_act, chat_id=chat_id)
        server.write("/stop", chat=chat_id)
        wait_until(lambda: server.said, "it is answered")
        chat.close()

    assert "/yes" not in server.said[0][1]


@pytest.mark.process
def test_refusal_of_a_command_names_the_folder_of_its_run(tmp_path: Path) -> None:
    """A command that is typed elsewhere finds the run that was asked about."""
    server = BotServer()
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        answer = chat.answer(_code(chat.answer("/stop")))
        chat.close()

    assert f"minibot status --var {tmp_path}" in answer


@pytest.mark.process
def test_bot_that_another_program_polls_warns_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs with one bot: the log says so without the token, and commands come back."""
    monkeypatch.setattr(chats, "FIRST_PAUSE_S", 0.05)
    server = BotServer()
    conflict = {"ok": False, "error_code": 409, "description": "Conflict: other getUpdates"}
    answer, server.host.answer = server.host.answer, lambda got: conflict
    server.host.status = 409
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=False)
        wait_until(lambda: len(server.host.got) >= 2, "it is tried again")
        server.host.status, server.host.answer = 200, answer
        assert server.ask("/status") == "No status yet."
        chat.close()

    text = capsys.readouterr().err
    assert "another program" in text
    assert "sesame" not in text


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Messages that a chat has answered, each with `taken: TEXT`; its pauses are short."""
    monkeypatch.setattr(chats, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(chats, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(chats, "IDLE_S", 0.05)
    found: list[str] = []

    def answer(chat: TelegramChat, text: str) -> str:
        found.append(text)
        return f"taken: {text}"

    monkeypatch.setattr(TelegramChat, "answer", answer)
    return found


@pytest.mark.process
@pytest.mark.parametrize("status", [400, 502])
def test_answer_that_could_not_be_sent_comes_later_and_its_command_once(
    tmp_path: Path, taken: list[str], status: int
) -> None:
    """The server refuses or fails three times: the answer waits, marked as late, and acts once."""
    server = BotServer()
    server.refused, server.refusal = 3, status
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        server.write("/yes 1234")
        wait_until(lambda: server.said, "the answer comes")
        assert server.ask("/status") == "taken: /status"
        chat.close()

    assert taken == ["/yes 1234", "/status"]
    assert [text.partition("] ")[2] or text for _, text in server.said] == [
        "taken: /yes 1234",
        "taken: /status",
    ]
    assert server.said[0][1].endswith(" s late] taken: /yes 1234")


@pytest.mark.process
def test_answer_that_the_server_refuses_for_good_blocks_no_other(
    tmp_path: Path, taken: list[str]
) -> None:
    """An answer refused each time waits, while later ones are sent."""
    server = BotServer()
    server.refused_text = "1234"
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        server.write("/yes 1234")
        assert server.ask("/status") == "taken: /status"
        assert server.ask("/why") == "taken: /why"
        chat.close()

    assert taken == ["/yes 1234", "/status", "/why"]


@pytest.mark.process
def test_answers_that_wait_are_bounded_and_the_oldest_are_dropped(
    tmp_path: Path,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The oldest of three answers is dropped where two may wait, and that is told."""
    monkeypatch.setattr(chats, "WAITING_MAX", 2)
    server = BotServer()
    server.refused = 10**9
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        for number in range(3):
            server.write(f"/{number}")
        wait_until(lambda: len(taken) == 3, "all are taken")
        server.refused = 0
        wait_until(lambda: len(server.said) == 2, "those that wait are sent")
        chat.close()

    assert {text[-2:] for _, text in server.said} == {"/1", "/2"}
    assert "dropped" in capsys.readouterr().err


@pytest.mark.process
def test_answer_that_waited_for_too_long_is_dropped(
    tmp_path: Path, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of another time is not sent any more; the next one is."""
    monkeypatch.setattr(chats, "WAITING_S", 0.0)
    server = BotServer()
    server.refused = 1
    with server.host:
        chat = chat_with(server, Var(tmp_path), "run", may_act=True)
        server.write("/yes 1234")
        wait_until(lambda: not server.refused, "the answer is refused")
        assert server.ask("/status") == "taken: /status"
        chat.close()

    assert taken == ["/yes 1234", "/status"]
    assert server.said == [(CHAT, "taken: /status")]


def test_address_needs_one_chat_by_its_number() -> None:
    """Commands need to know whom they obey."""
    assert token_and_chat("tgram://123456:ab_c/-100200/", "PHONE") == ("123456:ab_c", -100200)
    for url in ("tgram://123456:abc", "tgram://123456:abc/1/2", "tgram://123456:abc/@group"):
        with pytest.raises(Refusal):
            token_and_chat(url, "PHONE")
