"""Batches: what many requests ask of the same generator is computed together.

One thread computes. Whatever has been asked for while it computed is its next batch, with no timer: a lone request
waits for nothing, and many at once share their batches. A second thread makes files of what is complete, while the
first one goes on.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sparring.generator.generator import SIZES

MAX_SAMPLES, MAX_NUMBERS = 8192, 2**23  # that may wait or be made: samples, and the numbers in them


@final
@dataclass(frozen=True, eq=False)
class Maker:
    """What computes batches: items [n, ...] of tensors [n, ...].

    A sample's last bits may depend on its place in a batch, where rows of numbers begin at other places of the vector
    registers. So each request's samples begin at a multiple of `step`.
    """

    make: Callable[..., np.ndarray]
    step: int = 1


class FullError(Exception):
    """Too much is waiting."""


@dataclass(eq=False)
class Job:
    """What one request asks for."""

    maker: Maker  # requests of the same one are computed together
    inputs: Sequence[Tensor]
    finish: Callable[[np.ndarray], Any]  # makes the answer of the items
    numbers: int  # in its items
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    num_taken: int = 0
    parts: list[np.ndarray] = field(default_factory=list)
    answer: Any = None
    error: BaseException | None = None

    @property
    def num_samples(self) -> int:
        """How many it asks for."""
        return len(self.inputs[0])


class Batcher:
    """Two threads that answer jobs; they end with the program.

    Attributes:
        num_jobs: that wait or are being answered.
        num_samples: in them.
        num_batches: that were computed.
        num_made: samples in these batches.
    """

    def __init__(self) -> None:
        self.num_jobs = self.num_samples = self.num_batches = self.num_made = 0
        self._numbers = 0
        self._jobs = deque[Job]()
        self._changed = threading.Condition()
        self._made: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        for run in (self._compute, self._finish):
            threading.Thread(target=run, name=f"sparring {run.__name__}", daemon=True).start()

    async def ask(
        self, maker: Maker, inputs: Sequence[Tensor], finish: Callable[[np.ndarray], Any], numbers: int, *, waits: bool
    ) -> Any:
        """Make items in a batch with those of others.

        Args:
            maker: see `Maker`; jobs of the same one share batches.
            inputs: what it takes, [n, ...] each.
            finish: makes the answer of the n items; called in another thread.
            numbers: in one item.
            waits: wait even where much is waiting already.

        Returns:
            What `finish` returns.

        Raises:
            FullError: if too much is waiting.
        """
        loop = asyncio.get_running_loop()
        job = Job(maker, inputs, finish, numbers * len(inputs[0]), loop, loop.create_future())
        with self._changed:
            samples, numbers = self.num_samples + job.num_samples, self._numbers + job.numbers
            if self.num_jobs and not waits and (samples > MAX_SAMPLES or numbers > MAX_NUMBERS):
                raise FullError
            self.num_jobs, self.num_samples, self._numbers = self.num_jobs + 1, samples, numbers
            self._jobs.append(job)
        loop.call_soon(self._wake)  # after the requests that arrived together with this one
        return await job.future

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _take(self) -> list[tuple[Job, int, int]]:
        """The next batch: parts of jobs, each with its first and last sample; what is left of long ones goes back."""
        with self._changed:
            while not self._jobs:
                self._changed.wait()
            maker = self._jobs[0].maker
            waiting = sum(_pad(job.num_samples - job.num_taken, maker) for job in self._jobs if job.maker is maker)
            room = max((size for size in SIZES if size <= waiting), default=waiting)  # so that little is padded
            taken, others, again = [], [], []
            while self._jobs and room >= maker.step:
                job = self._jobs.popleft()
                if job.maker is not maker:
                    others.append(job)
                    continue
                whole = room // maker.step * maker.step
                start, job.num_taken = job.num_taken, min(job.num_samples, job.num_taken + whole)
                room -= _pad(job.num_taken - start, maker)
                taken.append((job, start, job.num_taken))
                if job.num_taken < job.num_samples:
                    again.append(job)
            self._jobs.extendleft(reversed(others))
            self._jobs.extend(again)  # behind those of others, so that short ones need not wait for long ones
        return taken

    def _compute(self) -> None:
        while True:
            taken = self._take()
            maker, place = taken[0][0].maker, 0
            try:
                inputs = zip(*(_cut(job, a, b) for job, a, b in taken), strict=True)
                items = maker.make(*map(torch.cat, inputs))
                for job, start, end in taken:
                    job.parts.append(items[place : place + end - start])
                    place += _pad(end - start, maker)
                    self.num_made += end - start
                self.num_batches += 1
            except Exception as error:
                for job, _, _ in taken:
                    job.error = error
            self._made.put([job for job, _, end in taken if end == job.num_samples])

    def _finish(self) -> None:
        while True:
            jobs = self._made.get()
            for job in jobs:
                try:
                    if job.error is None:
                        job.answer = job.finish(job.parts[0] if len(job.parts) == 1 else np.concatenate(job.parts))
                except Exception as error:
                    job.error = error
            with self._changed:
                for job in jobs:
                    self.num_jobs, self.num_samples = self.num_jobs - 1, self.num_samples - job.num_samples
                    self._numbers -= job.numbers
            for loop in {job.loop for job in jobs}:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_deliver, [job for job in jobs if job.loop is loop])


def _pad(count: int, maker: Maker) -> int:
    """How much room so many samples take in a batch."""
    return -(-count // maker.step) * maker.step


def _cut(job: Job, start: int, end: int) -> list[Tensor]:
    """A part of what a job gives, and its first row again in the rest of its room."""
    parts, rest = [each[start:end] for each in job.inputs], _pad(end - start, job.maker) - (end - start)
    return [torch.cat([each, each[:1].expand(rest, *each.shape[1:])]) for each in parts] if rest else parts


def _deliver(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():  # who asked has left
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.answer)
