"""Too little memory."""

from pathlib import Path

from sparring.training import checkpoint

from .conftest import Start, end

LITTLE = """
import resource, torch
from sparring.cli.main import main
from sparring.game.game import Game
step = Game.step
def limited(self, *args):
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**28, resource.RLIM_INFINITY))
    return step(self, *args)
Game.step = limited
main()
"""


def test_memory_does_not_suffice(start: Start, tmp_path: Path) -> None:
    """Fault 16: what to lower is named, and the last checkpoint stays."""
    ended = end(start("train", "--batch-size", "4096", "--steps", "5", "--out", "run", code=LITTLE))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    message = "memory does not suffice for step 1 of the network 'conv' with width 32 and batches of 4096: train with"
    assert message in ended.stderr
    assert checkpoint.load_latest(tmp_path / "run" / "checkpoints")[0].step == 0
