"""Compares the training speed of other GAN libraries on the CPU with the tutorial's loop and sparring, in one run.

    python benchmarks/peers.py [--environments runs/peers] [--rounds 3] [--seconds 10] [--only NAME ...]

Each trains in its own loop with its own defaults, on the same random grey images in memory. They take turns, each time
in a new process that warms up first. An image counts when the training asks for the next batch. The table shows the
median and the range over the rounds, and the median of the ratios to the tutorial's loop in the same round. Since each
default is a different network, it also shows the multiply-adds for an image.

Each library has an environment of its own, with the PyTorch that runs this script and the newest versions of the other
packages it imports, whatever versions it asks for. (On Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
gives PyTorch's CPU build, which is far smaller.) A mock replaces torchvision, which they import to read images and save
grids, not to train. The table gives the reason where a library does not install or run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import MagicMock

import reference
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.flop_counter import FlopCounterMode

WARM_UP_SECONDS = 2.0
NUM_IMAGES = 4096
BASELINE = "tutorial"
TORCH = f"torch=={torch.__version__.partition('+')[0]}"


@dataclass(frozen=True)
class Measurement:
    """How many real images a training used in how many seconds, and its batch, side in pixels and multiply-adds."""

    images: int
    seconds: float
    batch_size: int
    side: int
    multiply_adds: float


class Feed(IterableDataset[Tensor]):
    """Batches of random images in [−1, 1], for so many seconds after the warm-up."""

    def __init__(self, seconds: float, batch_size: int, side: int = 32) -> None:
        self.seconds = seconds
        self.batch_size = batch_size
        self.images = 2 * torch.rand(NUM_IMAGES, 1, side, side, generator=torch.Generator().manual_seed(0)) - 1
        self.measurement: Measurement | None = None

    def __len__(self) -> int:
        return 60_000 // self.batch_size  # loops that print something each epoch ask for it

    def __iter__(self) -> Iterator[Tensor]:
        batches = cycle(torch.split(self.images, self.batch_size))
        with FlopCounterMode(display=False) as counter:
            yield next(batches)
        multiply_adds = counter.get_total_flops() / 2 / self.batch_size
        start = time.perf_counter()
        while time.perf_counter() - start < WARM_UP_SECONDS:
            yield next(batches)
        start, count = time.perf_counter(), 0
        while (seconds := time.perf_counter() - start) < self.seconds:
            yield next(batches)
            count += self.batch_size
        self.measurement = Measurement(count, seconds, self.batch_size, self.images.shape[-1], multiply_adds)


def train_torchgan(seconds: float) -> Feed:
    """Train its DCGAN with default losses; optimiser and batch have no defaults and come from its documentation."""
    models, losses, trainer = (import_module(f"torchgan.{module}") for module in ("models", "losses", "trainer"))
    adam = {"name": torch.optim.Adam, "args": {"lr": 2e-4, "betas": (0.5, 0.999)}}
    players = {
        "generator": {"name": models.DCGANGenerator, "args": {"out_channels": 1}, "optimizer": adam},
        "discriminator": {"name": models.DCGANDiscriminator, "args": {"in_channels": 1}, "optimizer": adam},
    }
    both = [losses.MinimaxGeneratorLoss(), losses.MinimaxDiscriminatorLoss()]
    feed = Feed(seconds, batch_size=64)
    trainer.Trainer(players, both, device=torch.device("cpu"), epochs=1)(feed)
    return feed


def train_vegans(seconds: float) -> Feed:
    """Train the example of its documentation, with its networks for MNIST."""
    iterator = torch.utils.data.dataloader._BaseDataLoaderIter
    iterator.next = iterator.__next__  # type: ignore[attr-defined]  # its loop calls it, and PyTorch no longer has it
    loader, x_dim, z_dim = import_module("vegans.utils.loading").MNISTLoader(), (1, 32, 32), 64
    gan = import_module("vegans.GAN").VanillaGAN(
        generator=loader.load_generator(x_dim=x_dim, z_dim=z_dim, y_dim=None),
        adversary=loader.load_adversary(x_dim=x_dim, y_dim=None),
        x_dim=x_dim,
        z_dim=z_dim,
        folder=None,
    )
    feed = Feed(seconds, batch_size=32)
    gan.fit(DataLoader(feed, batch_size=None), epochs=1)
    return feed


def train_lightweight_gan(seconds: float) -> Feed:
    """Import it, which fails without a GPU, so that nothing can be trained here."""
    import_module("lightweight_gan")
    raise NotImplementedError("it runs without a GPU after all: write its training here")


def train_tutorial(seconds: float) -> Feed:
    """Train the DCGAN that the other benchmarks compare with."""
    game = reference.Dcgan(reference.generator(), reference.discriminator())
    feed = Feed(seconds, batch_size=128)
    for real in feed:
        game.step(real, torch.randn(len(real), reference.LATENT_DIM))
    return feed


def train_sparring(seconds: float) -> Feed:
    """Train the default recipe for the digits, without labels: the game, and the average of the generator's weights."""
    from sparring.training.build import build  # the other environments don't have it
    from sparring.training.recipe import make_request
    from sparring.training.resolve import resolve

    recipe, dataset = resolve(make_request("digits", conditional=False, num_clusters=1, device="cpu"))
    training = build(recipe, dataset)
    feed = Feed(seconds, recipe.batch_size, dataset.modality.item_shape[-1])
    for real in feed:
        training.game.step(real)
        training.average.update(training.game.steps)
    return feed


