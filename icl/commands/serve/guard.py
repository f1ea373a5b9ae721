"""Who may ask `icl serve`, and how much at a time: plain ASGI, before anything is parsed."""

from __future__ import annotations

import contextlib
import hmac
import json
from typing import Any
from urllib.parse import urlsplit

# What a page of ours needs: scripts and styles of its own, nothing from elsewhere, in no frame.
_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]  # fmt: skip
OPEN_PATHS = ("/", "/page.js", "/page.css")
"""Of the page itself, which holds no data: a browser asks for them without a token."""


class TooLarge(Exception):
    """A body longer than allowed."""


class Guard:
    """Size, origin and token of every request; headers of every answer.

    Args:
        app: what answers.
        max_bytes: of a body.
        token: that requests must carry as `Authorization: Bearer`; None if only this machine can connect.
        hosts: names under which this machine is asked; None for any. Another one means that a page from elsewhere has
            had its name lead here.
    """

    def __init__(self, app: Any, max_bytes: int, token: str | None, hosts: tuple[str, ...] | None):
        self.app, self.max_bytes, self.token, self.hosts = app, max_bytes, token, hosts

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        if refused is not None:
            await _answer(send, *refused)
            return
        seen, refused = 0, None

        async def counted() -> dict:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                refused = self._too_large()
                raise TooLarge
            return message

        async def with_headers(message: dict) -> None:
            if refused is not None:  # what reads the body has made of it that it is damaged
                return
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        with contextlib.suppress(TooLarge):
            await self.app(scope, counted, with_headers)
        if refused is not None:
            await _answer(send, *refused)

    def _refused(self, scope: dict, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = headers.get(b"host", "")
        if self.hosts is not None and _hostname(host) not in self.hosts:
            return 403, "this server answers to its own machine only; ask for http://127.0.0.1"
        origin = headers.get(b"origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "pages from elsewhere may not ask this server"
        if self.token is not None and scope["path"] not in OPEN_PATHS:
            given = headers.get(b"authorization", "").removeprefix("Bearer ").strip()
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 401, "send the token: Authorization: Bearer TOKEN"
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self.max_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str]:
        return 413, f"the request is larger than {self.max_bytes / 1e6:g} MB (--max_mb)"


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # half a bracket, as no browser sends
        return None


async def _answer(send: Any, status: int, said: str) -> None:
    body = json.dumps({"detail": said}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
