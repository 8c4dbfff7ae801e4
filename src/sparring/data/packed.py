"""Items that stay in a file: a set may be larger than memory."""

import os
import sys
import weakref
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparring.errors import DataError


@final
class Packed:
    """Items in a mapped .npy file, used like a tensor.

    They are read, not mapped: what a process has read does not count as its memory.
    """

    def __init__(self, array: np.memmap) -> None:
        self.path, self.shape, self._strides, self._dtype = array.filename, array.shape, array.strides, array.dtype
        self._offset, self._size = array.offset, array[:1].nbytes
        if self._strides[0] != self._size:
            raise DataError(f"{str(self.path)!r} is not in C order: save a copy of the array that is")
        self._file = os.open(str(self.path), os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        if sys.platform == "linux":
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """The items of these numbers, int64 [k]."""
        rows = np.empty((len(numbers), self._size), np.uint8)
        for row, number in zip(rows, numbers.tolist(), strict=True):
            if os.preadv(self._file, [row.data], self._offset + number * self._size) != self._size:
                raise DataError(f"{str(self.path)!r} ends before its item {number}: it was cut off")
        shape = (len(numbers), *self.shape[1:])
        return torch.from_numpy(np.ndarray(shape, self._dtype, rows, strides=self._strides))

    def prefetch(self, numbers: Tensor) -> None:
        """Tell the system to read these items ahead."""
        if sys.platform == "linux":
            for number in numbers.tolist():
                at = self._offset + number * self._size
                os.posix_fadvise(self._file, at, self._size, os.POSIX_FADV_WILLNEED)
