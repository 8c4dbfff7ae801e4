"""Every random number is a function of (seed, purpose, step).

There is no generator whose state must be saved: to draw the latents of step 7,000 again, name them. Streams with
different names are independent, because each has its own key and counter of the counter-based generator Philox (Salmon
et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock

import numpy as np
import torch
from numpy.random.bit_generator import ISeedSequence
from torch import Tensor

_DEFAULT_GENERATOR = RLock()


@dataclass(frozen=True)
class Stream:
    """The random numbers of one (seed, purpose, step).

    A stream is a name, not a state: drawing from it twice gives the same numbers twice, and the first rows of a larger
    draw are the rows of a smaller one. Seed and step lie from 0 to 2**64 - 1.

    Example:
        >>> latents = Stream(seed=0, purpose="latents", step=3)
        >>> bool((latents.normal(100, 8)[:10] == latents.normal(10, 8)).all())
        True
    """

    seed: int
    purpose: str
    step: int = 0
    rank: int = 0
    world_size: int = 1

    @property
    def purpose_number(self) -> int:
        """A number of 64 bits for the purpose, the second word of Philox's key; the seed is the first."""
        return int.from_bytes(hashlib.blake2b(self.purpose.encode(), digest_size=8).digest())

    def for_rank(self, rank: int, world_size: int) -> "Stream":
        """This process's share: its own rows of each draw that all processes make together."""
        return replace(self, rank=rank, world_size=world_size)

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
        """The numbers 0 to n - 1 in random order, int64 [n], the same in every process."""
        return torch.from_numpy(self._generator().permutation(n))

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make torch's own CPU generator (initialisation, dropout) draw from this stream."""
        # torch.manual_seed would seed every kind of device, which takes as long as a layer of a small network.
        with _DEFAULT_GENERATOR:  # all threads share it
            before = torch.default_generator.get_state()
            torch.default_generator.manual_seed(self._bits().random_raw(self.world_size)[self.rank].item() >> 1)
            try:
                yield
            finally:
                torch.default_generator.set_state(before)

    def _rows(self, draw: Callable[[tuple[int, ...]], np.ndarray], shape: tuple[int, ...]) -> Tensor:
        if self.world_size == 1 or not shape:
            return torch.from_numpy(draw(shape))
        drawn = draw((self.world_size * shape[0], *shape[1:]))
        return torch.from_numpy(drawn[self.rank * shape[0] : (self.rank + 1) * shape[0]])

    def _generator(self) -> np.random.Generator:
        return np.random.Generator(self._bits())

    def _bits(self) -> np.random.Philox:
        key = np.array([self.seed, self.purpose_number], dtype=np.uint64)
        # The step is a high word of the counter: streams of neighbouring steps are 2**128 blocks apart.
        counter = np.array([0, 0, self.step, 0], dtype=np.uint64)
        return np.random.Philox(_Key(key), counter=counter)  # type: ignore[arg-type]  # the stubs know no ISeedSequence


class _Key(ISeedSequence):
    """A seed for Philox that holds its key: with the argument `key`, numpy would also draw a seed from the system."""

    def __init__(self, words: np.ndarray) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: object = np.uint32) -> np.ndarray:
        """The words that Philox asks for."""
        return self._words
