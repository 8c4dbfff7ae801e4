"""Runs' folders made by hand, and a client that calls the page's server without a network."""

import asyncio
import base64
import json
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sparring.web.guard import Guard
from sparring.web.reading import Runs
from sparring.web.server import make_app

HOST, PORT, TOKEN = "127.0.0.1", 8642, "the-token"
Request = tuple[str, str, bytes, dict[str, str]]  # method, target, body, headers


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


class Client:
    """Sends requests to an ASGI application; an exception in it is one here.

    Args:
        app: the application.
        headers: of each request, where it gives no others.
    """

    def __init__(self, app: Guard, headers: dict[str, str]) -> None:
        self.app, self.headers = app, headers

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", path + ("?" + urlencode(query) if query else ""))

    def post(self, path: str, value: object) -> Answer:
        return self.send("POST", path, json.dumps(value).encode())

    def send(self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        return asyncio.run(self.exchange(method, target, body, {**self.headers, **(headers or {})}))

    def attack(
        self, make_request: Callable[[], Request], number: int, check: Callable[[Answer], None]
    ) -> tuple[Counter[int], int]:
        """Send so many requests, and check each answer; the statuses, and the kilobytes grown after the first fifth."""
        statuses, used = Counter[int](), list[int]()

        async def send_all() -> None:
            for _ in range(number):
                method, target, body, headers = make_request()
                answer = await self.exchange(method, target, body, {**self.headers, **headers})
                check(answer)
                statuses[answer.status] += 1
                used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

        asyncio.run(send_all())
        return statuses, used[-1] - used[number // 5]

    async def exchange(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        """Send one request, with its body in two parts; a header that is empty is not sent."""
        path, _, query = target.partition("?")
        parts = [body[: len(body) // 2], body[len(body) // 2 :]]
        messages = [{"type": "http.request", "body": part, "more_body": part is parts[0]} for part in parts]
        status, sent, content = 0, dict[str, str](), b""

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status, content
            if message["type"] == "http.response.start":
                status = message["status"]
                sent.update({name.decode(): value.decode() for name, value in message["headers"]})
            else:
                content += message.get("body", b"")

        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items() if value]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
        scope |= {
            "path": path,
            "raw_path": path.encode(errors="replace"),
            "query_string": query.encode(errors="replace"),
        }
        scope |= {"root_path": "", "headers": pairs, "client": ("127.0.0.1", 1), "server": (HOST, PORT)}
        await self.app(scope, receive, send)
        return Answer(status, sent, content)


def make_client(*roots: Path, host: str = HOST) -> Client:
    """A client, with the cookie, of a server that shows some folders."""
    app = make_app(Runs(roots), TOKEN, host, PORT)
    return Client(app, {"host": f"{HOST}:{PORT}", "cookie": f"sparring-{PORT}={TOKEN}"})


def make_line(step: int, **others: Any) -> dict[str, Any]:
    """A line of a log."""
    return {"step": step, "images": 32 * step, "seconds": step / 10, "progress": 0.5, "generator_loss": 0.5} | others


def make_run(path: Path, num_lines: int = 5, status: str = "finished", **summary: Any) -> Path:
    """A run's folder with all that the list of runs shows."""
    path.mkdir(parents=True)
    write(
        path / "recipe.json", {"recipe": {"data": "digits", "steps": 100, "minutes": None}, "versions": {"torch": "2"}}
    )
    counters = {"steps": 100, "images": 3200, "seconds": 10.0}
    whole = {"status": status, **counters, "reason": "", "metrics": {}, "health": []} | summary
    write(path / "summary.json", whole)
    (path / "log.jsonl").write_text("".join(json.dumps(make_line(step)) + "\n" for step in range(num_lines)))
    return path


def add_frame(path: Path, step: int, thumbnails: list[list[int]], low: float = -1.0, high: float = 1.0) -> None:
    """A frame with chosen thumbnails."""
    data = base64.b64encode(bytes(number for row in thumbnails for number in row)).decode()
    shape = [len(thumbnails), len(thumbnails[0])]
    (path / "frames").mkdir(exist_ok=True)
    frame = {"step": step, "seconds": step / 10, "images": 32 * step, "labels": [], "probabilities": [0.5]}
    frame |= {"picture": "data:image/webp;base64,", "columns": 1, "tile": [28, 28], "gap": 0}
    packed = {"shape": shape, "data": data, "low": low, "high": high}
    write(path / "frames" / f"step-{step:06d}.json", frame | {"thumbnails": packed})


def write(path: Path, value: object) -> None:
    """A JSON file."""
    path.write_text(json.dumps(value))
