"""The explorer's web server: for this machine's user alone.

It listens on the loopback address only, and answers only a browser that was sent there by the address printed on the terminal: a token in it
becomes a cookie, without which nothing is served, so that neither other users of the machine nor pages of other sites (cross-site requests, DNS
rebinding) see any text. Nothing is asked of any other address.
"""

from __future__ import annotations

import contextlib
import hmac
import http.cookies
import secrets
import signal
import socket
import sys
import threading
import urllib.parse
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pipeline.errors import UsageError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""What a browser may call this machine."""
DEFAULT_PORT = 8765
OPEN_AFTER_SECONDS = 0.5
"""Pause before a browser is sent to the page, so that the server listens by then."""

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class OnlyThisUser:
    """An ASGI application that lets only the user's own browser through to another."""

    def __init__(self, inner: Application, port: int, token: str):
        self._inner = inner
        self._hosts = {f"{name}:{port}" for name in NAMES}
        self._cookie = f"headwater-{port}"
        self._token = token

    async def __call__(self, scope: Scope, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """Serves, sends a newcomer with the right token to the page, or refuses with 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._inner(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin = headers.get("origin")
        is_ours = headers.get("host") in self._hosts and (origin is None or urllib.parse.urlsplit(origin).netloc in self._hosts)
        given = dict(urllib.parse.parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        if is_ours and self._holds(self._cookie_of(headers)):
            await self._inner(scope, receive, send)
        elif is_ours and scope["type"] == "http" and scope["path"] == "/" and self._holds(given):
            cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            await _answer(send, 303, b"", [(b"location", b"/"), (b"set-cookie", cookie.encode())])
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _answer(send, 403, b"Open the address that `headwater explore` printed on its terminal.\n", [])

    def _holds(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token.encode())

    def _cookie_of(self, headers: dict[str, str]) -> str:
        with contextlib.suppress(http.cookies.CookieError):
            found = http.cookies.SimpleCookie(headers.get("cookie", "")).get(self._cookie)
            return found.value if found else ""
        return ""


def listen(port: int) -> socket.socket:
    """A socket on the loopback address; port 0: any that is free. Raises UsageError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise UsageError(f"--port={port}: cannot be listened on ({error}); give another, or 0 for any that is free") from error
    return listening


def serve(application: Application, listening: socket.socket, *, open_browser: bool) -> None:
    """Serves until Ctrl-C; prints where."""
    import uvicorn

    port, token = listening.getsockname()[1], secrets.token_urlsafe(16)
    address = f"http://{HOST}:{port}/?token={token}"
    print(f"Exploring at {address}\nFor this machine's user alone; Ctrl-C ends it.", flush=True)
    config = uvicorn.Config(OnlyThisUser(application, port, token), log_level="error", access_log=False, lifespan="on", ws="websockets-sansio")
    if open_browser:
        timer = threading.Timer(OPEN_AFTER_SECONDS, webbrowser.open, [address])
        timer.daemon = True
        timer.start()
    # Ended by its manager it cleans up as well: the server hands the signal on to this when it has stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


async def _answer(send: Callable[[Any], Awaitable[None]], status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    plain = (b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer")
    await send({"type": "http.response.start", "status": status, "headers": [*plain, *headers]})
    await send({"type": "http.response.body", "body": body})
