"""The live page over HTTP: the page itself, and what it asks for, as JSON.

The training writes and this program reads: they share nothing but the run's folder. The page and the list of runs need
no PyTorch: the first request for more imports it.
"""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sparring.errors import SparringError
from sparring.web.found import FoundRun, NotFoundError
from sparring.web.guard import Guard
from sparring.web.reading import Runs

T = TypeVar("T")

IN_FRAME = {
    "x-frame-options": "SAMEORIGIN",
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
}
"""Headers of what the page shows in a frame."""
BUSY = 4  # requests to the generators that may wait or run


class RefusedError(Exception):
    """A request that cannot be answered.

    Args:
        status: the HTTP status.
        message: a sentence for the user.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(runs: Runs, token: str, host: str, port: int) -> Guard:
    """The server as an ASGI application.

    Args:
        runs: what it shows.
        token: the secret in the address.
        host: the address that it listens on.
        port: its port.
    """
    generators = Generators(runs)

    def show_page(request: Request) -> Response:
        page, policy = _build_page()
        return HTMLResponse(page, headers={"content-security-policy": policy})

    def list_runs(request: Request) -> Response:
        return JSONResponse({"runs": runs.list_runs()})

    def meta(request: Request) -> Response:
        from sparring.web.page import describe_numbers

        return JSONResponse(describe_numbers())

    def describe(request: Request) -> Response:
        from sparring.web.explore import describe_run

        return JSONResponse(describe_run(runs, _run_of(request)))

    def log(request: Request) -> Response:
        after = request.query_params.get("after", "")
        return Response(runs.log(_run_of(request), after), media_type="application/json")

    def frames(request: Request) -> Response:
        return JSONResponse(runs.frames(_run_of(request)))

    def frame(request: Request) -> Response:
        return JSONResponse(runs.frame(_run_of(request), _count(request.path_params["step"], "step")))

    def thumbnail(request: Request) -> Response:
        return Response(runs.thumbnail(_run_of(request)), media_type="image/webp")

    def nearest(request: Request) -> Response:
        run, query = _run_of(request), request.query_params
        step, index = (_count(query.get(name, ""), name) for name in ("step", "index"))
        return JSONResponse(generators.ask(lambda explorer: explorer.nearest(run, step, index)))

    def explorer(request: Request) -> Response:
        run = _run_of(request)
        try:
            page = generators.ask(lambda explorer: explorer.build_page(run))
        except (SparringError, NotFoundError) as error:
            return PlainTextResponse(f"No samples can be drawn here: {error}.", 404, headers=IN_FRAME)
        return HTMLResponse(page, headers=IN_FRAME)

    def _run_of(request: Request) -> FoundRun:
        return runs.get(request.path_params["run"])

    routes: list[tuple[str, Callable[..., Any], str]] = [
        ("/", show_page, "GET"),
        ("/api/meta", meta, "GET"),
        ("/api/runs", list_runs, "GET"),
        ("/api/runs/{run}", describe, "GET"),
        ("/api/runs/{run}/log", log, "GET"),
        ("/api/runs/{run}/frames", frames, "GET"),
        ("/api/runs/{run}/frames/{step}", frame, "GET"),
        ("/api/runs/{run}/thumbnail", thumbnail, "GET"),
        ("/api/runs/{run}/nearest", nearest, "GET"),
        ("/api/runs/{run}/explorer", explorer, "GET"),
    ]
    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes],
        exception_handlers={
            NotFoundError: lambda request, error: _error(404, str(error)),
            SparringError: lambda request, error: _error(404, str(error)),
            RefusedError: lambda request, error: _error(getattr(error, "status", 400), str(error)),
            404: lambda request, error: _error(404, "there is no such page"),
            405: lambda request, error: _error(405, "this address takes no such request"),
            OSError: lambda request, error: _error(404, "a file of this run cannot be read now"),
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, token, host, port)


class Generators:
    """Answers what needs a generator, one request after the other in one thread.

    Args:
        runs: where the generators are.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._waiting = threading.BoundedSemaphore(BUSY)
        self._turn = threading.Lock()
        self._explorer: Any = None

    def ask(self, question: Callable[[Any], T]) -> T:
        """The answer of the `Explorer`; a RefusedError if too many are waiting."""
        if not self._waiting.acquire(blocking=False):
            raise RefusedError(429, "the server is still busy with earlier requests: try again in a moment")
        try:
            with self._turn:
                if self._explorer is None:
                    import torch

                    from sparring.web.explore import Explorer

                    torch.set_num_threads(1)  # beside a training on the same cores
                    self._explorer = Explorer(self._runs)
                return question(self._explorer)
        finally:
            self._waiting.release()


@cache
def _build_page() -> tuple[str, str]:
    """The page and its policy."""
    from sparring.web.page import build_page, policy_of

    return build_page(), f"{policy_of()}; frame-ancestors 'none'"


def _count(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise RefusedError(400, f"{name} must be a whole number")
    return int(text)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message.encode("utf-8", "replace").decode()}, status)  # not all of JSON's texts are
