"""The service over HTTP: samples and translations for programs, a page for people."""

import asyncio
import base64
import hashlib
import io
import json
import mimetypes
import re
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from sparring.errors import SparringError, UnknownNameError
from sparring.modalities.modality import Modality
from sparring.web.batching import FullError
from sparring.web.guard import App, Guard
from sparring.web.models import Model
from sparring.web.openapi import describe_service
from sparring.web.reading import parse_object
from sparring.web.server import RefusedError
from sparring.web.service import Service

MAX_BODY, MAX_FILE = 2**16, 2**23  # bytes of a request, and of a file to translate
MAX_UNPACKED = 2**26  # bytes in a compressed file to translate
MAX_SAMPLES, MAX_NUMBERS = 1024, 2**21  # in an answer, and the numbers in them; one sample is never too many
MAX_TRANSLATED = 2**23  # numbers in what is translated at once
MAX_TRUNCATION = 1000
MAX_TEXT = 1000  # characters of a label
BODY_SECONDS = 20.0  # a request's body may take so long to arrive
FORMATS = "png", "npz", "json", "wav", "jpg", "webp", "csv", "tsv", "txt"
KINDS = {"npz": "application/octet-stream", "wav": "audio/wav", "tsv": "text/tab-separated-values; charset=utf-8"}
OPEN_PATHS = {"/healthz"}
NO_MODEL = "<p>It draws nothing here: see <code>/openapi.json</code> for what it does.</p>"
PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>sparring</title><h1>{title}</h1>{body}</html>"
)


def make_endpoint(service: Service, token: str | None, host: str, port: int) -> App:
    """The service as an ASGI application.

    Args:
        service: what it offers.
        token: the secret that requests must know; None if those of this machine's programs need none.
        host: the address that it listens on.
        port: its port.
    """

    async def sample(request: Request) -> Response:
        with service.taking():
            return await _sample(service, request)

    async def translate(request: Request) -> Response:
        with service.taking(), service.working_long():
            return await _translate(service, request)

    async def list_models(request: Request) -> Response:
        return _json({"models": [_describe(model) for model in service.models.values()]})

    def page(request: Request) -> Response:
        name = request.path_params.get("name")
        if name is None and len(service.models) > 1:
            links = (f'<li><a href="/models/{quote(each, safe="")}">{escape(each)}</a></li>' for each in service.models)
            return HTMLResponse(PAGE.format(title="sparring", body=f"<ul>{''.join(links)}</ul>"))
        return _show(_find(service, name))

    async def health(request: Request) -> Response:
        if service.is_draining:
            return _json({"status": "draining"}, 503)
        return _json({"status": "ok"})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(request: Request) -> Response:
        return _json(describe_service(list(service.models), FORMATS, with_token=token is not None))

    routes: list[tuple[str, Callable[..., Any], str]] = [
        ("/sample", sample, "POST"),
        ("/translate", translate, "POST"),
        ("/models", list_models, "GET"),
        ("/models/{name}", page, "GET"),
        ("/healthz", health, "GET"),
        ("/metrics", metrics, "GET"),
        ("/openapi.json", openapi, "GET"),
        ("/", page, "GET"),
    ]
    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes],
        exception_handlers={
            SparringError: lambda request, error: _error(400, str(error)),
            RefusedError: lambda request, error: _error(getattr(error, "status", 400), str(error)),
            FullError: lambda request, error: _error(429, "too many requests are waiting: try again in a moment"),
            404: lambda request, error: _error(404, "there is no such address: see /openapi.json"),
            405: lambda request, error: _error(405, "this address takes no such request: see /openapi.json"),
            ClientDisconnect: lambda request, error: _error(400, "the request ended early"),
            TimeoutError: lambda request, error: _error(408, "the request took too long to arrive"),
        },
    )
    app.router.redirect_slashes = False
    return service.counting(Guard(app, token, host, port, OPEN_PATHS), {path for path, _, _ in routes})


