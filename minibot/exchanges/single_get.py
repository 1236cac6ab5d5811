"""Single GET request with a bound on time and size: no redirect, no proxy, no cookie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

import requests
from urllib3.exceptions import HTTPError

from minibot.exchanges.deadline import ADDRESSES_TRIED, Deadline, new_session
from minibot.exchanges.public_http import root_cause
from minibot.kernel.errors import Transient

CHUNK_BYTES: Final = 16 * 1024
UNUSABLE: Final = "the address, or a header, cannot be used"


def get(
    url: str, headers: Mapping[str, str], *, timeout_s: float, bytes_max: int
) -> tuple[int, bytes]:
    """Return status and body of one request; of a longer body, the beginning.

    Args:
        url: Its address, which may be a secret: no error names more of it than the host.
        headers: Headers of the request; no error names one, as it may be a secret too.
        timeout_s: Wall-clock seconds for all of it.
        bytes_max: How much of the body is read.

    Raises:
        Transient: No answer, or none within the time; or the address is none, or a header.
    """
    deadline = Deadline()
    session = new_session(deadline, {"Accept-Encoding": "identity", **headers})
    try:
        with (
            deadline.within(timeout_s),
            session.get(
                url,
                timeout=(timeout_s / ADDRESSES_TRIED, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            body = bytearray()
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) >= bytes_max:
                    break
            if deadline.expired:
                raise TimeoutError
            return response.status_code, bytes(body[:bytes_max])
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        why = f"no whole answer within {timeout_s:.0f} s" if deadline.expired else ""
        parts = parts_of(url)
        host = parts.hostname or "the address"
        # Of these the libraries tell parts, in other characters than were given.
        is_unusable = isinstance(error, ValueError)
        words = why or (UNUSABLE if is_unusable else root_cause(error))
        for secret in (url, f"{parts.path}?{parts.query}", parts.path, parts.query):
            if len(secret) > 1:
                words = words.replace(secret, "...")
        raise Transient(f"{host}: {words}") from None
    finally:
        session.close()


def parts_of(url: str) -> SplitResult:
    """Return the parts of an address; empty ones of a text that is none, such as `http://[::1`."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
