"""The part of a modality that people see: pictures of items, and drawings of a game while it is played."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import Module

from sparring.errors import UsageError
from sparring.game.game import Game, Report
from sparring.game.sources import Source
from sparring.modalities import output
from sparring.modalities.output import Html
from sparring.types import Labels, Samples

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Scene:
    """A game at one of its steps, both networks in evaluation mode, and the samples that are shown of it."""

    game: Game
    generator: Module  # the averaged one
    samples: Samples  # of the averaged generator, as the networks see them
    labels: Labels | None  # theirs, as the discriminator takes them


class GameView(ABC):
    """Draws more of a game than pictures of its samples, for one training."""

    name: ClassVar[str]  # of what `draw` gives, in the files of frames

    @abstractmethod
    def data(self) -> dict[str, Any]:
        """What does not change during a training, ready for JSON."""

    @abstractmethod
    def draw(self, scene: Scene, *, is_deep: bool) -> dict[str, Any]:
        """The game at one step, ready for JSON; a deep drawing shows what takes long as well."""

    @abstractmethod
    def begin_lesson(self, game: Game, real: Samples, labels: Labels | None) -> Any:
        """What `end_lesson` must know of the game before an iteration, None if it can draw none.

        Args:
            game: before the iteration; both networks are in evaluation mode.
            real: the iteration's batch, the one of the discriminator's last update.
            labels: of the batch.
        """

    @abstractmethod
    def end_lesson(self, game: Game, begun: Any, report: Report) -> dict[str, Any]:
        """The iteration step by step, ready for JSON.

        Args:
            game: after the iteration; both networks are in evaluation mode.
            begun: what `begin_lesson` returned.
            report: of the iteration.
        """


class Drawing(ABC):
    """How items of a modality are shown."""

    sample_file: ClassVar[str] = "grid.png"  # what people would have `sparring sample` write first
    num_shown: ClassVar[int] = 20  # items that notebooks and reports `show`
    tasks: ClassVar[tuple[str, str]] = "other", "other"  # what the hub calls making items of noise, and translating
    shown_as: ClassVar[str] = "image"  # how a page shows an item: an image, a sound, a table, or points of a plane

    @abstractmethod
    def describe(self) -> str:
        """The shape of an item in words, such as "28×28 px, grey"."""

    @abstractmethod
    def decode(self, samples: Tensor) -> np.ndarray:
        """Items of samples [n, *item_shape]."""

    @abstractmethod
    def num_pictured(self, num_rows: int) -> int:
        """How many items a training's picture shows, with a row for each class; 0 rows without classes."""

    @abstractmethod
    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw items as one picture.

        Args:
            items: as `decode` gives them.
            columns: items in a row; as many as rows if None.
        """

    @property
    def page_facts(self) -> dict[str, Any]:
        """What an exported page must know to show samples, besides `shown_as`: arrays, numbers and others by name."""
        return {}

    def to_numbers(self, item: np.ndarray) -> list[Any]:
        """What a page writes of one item [1, ...] where that is short: numbers, or text."""
        numbers: list[Any] = np.ravel(item).tolist()
        return numbers

    def picture_rows(self, columns: int, given: np.ndarray, made: np.ndarray, *others: np.ndarray) -> "Image":
        """Draw what went into a translator, what came out, and others like that: row below row."""
        return self.picture(output.stack_rows(columns, given, made, *others), columns)

    def draw_tiles(self, samples: Samples) -> np.ndarray | None:
        """A small picture of each sample, uint8 [n, height, width] or [n, height, width, 3]; None if there is none."""
        return None

    def draw_game(self, data: Source, seed: int) -> GameView | None:
        """What draws a game with these data for the live page, instead of a picture of samples; None if nothing does.

        Args:
            data: the items to train on, in the data's units.
            seed: of the samples that it draws.
        """
        return None

    def picture_game(self, frame: Mapping[str, Any], data: Mapping[str, Any]) -> "Image":
        """The picture of a frame that has what a `GameView` drew instead of a picture; a UsageError if it has neither.

        Args:
            frame: a file of a run's frames: under `GameView.name`, what `GameView.draw` gave.
            data: what `GameView.data` gave; it may be empty.
        """
        raise UsageError(f"the frame of step {frame.get('step')} has no picture")

    def show(self, items: np.ndarray, names: Sequence[str] = ()) -> Html:
        """Items for notebooks and reports, in HTML that needs no other file: here as one picture.

        Args:
            items: as `decode` gives them.
            names: what the labels are called, one for each item.
        """
        title = escape(", ".join(names))
        source = output.picture_url(self.picture(items, columns=10))
        return Html(f'<img alt="{title}" title="{title}" style="width: auto; max-width: 100%" src="{source}">')
