"""`sparring watch` and `sparring train --watch` as processes of their own: signals, ports, restarts, two clients."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import pytest
from pages import make_line, make_run
from warm import Process

T = TypeVar("T")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands in the test's folder, and kills at the end what still runs."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "sparring", *arguments]
        environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def read_address(process: subprocess.Popen[str]) -> SplitResult:
    """The address that a command prints."""
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            return urlsplit(line[line.index("http://") :].strip())
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())


class Browser:
    """A client that exchanged the token for a cookie."""

    def __init__(self, address: SplitResult) -> None:
        self.netloc = address.netloc
        self.headers: dict[str, str] = {}
        status, headers, _ = self.fetch(f"/?{address.query}")
        assert (status, headers["location"]) == (303, "/")
        self.headers = {"cookie": headers["set-cookie"].partition(";")[0]}

    def fetch(self, path: str) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.netloc, timeout=60)
        try:
            connection.request("GET", path, headers=self.headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        status, _, body = self.fetch(path)
        assert status == 200, body
        return json.loads(body)

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("/api/runs")["runs"]
        return found


def is_gone(browser: Browser) -> bool | None:
    """Whether the server has ended; None while it answers."""
    try:
        browser.fetch("/")
    except OSError:
        return True
    return None


def poll(ask: Callable[[], T | None], seconds: float = 120.0) -> T:
    """The first answer that is there, asked for as a page does."""
    end = time.monotonic() + seconds
    while (answer := ask()) is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    return answer


def follow(browser: Browser, run_id: str) -> list[int]:
    """The steps of a run's log, by asking for what is new until the training has ended."""
    steps, after = list[int](), ""

    def ask() -> bool | None:
        nonlocal after
        answer = browser.json(f"/api/runs/{run_id}/log?after={after}")
        after = answer["after"]
        steps.extend(line["step"] for line in answer["lines"])
        return None if answer["is_training"] else True

    poll(ask)
    return steps


def test_a_page_that_is_there_before_the_training_follows_it(start: Start, tmp_path: Path) -> None:
    server = start("watch", "--no-open")
    browsers = [Browser(address) for address in 2 * [read_address(server)]]
    assert browsers[0].runs() == []
    training = Process("train", "ring", "--steps", "300", "--set", "log_steps=10", "--width", "8", cwd=tmp_path)
    (run,) = poll(lambda: browsers[0].runs() or None)
    assert run["path"] == "runs/ring-1"
    steps = follow(browsers[0], run["id"])
    assert training.communicate()[1] == ""
    assert steps == [*range(10, 310, 10)] == follow(browsers[1], run["id"])
    assert poll(lambda: [run for run in browsers[1].runs() if run["status"] == "finished"] or None)
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=60)[1] == ""
    assert server.returncode == 0


def test_sigterm_ends_it_too(start: Start) -> None:
    server = start("watch", "--no-open")
    read_address(server)
    server.terminate()
    assert (server.wait(60), server.stderr.read() if server.stderr else "") == (0, "")


def test_killed_and_started_again_on_the_same_port(start: Start, tmp_path: Path) -> None:
    path = make_run(tmp_path / "runs" / "run")
    first = start("watch", "--no-open")
    address = read_address(first)
    browser = Browser(address)
    after = browser.json(f"/api/runs/{browser.runs()[0]['id']}/log")["after"]
    first.kill()
    first.wait()
    with (path / "log.jsonl").open("a") as file:
        file.write(json.dumps(make_line(5)) + "\n")
    again = read_address(start("watch", "--no-open", "--port", str(address.port)))
    assert again.port == address.port
    assert browser.fetch("/api/runs")[0] == 403  # each start has its own token
    browser = Browser(again)
    answer = browser.json(f"/api/runs/{browser.runs()[0]['id']}/log?after={after}")
    assert ([line["step"] for line in answer["lines"]], answer["reset"]) == ([5], False)


def test_a_busy_port(start: Start) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        refused = start("watch", "--no-open", "--port", str(busy.getsockname()[1]))
        _, errors = refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert "cannot listen on 127.0.0.1, port" in errors
    assert "give another --port" in errors
    ports = {read_address(start("watch", "--no-open")).port for _ in range(2)}
    assert len(ports) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port must be between 0 and 65535"),
        (["--host", "no.such.host.invalid"], "is no address of this machine"),
        (["--host", "203.0.113.7"], "give another --host"),
    ],
)
def test_bad_use(arguments: list[str], message: str, start: Start) -> None:
    refused = start("watch", "--no-open", *arguments)
    _, errors = refused.communicate(timeout=60)
    assert (refused.returncode, message in errors) == (2, True), errors


def test_a_training_with_its_page(start: Start, tmp_path: Path) -> None:
    training = start("train", "ring", "--minutes", "0.08", "--width", "8", "--watch", "--out", "run")
    browser = Browser(read_address(training))
    run = poll(lambda: next((run for run in browser.runs() if run["is_training"]), None))
    assert run["name"] == "run"
    steps = follow(browser, run["id"])
    assert steps == sorted(steps)
    assert len(browser.json(f"/api/runs/{run['id']}/frames")["steps"]) >= 2
    output, errors = training.communicate(timeout=60)
    assert (training.returncode, errors) == (0, "")
    assert output.rstrip().endswith("to open the page again: sparring watch run")

    poll(lambda: is_gone(browser))  # a little after the training
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_the_page_of_a_killed_training_goes(start: Start) -> None:
    training = start("train", "ring", "--minutes", "5", "--width", "8", "--watch", "--out", "run")
    browser = Browser(read_address(training))
    poll(lambda: next((run for run in browser.runs() if run["is_training"]), None))
    training.kill()

    poll(lambda: is_gone(browser))


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_without_the_extra_the_mend_is_named(tmp_path: Path) -> None:
    for command in (["watch"], ["train", "ring", "--watch"]):
        code = f"import sys; sys.modules['uvicorn'] = None; from sparring.cli.main import main; main({command})"
        done = run_python(code, tmp_path)
        assert done.returncode == 2
        assert "pip install 'sparring[web]'" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_plain_training_imports_nothing_of_the_page_and_the_page_no_torch(tmp_path: Path) -> None:
    main = "from contextlib import suppress; from sparring.cli.main import main"
    training = f"{main}\nwith suppress(SystemExit): main(['train', 'ring', '--steps', '1', '--width', '2'])"
    cases = {training: ["starlette", "uvicorn", "sparring.web"], "import sparring": ["starlette", "uvicorn"]}
    cases["import sparring.web.watch, sparring.web.server"] = ["torch"]
    for code, unwanted in cases.items():
        done = run_python(f"{code}\nimport sys; print([each for each in {unwanted} if each in sys.modules])", tmp_path)
        assert done.stdout.splitlines()[-1] == "[]", done.stderr
