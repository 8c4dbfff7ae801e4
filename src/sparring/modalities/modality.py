"""The interface of a modality: everything that differs between images, points and other kinds of items.

A modality is one file here and one entry in `MODALITIES`. All other code asks the modality, and never branches on it.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import Module

from sparring.data.containers import Kind, Reading
from sparring.data.corruptions import Corruption
from sparring.data.files import list_files
from sparring.data.labels import Attribute
from sparring.data.packed import Packed
from sparring.errors import UsageError, how_to_install
from sparring.game.sources import Source
from sparring.metrics.classifier import Classifier
from sparring.metrics.distances import kernel_distance
from sparring.metrics.extractors import Extractor
from sparring.modalities.drawing import Drawing
from sparring.modalities.filing import Filing
from sparring.modalities.preset import Preset
from sparring.seeding import Stream
from sparring.types import Z_95, Estimate, Faults, Features, OnProgress, Samples

DEFAULT_RESAMPLES = 20


@dataclass(frozen=True)
class Survey:
    """What the user's files hold, found before they are read in full."""

    choices: "list[Modality]"  # the shapes that the items can be resized to, smallest first; at least one
    untimed_choice: "Modality"  # the one to use when the training has no time limit
    num_heldout: int | None  # None if the files do not say which items are held out
    description: list[str]  # lines of text for the user
    # From the height and width to resize to (None for the largest that the items fill), what to call with what is
    # being done, and whether to count the items only. It raises a DataError if the files cannot be read.
    read: "Callable[[tuple[int, ...] | None, OnProgress, bool], Dataset]"


@dataclass(frozen=True)
class Dataset:
    """The items to train on, and the held-out items for measuring."""

    name: str  # in `SOURCES`, or a path
    modality: "Modality"
    train: Source
    heldout: Source
    class_names: tuple[str, ...] = ()  # in the order of the classes' numbers
    attributes: tuple[Attribute, ...] = ()  # in labels that are vectors
    classifier: Classifier | None = None
    survey: Survey | None = None  # of the user's own files
    source: "Dataset | None" = None  # of the domain whose items the generator is fed; None for latents
    measured_by: str = ""  # the name of the extractor that measures items; empty for the best one

    @property
    def has_labels(self) -> bool:
        """Whether its items have classes or attributes."""
        return bool(self.train.class_shares or self.attributes)

    @property
    def trained_classifier(self) -> Classifier | None:
        """The classifier, if it takes items of this shape."""
        fits = self.classifier is not None and self.classifier.item_shape == self.modality.item_shape
        return self.classifier if fits else None

    def extractors(self) -> Iterator[Extractor]:
        """The feature extractors for measuring, the best one first: the classifier's, and those of the modality."""
        if self.trained_classifier is not None:
            yield self.trained_classifier.extractor()
        yield from self.modality.extractors()

    def extractor(self) -> Extractor:
        """The feature extractor that measures: the one of the name `measured_by`, or else the best one.

        Raises:
            UsageError: if there is none of this name.
        """
        for each in self.extractors():
            if self.measured_by in ("", each.name):
                return each
        raise UsageError(f"{self.measured_by}, which has measured this run, is missing: {how_to_install('pictures')}")

    def with_sources(self, change: Callable[[Source], Source], modality: "Modality") -> "Dataset":
        """The same data set with both parts changed."""
        return replace(self, train=change(self.train), heldout=change(self.heldout), modality=modality)


@dataclass(frozen=True)
class NamedSource:
    """A data set with a name, an entry of `SOURCES`."""

    name: str
    summary: str
    source: str  # who made it, and its licence
    open: Callable[[], Dataset]


