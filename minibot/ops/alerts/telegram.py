"""Telegram chat of a run: one chat asks by commands, and acts if the profile allows it.

Its own thread asks the bot's server for messages. A message of another chat, or one
written over a minute before this service began, is ignored. A command that acts needs a private
chat, as nobody knows who is in a group, and a confirmation code. The code is good for `CONFIRM_S`
and for one try: a wrong code uses it up, and so does a further command that acts.

A command is carried out once. An answer that cannot be sent is tried again after each request for
messages that succeeds, and says how late it is: whoever sent /stop has to learn of its outcome.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets as random_source
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import telegram
from telegram.error import BadRequest, Conflict, Forbidden, InvalidToken, TelegramError
from telegram.request import HTTPXRequest

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.threads import DaemonThread
from minibot.ops.actions import act
from minibot.ops.alerts.answers import ANSWERS, answer_to
from minibot.ops.alerts.targets import address_of, secrets_of
from minibot.runtime.clock import wall_ms
from minibot.runtime.command_place import place_from_afar
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.secrets import redact
from minibot.watchdog.requests import END

WHO: Final = "telegram"
ACTS: Final[Mapping[str, str]] = {"pause": "halt", "resume": "resume", "stop": END}
"""Request behind each command, once it is confirmed."""
CONFIRM: Final = "yes"
CONFIRM_S: Final = 60.0
POLL_S: Final = 20
"""How long the server may keep a request for messages."""
IDLE_S: Final = 0.5
"""Pause after an answer without messages, which may come at once."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
CONNECT_S: Final = 5.0
CLOSE_S: Final = 2.0
TEXT_MAX: Final = 4000
OLD_MS: Final = 60_000
WAITING_MAX: Final = 10
"""Answers that may wait to be sent; of more the oldest is dropped."""
WAITING_S: Final = 300.0
"""How long an answer may wait, wall-clock time: an older one is out of date."""
_URL: Final = re.compile(r"^tgram://(\d+:[A-Za-z0-9_-]+)/(-?\d+)/?(\?.*)?$")


class Unconfirmed(NamedTuple):
    """Action that waits for its confirmation: command, code, and until when, monotonic seconds."""

    command: str
    code: str
    until_s: float


class Answer(NamedTuple):
    """Answer that waits to be sent: its text, and since when, monotonic seconds."""

    text: str
    since_s: float


