"""Who may talk to the page's server, and what browsers may do with its answers.

Every web page that is open in the same browser can send requests to 127.0.0.1, and every program on the machine can. So
a request needs the token that `sparring watch` prints (or the cookie that its address was exchanged for), must name
this server as its host, which a foreign name that was made to lead here (DNS rebinding) does not, and must not come
from another site's page.
"""

import hmac
import ipaddress
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
NO_PAGE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The policy of all answers that are no page."""
# What an address with a token is exchanged on if another site's page holds the link to it: a browser that follows a
# redirect from there keeps the strict cookie back, but not on a page of our own.
FORWARD = b'<!doctype html><meta http-equiv="refresh" content="0; url=/"><title>sparring</title>'


class Guard:
    """Lets through to an app only the requests of those who know the token.

    Programs send the token in a header, `Authorization: Bearer TOKEN`. No page has it, so that nothing else is asked of
    those who do.

    Args:
        app: an ASGI application.
        token: the secret in the address; None if programs of this machine need none.
        host: the address that the server listens on.
        port: its port.
        open_paths: what everyone may ask for.
    """

    def __init__(self, app: App, token: str | None, host: str, port: int, open_paths: Collection[str] = ()) -> None:
        self.app, self.token, self.port, self.open_paths = app, token, port, open_paths
        self.ask = f"use the address that sparring printed{', with its token' if token is not None else ''}"
        self.codes: set[str] = set()
        self.cookie = f"sparring-{port}"  # cookies know hosts and no ports
        self.is_open = host in ("0.0.0.0", "::")  # whether any address of this machine leads here
        own = {"127.0.0.1", "localhost", "::1", host, *([socket.gethostname()] if self.is_open else [])}
        self.hosts = {name.lower() for name in own}

    def make_code(self) -> str:
        """A token that opens the page once: for the command that starts the browser, which all users can see."""
        code = secrets.token_urlsafe(24)
        self.codes.add(code)
        return code

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20) if _is_short(scope) else {}
        if problem := self._problem(scope, headers, query):
            return await _answer(send, 403, json.dumps({"error": problem}).encode(), [("content-type", JSON)])
        if self.token is not None and scope["path"] == "/" and "token" in query and scope["method"] in ("GET", "HEAD"):
            return await self._exchange(headers, send)

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _with_policy(message.get("headers", []))
            await send(message)

        return await self.app(scope, receive, send_safely)

    def _problem(self, scope: MutableMapping[str, Any], headers: dict[str, list[str]], query: Any) -> str:
        """Why a request is refused; empty if it is not."""
        hosts, origins, sites = (headers.get(name, []) for name in ("host", "origin", "sec-fetch-site"))
        bearers = [each[7:] for each in headers.get("authorization", []) if each[:7].lower() == "bearer "]
        if scope["path"] in self.open_paths or any(map(self._is_token, bearers)):
            return ""
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return "this server does not answer under that name: " + self.ask
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return "requests of other sites' pages are refused"
        from_elsewhere = any(site not in ("same-origin", "none") for site in sites)
        if from_elsewhere and (scope["path"] != "/" or scope["method"] not in ("GET", "HEAD")):
            return "requests of other sites' pages are refused"
        if self.token is None:
            return ""
        tokens = query.get("token", [])
        if scope["path"] == "/" and scope["method"] == "GET" and not self.codes.isdisjoint(tokens):
            self.codes.difference_update(tokens)
            return ""
        given = [*tokens, *self._cookies(headers.get("cookie", []))]
        if not any(map(self._is_token, given)):
            return "this server needs its token: " + self.ask
        return ""

    def _is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server."""
        name, colon, port = host.rpartition(":")
        if not colon or port.endswith("]"):
            name, port = host, "80"
        name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if not port.isascii() or port != str(self.port):
            return False
        return name.lower() in self.hosts or (self.is_open and _is_address(name))

    def _cookies(self, headers: list[str]) -> list[str]:
        found = []
        for header in headers[:10]:
            try:
                cookies = SimpleCookie(header)
            except CookieError:
                continue
            found += [cookies[self.cookie].value] if self.cookie in cookies else []
        return found

    async def _exchange(self, headers: dict[str, list[str]], send: Send) -> None:
        """Set the cookie, and send the browser to the address without the token."""
        cookie = ("set-cookie", f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/")
        if set(headers.get("sec-fetch-site", ["none"])) <= {"same-origin", "none"}:
            return await _answer(send, 303, b"", [("location", "/"), cookie])
        return await _answer(send, 200, FORWARD, [("content-type", "text/html; charset=utf-8"), cookie])


JSON = "application/json"


def _is_short(scope: MutableMapping[str, Any]) -> bool:
    """Whether a query has no more fields than any that the page sends."""
    return bool(scope["query_string"].count(b"&") < 20)


def _is_address(name: str) -> bool:
    """Whether it is an address in numbers, which no foreign name can stand for."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_policy(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers with those that all answers have."""
    names = {name.lower() for name, _ in headers}
    policy = [] if b"content-security-policy" in names else [(b"content-security-policy", NO_PAGE.encode())]
    always = ((name.encode(), value.encode()) for name, value in ALWAYS.items())
    return [*headers, *(pair for pair in always if pair[0] not in names), *policy]


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
    pairs = [(name.encode(), value.encode()) for name, value in [*headers, ("content-length", str(len(body)))]]
    await send({"type": "http.response.start", "status": status, "headers": _with_policy(pairs)})
    await send({"type": "http.response.body", "body": body})