class Modality(Drawing, Filing):
    """A kind of item, and what all items of one data set have in common. It is written into a generator's config.json.

    *Items* are numpy arrays, as users have them. *Samples* are float32 tensors in the data's units; a network sees
    them divided by `scale`.
    """

    name: str  # in `MODALITIES`
    item_shape: tuple[int, ...]  # of one item as the networks see it
    scale: float = 1.0  # one unit of a network's output in the data's units
    summary: ClassVar[str]
    array_name: ClassVar[str]  # of an array of items in a .npz file
    tensor_name: ClassVar[str] = "samples"  # of an exported graph's items: `array_name` if `decode_tensor` makes them
    layouts: ClassVar[str]  # of arrays of items, in words
    presets: ClassVar[tuple[Preset, ...]]  # recipes; the first one is the default
    sources: ClassVar[tuple[NamedSource, ...]]
    augmentation: "ClassVar[staticmethod[..., Samples] | None]" = None  # changes samples, with a given probability
    warp: "ClassVar[staticmethod[..., Samples] | None]" = None  # changes samples a little, by a given strength
    kind: ClassVar[Kind | None] = None  # of files with such items
    has_sample_rate: ClassVar[bool] = False  # whether arrays of items need a sample rate
    batch_normalization: ClassVar[bool] = True  # whether discriminators use it by default
    measured: ClassVar[tuple[str, ...]] = ()  # the names of `measurements`; figures need them
    trains_classifier: ClassVar[bool] = False  # whether cards measure by a classifier of the data's own labels
    to_translate: ClassVar[tuple[str, str]] = "FOLDER", "grid.png"  # what `sparring translate` takes, and makes of it

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let the name in a file choose the modality."""
        if cls is not Modality:
            return handler(source)
        from pydantic import Field

        from sparring.modalities import MODALITIES

        return handler.generate_schema(Annotated[reduce(or_, MODALITIES.values()), Field(discriminator="name")])

    # Items and samples

    @property
    def counted(self) -> str:
        """What items are called where they are counted."""
        return self.name

    @abstractmethod
    def encode(self, items: np.ndarray) -> Samples:
        """Samples [n, *item_shape] of items."""

    @abstractmethod
    def decode(self, samples: Tensor) -> np.ndarray:
        """Items of samples [n, *item_shape]; the inverse of `encode` up to rounding."""

    def encode_tensor(self, items: Tensor) -> Samples:
        """As `encode`, by PyTorch's operations alone, so an exported graph can hold it; otherwise it takes samples."""
        return items

    def decode_tensor(self, samples: Tensor) -> Tensor:
        """As `decode`, by PyTorch's operations alone, so an exported graph can hold it; otherwise it gives samples."""
        return samples

    # Data

    @classmethod
    @abstractmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Modality, np.ndarray] | None":
        """The modality of an array [n, ...], and its items as `decode` gives them; None if it holds another kind.

        Raises:
            DataError: if it is of this kind but cannot be used; the message contains the name.
        """

    def store(self, items: np.ndarray) -> Tensor | Packed:
        """Items as `sparring.data.Items` stores them: samples, or something smaller."""
        return self.encode(items)

    @classmethod
    def keep(cls, data: object) -> Path | None:
        """Write data from memory of a form that this modality alone knows into a file; None for other data."""
        return None

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Dataset | Survey | None:
        """Open the data set at a path, or look at it if items can have one of several shapes; for arrays see `accept`.

        Args:
            path: an existing file or folder.
            reading: how to read its files.
            on_progress: called with what is being done.

        Returns:
            None if it has no files of this kind.

        Raises:
            DataError: if it is of this kind but cannot be read.
        """
        return None

    def with_size(self, size: tuple[int, ...]) -> "Modality":
        """The modality of items of another size, a shape without its first dimension; a UsageError if there is none."""
        raise UsageError(f"{self.name} have no size in pixels: leave --size away")

    def resize(self, dataset: Dataset, size: tuple[int, ...]) -> Dataset:
        """The data set with items of another size; a UsageError if items of this kind cannot be resized."""
        return replace(dataset, modality=self.with_size(size))

    def mirror(self, dataset: Dataset) -> Dataset:
        """The data set, and a mirrored copy of each item; a UsageError if items of this kind cannot be mirrored."""
        raise UsageError(f"{dataset.name} holds no finite set of images to mirror: leave --mirror away")

    # Training

    @abstractmethod
    def usual_network(self, normalization: str | None) -> str:
        """The default network for this shape, given the normalization that the user asked for, if any."""

    def add_heads(self, generator: Module) -> Module:
        """A generator of any network with what its samples need at their end."""
        return generator

    def spread(self, samples: Samples, stream: Stream) -> Samples:
        """Real samples as a discriminator is to see them, in the data's units."""
        return samples

    def begin(self, generator: Module, dataset: Dataset, first_map: str, seed: int, on_progress: OnProgress) -> None:
        """Set the first weights of a translator by its data."""

    def share_groups(self, dataset: Dataset, num_groups: int, seed: int, on_progress: OnProgress) -> Dataset:
        """The data set and its source with labels that say which items show the same kind of thing."""
        raise UsageError(f"{self.name} of two domains have no groups in common: leave num_clusters away")

    # Measuring

    @abstractmethod
    def neutral_extractor(self) -> Extractor:
        """A feature extractor without trained weights."""

    def extractors(self) -> Iterator[Extractor]:
        """All feature extractors that never saw the data, the best one first."""
        yield self.neutral_extractor()

    def thumbnails(self) -> Extractor:
        """An extractor of few, cheap features in which copies and similar items are close together."""
        return self.neutral_extractor()

    def paper_extractor(self) -> Extractor:
        """The feature extractor that papers use; a UsageError if there is none."""
        raise UsageError(f"FID is of images, and this generator makes {self.name}: leave --fid away")

    def measurements(self, items: np.ndarray) -> dict[str, Tensor]:
        """A number for each item, [n], by each name in `measured`; figures compare their distributions."""
        return {}

    def compare(self, real: Tensor, heldout: Tensor | None, fake: Tensor, seed: int) -> dict[str, Estimate]:
        """Figures of whole items: of generated samples beside training ones and, if given, held-out ones."""
        return {}

    def fault_finder(self, real: Tensor, heldout: Tensor) -> Callable[[np.ndarray], Faults]:
        """What finds the faults of items, as `decode` gives them, beside training and held-out samples.

        The names of faults are those of rules in `sparring.evaluation.health`.
        """
        return lambda items: {}

    def corruptions(self) -> tuple[Corruption, ...]:
        """Ways to make items worse, for `sparring bench metrics`."""
        return ()

    def distance(self, real: Features, fake: Features, seed: int) -> tuple[float, float]:
        """The distance between real and generated items and its standard error; the least is of the best generator."""
        kernel = kernel_distance(real, fake, num_resamples=DEFAULT_RESAMPLES, seed=seed)
        return kernel.value, (kernel.high - kernel.low) / (2 * Z_95)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """What the conditions of `choose` may compare, each with its name, and its values or its limits."""
        return []

    def choose(self, items: np.ndarray, where: str) -> np.ndarray:
        """Whether each item meets conditions, bool [n]; a UsageError where items have nothing to compare."""
        raise UsageError(f"conditions are for tables, and this generator makes {self.name}: leave --where away")

    # Translation

    def translate_files(
        self, path: Path, out: Path, translate: Callable[[np.ndarray], np.ndarray], made: "Modality"
    ) -> int:
        """Translate the items in a file, or in the files of a folder, into items of another modality; count them."""
        made.check_path(out)
        files = list_files(path, self.kind.endings if self.kind is not None else ())
        parts = [self.read_file(file) for file in files]
        names = [file.stem for file, part in zip(files, parts, strict=True) for _ in part]
        made.write(translate(np.concatenate(parts)), out, names=names)
        return len(names)

    def check_dictionary(
        self, path: Path, translate: Callable[[np.ndarray], np.ndarray], made: "Modality"
    ) -> Mapping[str, Sequence[Estimate]]:
        """How often words are translated as a dictionary says: a row of P@1, P@5 and P@10 by its name."""
        raise UsageError(f"a dictionary is of words, and this generator translates {self.name}: leave it away")