class TelegramChat:
    """Service of `ops` that answers the commands of one chat.

    Args:
        var: Folders of the run.
        run_id: The run.
        token: Token of the bot, a secret.
        chat_id: The chat.
        may_act: Let the chat pause, resume and stop the run.
        base_url: Where the bot's server is; the library's own when empty.
    """

    def __init__(
        self, var: Var, run_id: str, token: str, chat_id: int, *, may_act: bool, base_url: str = ""
    ) -> None:
        self._var = var
        self._place = place_from_afar(var.root)
        self._run_id = run_id
        self._token = token
        self._chat_id = chat_id
        self._may_act = may_act
        self._base_url = base_url
        self._status: JsonObject | None = None
        self._unconfirmed: Unconfirmed | None = None
        self._since_ms = wall_ms()
        self._ended = threading.Event()
        self._last_words = ""
        self._offset: int | None = None
        self._waiting: deque[Answer] = deque()
        for name in ("telegram", "httpx", "httpcore"):
            # Their records hold addresses with the token.
            logging.getLogger(name).disabled = True
        self._thread = DaemonThread(self._work, "telegram")
        self._thread.start()

    def take(self, status: JsonObject) -> None:
        """Take a new status."""
        self._status = status

    def close(self) -> None:
        """End; a request that the server keeps is left to the end of the process."""
        self._ended.set()
        self._thread.join(CLOSE_S)

    # --- answers ------------------------------------------------------------------------------

    def answer(self, text: str) -> str:
        """Return the answer to a message of the chat; a right confirmation acts on the run."""
        return self._place.named_in(self._answer(text))

    def _answer(self, text: str) -> str:
        words = text.split()
        command = words[0].removeprefix("/").partition("@")[0].lower() if words else ""
        if command in ANSWERS:
            status = self._status
            return "No status yet." if status is None else answer_to(command, status)
        if command in ACTS:
            return self._ask(command)
        if command == CONFIRM:
            return self._confirmed(words[1] if len(words) > 1 else "")
        known = [*ANSWERS, *(ACTS if self._is_acting else ())]
        return f"Commands: {' '.join(f'/{name}' for name in known)}"

    @property
    def _is_acting(self) -> bool:
        return self._may_act and self._chat_id > 0

    def _ask(self, command: str) -> str:
        if not self._may_act:
            return f"/{command} is off: the profile has no alerts.telegram_acts."
        if not self._is_acting:
            return f"/{command} is possible in a chat of you and the bot alone."
        code = f"{random_source.randbelow(10_000):04d}"
        self._unconfirmed = Unconfirmed(command, code, time.monotonic() + CONFIRM_S)
        words = f"{command} {self._run_id}? Confirm within {CONFIRM_S:.0f} s"
        return f"{words}: /{CONFIRM} {code}"

    def _confirmed(self, code: str) -> str:
        waiting, self._unconfirmed = self._unconfirmed, None
        if waiting is None or time.monotonic() > waiting.until_s:
            return "Nothing waits to be confirmed."
        if not hmac.compare_digest(waiting.code.encode(), code.encode()):
            return f"That is not the code; ask again: /{waiting.command}"
        kind = ACTS[waiting.command]
        try:
            return act(self._var, self._run_id, kind, why=f"/{waiting.command}", who=WHO)
        except (Refusal, RunStop) as error:
            return str(error)

    # --- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                async with self._bot() as bot:
                    while not self._ended.is_set():
                        await self._poll(bot)
                        pause_s = FIRST_PAUSE_S
            except InvalidToken:
                self._warn("the bot's server refuses the token; commands are off")
                return
            except Conflict:
                self._warn("another program asks for this bot's messages; end one of them")
            except TelegramError as error:
                self._warn(f"no answer: {redact(str(error))}")
            await self._sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _bot(self) -> telegram.Bot:
        requests = [
            HTTPXRequest(
                connection_pool_size=2,
                connect_timeout=CONNECT_S,
                read_timeout=read_s,
                httpx_kwargs={"trust_env": False, "follow_redirects": False},
            )
            for read_s in (CONNECT_S, POLL_S + CONNECT_S)
        ]
        first, second = requests
        if not self._base_url:
            return telegram.Bot(self._token, request=first, get_updates_request=second)
        return telegram.Bot(self._token, self._base_url, request=first, get_updates_request=second)

    async def _poll(self, bot: telegram.Bot) -> None:
        """Answer the messages that wait, each once; send first the answers that wait."""
        updates = await bot.get_updates(
            offset=self._offset,
            timeout=POLL_S,
            allowed_updates=["message"],
            read_timeout=POLL_S + CONNECT_S,
        )
        await self._send_waiting(bot)
        for update in updates:
            # Before its answer: a command is carried out once, and a lost answer blocks no other.
            self._offset = update.update_id + 1
            message = update.message
            if message is None or message.chat.id != self._chat_id or message.text is None:
                continue
            if message.date.timestamp() * 1000 < self._since_ms - OLD_MS:
                continue  # It was meant for another run.
            answer = redact.beginning(self.answer(message.text), TEXT_MAX)
            if len(self._waiting) == WAITING_MAX:
                self._drop()
            self._waiting.append(Answer(answer, time.monotonic()))
            await self._send(bot, self._waiting[-1])
        if not updates:
            await self._sleep(IDLE_S)

    async def _send_waiting(self, bot: telegram.Bot) -> None:
        """Send the answers that wait, the oldest first; drop those that are too old."""
        for answer in tuple(self._waiting):
            late_s = time.monotonic() - answer.since_s
            if late_s > WAITING_S:
                self._drop()
            else:
                await self._send(bot, answer, f"[{late_s:.0f} s late] ")

    async def _send(self, bot: telegram.Bot, answer: Answer, prefix: str = "") -> None:
        """Send an answer; one that the server refuses keeps waiting and holds up no other."""
        try:
            await bot.send_message(self._chat_id, prefix + answer.text)
        except (BadRequest, Forbidden) as error:
            self._warn(f"an answer is refused: {redact(str(error))}")
        else:
            self._waiting.remove(answer)

    def _drop(self) -> None:
        """Drop the oldest answer that waits, and say so."""
        self._waiting.popleft()
        self._warn("an answer waited for too long and is dropped; its command is not repeated")

    async def _sleep(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s and not self._ended.is_set():
            await asyncio.sleep(min(0.1, seconds))

    def _warn(self, words: str) -> None:
        if words != self._last_words:
            self._last_words = words
            print(f"WARN telegram: {words}", file=sys.stderr, flush=True)


def chat_of(section: AlertsSection, var: Var, manifest: Manifest) -> TelegramChat | None:
    """Return the chat that `alerts.telegram` names; None, with a warning, for a bad address."""
    try:
        name = section.telegram or ""
        secret = (section.targets or {})[name]
        secrets = secrets_of(manifest.config["secrets"]["path"])
        token, chat_id = token_and_chat(address_of(name, secret, secrets), secret)
    except Refusal as error:
        print(f"WARN no commands by Telegram: {error}", file=sys.stderr, flush=True)
        return None
    may_act = bool(section.telegram_acts)
    return TelegramChat(var, manifest.run_id, token, chat_id, may_act=may_act)


def token_and_chat(url: str, secret: str) -> tuple[str, int]:
    """Return token and chat of an address.

    Args:
        url: The address.
        secret: Its name, for the refusal.

    Raises:
        Refusal: The address is not of Telegram with one chat by its number.
    """
    found = _URL.match(url)
    if found is None:
        raise Refusal(
            f"alerts.telegram: {secret} is not an address of one Telegram chat.",
            "It reads tgram://TOKEN/CHAT with the number of the chat.",
            4,
        )
    return found[1], int(found[2])
