"""Every random number is a pure function of (seed, purpose, step).

There is no generator whose state has to be carried along: to draw the latents of step 7,000 again, name them.
Two streams with different names are independent, because each is a different key or counter of the
counter-based generator Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from torch import Tensor


@dataclass(frozen=True)
class Stream:
    """The random numbers that belong to one (seed, purpose, step).

    A stream is a name, not a state: drawing from it twice gives the same numbers twice, and the first rows of
    a larger draw are the rows of a smaller one.

    Args:
        seed: the seed of the whole training, 0 to 2**64 - 1.
        purpose: what the numbers are for, such as `"latents"`.
        step: which of the purpose's draws, 0 to 2**64 - 1.
        rank: which of several processes draws: see `shared`.
        count: how many there are.

    Example:
        >>> latents = Stream(seed=0, purpose="latents", step=3)
        >>> bool((latents.normal(100, 8)[:10] == latents.normal(10, 8)).all())
        True
        >>> bool((latents.normal(4) == latents.at(4).normal(4)).any())
        False
    """

    seed: int
    purpose: str
    step: int = 0
    rank: int = 0
    count: int = 1

    def shared(self, rank: int, count: int) -> "Stream":
        """The part of one of several processes: of each draw, its own rows of a draw for them all.

        Example:
            >>> whole = Stream(0, "latents").normal(6, 2)
            >>> parts = [Stream(0, "latents").shared(rank, 3).normal(2, 2) for rank in range(3)]
            >>> bool((torch.cat(parts) == whole).all())
            True
        """
        return replace(self, rank=rank, count=count)

    def at(self, step: int) -> "Stream":
        """The same purpose at another step."""
        return replace(self, step=step)

    def part(self, name: str) -> "Stream":
        """An independent stream for a part of this purpose."""
        return replace(self, purpose=f"{self.purpose}/{name}")

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32 of the given shape."""
        return self._rows(lambda size: self._generator().standard_normal(size, dtype=np.float32), shape)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers uniform in [0, 1), float32 of the given shape."""
        return self._rows(lambda size: self._generator().random(size, dtype=np.float32), shape)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Whole numbers uniform in [0, high), int64 of the given shape."""
        return self._rows(lambda size: self._generator().integers(high, size=size), shape)

    def permutation(self, n: int) -> Tensor:
        """The numbers 0 to n - 1 in random order, int64 [n]; all of them in every process."""
        return torch.from_numpy(self._generator().permutation(n))

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """While it lasts, torch's own generator on the CPU (initialisation, dropout) draws from this stream."""
        # Not torch.manual_seed, which seeds every device there may be, and takes as long as a small network's layer.
        before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(self._bits().random_raw(self.count)[self.rank].item() >> 1)
        try:
            yield
        finally:
            torch.default_generator.set_state(before)

    def _rows(self, draw: Callable[[tuple[int, ...]], np.ndarray], shape: tuple[int, ...]) -> Tensor:
        if self.count == 1 or not shape:
            return torch.from_numpy(draw(shape))
        drawn = draw((self.count * shape[0], *shape[1:]))
        return torch.from_numpy(drawn[self.rank * shape[0] : (self.rank + 1) * shape[0]])

    def _generator(self) -> np.random.Generator:
        return np.random.Generator(self._bits())

    def _bits(self) -> np.random.Philox:
        purpose = int.from_bytes(hashlib.blake2b(self.purpose.encode(), digest_size=8).digest())
        key = np.array([self.seed, purpose], dtype=np.uint64)
        # The step is a high word of the counter: streams of neighbouring steps are 2**128 blocks apart.
        counter = np.array([0, 0, self.step, 0], dtype=np.uint64)
        return np.random.Philox(_Key(key), counter=counter)  # type: ignore[arg-type]  # the stubs know no ISeedSequence


class _Key(ISeedSequence):
    """A key for Philox in the place of a seed: given as `key`, numpy would draw a seed from the system as well."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> np.ndarray:
        """The key, which are the words that Philox asks for."""
        return self._words
