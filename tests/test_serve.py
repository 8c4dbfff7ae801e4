"""The server of models: the command's bytes, batches, limits, attacks, ends and replacements."""

import asyncio
import base64
import hashlib
import http.client
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import HOST, PORT, TOKEN, Answer, Client
from PIL import Image
from untrained import CONFIGS, make_generator
from warm import Process

from sparring.cli.main import main
from sparring.errors import UsageError
from sparring.generator.config import Config
from sparring.generator.export.run_onnx import with_onnx
from sparring.generator.generator import load
from sparring.modalities import open_dataset
from sparring.modalities.images import Images
from sparring.modalities.words import Words
from sparring.web import batching
from sparring.web.batching import Batcher, FullError, Maker
from sparring.web.endpoint import MAX_BODY, make_endpoint
from sparring.web.models import Models, find_step
from sparring.web.service import Service

OWN = {"host": f"{HOST}:{PORT}"}
NUM_HOSTILE, LEAK_KILOBYTES = 2000, 60_000
SMALL = Config(Images((1, 8, 8)), "conv", 6, "gaussian", 4, (0.25, 0.75), class_names=("cat", "dog"))
WHERE = "age>30, income!=0"
TRANSLATOR = Config(Images((1, 8, 8)), "translate", 6, "gaussian", 4, source=Images((1, 8, 8)), both_ways=True)


def make_words(seed: int) -> Words:
    torch.manual_seed(seed)
    return Words.from_vectors([f"{seed}{letter}" for letter in string.ascii_letters], torch.randn(52, 6))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generators of all kinds."""
    top = tmp_path_factory.mktemp("served")
    words = Config(make_words(2), "linear", 6, "gaussian", 1, source=make_words(1))
    tables = Config(open_dataset("people").modality, "mlp", 6, "gaussian", 8)
    configs = {
        "small": SMALL,
        "tables": tables,
        "points": CONFIGS["mlp"],
        "sounds": CONFIGS["sounds"],
        "translator": TRANSLATOR,
    }
    for name, config in (configs | {"attributes": CONFIGS["attributes"], "words": words}).items():
        make_generator(config).save(top / name)
    return top


def make_client(*paths: Path, engine: str = "pytorch", token: str | None = None, host: str = HOST) -> Client:
    service = Service(Models(paths, engine))
    client = Client(make_endpoint(service, token, host, PORT), OWN)  # type: ignore[arg-type]
    client.service = service  # type: ignore[attr-defined]
    return client


def service_of(client: Client) -> Service:
    return client.service  # type: ignore[attr-defined,no-any-return]


@pytest.fixture(scope="module")
def client(folder: Path) -> Client:
    return make_client(*sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def small(folder: Path) -> Client:
    return make_client(folder / "small")


def run_command(*words: object) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*map(str, words)])


# What is answered


@pytest.mark.parametrize(
    ("name", "wanted", "options"),
    [
        ("small", {}, ["-n", 1]),
        ("small", {"n": 7, "seed": 3}, ["-n", 7, "--seed", 3]),
        ("small", {"n": 70, "format": "npz"}, ["-n", 70]),
        ("small", {"n": 3, "labels": "dog", "format": "npz"}, ["-n", 3, "--label", "dog"]),
        ("small", {"n": 130, "truncation": 0.5, "seed": 2**63}, ["-n", 130, "--truncation", 0.5, "--seed", 2**63]),
        ("points", {"n": 5, "format": "npz"}, ["-n", 5]),
        ("points", {"n": 5, "format": "png"}, ["-n", 5]),
        ("tables", {"n": 3}, ["-n", 3]),
        ("tables", {"n": 30, "seed": 2, "where": WHERE}, ["-n", 30, "--seed", 2, "--where", WHERE]),
        ("sounds", {"n": 2}, ["-n", 2]),
        ("sounds", {"n": 2, "format": "npz"}, ["-n", 2]),
        ("attributes", {"n": 9, "labels": {"hair": "red"}, "format": "npz"}, ["-n", 9, "--label", "hair=red"]),
    ],
)  # fmt: skip
def test_answers_are_the_files_of_the_command(
    name: str, wanted: dict[str, Any], options: list[object], client: Client, folder: Path, tmp_path: Path
) -> None:
    answer = client.post("/sample", {"model": name, **wanted})
    ending = wanted.get("format", {"sounds": "wav", "tables": "csv"}.get(name, "png"))
    run_command("sample", folder / name, *options, "--out", tmp_path / f"out.{ending}")
    assert answer.status == 200
    assert answer.content == (tmp_path / f"out.{ending}").read_bytes()
    kinds = {"png": "image/png", "wav": "audio/wav", "csv": "text/csv; charset=utf-8"}
    assert answer.headers["content-type"] == kinds.get(ending, "application/octet-stream")


def test_json_holds_the_same_arrays(client: Client, folder: Path) -> None:
    generator = load(folder / "small")
    answer = client.post(
        "/sample", {"model": "small", "n": 3, "labels": ["cat", "dog", "cat"], "format": "json"}
    ).json()
    assert answer["labels"] == ["cat", "dog", "cat"]
    assert np.array_equal(answer["images"], generator.sample(3, labels=["cat", "dog", "cat"]))
    points = client.post("/sample", {"model": "points", "format": "json"}).json()
    assert points == {"points": load(folder / "points").sample(1).tolist()}


def test_rows_that_meet_conditions(client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a clear sentence where none can; such requests are few at a time, and those without conditions go on."""
    wanted = {"model": "tables", "n": 5, "where": "age>50", "format": "json"}
    rows = client.post("/sample", wanted).json()["tables"]
    assert len(rows) == 5
    assert min(row["age"] for row in rows) > 50
    for model, where, message in (
        ("tables", "ages>2", "unknown column 'ages'"),
        ("tables", "sex=woman", "woman"),
        ("tables", "age=old", "'age' is compared with a number, not 'old'"),
        ("tables", "moved>soon", "a date such as 2024-12-31"),
        ("tables", "adult", "'adult' is no condition: give conditions such as"),
        ("tables", "age>200", "of 20,000 items that this generator made, 0 have age>200"),
        ("tables", "", "where must be conditions"),
        ("small", "age>2", "conditions are for tables, and this generator makes images"),
    ):
        answer = client.post("/sample", {"model": model, "where": where})
        assert (answer.status, message in answer.json()["error"]) == (400, True), answer.json()
    monkeypatch.setattr("sparring.web.service.MAX_LONG", 0)
    assert client.post("/sample", wanted).status == 429
    assert client.post("/sample", {"model": "tables"}).status == 200


