"""Attacks on the loopback exchange: clients that hang on, forge the host, or break the protocol."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tools.attacks.frame import DEADLINE_S, Found, Lab, NotPlayable, attack, clean_environ

HEAD = b"GET /api/v3/time HTTP/1.1\r\nHost: 127.0.0.1\r\n"
UPGRADE = (
    b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextmanager
def serving(lab: Lab) -> Iterator[tuple[int, Callable[[], list[str]]]]:
    """Serve in a separate process; yield its port and a function to end it and list bad clients."""
    words = ["exchange", "serve", "--source", "generator:1", "--start", "now", "--port", "0"]
    errors = lab.folder / "exchange.err"
    with errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "minibot", *words, "--json", "--var", str(lab.var)],
            cwd=lab.project,
            env=clean_environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
        )

    def end() -> list[str]:
        process.terminate()
        process.wait(DEADLINE_S)
        lines = errors.read_text("utf-8", "replace").splitlines()
        return [line for line in lines if "bad client" in line or "Traceback" in line]

    try:
        text = b""
        while process.stdout is not None and b"\n}" not in text:
            piece = process.stdout.readline()
            if not piece:
                raise NotPlayable(f"the exchange did not start: {errors.read_text()[-200:]}")
            text += piece
        yield int(json.loads(text)["port"]), end
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def talk(port: int, *pieces: bytes) -> bytes:
    """Send pieces of bytes; return the answer up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as opened:
        for piece in pieces:
            opened.sendall(piece)
        data = b""
        try:
            while piece := opened.recv(65536):
                data += piece
        except ConnectionResetError:
            pass
        return data


@attack("C19", "a client sends half a request and waits", "ended after 10 s, one line about it")
def exchange_half_request(lab: Lab) -> Found:
    """Hold a connection open with a request head that never ends."""
    with serving(lab) as (port, end):
        answer = talk(port, HEAD)
        lines = end()
    said = lines[-1] if lines else "no line"
    return Found(said, None, not answer and len(lines) == 1 and "half a request" in said)


@attack("C19", "a page asks under a foreign Host", "refused with 421, one line about it")
def exchange_foreign_host(lab: Lab) -> Found:
    """Ask with a foreign host name, as a browser does after DNS rebinding."""
    with serving(lab) as (port, end):
        request = HEAD.replace(b"127.0.0.1", b"evil.example") + b"Connection: close\r\n\r\n"
        answer = talk(port, request)
        lines = end()
    said = answer.split(b"\r\n")[0].decode("ascii", "replace")
    return Found(said, None, " 421 " in said and len(lines) == 1)


@attack("C19", "a stream client sends a frame without a mask", "closed with 1002, one line")
def exchange_unmasked_frame(lab: Lab) -> Found:
    """Send the frame `{}` unmasked, as only a server may."""
    with serving(lab) as (port, end):
        answer = talk(port, UPGRADE, b"\x81\x02{}")
        lines = end()
    is_closed = (1002).to_bytes(2, "big") in answer
    return Found(lines[-1] if lines else "no line", None, is_closed and len(lines) == 1)


@attack("C19", "twenty clients send garbage", "each is answered 400 and takes one line")
def exchange_garbage(lab: Lab) -> Found:
    """Send bytes that are not HTTP."""
    with serving(lab) as (port, end):
        answers = [talk(port, bytes((number, 1, 2)) + b"\r\n\r\n") for number in range(20)]
        lines = end()
    bad = sum(b" 400 " not in answer for answer in answers)
    said = f"{len(lines)} lines, {bad} not answered 400"
    return Found(said, None, not bad and len(lines) == 20)


@attack("C19", "a zip holds `../x.csv`", "refused by name, exit not 0, no traceback")
def zip_that_climbs(lab: Lab) -> Found:
    """Check a zip archive whose member path leads out of its folder."""
    path = lab.folder / "BTCUSDT-1m-2025-01.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("../x.csv"), "1735689600000,1,1,1,1,1\n")
    done = lab.minibot("data", "check", str(path))
    is_refused = done.code != 0 and done.says("one CSV expected") and not done.says("Traceback")
    return Found(done.last_words(), done.code, is_refused)
