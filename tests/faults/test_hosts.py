"""Two hosts, two processes each: two network namespaces with addresses of their own, and a link between them."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparring.training.run_folder import Run

from .conftest import Start, Started, end, train_together
from .test_kills import contents
from .test_processes import OPTIONS, STEPS, TORCHRUN

PORT = 29_533
KILLED_ONCE = """
import os, pathlib, signal
from sparring.game.game import Game
from sparring.cli.main import main
step, killed = Game.step, pathlib.Path("killed")
def disturbed(self, *args):
    if os.environ["RANK"] == "1" and self.steps == 70 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *args)
Game.step = disturbed
main()
"""
CUT_SECONDS = 5.0
"""The network is the thing under test here, and nothing tells when a silence was long enough."""


class Hosts:
    """Two namespaces, `ends[0]` and `ends[1]`, with the addresses 10.77.0.1 and 10.77.0.2."""

    def __init__(self) -> None:
        self.names = [f"sparring-{os.getpid()}-{number}" for number in (1, 2)]
        self.links = [f"sp{os.getpid() % 10_000}{end}" for end in "ab"]

    def make(self) -> None:
        """Raises CalledProcessError where this may not be done."""
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", self.links[0], "type", "veth", "peer", "name", self.links[1])
        for number, (name, link) in enumerate(zip(self.names, self.links, strict=True), 1):
            _ip("link", "set", link, "netns", name)
            _ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", link)
            for device in ("lo", link):
                _ip("-n", name, "link", "set", device, "up")

    def remove(self) -> None:
        """The link goes with its ends."""
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def set_link(self, state: str) -> None:
        """Of the second host: up or down."""
        _ip("-n", self.names[1], "link", "set", self.links[1], state)

    def torchrun(self, start: Start, number: int, processes: int, *command: str) -> Started:
        """The training's part on one host."""
        options = (
            "--nnodes=2", f"--nproc-per-node={processes}", "--max-restarts=2", "--rdzv-backend=c10d", "--rdzv-id=test",
            f"--rdzv-endpoint=10.77.0.1:{PORT}", f"--local-addr=10.77.0.{number + 1}",
            f"--rdzv-conf=is_host={number == 0}",
        )  # fmt: skip
        inside = ("ip", "netns", "exec", self.names[number], "env", f"GLOO_SOCKET_IFNAME={self.links[number]}")
        return start(*options, *command, code=TORCHRUN, prefix=inside)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` here, by which network namespaces are made")
    made = Hosts()
    try:
        made.make()
        yield made
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    finally:
        made.remove()


def steps_of(run: Path) -> int:
    log = run / "log.jsonl"
    return log.read_text().count("\n") * 10 if log.exists() else 0


def wait_for(run: Path, step: int, *processes: Started) -> None:
    """Until the log has come so far."""
    while steps_of(run) < step:
        assert all(process.poll() is None for process in processes), [end(process).stderr for process in processes]
        time.sleep(0.05)


@pytest.mark.slow
def test_a_host_is_cut_off_and_comes_back(hosts: Hosts, start: Start, tmp_path: Path) -> None:
    """What was sent is sent again: the bytes are those of four processes on one host, whom nothing disturbed."""
    both = [hosts.torchrun(start, number, 2, "-m", "sparring", *OPTIONS) for number in (0, 1)]
    wait_for(tmp_path / "run", 40, *both)
    hosts.set_link("down")
    time.sleep(CUT_SECONDS)
    stood_at = steps_of(tmp_path / "run")
    time.sleep(1.0)
    assert steps_of(tmp_path / "run") == stood_at < STEPS
    hosts.set_link("up")
    for process in both:
        ended = end(process)
        assert ended.returncode == 0, ended.stderr
    (tmp_path / "alone").mkdir()
    train_together(tmp_path / "alone", 4, *OPTIONS)
    assert contents(tmp_path / "run") == contents(tmp_path / "alone" / "run")
    assert Run(tmp_path / "run").summary().status == "finished"


@pytest.mark.slow
def test_a_process_of_the_second_host_dies(hosts: Hosts, start: Start, tmp_path: Path) -> None:
    """Both launchers start again, though only one of them counts it, and the first process finds its run."""
    (tmp_path / "killed_once.py").write_text(KILLED_ONCE)
    both = [hosts.torchrun(start, number, 1, "killed_once.py", *OPTIONS) for number in (0, 1)]
    for process in both:
        ended = end(process)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "killed").exists()
    (tmp_path / "alone").mkdir()
    train_together(tmp_path / "alone", 2, *OPTIONS)
    assert contents(tmp_path / "run") == contents(tmp_path / "alone" / "run")