def test_onnxruntime_answers_as_it_does_alone(folder: Path) -> None:
    client, generator = make_client(folder / "small", engine="auto"), with_onnx(load(folder / "small"))
    assert client.get("/models").json()["models"][0]["engine"] == "onnxruntime"
    for n in (1, 2, 5, 16, 17, 64, 99, 130):
        content = client.post("/sample", {"n": n, "seed": 9, "format": "npz"}).content
        with np.load(io.BytesIO(content)) as arrays:
            assert np.array_equal(arrays["images"], generator.sample(n, seed=9))
    differences = generator.sample(100).astype(int) - load(folder / "small").sample(100)
    assert np.abs(differences).max() <= 1


def test_both_ways_in_onnxruntime(folder: Path) -> None:
    generator, fast = load(folder / "translator"), with_onnx(load(folder / "translator"))
    items = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    for back in (False, True):
        there = fast.translate(items, back=back).astype(int)
        assert np.abs(there - generator.translate(items, back=back)).max() <= 1
        assert np.array_equal(there[:3], fast.translate(items[:3], back=back))


def test_what_is_asked_at_once_is_answered_as_if_alone(client: Client, folder: Path) -> None:
    """Batches hold samples of several requests, models and labels, and parts of long ones."""
    draw, generators = random.Random(0), {name: load(folder / name) for name in ("small", "points")}
    wanted: list[dict[str, Any]] = []
    for _ in range(80):
        name = draw.choice([*generators])
        each = {"model": name, "n": draw.choice([1, 1, 1, 2, 3, 17, 150]), "seed": draw.randrange(5)}
        labels = {"labels": draw.choice(["cat", "dog"])} if name == "small" and draw.random() < 0.5 else {}
        wanted.append(each | labels | {"format": "npz"})

    async def ask_all() -> list[Answer]:
        bodies = (json.dumps(each).encode() for each in wanted)
        return await asyncio.gather(*(client.exchange("POST", "/sample", body, client.headers) for body in bodies))

    for each, answer in zip(wanted, asyncio.run(ask_all()), strict=True):
        generator = generators[each["model"]]
        items = generator.sample(each["n"], each["seed"], labels=each.get("labels"))
        labels = generator.random_labels(each["n"], each["seed"], each.get("labels"))
        assert answer.content == generator.modality.to_bytes(items, ".npz", generator.config.label_arrays(labels))


