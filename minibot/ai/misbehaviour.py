"""Faults of a hostile or broken worker, on demand of `minibot chaos` and of the tests.

The clerk sends `misbehave` only when the run's configuration carries such a fault; the worker then
does what a malicious model could make it do, from inside the real sandbox.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

_ORDER: Final = (
    b'{"payload":{"client_order_id":"x","order_type":"MARKET","purpose":"ENTRY","qty":"1",'
    b'"side":"BUY","symbol":"BTCUSDT"},"t":"draft","type":"order_intent"}\n'
)
_NOT_A_NUMBER: Final = (
    b'{"payload":{"p_buy":NaN},"question":1,"t":"draft","type":"recommendation"}\n'
)


class Misbehaviour:
    """Known kinds of misuse of the pipe to the clerk."""

    def __init__(self, sink: int) -> None:
        self._sink = sink
        self._ways: Mapping[str, Callable[[], None]] = {
            "order_intent": lambda: self._write(_ORDER),
            "nan": lambda: self._write(_NOT_A_NUMBER),
            "garbage": lambda: self._write(b"\x00\xff garbage \x80\n"),
            "flood": self._flood,
            "huge_line": self._huge_line,
            "hang": self._hang,
            "crash": self._crash,
            "eat_memory": self._eat_memory,
        }

    def start(self, how: str) -> None:
        """Start one kind of misbehaviour; raises KeyError for an unknown one."""
        self._ways[how]()

    def _write(self, data: bytes) -> None:
        os.write(self._sink, data)

    def _flood(self) -> None:
        while True:
            self._write(b'{"n":1,"t":"pong"}\n' * 100)

    def _huge_line(self) -> None:
        while True:
            self._write(b"x" * 65536)

    def _hang(self) -> None:
        while True:
            time.sleep(3600)

    def _crash(self) -> None:
        signal.raise_signal(signal.SIGABRT)

    def _eat_memory(self) -> None:
        eaten = []
        while True:
            eaten.append(bytes(1 << 20))
