"""A generator for other people: a folder with its model card, or the same on the Hugging Face hub."""

import json
import math
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sparring.errors import UsageError
from sparring.evaluation.card import Card, Row
from sparring.files import read_json, write_atomically, write_json
from sparring.generator import hub
from sparring.generator.export.to_html import build_html
from sparring.generator.generator import Generator, load
from sparring.modalities import SOURCES
from sparring.networks import BUILT_IN
from sparring.training.run_folder import Run, find_run, licence_of
from sparring.types import Estimate
from sparring.web.page import FOLDER

FILES = (*hub.FILES, "card.json", "samples.png", "index.html", "README.md")
"""All that a shared folder can hold; the last one is the model card."""
MAX_CLASSES = 20  # that the card names


def share(path: Path, repository: str, licence: str | None = None) -> str:
    """Push a generator to the hub in one commit, and return the commit.

    The repository is made if there is none. Files in it that sparring does not write stay.

    Args:
        path: a run, its `best/`, a checkpoint, or a generator's folder.
        repository: owner/name.
        licence: of the weights; None if it is not stated.

    Raises:
        UsageError: without the extra `hub` or a token, for a name or a token that the hub refuses, if there is no
            generator, or if the hub cannot be reached. What was uploaded before is not uploaded again.
    """
    repository, at = repository.removeprefix(hub.PREFIX).partition("@")[::2]
    hub.parse_address(repository)
    if at:
        raise UsageError(f"sharing makes a new revision: leave @{at} away")
    client = hub.open_hub()
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelCard, get_token

    if get_token() is None:
        raise UsageError("the hub must know who you are: log in by `hf auth login`, or set HF_TOKEN")
    with TemporaryDirectory(prefix="sparring-share-") as temporary:
        folder = Path(temporary) / repository.rpartition("/")[2]
        write_shared(path, folder, hub.PREFIX + repository, licence)
        with hub.explain_hub_errors(repository):
            ModelCard.load(folder / "README.md").validate()  # else there would be an empty repository
            client.create_repo(repository, exist_ok=True)
            gone = {*client.list_repo_files(repository)} & {*FILES} - {each.name for each in folder.iterdir()}
            commit = client.create_commit(
                repository,
                [
                    *(CommitOperationAdd(each.name, each) for each in sorted(folder.iterdir())),
                    *(CommitOperationDelete(name) for name in sorted(gone)),
                ],
                commit_message="A generator trained by sparring",
            )
    return str(commit.oid)


