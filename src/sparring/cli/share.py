"""The command `sparring share`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from sparring.cli.options import Plugin, RunFolder, option
from sparring.errors import UsageError


@dataclass(frozen=True)
class ShareCommand:
    """Push a generator with its model card to the Hugging Face hub, or write the same into a folder."""

    path: RunFolder  # The run's folder, best/, a checkpoint's, or a generator's.
    repository: Annotated[Positional[str], arg(metavar="[OWNER/NAME]", help_behavior_hint="")] = ""
    """The repository on the hub; it is made, for everybody to see, if there is none."""
    to: Annotated[Path | None, option("FOLDER")] = None
    """Write a folder instead; one that sparring share wrote before is replaced."""
    licence: Annotated[str | None, option("NAME")] = None  # The licence of the weights, such as mit or cc-by-sa-4.0.
    plugin: Plugin = None  # The Python file that registers the parts of its recipe, if they are yours.

    def run(self, arguments: list[str]) -> int:
        """Share the generator, and print how to load it."""
        import shlex

        from sparring.generator.generator import load
        from sparring.generator.hub import PREFIX
        from sparring.web.share import share, write_shared

        if bool(self.repository) == (self.to is not None):
            raise UsageError("share with the hub (OWNER/NAME) or into a folder (--to FOLDER): give one of them")
        if self.to is not None:
            write_shared(self.path, self.to, licence=self.licence)
            address = str(self.to)
        else:
            commit = share(self.path, self.repository, self.licence)
            address = f"{PREFIX}{self.repository.removeprefix(PREFIX)}@{commit}"
        config = load(self.path).config
        print(f"shared as {address}")
        if not (self.path / "card.json").is_file():
            print(
                f"  measure sparring evaluate {shlex.quote(str(self.path))}, and share again: the card has no figures"
            )
        if config.source is None:
            print(f"  sample  sparring sample {shlex.quote(address)} -n 64 --out {config.modality.sample_file}")
        print(f"  python  sparring.load({address!r})")
        return 0
