"""The explorer's server answers one browser of one user, and nobody else."""

import asyncio

import pytest

from pipeline.errors import UsageError
from pipeline.explore_server import OnlyThisUser, listen

PORT, TOKEN = 8765, "a-token"


def ask(path="/", kind="http", query="", **headers):
    """(status, headers) of the answer; `passed` where the request came through."""
    sent, passed = [], []

    async def inner(scope, receive, send):
        passed.append(scope)

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    given = {"host": f"127.0.0.1:{PORT}", **headers}
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": [(k.encode(), v.encode()) for k, v in given.items()]}
    asyncio.run(OnlyThisUser(inner, PORT, TOKEN)(scope, receive, send))
    if passed:
        return "passed", {}
    return sent[0].get("status", sent[0].get("code")), dict(sent[0].get("headers", ()))


def test_the_address_on_the_terminal_gives_a_cookie_that_opens_the_page():
    status, headers = ask(query=f"token={TOKEN}")
    cookie = headers[b"set-cookie"].decode()
    assert status == 303 and headers[b"location"] == b"/" and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert ask(cookie=cookie.split(";")[0])[0] == "passed"
    assert ask("/anything", "websocket", cookie=cookie.split(";")[0], origin=f"http://localhost:{PORT}")[0] == "passed"
    assert ask(kind="lifespan")[0] == "passed"


@pytest.mark.parametrize(
    "request_of",
    [
        {},
        {"query": "token=another"},
        {"path": "/elsewhere", "query": f"token={TOKEN}"},
        {"cookie": f"headwater-{PORT}=another"},
        {"cookie": "headwater=;;=bad\x01"},
        {"host": "evil.example", "query": f"token={TOKEN}"},
        {"host": f"evil.example:{PORT}", "cookie": f"headwater-{PORT}={TOKEN}"},
        {"origin": "http://evil.example", "cookie": f"headwater-{PORT}={TOKEN}"},
        {"origin": "null", "cookie": f"headwater-{PORT}={TOKEN}"},
    ],
)
def test_nobody_else_is_answered(request_of):
    assert ask(**request_of)[0] == 403
    assert ask(kind="websocket", **{"path": "/_nicegui_ws", **request_of})[0] == 1008


def test_only_the_loopback_address_is_listened_on_and_a_taken_port_is_said():
    listening = listen(0)
    try:
        host, port = listening.getsockname()
        listening.listen()
        assert host == "127.0.0.1"
        with pytest.raises(UsageError, match=f"--port={port}: cannot be listened on"):
            listen(port)
        with pytest.raises(UsageError, match="--port=70000"):
            listen(70000)
    finally:
        listening.close()