@dataclass(frozen=True)
class Contender:
    """A library that trains.

    Args:
        what: what is trained, and how it was patched.
        train: trains for so many seconds.
        package: on PyPI, with the version; empty for what runs in this environment.
        requires: the packages that it imports, besides torch and torchvision.
    """

    what: str
    train: Callable[[float], Feed]
    package: str = ""
    requires: str = ""


CONTENDERS = {
    "torchgan": Contender("DCGAN", train_torchgan, "torchgan==0.1.0", "numpy"),
    "vegans": Contender(
        "VanillaGAN, MNIST networks (patched: its loop calls `next` of PyTorch's loader, which no longer exists)",
        train_vegans,
        "vegans==0.4.0",
        "matplotlib numpy pandas pillow tensorboard wget",
    ),
    "lightweight-gan": Contender(
        "its only GAN",
        train_lightweight_gan,
        "lightweight-gan==1.2.1",
        "adabelief-pytorch einops kornia numpy pillow tqdm",
    ),
    BASELINE: Contender("PyTorch's DCGAN example", train_tutorial),
    "sparring": Contender("default recipe for the digits, without labels", train_sparring),
}
PEERS = [name for name, contender in CONTENDERS.items() if contender.package]


def work(name: str, seconds: float) -> None:
    """Train one in this process, and print nothing but the measurement."""
    sys.modules.update(dict.fromkeys(("torchvision", "torchvision.utils"), MagicMock()))
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # for all, as sparring does
    with redirect_stdout(sys.stderr):
        measurement = CONTENDERS[name].train(seconds).measurement
    assert measurement, "the training ended before the time was up"
    print(json.dumps(asdict(measurement)))


def measure(name: str, environments: Path, seconds: float) -> Measurement:
    """Train one in a process and an environment of its own, which is made if it is missing."""
    contender, python = CONTENDERS[name], sys.executable
    if contender.package:
        folder = environments.resolve() / f"{contender.package}-{TORCH}"
        python = str(folder / "bin" / "python")
        if not folder.exists():
            _install(contender, folder, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
    command = [python, str(Path(__file__).resolve()), "--worker", name, "--seconds", str(seconds)]
    with TemporaryDirectory() as elsewhere:  # some leave files where they run
        return Measurement(**json.loads(_run(command, elsewhere)))


def _install(contender: Contender, folder: Path, pip: list[str]) -> None:
    try:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([*pip, TORCH, *contender.requires.split()])
        _run([*pip, "--no-deps", contender.package])
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run(command: list[str], folder: str = ".") -> str:
    variables = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=folder, env=variables, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise RuntimeError(lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def row(name: str, measurements: dict[str, list[Measurement]]) -> str:
    """The numbers of a row of the table."""
    rates, others = ([each.images / each.seconds for each in measurements[one]] for one in (name, BASELINE))
    ratio = statistics.median(rate / other for rate, other in zip(rates, others, strict=True))
    spread = f"{statistics.median(rates):,.0f} [{min(rates):,.0f}, {max(rates):,.0f}]"
    one = measurements[name][0]
    return f"{one.batch_size} × {one.side}×{one.side} | {spread} | {ratio:.2f} | {one.multiply_adds / 1e6:.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environments", type=Path, default=Path("runs/peers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--worker", choices=CONTENDERS, help="train this one here, and print the measurement as JSON")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.seconds)
        return
    names = [name for name in CONTENDERS if name in arguments.only or name not in PEERS]
    measurements: dict[str, list[Measurement]] = {name: [] for name in names}
    failures: dict[str, str] = {}
    for _ in range(arguments.rounds):
        for name in [name for name in names if name not in failures]:
            try:
                measurements[name].append(measure(name, arguments.environments, arguments.seconds))
            except RuntimeError as error:
                if name not in PEERS:
                    raise
                failures[name] = str(error).replace("|", "\\|")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} rounds\n")
    print("| what | batch | images/s, median [range] | ratio to the tutorial | million multiply-adds an image |")
    print("|---|---|---|---|---|")
    for name in names:
        numbers = f"– | did not run: {failures[name]} | – | –" if name in failures else row(name, measurements)
        print(f"| {CONTENDERS[name].package or name}: {CONTENDERS[name].what} | {numbers} |")


if __name__ == "__main__":
    main()
