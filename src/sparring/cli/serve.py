"""The command that serves generators over HTTP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sparring.cli.options import Number, Plugin, option


@dataclass(frozen=True)
class ServeCommand:
    """Answer requests for samples over HTTP (docs/serving.md). Ctrl-C finishes what was asked, and ends it."""

    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="")]
    """Runs, checkpoints, or generators' folders. A generator that is replaced on the disk is taken up."""
    port: Number = None  # The port; by default a free one, 8642 or the next.
    host: Annotated[str, arg(metavar="HOST")] = "127.0.0.1"
    """The address to listen on. Other computers need a token: that in $SPARRING_TOKEN, or the one that is printed."""
    engine: Annotated[str, option("{auto,onnxruntime,pytorch}")] = "auto"
    """What computes: onnxruntime where the extra `export` is installed, which is faster, or PyTorch."""
    plugin: Plugin = None  # The Python file that registers the parts of their recipes, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Serve until it is ended."""
        from sparring.web.serve import serve

        return serve(self.runs, self.host, self.port, self.engine)
