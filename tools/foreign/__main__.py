"""Run unmodified foreign clients against the embedded exchange and check each of them.

    python -m tools.foreign                  all but freqtrade, some two minutes
    python -m tools.foreign --only ccxt      those whose name begins so
    python -m tools.foreign --all            freqtrade too: a dry run of ten minutes
    python -m tools.foreign --small          the two lightest; what cannot be installed is skipped
    python -m tools.foreign --lock           resolve the lock files anew

Each client has its own exchange (`minibot exchange serve`), which plays the demo tape, and its own
interpreter below `build/foreign`. Its script uses the client as its users do and compares all that
it received with the tape. Exit code 1: something differed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from minibot.exchanges.tapes.tape import DEMO_TAPE
from minibot.simulator.server.remote import RunningExchange
from tools.foreign.environments import HOME, PROJECT, NotInstalled, environment, write_locks

SERVE: Final = (sys.executable, "-m", "minibot", "exchange", "serve")
# A trading client uses the machine's clock.
PAPER: Final = (
    *("--source", "generator:7:BTCUSDT", "--rate", "60", "--start", "now"),
    *("--rebase-to-now", "--paper-account"),
)
GRACE_S: Final = 90.0
END_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Client:
    """Client's script, its environment, and the way in which its exchange is served."""

    script: str
    environment: str = "clients"
    seconds: float = 12.0
    is_small: bool = False
    serve: tuple[str, ...] = ("--source", "tape:demo")


CLIENTS: Final = (
    Client("ccxt_rest"),
    Client("ccxt_pro"),
    Client("python_binance", is_small=True),
    Client("binance_connector", "connector", is_small=True),
    Client("cryptofeed_feed", serve=("--source", "tape:demo", "--speed", "10")),
    Client("unicorn"),
    Client("paper_ccxt", serve=PAPER),
    Client("paper_python_binance", serve=PAPER),
)
FREQTRADE: Final = Client(
    "freqtrade_dry_run",
    "freqtrade",
    seconds=600.0,
    serve=("--source", "generator:7:BTCUSDT,ETHUSDT,SOLUSDT", "--rate", "60", "--rebase-to-now"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one client."""

    client: Client
    word: str
    said: dict[str, Any]
    detail: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the clients asked for; exit code 0 when each of them received what the source has."""
    options = _options(argv)
    if options.lock or options.upgrade:
        write_locks(options.upgrade)
        return 0
    outcomes = []
    for client in _chosen(options):
        outcome = _run(client, options)
        outcomes.append(outcome)
        print(_row(outcome), flush=True)
        for line in [*outcome.said.get("wrong", []), *outcome.detail.splitlines()]:
            print(f"    {line}", flush=True)
    return 0 if all(outcome.word in ("works", "skipped") for outcome in outcomes) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tools.foreign",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="those whose name begins so")
    parser.add_argument("--all", action="store_true", help="freqtrade too")
    parser.add_argument("--small", action="store_true", help="the two lightest, 6 s each")
    parser.add_argument("--seconds", type=float, help="how long each one reads")
    parser.add_argument("--lock", action="store_true", help="write the lock files anew")
    parser.add_argument("--upgrade", action="store_true", help="the same, newest versions")
    return parser.parse_args(argv)


def _chosen(options: argparse.Namespace) -> list[Client]:
    everyone = [*CLIENTS, FREQTRADE]
    if options.only:
        words = tuple(word.replace("-", "_") for word in options.only)
        return [client for client in everyone if client.script.startswith(words)]
    if options.small:
        return [client for client in CLIENTS if client.is_small]
    return everyone if options.all else list(CLIENTS)


def _run(client: Client, options: argparse.Namespace) -> Outcome:
    try:
        python = environment(client.environment)
    except NotInstalled as error:
        return Outcome(client, "skipped" if options.small else "missing", {}, str(error))
    seconds = options.seconds or (6.0 if options.small else client.seconds)
    with serving(client) as served:
        words = [
            *(str(python), "-m", f"tools.foreign.clients.{client.script}"),
            *("--port", str(served["port"]), "--tls-port", served["tls_rest"].rpartition(":")[2]),
            *("--tape", str(DEMO_TAPE), "--seconds", str(seconds)),
        ]
        trusts = {"SSL_CERT_FILE": served["certificate"], "PYTHONWARNINGS": "ignore"}
        try:
            done = subprocess.run(
                words, cwd=PROJECT, env={**_environ(), **trusts}, capture_output=True, text=True,
                timeout=seconds + GRACE_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Outcome(client, "FAILED", {}, f"no end after {seconds + GRACE_S:.0f} s")
        status = RunningExchange(served["port"]).status()
    said = _last_json(done.stdout)
    if said is None:
        return Outcome(client, "FAILED", {}, "\n".join(done.stderr.splitlines()[-8:]))
    if status["order_calls"]:
        return Outcome(client, "FAILED", said, f"it called {status['order_calls']} order endpoints")
    return Outcome(client, "works" if done.returncode == 0 else "FAILED", said)


def _environ() -> dict[str, str]:
    # Loopback must not go through the machine's proxy.
    return {**os.environ, "NO_PROXY": "127.0.0.1,localhost"}


@contextmanager
def serving(client: Client) -> Iterator[dict[str, Any]]:
    """Serve the client's market on free ports; yield the command's description of itself."""
    command = [*SERVE, *client.serve, "--json", "--port", "0", "--tls-dir", str(HOME / "tls")]
    process = subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        if not text:
            raise SystemExit(f"the exchange was not served: {process.communicate()[1]}")
        yield json.loads(text)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _last_json(text: str) -> dict[str, Any] | None:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def _row(outcome: Outcome) -> str:
    checked = outcome.said.get("checked", {})
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(checked.items()))
    name = outcome.said.get("client", outcome.client.script)
    return f"{outcome.word:<8} {name:<34} {outcome.said.get('version', ''):<9} {told}"


if __name__ == "__main__":
    sys.exit(main())
