"""Who may talk to the review server: the reviewers on this machine, by the address each was given, and no web site.

The server listens on the loopback address alone. Each reviewer's address holds a random token; opening it sets a cookie
that no script can read and no other site's request carries (``HttpOnly``, ``SameSite=Strict``), and leaves the token
behind. A request that changes something must besides come from a page of this server. Names other than the loopback's
in ``Host`` are refused, so that no site can point its own name here (DNS rebinding).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost")
HEADER = "x-review"
"""A header that a form of another site cannot send."""
MAX_BODY = 8 * 2**20
"""Bytes; the runs of a mask of 2048 x 2048 fit."""
_SAFE = ("GET", "HEAD")
_HEADERS = {
    # blob: is how NiiVue decodes a picture that it fetched.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Doors:
    """The reviewers' tokens and their sessions.

    ``tokens`` maps the token of an address to its reviewer, ``sessions`` the secret in a cookie.
    """

    cookie: str
    tokens: Mapping[str, str]
    sessions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reviewers: Iterable[str], port: int) -> Doors:
        """A new token for each reviewer. Cookies do not know ports, so the cookie's name does."""
        return cls(f"medreasoner-review-{port}", {secrets.token_urlsafe(32): name for name in reviewers})

    def enter(self, token: str) -> str | None:
        """The secret of a new session; None if nobody has this token."""
        for known, reviewer in self.tokens.items():
            if secrets.compare_digest(known.encode(), token.encode()):
                session = secrets.token_urlsafe(32)
                self.sessions[session] = reviewer
                return session
        return None

    def reviewer(self, request: Request) -> str | None:
        """Who sends a request."""
        return self.sessions.get(request.cookies.get(self.cookie, ""))


class Guard:
    """Refuses what does not come from a page of this server, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                set_already = {name.lower() for name, _ in message.get("headers", [])}
                message["headers"] = [
                    *message.get("headers", []),
                    *((k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in set_already),
                ]
            await send(message)

        request = Request(scope, receive)
        if refusal := _refusal(request):
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)


def _refusal(request: Request) -> tuple[int, str] | None:
    if urlsplit("//" + request.headers.get("host", "")).hostname not in HOSTS:
        return 421, "this server answers to the loopback address alone"
    if request.method in _SAFE:
        return None
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers["host"]:
        return 403, "a verdict comes from this server's own page"
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin" or HEADER not in request.headers:
        return 403, "a verdict comes from this server's own page"
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        return 411, "the length of what is sent must be said"
    if int(length) > MAX_BODY:
        return 413, f"at most {MAX_BODY} bytes are taken"
    return None
