"""The models of a server: generators that are loaded, and loaded anew when their files have changed."""

import copy
import os
import threading
import time
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparring.errors import SparringError, UnknownNameError, UsageError
from sparring.game.both_ways import one_way
from sparring.generator.export.run_onnx import with_onnx
from sparring.generator.export.to_html import build_html
from sparring.generator.generator import SIZES, Generator, load
from sparring.seeding import Stream
from sparring.web.batching import Maker

ENGINES = "auto", "onnxruntime", "pytorch"
PARTS = "", "config.json", "model.safetensors", "state.safetensors"
FOLDERS = "", "generator"  # of a run in which a model's files may be
LOOK_SECONDS = 1.0
SHIFTS = 1, 2, 4, 8, 11  # of places in a batch


class Version:
    """A generator as it was loaded; requests that came for one are answered by it, even after a newer one is there.

    Args:
        generator: as `load` gives it.
        engine: one of `ENGINES`.
    """

    def __init__(self, generator: Generator, engine: str) -> None:
        if not generator.is_finite():
            raise UsageError("its weights are not finite: serve best/ or a checkpoint from before")
        generator = Generator(copy.deepcopy(generator.module), generator.config)  # the file is mapped, and may change
        self.generator, self.engine, self.note = generator, "pytorch", ""
        self.fast = generator  # computes the same
        if engine != "pytorch":
            try:
                self.fast, self.engine = with_onnx(generator), "onnxruntime"
            except UsageError as error:
                if engine == "onnxruntime":
                    raise
                self.note = str(error)
        step = find_step(self.fast)
        self.sampler = Maker(self.fast.generate, step)
        self.translators = {back: Maker(partial(_translate, self.fast, back), step) for back in (False, True)}

    @cached_property
    def page(self) -> str:
        """The page that draws samples; empty if there is none of such a generator."""
        try:
            return build_html(self.generator)
        except SparringError:
            return ""


def _translate(generator: Generator, back: bool, items: Tensor) -> np.ndarray:
    return generator.translate(items.numpy(), back=back)


@torch.inference_mode()
def find_step(generator: Generator) -> int:
    """The distance of places in a batch at which a generator makes the same bits: 1, or 16 if other places differ.

    A sample at place i is known to have the same bits at any place i + 16 k of batches of `SIZES`.
    """
    network, modality, count = one_way(generator.module), generator.modality, SIZES[0]
    values = Stream(0, "serve").normal(count, *generator.config.input_shape)
    labels = generator.random_labels(count) if generator.config.source is None else None
    inputs = [each for each in (values, labels) if each is not None]
    expected = network(*inputs)
    items = modality.decode(expected * modality.scale)
    for shift in SHIFTS:
        made = network(*(each.roll(shift, 0) for each in inputs))
        if not torch.equal(made.roll(-shift, 0), expected):
            return count
        if not np.array_equal(np.roll(modality.decode(made * modality.scale), -shift, 0), items):
            return count
    return 1


class Model:
    """A generator on the disk.

    Args:
        name: what requests call it.
        path: a run, a checkpoint, a generator's folder or its file.
        engine: one of `ENGINES`.

    Attributes:
        current: the newest version that could be loaded.
        problem: why a newer one could not be.
        num_loads: how many versions there were.
    """

    def __init__(self, name: str, path: Path, engine: str) -> None:
        self.name, self.path, self._engine = name, path, engine
        self._state = self._look()
        try:
            self.current = Version(load(path), engine)
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error
        self.problem, self.num_loads = "", 1

    def refresh(self) -> None:
        """Load it anew if its files have changed; where that fails, the version before stays."""
        state = self._look()
        if state == self._state:
            return
        try:
            version = Version(load(self.path), self._engine)
        except (SparringError, OSError) as error:
            self.problem = str(error)
        else:
            if self._look() != state:
                return  # it is being written, and the next look will tell
            self.current, self.num_loads, self.problem = version, self.num_loads + 1, ""
        self._state = state

    def _look(self) -> list[tuple[int, int, int]]:
        """What tells a file from a newer one of the same name."""
        found = []
        for folder in FOLDERS:
            for part in PARTS:
                try:
                    state = os.stat(self.path / folder / part)
                except OSError:
                    continue
                if part or self.path.is_file():
                    found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        return found


class Models(dict[str, Model]):
    """The models of a server by their names, those of their folders.

    Args:
        paths: where they are.
        engine: one of `ENGINES`.

    Raises:
        UsageError: if one cannot be loaded.
    """

    def __init__(self, paths: Sequence[Path], engine: str = "auto") -> None:
        super().__init__()
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES)
        if not paths:
            raise UsageError("give the folder of at least one run")
        for path in paths:
            name = path.expanduser().resolve().name
            name = next(each for each in (name, *(f"{name}-{k}" for k in range(2, 1000))) if each not in self)
            self[name] = Model(name, path.expanduser(), engine)

    def follow(self) -> None:
        """Look for newer versions in a thread, until the program ends."""

        def look() -> None:
            while True:
                time.sleep(LOOK_SECONDS)
                for model in self.values():
                    model.refresh()

        threading.Thread(target=look, name="sparring models", daemon=True).start()
