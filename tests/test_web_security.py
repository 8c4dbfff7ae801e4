"""Attacks on the page's server: each is a row with the status that it expects, and 10,000 random ones find nothing."""

import asyncio
import base64
import hashlib
import json
import os
import random
import re
import string
from pathlib import Path
from typing import Any

import pytest
from pages import HOST, PORT, TOKEN, Answer, Client, add_frame, make_client, make_run

import sparring

OWN = f"{HOST}:{PORT}"
COOKIE = f"sparring-{PORT}={TOKEN}"
SECRET = "kept-from-everyone"
NUM_HOSTILE, LEAK_KILOBYTES = 10_000, 60_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs beside secrets, with links and pipes that lead to them."""
    top = tmp_path_factory.mktemp("top")
    for name in ("secret.txt", "secret.json", "step-000001.json", "step-000001.png", "log.jsonl", "recipe.json"):
        (top / name).write_text(json.dumps({"step": 1, "recipe": {"data": SECRET}, "secret": SECRET}) + "\n")
    path = sparring.train("ring", steps=2, width=2, out=top / "runs" / "ring").path
    add_frame(path, 7, [[1, 2], [3, 4]])
    linked = make_run(top / "runs" / "linked")
    for name in ("log.jsonl", "summary.json"):
        (linked / name).unlink()
        (linked / name).symlink_to(top / "log.jsonl")
    (linked / "frames").symlink_to(top)
    (linked / "samples").mkdir()
    (linked / "samples" / "step-000001.png").symlink_to(top / "step-000001.png")
    (linked / "card.json").symlink_to(top / "secret.json")
    (top / "runs" / "outside").symlink_to(top)
    piped = make_run(top / "runs" / "piped")
    (piped / "log.jsonl").unlink()
    os.mkfifo(piped / "log.jsonl")
    (piped / "frames").mkdir()
    os.mkfifo(piped / "frames" / "step-000001.json")
    (piped / "card.json").mkdir()
    return top


@pytest.fixture(scope="module")
def client(folder: Path) -> Client:
    return make_client(folder / "runs")


def ids(client: Client) -> dict[str, str]:
    return {run["name"]: run["id"] for run in client.get("/api/runs").json()["runs"]}


EXPLORER = "/api/runs/RING/explorer"
ATTACKS: list[tuple[str, str, str, bytes, dict[str, str], int]] = [
    ("the page as it is meant", "GET", "/", b"", {}, 200),
    ("a navigation by hand", "GET", "/", b"", {"sec-fetch-site": "none"}, 200),
    ("no cookie", "GET", "/api/runs", b"", {"cookie": ""}, 403),
    ("no cookie for the page either", "GET", "/", b"", {"cookie": ""}, 403),
    ("a wrong cookie", "GET", "/api/runs", b"", {"cookie": f"sparring-{PORT}=guess"}, 403),
    ("the cookie of another port", "GET", "/api/runs", b"", {"cookie": f"sparring-1={TOKEN}"}, 403),
    ("a cookie that is none", "GET", "/api/runs", b"", {"cookie": "=;\x00;,"}, 403),
    ("a wrong token", "GET", "/?token=guess", b"", {"cookie": ""}, 403),
    ("a token that is no ASCII", "GET", "/?token=%C3%A9", b"", {"cookie": ""}, 403),
    ("an empty token", "GET", "/?token=", b"", {"cookie": ""}, 403),
    ("a part of the token", "GET", f"/?token={TOKEN[:-1]}", b"", {"cookie": ""}, 403),
    ("the token", "GET", f"/?token={TOKEN}", b"", {"cookie": ""}, 303),
    ("the token for an answer", "GET", f"/api/runs?token={TOKEN}", b"", {"cookie": ""}, 200),
    ("a foreign name that leads here", "GET", "/api/runs", b"", {"host": f"evil.example:{PORT}"}, 403),
    ("a name that begins like ours", "GET", "/api/runs", b"", {"host": f"{HOST}.evil.example:{PORT}"}, 403),
    ("another port", "GET", "/api/runs", b"", {"host": f"{HOST}:80"}, 403),
    ("no port", "GET", "/api/runs", b"", {"host": HOST}, 403),
    ("no host", "GET", "/api/runs", b"", {"host": ""}, 403),
    ("another address", "GET", "/api/runs", b"", {"host": f"10.0.0.1:{PORT}"}, 403),
    ("localhost", "GET", "/api/runs", b"", {"host": f"localhost:{PORT}"}, 200),
    ("in capitals", "GET", "/api/runs", b"", {"host": f"LocalHost:{PORT}"}, 200),
    ("IPv6", "GET", "/api/runs", b"", {"host": f"[::1]:{PORT}"}, 200),
    ("another site's fetch", "GET", "/api/runs", b"", {"sec-fetch-site": "cross-site"}, 403),
    ("another port's fetch", "GET", "/api/runs", b"", {"sec-fetch-site": "same-site"}, 403),
    ("our own fetch", "GET", "/api/runs", b"", {"sec-fetch-site": "same-origin"}, 200),
    ("another site's form", "POST", EXPLORER, b"{}", {"origin": "http://evil.example"}, 403),
    ("a form without origin", "POST", EXPLORER, b"{}", {"origin": "null"}, 403),
    ("another port's form", "POST", EXPLORER, b"{}", {"origin": f"http://{HOST}:1"}, 403),
    ("another scheme", "POST", EXPLORER, b"{}", {"origin": f"https://{OWN}"}, 403),
    ("another site's form by its site", "POST", EXPLORER, b"{}", {"sec-fetch-site": "cross-site"}, 403),
    ("our own form", "POST", EXPLORER, b"{}", {"origin": f"http://{OWN}", "sec-fetch-site": "same-origin"}, 405),
    ("another method", "DELETE", "/api/runs/RING", b"", {}, 405),
    ("preflight", "OPTIONS", "/api/runs", b"", {"origin": f"http://{OWN}"}, 405),
    ("up", "GET", "/api/runs/../../secret.txt", b"", {}, 404),
    ("up from a run", "GET", "/api/runs/RING/../../../secret.txt", b"", {}, 404),
    ("up from a frame", "GET", "/api/runs/RING/frames/../../../../secret", b"", {}, 404),
    ("a frame that is a path", "GET", "/api/runs/RING/frames/..%2f..%2fsecret", b"", {}, 400),
    ("a frame with a null", "GET", "/api/runs/RING/frames/1\x00", b"", {}, 400),
    ("a frame of a huge number", "GET", "/api/runs/RING/frames/" + "9" * 500, b"", {}, 400),
    ("a frame in other digits", "GET", "/api/runs/RING/frames/١", b"", {}, 400),
    ("an id that is a path", "GET", "/api/runs/..", b"", {}, 404),
    ("a folder's name as an id", "GET", "/api/runs/ring", b"", {}, 404),
    ("linked frames", "GET", "/api/runs/LINKED/frames/1", b"", {}, 404),
    ("a linked picture", "GET", "/api/runs/LINKED/thumbnail", b"", {}, 404),
    ("a linked log", "GET", "/api/runs/LINKED/log", b"", {}, 200),
    ("a linked card", "GET", "/api/runs/LINKED", b"", {}, 200),
    ("a pipe", "GET", "/api/runs/PIPED/frames/1", b"", {}, 404),
    ("a pipe for a log", "GET", "/api/runs/PIPED/log", b"", {}, 200),
    ("a folder for a file", "GET", "/api/runs/PIPED", b"", {}, 200),
]


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS]
)
def test_attacks(client: Client, method: str, target: str, body: bytes, headers: dict[str, str], status: int) -> None:
    for name, run_id in ids(client).items():
        target = target.replace(name.upper(), run_id)
    answer = client.send(method, target, body, headers)
    assert answer.status == status
    check_answer(answer)
    if status >= 400:
        assert answer.json()["error"]


def check_answer(answer: Answer) -> None:
    """What holds for every answer."""
    headers, content = answer.headers, answer.content
    assert SECRET.encode() not in content
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    may_be_framed = headers["x-frame-options"] == "SAMEORIGIN"
    assert may_be_framed <= content.startswith((b"<!doctype html>", b"No samples"))  # the explorer alone
    assert f"frame-ancestors '{'self' if may_be_framed else 'none'}'" in headers["content-security-policy"]
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_token_becomes_a_cookie_and_leaves_the_address(client: Client) -> None:
    by_hand = client.send("GET", f"/?token={TOKEN}", headers={"cookie": ""})
    assert by_hand.headers["location"] == "/"
    assert by_hand.headers["set-cookie"] == f"{COOKIE}; HttpOnly; SameSite=Strict; Path=/"
    by_link = client.send("GET", f"/?token={TOKEN}", headers={"cookie": "", "sec-fetch-site": "cross-site"})
    assert by_link.status == 200  # after a redirect from another site, browsers keep strict cookies back
    assert b'content="0; url=/"' in by_link.content
    assert by_link.headers["set-cookie"] == by_hand.headers["set-cookie"]


def test_a_code_opens_the_page_once(folder: Path) -> None:
    client = make_client(folder / "runs")
    code = client.app.make_code()
    for target, status in ((f"/api/runs?token={code}", 403), (f"/?token={code}", 303), (f"/?token={code}", 403)):
        assert client.send("GET", target, headers={"cookie": ""}).status == status


def test_all_addresses_means_addresses_and_no_names(folder: Path) -> None:
    client = make_client(folder / "runs", host="0.0.0.0")
    for host, status in ((f"192.168.1.5:{PORT}", 200), (f"[fe80::1]:{PORT}", 200), (f"evil.example:{PORT}", 403)):
        assert client.send("GET", "/api/runs", headers={"host": host}).status == status
        assert client.send("GET", "/api/runs", headers={"host": host, "cookie": ""}).status == 403


def test_the_policy_names_the_inline_script_and_nothing_outside(client: Client) -> None:
    answer = client.get("/")
    scripts = re.findall(rb"<script>(.*?)</script>", answer.content, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert len(hashes) == 1
    assert policy == {
        "default-src": "'none'", "script-src": f"'sha256-{hashes[0]}'", "style-src": "'unsafe-inline'",
        "img-src": "data: blob: 'self'", "media-src": "data: blob:", "connect-src": "'self'", "frame-src": "'self'",
        "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
    }  # fmt: skip


def test_what_is_no_request_is_closed(client: Client) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
    asyncio.run(client.app(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_nothing_is_written(folder: Path) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}

    before, client = state(), make_client(folder / "runs")
    for run_id in ids(client).values():
        for part in ("", "/log", "/frames", "/frames/7", "/thumbnail", "/explorer", "/nearest?step=7&index=0"):
            client.get(f"/api/runs/{run_id}{part}")
    assert state() == before


def make_request(draw: random.Random, known: list[str]) -> tuple[str, str, bytes, dict[str, str]]:
    """A random request, near enough to good ones to reach into the server."""
    pieces = [
        "api",
        "runs",
        *known,
        "log",
        "frames",
        "nearest",
        "explorer",
        "thumbnail",
        "0",
        "7",
        "..",
        ".",
    ]
    pieces += [
        "%2e%2e",
        "..%2f",
        "%00",
        "\x00",
        "\\",
        "etc",
        "passwd",
        "secret.json",
        "é",
        "١",
        "",
        "-1",
        "1e9",
        "a" * 300,
    ]
    noise = "".join(draw.choices(string.printable + "äß\u2028", k=draw.randrange(20)))

    def path() -> str:
        if draw.random() < 0.6:
            good = [
                "",
                "/log",
                "/frames",
                "/frames/7",
                "/frames/1",
                "/thumbnail",
                "/explorer",
                "/nearest",
            ]
            return f"/api/runs/{draw.choice(known)}{draw.choice(good)}{draw.choice(['', '', '/', noise])}"
        return "/" + "/".join(draw.choices(pieces, k=draw.randrange(7)))

    def query() -> str:
        values = [
            "",
            "0",
            "7",
            "1",
            "-1",
            "99999999999999999999",
            "0-00000000",
            f"{draw.randrange(900)}-ffffffff",
            "%",
            "é",
            noise,
        ]
        names = ["after", "step", "index", "token", "x"]
        return "&".join(f"{draw.choice(names)}={draw.choice(values)}" for _ in range(draw.choice([0, 1, 2, 2, 40])))

    def value(depth: int = 0) -> Any:
        if depth > 3 or draw.random() < 0.4:
            return draw.choice([0, 1, -1, 0.5, 1e300, 2**64, 2**70, None, True, "x", "0", noise, {}, []])
        if draw.random() < 0.7:
            return [value(depth + 1) for _ in range(draw.randrange(4))]
        return {draw.choice(["seeds", "directions", "label", "truncation"]): value(depth + 1) for _ in range(3)}

    def body() -> bytes:
        mixes = [
            [[draw.randrange(9), draw.random()] for _ in range(draw.randrange(4))] for _ in range(draw.randrange(4))
        ]
        near = {"seeds": mixes, "directions": [draw.random()], "label": draw.choice([None, value()])}
        near |= {"truncation": draw.choice([None, 1.0, value()])}
        return draw.choice(
            [b"", noise.encode(), draw.randbytes(50), json.dumps(value()).encode(), json.dumps(near).encode()]
        )

    headers = {}
    if draw.random() < 0.04:
        headers["host"] = draw.choice(
            ["", "evil.example", f"evil.example:{PORT}", f"[::1]:{PORT}", ":", "[", "]:8642", "a:b:c"]
        )
    if draw.random() < 0.04:
        headers["cookie"] = draw.choice(
            ["", "a=b", ";;;", f"sparring-{PORT}=", f"sparring-{PORT}=\xe9", '="\\', "x" * 5000]
        )
    if draw.random() < 0.04:
        headers["origin"] = draw.choice(["null", "http://evil.example", "\xff"])
    if draw.random() < 0.04:
        headers["sec-fetch-site"] = draw.choice(["cross-site", "same-site", "none", "x"])
    if draw.random() < 0.04:
        headers["content-length"] = draw.choice(["-1", "x", "1e3", "99999999", "٣"[:1].encode().decode("latin-1")])
    if draw.random() < 0.04:
        headers[draw.choice(["range", "accept", "if-none-match", "x-forwarded-host", "upgrade"])] = (
            "\xff" * draw.randrange(1, 50)
        )
    method = draw.choices(["GET", "POST", "HEAD", "PUT", "OPTIONS", "get", "TRACE"], [60, 20, 5, 5, 5, 3, 2])[0]
    return method, f"{path()}?{query()}", body(), headers


def test_ten_thousand_hostile_requests(client: Client) -> None:
    """None is answered with 500 or with a byte from outside, and the memory stays."""
    draw, known = random.Random(0), [*ids(client).values()]
    statuses, grown = client.attack(lambda: make_request(draw, known), NUM_HOSTILE, check_answer)
    assert statuses.keys() == {200, 303, 400, 403, 404, 405}
    assert statuses[200] > 1000
    assert grown < LEAK_KILOBYTES
    assert client.get("/api/runs").status == 200
