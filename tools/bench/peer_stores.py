"""The peers as stores; imported by the Python of their own environment alone.

Each is used as its documentation says for many messages: Redis in one pipeline a batch, JetStream
with asynchronous publishing, the queues on SQLite in one transaction a batch. A batch counts when
the peer has acknowledged all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from minibot.kernel.line import encode_line
from tools.bench.stores import OneByOne, Store

START_S_MAX: Final = 10.0
STREAM: Final = "ticks"
REDIS: Final = "MINIBOT_BENCH_REDIS"
NATS: Final = "MINIBOT_BENCH_NATS"
LIBRARIES: Final = "MINIBOT_BENCH_LIBRARIES"


class Redis(OneByOne):
    """A stream of a Redis server of its own, its append-only file synced as asked."""

    def __init__(self, folder: Path, fsync: str) -> None:
        socket = folder / "redis.sock"
        self._server = _server(
            [
                *(os.environ[REDIS], "--port", "0", "--unixsocket", str(socket)),
                *("--dir", str(folder), "--save", "", "--appendonly", "yes"),
                *("--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0"),
            ],
            folder,
        )
        self._client = import_module("redis").Redis(unix_socket_path=str(socket))
        _until(lambda: bool(self._client.ping()), self._server)

    def append(self, batch: Sequence[bytes]) -> None:
        """Add the batch in one pipeline; the answers come when it is as durable as asked."""
        pipe = self._client.pipeline(transaction=False)
        for event in batch:
            pipe.xadd(STREAM, {"sha256": sha256(event).hexdigest(), "json": event})
        pipe.execute()

    def count(self) -> int:
        """Return the length of the stream."""
        return int(self._client.xlen(STREAM))

    def close(self) -> None:
        """End the server."""
        self._client.close()
        _end(self._server)


class JetStream(OneByOne):
    """A stream of a NATS server of its own, synced as asked."""

    def __init__(self, folder: Path, sync_interval: str) -> None:
        config = folder / "nats.conf"
        interval = f"sync_interval: {sync_interval}\n" if sync_interval else ""
        config.write_text(
            'host: 127.0.0.1\nport: -1\nports_file_dir: "' + str(folder) + '"\n'
            'jetstream {\nstore_dir: "' + str(folder / "js") + '"\n' + interval + "}\n"
        )
        self._server = _server([os.environ[NATS], "-c", str(config)], folder)
        self._loop = asyncio.new_event_loop()
        _until(lambda: any(folder.glob("*.ports")), self._server)
        urls = json.loads(next(folder.glob("*.ports")).read_text())["nats"]
        self._client, self._stream = self._loop.run_until_complete(self._open(urls[0]))

    async def _open(self, url: str) -> tuple[Any, Any]:
        client = await import_module("nats").connect(url)
        stream = client.jetstream(publish_async_max_pending=16_384)
        await stream.add_stream(name=STREAM, subjects=[STREAM])
        return client, stream

    def append(self, batch: Sequence[bytes]) -> None:
        """Publish the batch and wait for every acknowledgement."""
        lines = [encode_line(event) for event in batch]
        self._loop.run_until_complete(self._publish(lines))

    async def _publish(self, lines: Sequence[bytes]) -> None:
        futures = [await self._stream.publish_async(STREAM, line) for line in lines]
        await asyncio.gather(*futures)

    def count(self) -> int:
        """Return the messages of the stream."""
        info = self._loop.run_until_complete(self._stream.stream_info(STREAM))
        return int(info.state.messages)

    def close(self) -> None:
        """End client and server."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()
        _end(self._server)


class LiteQueue(OneByOne):
    """litequeue, one transaction a batch, each commit synced as ours is."""

    def __init__(self, folder: Path) -> None:
        self._queue = import_module("litequeue").LiteQueue(folder / "queue.db")
        self._queue.conn.execute("PRAGMA synchronous = FULL")

    def append(self, batch: Sequence[bytes]) -> None:
        """Put the batch in one transaction."""
        with self._queue.transaction():
            for event in batch:
                self._queue.put(encode_line(event).decode())

    def count(self) -> int:
        """Return the messages."""
        return int(self._queue.qsize())

    def close(self) -> None:
        """Close the database."""
        self._queue.close()


class PersistQueue(OneByOne):
    """persist-queue on SQLite, one commit a batch, each commit synced as ours is."""

    def __init__(self, folder: Path) -> None:
        module = import_module("persistqueue")
        self._queue = module.SQLiteQueue(str(folder / "queue"), auto_commit=False)
        self._queue._putter.execute("PRAGMA synchronous = FULL")

    def append(self, batch: Sequence[bytes]) -> None:
        """Put the batch and commit it."""
        for event in batch:
            self._queue.put(encode_line(event))
        self._queue.task_done()

    def count(self) -> int:
        """Return the messages."""
        return int(self._queue.size)

    def close(self) -> None:
        """Close the database."""
        self._queue.close()


PEER_STORES: Final[dict[str, Callable[[Path], Store]]] = {
    "redis_always": lambda folder: Redis(folder, "always"),
    "redis_everysec": lambda folder: Redis(folder, "everysec"),
    "jetstream_sync": lambda folder: JetStream(folder, "always"),
    "jetstream_default": lambda folder: JetStream(folder, ""),
    "litequeue": LiteQueue,
    "persist_queue": PersistQueue,
}


def _server(argv: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "LD_LIBRARY_PATH": os.environ.get(LIBRARIES, "")}
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log, env=environ)


def _until(condition: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_S_MAX
    while True:
        try:
            if condition():
                return
        except (OSError, import_module("redis").ConnectionError):
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server does not answer (exit {server.returncode})")
        time.sleep(0.02)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(START_S_MAX)
