"""The command that opens the live page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sparring.cli.options import Flag, Number


@dataclass(frozen=True)
class WatchCommand:
    """Open the live page: trainings as they go on, finished ones, and comparisons. Ctrl-C ends it."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="[RUN...]", help_behavior_hint="")] = (Path("runs"),)
    """Runs, folders of runs, or studies; by default the folder runs. New runs in them appear by themselves."""
    port: Number = None  # The port; by default a free one, 8642 or the next.
    host: Annotated[str, arg(metavar="HOST")] = "127.0.0.1"
    """The address to listen on; 0.0.0.0 lets other computers in that know the token (docs/page.md)."""
    no_open: Flag = False
    """Don't open the browser."""

    def run(self, arguments: list[str]) -> int:
        """Serve the page until it is ended."""
        from sparring.web.watch import watch

        roots = self.runs or (Path("runs"),)
        for root in roots:
            if not root.exists():
                print(f"{root} does not exist yet: its runs appear on the page when they start", flush=True)

        def say(address: str) -> None:
            print(f"{address}\nCtrl-C ends the page; trainings go on without it", flush=True)

        return watch(roots, self.host, self.port, opens_browser=not self.no_open, say=say)
