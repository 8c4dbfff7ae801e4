"""Images that stay in a file until they are asked for: a set may be larger than memory."""

import os
import sys
import weakref
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparring.errors import DataError


@final
class Packed:
    """Images in a .npy file; as far as needed here, like a tensor of them.

    They are read, not mapped: what a process has read is not counted as its memory.

    Args:
        path: of uint8 [n, channels, height, width], [n, height, width, channels], or [n, height, width] for grey ones.
        channels_last: whether it is of the second kind.

    Attributes:
        shape: (n, channels, height, width).
        dtype: uint8.

    Raises:
        DataError: if it is not such a file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "images.npy"
        >>> np.save(path, np.arange(5, dtype=np.uint8).reshape(5, 1, 1))
        >>> Packed(path)[torch.tensor([4, 0])].flatten().tolist()
        [4, 0]
    """

    dtype = torch.uint8

    def __init__(self, path: Path, channels_last: bool = False) -> None:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"cannot read {str(path)!r}: {error}") from error
        assert isinstance(array, np.memmap)
        self.path = path
        self._offset, self._item = array.offset, array.shape[1:]
        if channels_last:
            height, width, channels = self._item
            self.shape = torch.Size((len(array), channels, height, width))
        else:
            self.shape = torch.Size((len(array), *([1] if array.ndim == 3 else []), *self._item))
        self._channels_last = channels_last
        self._size = array[:1].nbytes
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if sys.platform == "linux":
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """The images of these numbers, int64 [k], as uint8 [k, channels, height, width].

        Raises:
            DataError: if the file has become shorter.
        """
        images = np.empty((len(numbers), *self._item), np.uint8)
        rows = images.reshape(len(numbers), self._size)
        for row, number in zip(rows, numbers.tolist(), strict=True):
            if os.preadv(self._file, [row.data], self._offset + number * self._size) != self._size:
                raise DataError(f"{str(self.path)!r} ends before its image {number}: it was cut off")
        if self._channels_last:
            images = images.transpose(0, 3, 1, 2)
        return torch.from_numpy(images).reshape(len(numbers), *self.shape[1:])

    def expect(self, numbers: Tensor) -> None:
        """Say that these will be asked for next, so that the system reads them meanwhile."""
        if sys.platform == "linux":
            for number in numbers.tolist():
                at = self._offset + number * self._size
                os.posix_fadvise(self._file, at, self._size, os.POSIX_FADV_WILLNEED)
