"""Generators of every kind without a training."""

import numpy as np
import torch

from sparring.data.containers import Reading
from sparring.data.labels import Attribute
from sparring.data.people import make_people
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.modalities.sounds import Sounds
from sparring.modalities.tables import Tables
from sparring.networks import NETWORKS
from sparring.networks.network import Modulation


def make_generator(config: Config, *, seed: int = 0, rounded: bool = False) -> Generator:
    """A generator as after a training: its normalisation has seen data, its classes differ; maybe rounded to 8 bits."""
    torch.manual_seed(seed)
    module = config.build()
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
        if isinstance(layer, Modulation):
            torch.nn.init.normal_(layer.scale.weight, 0, 0.3)
            torch.nn.init.normal_(layer.shift.weight, 0, 0.3)
    for weights in module.parameters():
        if rounded and weights.ndim > 1:
            weights.data = weights.data.bfloat16().float()  # float16 holds these exactly
    return Generator(module, config)


def images(network: str, shape: tuple[int, ...], width: int, num_classes: int = 0, prior: str = "gaussian") -> Config:
    shares = (1 / num_classes,) * num_classes if num_classes else ()
    return Config(Images(NETWORKS[network].fit(shape)), network, 9, prior, width, shares)


HAIR = Attribute("hair", ("red", "black")), Attribute("age")
CONFIGS = {
    "digits": Config(Images((1, 28, 28)), "conv", 64, "gaussian", 32, (0.1,) * 10),
    "conv": images("conv", (4, 24, 40), 6, 3, "uniform"),
    "conv of 64 px": images("conv", (3, 64, 64), 8),
    "smallest": images("conv", (1, 2, 6), 3),
    "dcgan": images("dcgan", (3, 32, 64), 5, 2),
    "resnet": images("resnet", (3, 64, 64), 3, 4),
    "mlp of images": images("mlp", (1, 12, 10), 30, 3),
    "mlp": Config(Points((2,)), "mlp", 8, "gaussian", 50),
    "fourier": Config(Points((3,)), "fourier", 10, "gaussian", 20, (0.2, 0.8)),
    "sounds": Config(Sounds.of_length(8000, 3040, 0.5), "conv", 6, "gaussian", 4),
    "attributes": Config(Images((1, 8, 8)), "conv", 5, "gaussian", 4, attributes=HAIR, rows=((0, 3.5), (1, 4.5))),
}


def make_table(n: int = 400) -> tuple[Tables, np.ndarray]:
    """A table with all that a column can be: `make_people`, and dates as text, a sum, and what others determine."""
    random, frame = np.random.default_rng(0), make_people(n)
    frame["month"] = random.integers(1, 13, n)
    frame["season"] = np.array(["winter", "spring", "summer", "autumn"])[frame["month"] % 12 // 3]
    frame["greeting"] = frame["married"].map({True: "Mrs", False: "Miss"}).fillna("?")
    frame["log"] = np.log(frame["rent"])
    frame["spent"] = (frame["income"] + frame["rent"]).round(2)
    frame["at"] = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in random.integers(0, 1440, n)]
    frame["since"] = frame["moved"].dt.strftime("%d.%m.%Y")
    frame["wealth"] = np.where(random.random(n) < 0.2, np.nan, random.normal(0, 1e4, n).round(-2))
    frame["note"] = [f"a long story about the person of number {i} in so many words" for i in range(n)]
    return Tables.of_frame(frame, Reading(), "the table")
