"""The part of a modality that writes items into files, and reads them again."""

import io
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparring.data.arrays import read_arrays
from sparring.errors import DataError, UsageError
from sparring.modalities import output
from sparring.modalities.output import Writer

if TYPE_CHECKING:
    from PIL.Image import Image


class Filing(ABC):
    """How items of a modality become files."""

    name: str
    item_shape: tuple[int, ...]
    array_name: ClassVar[str]  # of an array of items in a .npz file

    @abstractmethod
    def decode(self, samples: Tensor) -> np.ndarray:
        """Items of samples [n, *item_shape]."""

    @abstractmethod
    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw items as one picture."""

    def write(
        self, items: np.ndarray, path: Path, labels: Mapping[str, np.ndarray] = {}, names: Sequence[str] = ()
    ) -> None:
        """Write items as a picture (.png, .jpg, .webp), arrays (.npz), a file of this kind, or a file for each item.

        Args:
            items: as `decode` gives them.
            path: its ending decides; without one it is a folder. An existing file is replaced; a folder must be empty
                or new.
            labels: arrays of one for each item, by names, which are written beside them into a .npz.
            names: what the labels are called, one for each item; they become a part of the names of files.

        Raises:
            UsageError: if it cannot be written there.
        """
        output.write_output(
            path,
            **self._forms(items, labels),
            write_files=lambda folder: self.write_files(items, folder, output.file_names(len(items), names)),
        )

    def to_bytes(self, items: np.ndarray, ending: str, labels: Mapping[str, np.ndarray] = {}) -> bytes:
        """The bytes of the file that `write` writes, or of the same arrays as .json."""
        if ending == ".json":
            return output.to_json(self._forms(items, labels)["arrays"])
        target = io.BytesIO()
        output.writer_of(ending, **self._forms(items, labels))(target)
        return target.getvalue()

    def _forms(self, items: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The items as a picture, as arrays by name, and as what files of this kind hold."""
        return {
            "draw": lambda: self.picture(items),
            "arrays": {self.array_name: items, **self.constants, **labels},
            "writers": {ending: partial(write, items) for ending, write in self.file_writers.items()},
        }

    def check_path(self, path: Path) -> None:
        """Raise a UsageError if `write` knows no file with the path's ending."""
        output.check_ending(path, self.file_writers)

    @property
    def file_writers(self) -> Mapping[str, Writer]:
        """What writes items into one file of this kind, by its ending; pictures and arrays need none."""
        return {}

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """Arrays that a .npz file of items holds beside them."""
        return {}

    def read_file(self, path: Path) -> np.ndarray:
        """Items from a .npz file that `write` wrote, or from another file of this kind with items of this shape.

        Raises:
            DataError: if it holds none.
        """
        arrays = read_arrays(path) if path.suffix.lower() in (".npy", ".npz") else {}
        found = next((arrays[name] for name in ("", self.array_name) if name in arrays), None)
        if found is None:
            raise DataError(f"{str(path)!r} holds no {self.name}: give a .npz with an array {self.array_name!r}")
        return self.check_items(found, str(path))

    def check_items(self, items: np.ndarray, name: str) -> np.ndarray:
        """Items in the form of `decode`.

        Raises:
            DataError: if they have another shape or type; the message contains the name.
        """
        form = self.decode(torch.zeros(1, *self.item_shape))
        if items.shape[1:] != form.shape[1:] or not len(items) or not np.can_cast(items.dtype, form.dtype, "same_kind"):
            shape = ", ".join(map(str, ("n", *form.shape[1:])))
            raise DataError(f"{name} must be {form.dtype} [{shape}], not {items.dtype} {list(items.shape)}")
        return items.astype(form.dtype)

    def write_files(self, items: np.ndarray, folder: Path, names: Sequence[str]) -> None:
        """Write each item as its own file into a new folder, by names without endings; a UsageError if none can be."""
        others = "".join(f" or a {ending}" for ending in self.file_writers)
        raise UsageError(f"{self.name} are written as a .png or a .npz{others}: give --out one of them")
