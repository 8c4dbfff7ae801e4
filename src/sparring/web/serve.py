"""Run the server of models, and end it without losing a request."""

import asyncio
import ipaddress
import os
import secrets
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sparring.errors import SparringWarning
from sparring.web.watch import HOST, check_installed, make_address, open_socket

TOKEN = "SPARRING_TOKEN"  # the variable that holds the token: other users can see a command's options
MAX_CONNECTIONS = 1000
LINGER_SECONDS = 10  # for answers that are made, but not read yet, after the server was ended
MAX_PIXELS = 2**24  # of a picture to translate


def serve(
    paths: Sequence[Path],
    host: str = HOST,
    port: int | None = None,
    engine: str = "auto",
    *,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
) -> int:
    """Answer requests until a signal ends it; then finish those that were taken.

    Args:
        paths: runs, checkpoints, generators' folders or their files.
        host: the address to listen on; other computers than this one need a token.
        port: None for a free one.
        engine: what computes: onnxruntime, pytorch, or auto for the former where it is installed.
        say: called with the address, and what is served.

    Returns:
        The exit code: 0, since a server is always ended on purpose.

    Raises:
        UsageError: if packages are missing, the port is taken, or a model cannot be loaded.
    """
    check_installed("sparring serve")
    import uvicorn
    from PIL import Image

    from sparring.web.endpoint import make_endpoint
    from sparring.web.models import Models
    from sparring.web.service import Service

    listener = open_socket(host, port)
    number = listener.getsockname()[1]
    token = os.environ.get(TOKEN) or (None if _is_own(host) else secrets.token_urlsafe(24))
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter("ignore", SparringWarning)  # of a request: it has nobody here to read it
    try:
        models = Models(paths, engine)
    except BaseException:
        listener.close()
        raise
    service = Service(models)

    class Server(uvicorn.Server):
        """Ends at a signal, once what was taken is answered; at a second one, at once."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.force_exit = service.is_draining
            service.is_draining = True
            loop = asyncio.get_running_loop()  # that of this thread: signals reach it between two steps
            loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(self.end())))

        async def end(self) -> None:
            await service.drain()
            self.should_exit = True

    config = uvicorn.Config(
        make_endpoint(service, token, host, number), ws="none", lifespan="off", access_log=False, log_level="warning",
        server_header=False, date_header=False, limit_concurrency=MAX_CONNECTIONS, backlog=MAX_CONNECTIONS,
        timeout_keep_alive=60, timeout_graceful_shutdown=LINGER_SECONDS,
    )  # fmt: skip
    server, tasks = Server(config), list[Any]()
    address = make_address(host, number)
    for model in models.values():
        about, note = model.current, f" ({model.current.note})" if model.current.note else ""
        say(f"{model.name}: {about.generator.modality.describe()}, by {about.engine}{note}")
    say(address if token is None else f"{address}/?token={token}" if TOKEN not in os.environ else address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        models.follow()
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
    return 0


def _is_own(host: str) -> bool:
    """Whether an address can be reached from this computer alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