def write_shared(path: Path, folder: Path, address: str | None = None, licence: str | None = None) -> None:
    """Write a generator's two files, metric card, picture of samples, page and model card into a folder.

    No file names a folder of this machine.

    Args:
        path: a run, its `best/`, a checkpoint, or a generator's folder.
        folder: a new or an empty one, or one that this function wrote before, which is replaced as a whole.
        address: what to give `sparring.load`; None for the folder.
        licence: of the weights; None if it is not stated.

    Raises:
        UsageError: if there is no generator, its weights are not finite, or the folder holds other files or cannot be
            written.

    Example:
        >>> import tempfile, sparring
        >>> folder = Path(tempfile.mkdtemp())
        >>> run = sparring.train("ring", steps=5, width=4, out=folder / "run")
        >>> write_shared(run.path, folder / "ring")
        >>> sorted(each.name for each in (folder / "ring").iterdir())
        ['README.md', 'config.json', 'index.html', 'model.safetensors', 'samples.png']
    """
    folder = folder.expanduser().resolve()
    _check_replaceable(folder)
    generator, measured = load(path), path.expanduser() / "card.json"
    if not generator.is_finite():
        raise UsageError("the generator's weights are not finite: its training diverged. Try the run's best/, if any")
    card = read_json(measured, Card) if measured.is_file() else None
    if card is not None:
        card = replace(card, data=_without_folders(card.data))
    shared = _Shared(folder.name, address or folder.name, generator, find_run(path), card, licence)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder, shared.fill)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror or error}: make room, or share elsewhere") from error


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder with anything that sharing did not write."""
    if not folder.exists():
        return
    others = sorted({each.name for each in folder.iterdir()} - {*FILES}) if folder.is_dir() else [folder.name]
    if others or (any(folder.iterdir()) and not _is_shared(folder)):
        what = f"holds {others[0]!r}" if others else "was not made by sparring share"
        raise UsageError(f"{folder} {what}: give another --to, so that nothing of yours is replaced")


def _is_shared(folder: Path) -> bool:
    """Whether its model card says that sparring made it."""
    readme = folder / "README.md"
    return readme.is_file() and b"library_name: sparring" in readme.read_bytes()[:100]


@dataclass(frozen=True)
class _Shared:
    """What is told of a generator."""

    title: str
    address: str  # what to give `sparring.load`
    generator: Generator
    run: Run | None
    card: Card | None
    licence: str | None

    def fill(self, folder: Path) -> None:
        """Write all files into a new folder."""
        self.generator.save(folder)
        if self.card is not None:
            write_json(folder / "card.json", asdict(self.card))
        about_samples = self.draw(folder / "samples.png")
        licence = self.licence or licence_of(self.run)
        with suppress(UsageError):  # it translates, or has a network of its own kind
            page = build_html(self.generator, name=self.title, licence=licence)
            (folder / "index.html").write_text(page, encoding="utf-8")
        text = self.tell(about_samples, has_page=(folder / "index.html").exists())
        (folder / "README.md").write_bytes(text.encode("utf-8", "replace"))

    def draw(self, path: Path) -> str:
        """Draw samples, and say what they are; nothing if there are none."""
        modality = self.generator.modality
        if self.generator.config.source is None:
            modality.picture(self.generator.sample(modality.num_shown)).save(path)
            return f"{modality.num_shown:,} samples of seed 0, not chosen."
        drawn = {} if self.run is None else self.run.sample_paths()
        if not drawn:
            return ""
        shutil.copyfile(drawn[max(drawn)], path)
        return f"What went in and what came out at step {max(drawn):,} of the training, not chosen."

    def tell(self, about_samples: str, *, has_page: bool) -> str:
        """The model card, as Markdown under a head that the hub reads."""
        config, run, card = self.generator.config, self.run, self.card
        file = None if run is None else run.recipe_file()
        recipe = {} if file is None else {name: _without_folders(value) for name, value in asdict(file.recipe).items()}
        data = recipe.get("data", "unknown") if card is None else card.data
        environment = Environment(
            loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )  # Markdown, and not HTML
        environment.filters |= {
            "count": "{:,.0f}".format,
            "json": lambda value: json.dumps(value, ensure_ascii=False),
            "number": lambda value: np.format_float_positional(value, 6, unique=False, fractional=False, trim="0"),
            "text": lambda value: re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(str(value).split())),
            "words": lambda name: name.replace("_", " "),
        }
        return environment.get_template("model-card.md").render(
            title=self.title,
            address=self.address,
            is_on_hub=self.address.startswith(hub.PREFIX),
            modality=config.modality,
            source=config.source,
            task=config.modality.tasks[config.source is not None],
            classes=list(config.known_labels)[:MAX_CLASSES],
            is_own=config.network not in BUILT_IN,
            has_page=has_page,
            about_samples=about_samples,
            licence=self.licence or "not stated",
            licence_id=_licence_id(self.licence),
            data=data,
            data_source=SOURCES[data].source if data in SOURCES else "",
            card=card,
            figures={} if card is None else _finite(card),
            recipe=recipe,
            settings=json.dumps(recipe, indent=2, ensure_ascii=False),
            summary=None if run is None else run.summary(),
            is_measured=run is not None and any("evaluation" in line for line in run.log()),
            file=file,
        )


def _finite(card: Card) -> dict[str, Row]:
    """The figures and floors that are numbers in YAML."""

    def is_finite(estimate: Estimate | None) -> bool:
        return estimate is not None and all(map(math.isfinite, astuple(estimate)))

    rows = {name: row for name, row in card.figures.items() if is_finite(row.generated)}
    return {name: row if is_finite(row.floor) else replace(row, floor=None) for name, row in rows.items()}


def _licence_id(licence: str | None) -> str:
    """What the hub calls a licence: "other" if it is a sentence, "unknown" if there is none."""
    if licence is None:
        return "unknown"
    return licence.lower() if re.fullmatch(r"[\w.-]+", licence, re.ASCII) else "other"


def _without_folders(value: Any) -> Any:
    """The last name of a path; other values as they are."""
    return Path(value).name if isinstance(value, str) else value
