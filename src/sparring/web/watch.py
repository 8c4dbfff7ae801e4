"""Run the server of the live page: alone, or beside a training."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparring.errors import SparringWarning, UsageError, how_to_install

HOST, PORT = "127.0.0.1", 8642
NUM_PORTS = 20  # that are tried if the user gave none
GRACE_SECONDS = 3.0  # the server beside a training stays so long after its end, so that open pages get the last lines


def check_installed(what: str = "the live page") -> None:
    """A UsageError if the packages of the extra `web` are missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"{what} needs starlette and uvicorn ({error}): pip install 'sparring[web]', "
            f"which is {how_to_install('web')}"
        ) from error


def watch(
    roots: Sequence[Path],
    host: str = HOST,
    port: int | None = None,
    *,
    opens_browser: bool = True,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
    wait_for_end: Callable[[], None] | None = None,
) -> int:
    """Serve the live page until a signal ends it.

    Args:
        roots: runs, folders of runs, or studies; they need not exist yet.
        host: the address to listen on.
        port: None for a free one.
        opens_browser: open the page, if this machine has a screen.
        say: called with the address.
        wait_for_end: returns when the server should end; None if only a signal ends it.

    Returns:
        The exit code: 0, since a server is always ended on purpose.

    Raises:
        UsageError: if the packages are missing, or the port is taken.
    """
    check_installed()
    import uvicorn

    from sparring.web.reading import Runs
    from sparring.web.server import make_app

    listener = open_socket(host, port)
    number, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    app = make_app(Runs(roots), token, host, number)
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", access_log=False, log_level="warning",
        server_header=False, date_header=False, limit_concurrency=200, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    address = f"{make_address(host, number)}/?token="
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        say(address + token)
        if opens_browser and _has_screen():
            threading.Thread(target=webbrowser.open, args=[address + app.make_code()], daemon=True).start()
        if wait_for_end is not None:
            threading.Thread(target=_end_after, args=[wait_for_end, server], daemon=True).start()
        os.nice(5)  # trainings on the same cores come first
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
    return 0


def make_address(host: str, port: int) -> str:
    """Where browsers find a server, which may listen on all addresses of this machine."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"


@contextmanager
def watching(root: Path) -> Iterator[None]:
    """Serve the live page in a process of its own, print its address, and end it a little after the training."""
    check_installed()
    code = "from sparring.web.watch import watch_beside; watch_beside()"
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-c", code, str(root)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = process.stdout.readline().decode().strip()
    process.stdout.close()
    if address:
        print(f"the live page: {address}", flush=True)
    else:
        message = "the live page could not be started, and the training goes on without: try sparring watch"
        warnings.warn(SparringWarning(message), stacklevel=3)
    try:
        yield
    finally:
        process.stdin.close()  # which ends it
        if address:
            print(f"to open the page again: sparring watch {root}", flush=True)


def watch_beside() -> None:
    """What the process of `watching` runs: serve until the standard input ends, which it does however that ends."""
    import time

    def wait() -> None:
        sys.stdin.buffer.read()
        time.sleep(GRACE_SECONDS)

    def say(address: str) -> None:
        print(address, flush=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    sys.exit(watch([Path(sys.argv[1])], say=say, wait_for_end=wait))


def _end_after(wait: Callable[[], None], server: Any) -> None:
    wait()
    server.should_exit = True


def open_socket(host: str, port: int | None) -> socket.socket:
    """A socket on a port, or on the first free one."""
    if port is not None and not 0 <= port < 2**16:
        raise UsageError(f"--port must be between 0 and 65535, not {port}")
    try:
        family = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise UsageError(f"{host!r} is no address of this machine ({error.strerror}): give another --host") from error
    for number in [*range(PORT, PORT + NUM_PORTS), 0] if port is None else [port]:
        # Only of sockets that name TCP, asyncio sends small answers at once.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, number))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if port is not None:
                mend = "give another --port, or leave it away for a free one"
                raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}: {mend}") from error
        else:
            return listener
    raise UsageError(f"cannot listen on {host}: it is no address of this machine: give another --host")


def _has_screen() -> bool:
    """Whether a browser would open in a window: not over ssh, and not in the terminal."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