# Batches


def identity(values: torch.Tensor) -> np.ndarray:
    return values.numpy()


class Gate:
    """Makes items of numbers, once it is open; it notes the sizes of its batches."""

    def __init__(self) -> None:
        self.sizes, self.began, self.opened = list[int](), threading.Event(), threading.Event()

    def make(self, values: torch.Tensor) -> np.ndarray:
        self.sizes.append(len(values))
        self.began.set()
        assert self.opened.wait(60)
        return values.numpy()


async def fill(batcher: Batcher, gate: Gate, maker: Maker, sizes: list[int]) -> list[asyncio.Task[Any]]:
    """Ask for numbers while the gate keeps the first batch, one number, waiting."""

    async def ask(n: int) -> list[float]:
        def finish(items: np.ndarray) -> Any:
            order.append(n)
            return items.tolist()

        return await batcher.ask(maker, [torch.arange(n)], finish, 1, waits=False)  # type: ignore[no-any-return]

    order = list[int]()
    tasks = [asyncio.create_task(ask(1))]
    await asyncio.to_thread(gate.began.wait, 60)
    tasks += [asyncio.create_task(ask(n)) for n in sizes]
    while batcher.num_jobs < len(tasks) and not any(task.done() for task in tasks):
        await asyncio.sleep(0)
    return [*tasks, asyncio.create_task(asyncio.sleep(0, order))]


def test_whatever_queued_is_the_next_batch() -> None:
    batcher, gate = Batcher(), Gate()

    async def ask() -> list[Any]:
        maker = Maker(gate.make)
        tasks = await fill(batcher, gate, maker, [1, 2, 1, 5])
        gate.opened.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert answers[:-1] == [[0], [0], [0, 1], [0], [0, 1, 2, 3, 4]]
    assert gate.sizes == [1, 9]
    assert (batcher.num_jobs, batcher.num_samples, batcher.num_batches, batcher.num_made) == (0, 0, 2, 10)


def test_places_in_a_batch() -> None:
    """With a step, the samples of each request begin at a multiple of it, and long requests go on there."""
    batcher, rows = Batcher(), list[list[int]]()
    gate = Gate()

    def make(values: torch.Tensor) -> np.ndarray:
        rows.append(values.tolist())
        return gate.make(values)

    async def ask() -> list[Any]:
        tasks = await fill(batcher, gate, Maker(make, 16), [3, 120])
        gate.opened.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert answers[:-1] == [[0], [0, 1, 2], [*range(120)]]
    assert rows == [[0] * 16, [0, 1, 2] + [0] * 13 + [*range(80)], [*range(80, 112)], [*range(112, 120)] + [112] * 8]


def test_steps_where_places_matter() -> None:
    """Rows of 50 numbers begin anywhere in a vector register of eight or sixteen; rows of 32 do not."""
    assert find_step(make_generator(CONFIGS["digits"])) == 1
    assert find_step(make_generator(CONFIGS["mlp"])) in (1, 16)  # of this processor


def test_short_requests_do_not_wait_for_long_ones() -> None:
    batcher, gate = Batcher(), Gate()

    async def ask() -> list[Any]:
        maker = Maker(gate.make)
        tasks = await fill(batcher, gate, maker, [700, 2, 3])
        gate.opened.set()
        return await asyncio.gather(*tasks)

    answers = asyncio.run(ask())
    assert answers[-1] == [1, 2, 3, 700]
    assert answers[1] == [*range(700)]
    assert set(gate.sizes[1:-1]) == {100}