async def _sample(service: Service, request: Request) -> Response:
    async with asyncio.timeout(BODY_SECONDS):
        body = await _read_body(request, MAX_BODY)
    wanted = parse_object(body)
    if not wanted and body.strip() not in (b"", b"{}"):
        raise RefusedError(400, "the request must be a JSON object")
    if unknown := wanted.keys() - {"model", "n", "seed", "labels", "truncation", "where", "format"}:
        raise RefusedError(400, f"unknown field {_shorten(min(unknown))!r}: see /openapi.json")
    model = _find(service, wanted.get("model"))
    version = model.current
    generator, modality = version.generator, version.generator.modality
    n, seed, truncation = wanted.get("n", 1), wanted.get("seed", 0), wanted.get("truncation")
    numbers = int(np.prod(modality.item_shape))
    most = max(1, min(MAX_SAMPLES, MAX_NUMBERS // numbers))
    if type(n) is not int or not 1 <= n <= most:
        raise RefusedError(400, f"n must be a whole number from 1 to {most}")
    if type(seed) is not int:
        raise RefusedError(400, "seed must be a whole number from 0 to 2**64 - 1")
    if truncation is not None and (type(truncation) not in (int, float) or not 0 < truncation <= MAX_TRUNCATION):
        raise RefusedError(400, f"truncation must be a number above 0, and at most {MAX_TRUNCATION}")
    if (where := wanted.get("where")) is not None and not (isinstance(where, str) and 0 < len(where) <= MAX_TEXT):
        raise RefusedError(400, f'where must be conditions such as "age>40", of at most {MAX_TEXT:,} characters')
    form = _check_format(wanted.get("format"), modality, modality.sample_file)
    asked = _check_labels(wanted.get("labels"))
    content: bytes
    if where is None:
        latents, labels = generator.latents(n, seed, truncation), generator.random_labels(n, seed, asked)
        named = generator.config.label_arrays(labels)
        content = await service.batcher.ask(
            version.sampler,
            [each for each in (latents, labels) if each is not None],
            lambda items: modality.to_bytes(items, f".{form}", named),
            numbers,
            waits=False,
        )
    else:  # it may take a thousand times as many samples as are sent
        with service.working_long():
            choose = partial(version.fast.sample, n, seed, labels=asked, truncation=truncation, where=where)
            content = await run_in_threadpool(lambda: modality.to_bytes(choose(), f".{form}"))
    service.num_samples[model.name] += n
    return _file(content, form)


async def _translate(service: Service, request: Request) -> Response:
    query = request.query_params
    version = _find(service, query.get("model")).current
    is_back = query.get("back", "false")
    if is_back not in ("true", "false"):
        raise RefusedError(400, "back must be true or false")
    given, made = version.generator.domains(back=is_back == "true")
    form = _check_format(query.get("format"), made, given.to_translate[1], without="json")
    async with asyncio.timeout(BODY_SECONDS):
        body = await _read_body(request, MAX_FILE)
    maker, loop = version.translators[is_back == "true"], asyncio.get_running_loop()

    def compute(items: np.ndarray) -> np.ndarray:
        if items.size > MAX_TRANSLATED:
            raise RefusedError(413, "too much at once: translate it in parts")
        numbers = int(np.prod(made.item_shape))
        asked = service.batcher.ask(maker, [torch.from_numpy(items)], lambda made: made, numbers, waits=True)
        answer: np.ndarray = asyncio.run_coroutine_threadsafe(asked, loop).result()
        return answer

    def answer() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / f"items{_ending(body, given)}", Path(folder) / f"translated.{form}"
            path.write_bytes(body)
            try:
                given.translate_files(path, out, compute, made)
            except SparringError as error:
                raise RefusedError(400, str(error).replace(str(path), "the file")) from error
            return out.read_bytes()

    return _file(await run_in_threadpool(answer), form)


async def _read_body(request: Request, most: int) -> bytes:
    """The body of a request; a RefusedError if it is too long."""
    too_long = RefusedError(413, f"a request has at most {most:,} bytes")
    length = request.headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:10]) > most:
        raise too_long
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise too_long
    return bytes(body)


