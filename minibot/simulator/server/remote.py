"""Client of a running loopback exchange: reads its status, and injects faults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from minibot.kernel.errors import Refusal

if TYPE_CHECKING:
    import requests

TIMEOUT_S: Final = 10.0


class RunningExchange:
    """The exchange that listens on a port of this machine.

    Args:
        port: Its port.
        timeout_s: Longest wait for an answer, seconds.
    """

    def __init__(self, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._base = f"http://127.0.0.1:{port}/minibot"
        self._port = port
        self._timeout_s = timeout_s

    def status(self) -> dict[str, Any]:
        """Return the exchange's counters.

        Raises:
            Refusal: No exchange of ours listens there.
        """
        return self._json(self._ask("GET", "status"))

    def fault(self, name: str, fields: Mapping[str, object]) -> None:
        """Inject a fault.

        Raises:
            Refusal: No exchange of ours listens there, or it knows no such fault.
        """
        answer = self._ask("POST", "fault", {**fields, "name": name})
        body = self._json(answer)
        if not body.get("ok"):
            raise Refusal(f"{name}: {body.get('error')}.", "See docs/EXCHANGE.md for each fault.")

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> requests.Response:
        # Imported here because a command without a request needs no HTTP.
        import requests

        try:
            return requests.request(
                method, f"{self._base}/{path}", json=body, timeout=self._timeout_s
            )
        except requests.RequestException as error:
            raise Refusal(
                f"Nothing answers on port {self._port} of this machine.",
                "Start one with `minibot exchange serve`, or name its port with --port.",
            ) from error

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not ("ok" in body or "source" in body):
            raise Refusal(
                f"What listens on port {self._port} is not our exchange.",
                "Name the port that `minibot exchange serve` printed with --port.",
            )
        return body