def test_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_SAMPLES", 10)
    batcher, gate = Batcher(), Gate()

    async def ask() -> None:
        maker = Maker(gate.make)
        tasks = await fill(batcher, gate, maker, [9])
        with pytest.raises(FullError):
            await batcher.ask(maker, [torch.arange(1)], list, 1, waits=False)
        patient = asyncio.create_task(batcher.ask(maker, [torch.arange(1)], list, 1, waits=True))
        gate.opened.set()
        await asyncio.gather(patient, *tasks)
        assert len(await batcher.ask(maker, [torch.arange(99)], list, 1, waits=False)) == 99  # alone, as it must

    asyncio.run(ask())


def test_a_full_queue_is_429(small: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_SAMPLES", 1000)
    body = b'{"n": 900, "format": "npz"}'

    async def ask_twice() -> list[Answer]:
        return await asyncio.gather(*(small.exchange("POST", "/sample", body, small.headers) for _ in range(2)))

    first, second = asyncio.run(ask_twice())
    assert (first.status, second.status, second.headers["retry-after"]) == (200, 429, "1")
    assert small.send("POST", "/sample", body).status == 200


def test_a_failure_is_told_to_those_whom_it_concerns() -> None:
    batcher = Batcher()

    def fail(values: torch.Tensor) -> np.ndarray:
        raise RuntimeError("broken")

    def refuse(items: np.ndarray) -> Any:
        raise UsageError("no file")

    async def ask() -> None:
        with pytest.raises(RuntimeError, match="broken"):
            await batcher.ask(Maker(fail), [torch.arange(3)], list, 1, waits=False)
        with pytest.raises(UsageError, match="no file"):
            await batcher.ask(Maker(identity), [torch.arange(3)], refuse, 1, waits=False)
        leaver = asyncio.create_task(batcher.ask(Maker(identity), [torch.arange(3)], list, 1, waits=False))
        await asyncio.sleep(0)
        leaver.cancel()
        answer = await batcher.ask(Maker(identity), [torch.arange(3)], lambda items: items.tolist(), 1, waits=False)
        assert answer == [0, 1, 2]
        assert batcher.num_jobs == 0

    asyncio.run(ask())


# Translations


def test_translations_are_the_files_of_the_command(client: Client, folder: Path, tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8)
    np.savez(tmp_path / "items.npz", images=items)
    Image.fromarray(items[0]).resize((40, 30)).save(tmp_path / "photo.jpg")
    (tmp_path / "text.txt").write_text("1a 1b\n1c\n")
    for name, given, form, options in (
        ("translator", "items.npz", "npz", []),
        ("translator", "items.npz", "npz", ["--back"]),
        ("translator", "photo.jpg", "png", []),
        ("words", "text.txt", "tsv", []),
    ):
        run_command("translate", folder / name, tmp_path / given, "--out", tmp_path / f"out.{form}", *options)
        query = f"model={name}&format={form}" + ("&back=true" if options else "")
        answer = client.send("POST", f"/translate?{query}", (tmp_path / given).read_bytes())
        assert answer.status == 200, answer.content
        assert answer.content == (tmp_path / f"out.{form}").read_bytes()
    usual = client.send("POST", "/translate?model=words", b"1d")
    assert usual.headers["content-type"].startswith("text/tab-separated-values")


def zeros_packed() -> bytes:
    """A small file of many zeros."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("images.npy", "w") as file:
        for _ in range(70):
            file.write(bytes(2**20))
    return target.getvalue()


def large_picture() -> bytes:
    target = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        ("model=small", b"x", 400, "makes samples of noise"),
        ("model=translator", b"no picture", 400, "damaged"),
        ("model=translator", b"PK\x03\x04 no archive", 400, "damaged"),
        ("model=translator&back=1", b"x", 400, "true or false"),
        ("model=translator&format=../x", b"x", 400, "format"),
        ("model=translator&format=json", b"x", 400, "format"),
        ("model=words&back=true", b"x", 400, "one way"),
        ("model=words", b"\xff", 400, "UTF-8"),
        ("model=words", b"nothing known", 400, "none of the words"),
        ("model=none", b"x", 404, "these models"),
        ("", b"x", 400, "these models"),
        ("model=translator", b"x" * (2**23 + 1), 413, "bytes"),
    ],
)
def test_bad_translations(query: str, body: bytes, status: int, message: str, client: Client) -> None:
    answer = client.send("POST", f"/translate?{query}", body)
    assert answer.status == status
    assert message in answer.json()["error"]
    assert "/tmp" not in answer.json()["error"]


def test_bombs_are_not_unpacked(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2**24)  # as `serve` does
    assert client.send("POST", "/translate?model=translator", zeros_packed()).status == 413
    assert client.send("POST", "/translate?model=translator", large_picture()).status == 400


# Attacks


GOOD = b'{"n": 2}'
ATTACKS: list[tuple[str, str, str, bytes, dict[str, str], int]] = [
    ("as it is meant", "POST", "/sample", GOOD, {}, 200),
    ("an empty body", "POST", "/sample", b" \n\t", {}, 200),
    ("localhost", "POST", "/sample", GOOD, {"host": f"localhost:{PORT}"}, 200),
    ("our own page", "POST", "/sample", GOOD, {"origin": f"http://{HOST}:{PORT}"}, 200),
    ("a foreign name that leads here", "POST", "/sample", GOOD, {"host": f"evil.example:{PORT}"}, 403),
    ("another port", "POST", "/sample", GOOD, {"host": f"{HOST}:80"}, 403),
    ("another site's form", "POST", "/sample", GOOD, {"origin": "http://evil.example"}, 403),
    ("a form without origin", "POST", "/sample", GOOD, {"origin": "null"}, 403),
    ("another site's fetch", "GET", "/models", b"", {"sec-fetch-site": "cross-site"}, 403),
    ("another site's link", "GET", "/", b"", {"sec-fetch-site": "cross-site"}, 200),
    ("health by any name", "GET", "/healthz", b"", {"host": "10.1.2.3"}, 200),
    ("a body too long", "POST", "/sample", b"x" * (MAX_BODY + 1), {}, 413),
    ("a length that is none", "POST", "/sample", b"", {"content-length": "-1"}, 413),
    ("no JSON", "POST", "/sample", b"\xff", {}, 400),
    ("deep JSON", "POST", "/sample", b"[" * 50_000, {}, 400),
    ("a list", "POST", "/sample", b"[1]", {}, 400),
    ("another method", "GET", "/sample", b"", {}, 405),
    ("preflight", "OPTIONS", "/sample", b"", {"origin": f"http://{HOST}:{PORT}"}, 405),
    ("another address", "GET", "/etc/passwd", b"", {}, 404),
    ("another model's page", "GET", "/models/..%2f..", b"", {}, 404),
]  # fmt: skip
BAD_FIELDS: list[dict[str, Any]] = [
    {"n": 0}, {"n": -1}, {"n": 1025}, {"n": 1.5}, {"n": "3"}, {"n": True}, {"n": None}, {"n": 10**400},
    {"seed": -1}, {"seed": 2**64}, {"seed": 0.5}, {"seed": None}, {"truncation": 0}, {"truncation": -1},
    {"truncation": "1"}, {"truncation": 10**400}, {"truncation": True}, {"format": "exe"}, {"format": "wav"},
    {"format": 3}, {"format": "../x"}, {"labels": "bird"}, {"labels": 7}, {"labels": []}, {"labels": ["cat"] * 3},
    {"labels": [["cat"]]}, {"labels": {"hair": "red"}}, {"labels": True}, {"labels": [None]}, {"labels": "\ud800"},
    {"labels": "x" * 2000}, {"labels": [{"a": {}}]}, {"labels": [True]}, {"model": 3}, {"x": 1}, {"N": 1},
    {"\ud800": 1}, {"where": 3}, {"where": ["a>2"]}, {"where": "x" * 2000}, {"where": "\ud800>2"},
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "body", "headers", "status"), [each[1:] for each in ATTACKS],
                         ids=[each[0] for each in ATTACKS])  # fmt: skip
def test_attacks(method: str, target: str, body: bytes, headers: dict[str, str], status: int, small: Client) -> None:
    answer = small.send(method, target, body, headers)
    assert answer.status == status
    check_headers(answer)


@pytest.mark.parametrize("field", BAD_FIELDS, ids=[json.dumps(each)[:30] for each in BAD_FIELDS])
def test_bad_fields(field: dict[str, Any], small: Client) -> None:
    answer = small.post("/sample", {"n": 2, **field})
    assert answer.status == 400
    assert len(answer.json()["error"]) > 10


def check_headers(answer: Answer) -> None:
    """No other site may read an answer or frame it, and no script runs in it."""
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_token(folder: Path) -> None:
    client = make_client(folder / "small", token=TOKEN, host="0.0.0.0")
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for headers, status in (
        ({}, 403), (bearer, 200), ({"authorization": f"bearer {TOKEN}"}, 200), ({"authorization": "Bearer guess"}, 403),
        ({"authorization": f"Basic {TOKEN}"}, 403), ({"authorization": "Bearer \xff"}, 403),
        (bearer | {"host": "models.example"}, 200), ({"host": "192.168.1.5:8642"}, 403),
        ({"cookie": f"sparring-{PORT}={TOKEN}", "host": f"192.168.1.5:{PORT}"}, 200),
        ({"cookie": f"sparring-{PORT}={TOKEN}", "host": f"models.example:{PORT}"}, 403),
    ):  # fmt: skip
        assert client.send("POST", "/sample", GOOD, headers).status == status, headers
    assert client.send("GET", f"/?token={TOKEN}").status == 303
    assert client.get("/healthz").status == 200
    assert client.get("/metrics").status == 403
    assert client.send("GET", "/openapi.json", b"", bearer).json()["security"] == [{"token": []}]


def hostile_request(draw: random.Random) -> tuple[str, str, bytes, dict[str, str]]:
    """A random request, near enough to good ones to reach into the server."""
    noise = "".join(draw.choices(string.printable + "äß\u2028", k=draw.randrange(20)))

    def value(depth: int = 0) -> Any:
        if depth > 3 or draw.random() < 0.7:
            odd = [0, 1, 2, -1, 0.5, 1e300, 2**64, 10**400, None, True, "cat", "dog", "0", noise, "\ud800", {}, []]
            return draw.choice(odd)
        if draw.random() < 0.7:
            return [value(depth + 1) for _ in range(draw.randrange(4))]
        return {draw.choice(["hair", "age", noise]): value(depth + 1) for _ in range(2)}

    models = ["small", "points", "attributes", "translator", "words", "tables"]
    wanted: dict[str, Any] = {"model": draw.choice(models), "n": draw.randrange(1, 20)}
    wanted["format"] = draw.choice(["npz", "json"])
    fields = ["n", "seed", "labels", "truncation", "where", "format", "model", noise]
    wanted |= {draw.choice(fields): value() for _ in range(draw.choice([0, 0, 1, 2]))}
    if draw.random() < 0.1:
        columns, signs, values = (
            ["age", "sex", "moved", "married", noise],
            ["=", "<", ">=", "", noise],
            ["1", "x", noise],
        )
        wanted["where"] = draw.choice(columns) + draw.choice(signs) + draw.choice([*values, "", '"', "9" * 30, "NaT"])
    usual = json.dumps(wanted).encode()
    body = draw.choice([usual] * 9 + [b"", noise.encode(), draw.randbytes(50), json.dumps(value()).encode()])
    headers = {}
    if draw.random() < 0.05:
        headers["host"] = draw.choice(["", "evil.example", f"evil.example:{PORT}", "[::1", ":", "a:b:c"])
    if draw.random() < 0.05:
        headers[draw.choice(["origin", "sec-fetch-site", "authorization", "cookie", "content-length", "expect"])] = (
            draw.choice(["null", "\xff", "x" * 5000, "Bearer", "-1", "99999999", "1e3"])
        )
    paths = ["/sample"] * 8 + [
        "/translate",
        "/",
        "/models",
        "/models/small",
        "/metrics",
        "/openapi.json",
        "/healthz",
        "/x",
    ]
    query = draw.choice([""] * 5 + [f"?model={draw.choice(models)}&back={noise}", f"?{noise}={noise}", "?a" + "&" * 99])
    method = draw.choices(["POST", "GET", "HEAD", "PUT", "get"], [80, 15, 3, 1, 1])[0]
    return method, draw.choice(paths) + draw.choice([""] * 9 + ["/", noise]) + query, body, headers


def test_hostile_requests(client: Client) -> None:
    """None is answered with 500, and the memory stays."""
    draw = random.Random(0)
    statuses, grown = client.attack(lambda: hostile_request(draw), NUM_HOSTILE, check_headers)
    assert statuses.keys() == {200, 400, 403, 404, 405, 413}
    assert statuses[200] > NUM_HOSTILE / 10
    assert grown < LEAK_KILOBYTES


# What else it says


def test_models_are_described(client: Client) -> None:
    about = {each["name"]: each for each in client.get("/models").json()["models"]}
    assert about["small"]["labels"] == ["cat", "dog"]
    assert about["small"]["formats"] == ["png", "npz", "json", "jpg", "webp"]
    assert "wav" in about["sounds"]["formats"]
    assert about["attributes"]["attributes"][0] == {"name": "hair", "values": ["red", "black"]}
    assert (about["translator"]["translates"], about["translator"]["back"]) == ("images", True)
    assert about["words"]["formats"] == ["npz", "json", "tsv", "txt"]
    assert about["small"]["columns"] == []
    columns = {each.pop("name"): each for each in about["tables"]["columns"]}
    assert columns["sex"] == {"kind": "category", "values": ["female", "male"]}
    assert columns["age"]["low"] >= 0
    assert isinstance(columns["age"]["high"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00", columns["moved"]["low"])


def test_models_of_one_name_get_numbers(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "small", tmp_path / "small")
    assert [*Models([folder / "small", tmp_path / "small"], "pytorch")] == ["small", "small-2"]


def test_the_counters(folder: Path) -> None:
    client = make_client(folder / "small")
    client.post("/sample", {"n": 3})
    client.post("/sample", {"n": 0})
    client.get("/nowhere")
    lines = client.get("/metrics").content.decode().splitlines()
    assert all(re.fullmatch(r'# (HELP|TYPE) .*|\w+(\{(\w+="[^"]*",?)+\})? [\d.e+-]+', line) for line in lines)
    for line in (
        'requests_total{path="/sample",status="200"} 1', 'requests_total{path="/sample",status="400"} 1',
        'requests_total{path="other",status="404"} 1', 'samples_total{model="small"} 3', "batches_total 1",
        'request_seconds_count{path="/sample"} 2', 'request_seconds_bucket{path="/sample",le="+Inf"} 2',
        "batch_samples_total 3", "taken_requests 0",
    ):  # fmt: skip
        assert f"sparring_{line}" in lines


def test_the_document_names_every_address(client: Client) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        (method,) = operations
        statuses = {*operations[method]["responses"]}
        answer = client.send(method.upper(), path.replace("{name}", "small"), b"{}")
        assert str(answer.status) in statuses - {"404"}, path
    assert client.send("GET", "/no", b"").status == 404


def test_the_page_is_the_exported_one(small: Client, client: Client, folder: Path, tmp_path: Path) -> None:
    run_command("export", folder / "small", "--out", tmp_path / "small.html")
    answer, exported = small.get("/"), (tmp_path / "small.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", answer.content.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'wasm-unsafe-eval'" in answer.headers["content-security-policy"]
    (weights,) = re.findall(r'id="weights">(.*?)<', answer.content.decode())
    assert f'id="weights">{weights}<' in exported
    links = re.findall(r'href="([^"]+)"', client.get("/").content.decode())
    assert [client.get(link).status for link in links] == [200] * 7
    assert client.get("/models/small").content == answer.content


# Ends and replacements


def test_a_server_that_drains(folder: Path) -> None:
    client = make_client(folder / "small")
    service_of(client).is_draining = True
    answer = client.post("/sample", {})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert client.get("/healthz").status == 503


def test_broken_files_leave_the_model_as_it_is(folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(folder / "small", tmp_path / "small")
    client = make_client(path)
    model = service_of(client).models["small"]
    before = client.post("/sample", {"format": "npz"}).content
    model.refresh()
    assert model.num_loads == 1
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:100])
    model.refresh()
    assert "damaged" in client.get("/models").json()["models"][0]["problem"]
    assert client.post("/sample", {"format": "npz"}).content == before
    assert 'sparring_model_stale{model="small"} 1' in client.get("/metrics").content.decode()
    infinite = load(folder / "small")
    next(infinite.module.parameters()).data.fill_(torch.inf)
    infinite.save(path)
    model.refresh()
    assert "not finite" in model.problem
    make_generator(SMALL, seed=1).save(path)
    model.refresh()
    assert (model.num_loads, model.problem) == (2, "")
    assert client.post("/sample", {"format": "npz"}).content != before


def ask(port: int, body: bytes = b"{}", path: str = "/sample") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET" if path != "/sample" else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Iterator[tuple[Process, int, Path]]:
    """A process that serves a generator of its own, its port, and the generator's folder."""
    path = shutil.copytree(folder / "small", tmp_path / "small")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = Process("serve", str(path), "--port", str(port), "--engine", "pytorch", cwd=tmp_path)
    while True:
        try:
            ask(port, path="/healthz")
            break
        except ConnectionError:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
    yield process, port, path
    process.kill()


def test_sigterm_finishes_what_it_has_taken(served: tuple[Process, int, Path], tmp_path: Path) -> None:
    process, port, path = served
    body = b'{"n": 900, "format": "npz"}'
    with socket.create_connection(("127.0.0.1", port)) as taken:
        head = f"POST /sample HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(body)}\r\n\r\n"
        taken.sendall(head.encode() + body[:9])
        while b"sparring_taken_requests 1\n" not in ask(port, path="/metrics")[1]:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        while ask(port, path="/healthz")[0] == 200:
            time.sleep(0.01)
        assert ask(port)[0] == 503
        assert process.poll() is None
        taken.sendall(body[9:])
        answer = http.client.HTTPResponse(taken)
        answer.begin()
        content = answer.read()
    run_command("sample", path, "-n", 900, "--out", tmp_path / "all.npz")
    assert content == (tmp_path / "all.npz").read_bytes()
    process.communicate(60)
    assert process.returncode == 0


def test_a_new_generator_is_taken_up_without_a_lost_request(served: tuple[Process, int, Path]) -> None:
    process, port, path = served
    first, second = load(path), make_generator(SMALL, seed=1)
    known = [each.modality.to_bytes(each.sample(1), ".npz", each.config.label_arrays(each.random_labels(1)))
             for each in (first, second)]  # fmt: skip
    assert known[0] != known[1]
    found = list[int]()
    ends = threading.Event()

    def hammer() -> None:
        while not ends.is_set():
            status, content = ask(port, b'{"format": "npz"}')
            assert status == 200
            found.append(known.index(content))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    second.save(path)
    while found[-3:] != [1, 1, 1] and all(thread.is_alive() for thread in threads):
        time.sleep(0.02)
    ends.set()
    for thread in threads:
        thread.join()
    assert found[-3:] == [1, 1, 1]
    assert process.poll() is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_of_the_page_is_right(tmp_path: Path) -> None:
    """And its command is one that the parser takes."""
    text = (Path(__file__).parent.parent / "docs/serving.md").read_text(encoding="utf-8")
    (unit,) = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)
    (tmp_path / "sparring.service").write_text(unit.replace("/opt/sparring/bin/sparring", sys.executable))
    printed = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "sparring.service"], capture_output=True, text=True, timeout=60
    )
    assert "sparring.service" not in printed.stdout + printed.stderr
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*command.split(), "--help"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "at least one run"),
        (["nowhere"], "no generator"),
        (["small", "--engine", "fast"], "pytorch"),
        (["small", "--port", "70000"], "--port"),
        (["small", "--host", "256.1.1.1"], "--host"),
    ],
)
def test_bad_use(words: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["serve", *words])
    assert message in capsys.readouterr().err