def _find(service: Service, name: object) -> Model:
    """The model that a request names; it need not where there is only one."""
    if name is None and len(service.models) == 1:
        return next(iter(service.models.values()))
    if not isinstance(name, str) or name not in service.models:
        known = ", ".join(service.models)
        raise RefusedError(404 if isinstance(name, str) else 400, f"give one of these models: {known}")
    return service.models[name]


def formats_of(modality: Modality) -> list[str]:
    """What samples can be sent as."""

    def fits(form: str) -> bool:
        try:
            modality.check_path(Path(f"samples.{form}"))
        except SparringError:
            return False
        return True

    return [form for form in FORMATS if form == "json" or fits(form)]


def _check_format(form: object, modality: Modality, usual: str, without: str = "") -> str:
    """The format that a request asks for, or the usual one."""
    if form is None:
        return Path(usual).suffix[1:]
    known = [each for each in formats_of(modality) if each != without]
    if not isinstance(form, str) or form not in known:
        raise RefusedError(400, str(UnknownNameError("format", _shorten(form), known)))
    return form


def _check_labels(labels: object) -> Any:
    """Labels as JSON gives them: a name, a number or an object of attributes, for all samples or for each."""
    if labels is None:
        return None

    def is_value(value: object) -> bool:
        is_short = isinstance(value, str) and len(value) <= MAX_TEXT
        return is_short or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30)

    for label in labels if isinstance(labels, list) else [labels]:
        values = [*label, *label.values()] if isinstance(label, dict) else [label]
        if not all(map(is_value, values)):
            raise RefusedError(400, "labels must be a name, a number or an object of attributes, or a list of them")
    return labels


def _ending(body: bytes, given: Modality) -> str:
    """The ending that a file to translate would have; arrays are told by their first bytes, and not unpacked yet."""
    if body[:4] != b"PK\x03\x04":
        return Path(given.to_translate[0]).suffix or (min(given.kind.endings) if given.kind is not None else ".npz")
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RefusedError(400, f"the file is damaged: {error}") from error
    if unpacked > MAX_UNPACKED:
        raise RefusedError(413, f"the file would unpack to over {MAX_UNPACKED:,} bytes")
    return ".npz"


def _describe(model: Model) -> dict[str, Any]:
    """What a program must know to ask for samples."""
    config, modality = model.current.generator.config, model.current.generator.modality
    about = {
        "name": model.name,
        "makes": modality.name,
        "item": modality.describe(),
        "engine": model.current.engine,
        "loads": model.num_loads,
        "problem": model.problem,
    }
    if config.source is not None:
        both = {"back": config.both_ways}
        return about | {"translates": config.source.name, **both, "formats": [*formats_of(modality)]}
    attributes = [
        {"name": each.name} | ({"values": each.values} if each.values else {"low": each.low, "high": each.high})
        for each in config.attributes
    ]
    return about | {
        "translates": None,
        "labels": [*config.known_labels],
        "attributes": attributes,
        "columns": modality.choices,
        "truncates": config.prior == "gaussian",
        "formats": formats_of(modality),
    }


def _show(model: Model) -> Response:
    """The page of a model, and the policy by which it runs its own script alone."""
    page = model.current.page
    if not page:
        title = escape(f"{model.name}: {model.current.generator.modality.name}")
        return HTMLResponse(PAGE.format(title=title, body=NO_MODEL))
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}' 'wasm-unsafe-eval'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return HTMLResponse(page, headers={"content-security-policy": policy})


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value).encode(), status, media_type="application/json")


def _error(status: int, message: str) -> Response:
    response = _json({"error": message}, status)
    if status in (429, 503):
        response.headers["retry-after"] = "1"
    return response


def _file(content: bytes, form: str) -> Response:
    return Response(content, media_type=KINDS.get(form) or mimetypes.guess_type(f"file.{form}")[0])


def _shorten(value: object) -> str:
    return str(value)[:MAX_TEXT]
