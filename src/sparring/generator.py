"""Generator: the trained thing. Load it, sample from it, walk through it, save it.

On disk it is a folder of two files: `config.json`, which names the network and its sizes, and `model.safetensors`,
its weights. Nothing in either is executed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from sparring.data import MAX_CLASSES, PRIORS, to_float
from sparring.errors import UnknownNameError, UsageError
from sparring.files import read_json, write_atomically, write_json
from sparring.networks import NETWORKS
from sparring.rejection import calibrate
from sparring.seeding import Stream
from sparring.types import Labels, Latents, Logits, Samples

BATCH = 100
"""Samples are made in batches of this one size, so that none depends on how many are asked for."""

NUM_CALIBRATION = 10_000
"""Samples from which rejection learns how real samples get."""


@dataclass(frozen=True)
class Config:
    """What a saved generator is, `config.json`.

    Args:
        network: its name in `NETWORKS`.
        item_shape: the shape of one item: (channels, height, width) of an image, (dimensions,) of a point.
        latent_dim: how many numbers a latent has.
        prior: its name in `PRIORS`.
        width: the network's features next to the samples.
        class_shares: the share of each class in the training data; empty for a generator without classes.
        classes_are_clusters: whether the classes are clusters of the training data and not labels.
        scale: what one unit of the network's output is worth in the data's units; 1 for images.
        class_names: of the classes, where they have any.

    Raises:
        UnknownNameError: for a network or a prior that there isn't.
        UsageError: for a number out of range.
    """

    network: str
    item_shape: tuple[int, ...]
    latent_dim: int
    prior: str
    width: int
    class_shares: tuple[float, ...] = ()
    classes_are_clusters: bool = False
    scale: float = 1.0
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise UnknownNameError("network", self.network, NETWORKS)
        if self.prior not in PRIORS:
            raise UnknownNameError("prior", self.prior, PRIORS)
        if not all(0 < size <= 4096 for size in (*self.item_shape, self.latent_dim, self.width)):
            raise UsageError("item_shape, latent_dim and width must be between 1 and 4096")
        if not 0 < self.scale < math.inf:
            raise UsageError(f"scale must be greater than 0, and is {self.scale}")
        if not all(0 <= share <= 1 for share in self.class_shares) or len(self.class_shares) > MAX_CLASSES:
            raise UsageError(f"class_shares must be at most {MAX_CLASSES} numbers between 0 and 1")
        if self.class_names and len(self.class_names) != len(self.class_shares):
            raise UsageError(f"there are {len(self.class_shares)} classes and {len(self.class_names)} names of them")
        if self.item_shape != NETWORKS[self.network].fit(self.item_shape):
            raise UsageError(f"the network {self.network!r} cannot make items of {list(self.item_shape)}")

    @property
    def num_labels(self) -> int:
        """How many labels can be asked for."""
        return 0 if self.classes_are_clusters else len(self.class_shares)

    def label(self, name: int | str) -> int:
        """The number of a class: itself, or by its name, or a number as text where no class is called so.

        Raises:
            UnknownNameError: if there is no such class.

        Example:
            >>> Config("mlp", (2,), 8, "gaussian", 16, (0.5, 0.5), class_names=("cat", "dog")).label("dog")
            1
        """
        if isinstance(name, str) and name in self.class_names:
            return self.class_names.index(name)
        numbers = range(self.num_labels)
        if not str(name).isdecimal() or int(name) not in numbers:
            raise UnknownNameError("label", str(name), self.class_names or [str(number) for number in numbers])
        return int(name)

    def build(self) -> nn.Module:
        """A network of this kind with fresh weights."""
        network = NETWORKS[self.network]
        return network.generator(self.item_shape, self.latent_dim, self.width, len(self.class_shares))


@final
class Generator:
    """A trained generator.

    Args:
        module: the network, latents [batch, latent_dim] to samples [batch, *item_shape]; with classes, it takes
            labels [batch] as well. It is frozen and set to evaluation.
        config: what it is.

    Example:
        >>> config = Config("mlp", item_shape=(2,), latent_dim=8, prior="gaussian", width=16)
        >>> generator = Generator(config.build(), config)
        >>> generator.sample(5, seed=0).shape
        (5, 2)
        >>> bool((generator.sample(100)[:5] == generator.sample(5)).all())
        True
    """

    def __init__(self, module: nn.Module, config: Config) -> None:
        self.module = module.eval().requires_grad_(False)
        self.config = config

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        labels: int | str | Sequence[int | str] | np.integer | np.ndarray | Tensor | None = None,
        truncation: float | None = None,
        rejection: Callable[[Samples], Logits] | None = None,
    ) -> np.ndarray:
        """New samples: the same for the same seed, and the first ten of a hundred are the ten.

        Args:
            n: how many, at least 1.
            seed: 0 to 2**64 - 1.
            labels: the class of all samples or of each, by number or by name; drawn as often as in the training data
                if None.
            truncation: for Gaussian latents, the largest magnitude of each number (Brock et al. 2018,
                arXiv:1809.11096, section 3.1): smaller gives more typical and less varied samples.
            rejection: an estimate of log p − log q, the density of the data over that of the generator, from samples
                as `to_samples` gives them; see `sparring.metrics.density_ratio`. Samples that it finds unlikely are
                drawn again (Azadi et al. 2018, arXiv:1810.06758).

        Returns:
            uint8 images [n, H, W] or [n, H, W, C], or float32 points [n, dimensions].

        Raises:
            UsageError: for a number out of range, labels where it was told none, or a rejection with a label to each
                sample.
            UnknownNameError: for a class that there isn't.
        """
        if labels is not None and not self.config.num_labels:
            raise UsageError("this generator was trained without labels: leave them away")
        if isinstance(labels, np.integer | np.ndarray | Tensor):
            labels = labels.tolist()
        if rejection is not None:
            return self._accepted(n, seed, labels, truncation, rejection)
        latents = self.latents(n, seed, truncation)
        if labels is None:
            return self.generate(latents, self.random_labels(n, seed))
        if isinstance(labels, int | str):
            return self.generate(latents, torch.full((n,), self.config.label(labels)))
        if len(labels) != n:
            raise UsageError(f"give one label, or one to each of the {n} samples, not {len(labels)}")
        return self.generate(latents, torch.tensor([self.config.label(label) for label in labels]))

    def _accepted(
        self,
        n: int,
        seed: int,
        label: int | str | Sequence[int | str] | None,
        truncation: float | None,
        log_ratio: Callable[[Samples], Logits],
    ) -> np.ndarray:
        _check_count(n, seed)
        if label is not None and not isinstance(label, int | str):
            raise UsageError("rejection takes one label for all samples, or none")
        number = None if label is None else self.config.label(label)

        def candidates(size: int, step: int) -> np.ndarray:
            stream = Stream(seed, "sample/candidates", step)
            labels = self._random_labels(size, stream) if number is None else torch.full((size,), number)
            return self.generate(self._latents(size, stream, truncation), labels)

        acceptance = calibrate(log_ratio, to_samples(candidates(NUM_CALIBRATION, 0)))
        batches, missing, step = [], n, 0
        while missing > 0:
            step += 1
            batch = candidates(10 * BATCH, step)
            uniform = Stream(seed, "sample/acceptance", step).uniform(len(batch))
            batches.append(batch[(uniform < acceptance.probability(to_samples(batch))).numpy()])
            missing -= len(batches[-1])
        return np.concatenate(batches)[:n]

    def latents(self, n: int, seed: int = 0, truncation: float | None = None) -> Tensor:
        """The latents of `sample`, float32 [n, latent_dim]."""
        _check_count(n, seed)
        return self._latents(n, Stream(seed, "sample"), truncation)

    def _latents(self, n: int, stream: Stream, truncation: float | None) -> Tensor:
        if truncation is None:
            return PRIORS[self.config.prior]((self.config.latent_dim,)).batch(n, stream)
        if self.config.prior != "gaussian" or not truncation > 0:
            raise UsageError("truncation needs a Gaussian prior and a number greater than 0")
        # The inverse of the normal distribution function, on the part of [0, 1] between −truncation and truncation.
        edge = torch.special.ndtr(torch.tensor(-truncation, dtype=torch.float64))
        uniform = stream.uniform(n, self.config.latent_dim).double()
        normal: Tensor = torch.special.ndtri(edge + uniform * (1 - 2 * edge))
        return normal.clamp(-truncation, truncation).float()

    def random_labels(self, n: int, seed: int = 0) -> Labels | None:
        """Labels drawn as often as in the training data, int64 [n]; None for a generator without classes."""
        return self._random_labels(n, Stream(seed, "sample"))

    def _random_labels(self, n: int, stream: Stream) -> Labels | None:
        if not self.config.class_shares:
            return None
        edges = torch.tensor(self.config.class_shares).cumsum(0)
        uniform = stream.part("labels").uniform(n) * edges[-1]
        return torch.searchsorted(edges, uniform, right=True).clamp(max=len(edges) - 1)

    @torch.inference_mode()
    def generate(self, latents: Latents, labels: Labels | None = None) -> np.ndarray:
        """Samples of given latents.

        Args:
            latents: float32 [n, latent_dim].
            labels: the class of each, int64 [n], where the generator has classes.

        Returns:
            uint8 images [n, H, W] or [n, H, W, C], or float32 points [n, dimensions].

        Raises:
            UsageError: for latents of another shape.
        """
        if latents.ndim != 2 or latents.shape[1] != self.config.latent_dim:
            raise UsageError(f"latents must be [n, {self.config.latent_dim}], and are {list(latents.shape)}")
        self._check_labels(labels, len(latents))
        device = next(self.module.parameters()).device
        batches = []
        for start in range(0, len(latents), BATCH):
            inputs = [part[start : start + BATCH].to(device) for part in (latents, labels) if part is not None]
            missing = BATCH - len(inputs[0])
            padded = [torch.cat([part, part[:1].expand(missing, *part.shape[1:])]) for part in inputs]
            batches.append(to_numpy(self.module(*padded)[: BATCH - missing] * self.config.scale))
        return np.concatenate(batches)

    def is_finite(self) -> bool:
        """Whether all weights are finite; where they are not, images would only look black."""
        return all(bool(torch.isfinite(value).all()) for value in self.module.state_dict().values())

    def _check_labels(self, labels: Labels | None, n: int) -> None:
        classes = len(self.config.class_shares)
        if labels is None and classes:
            raise UsageError(f"this generator draws {classes} classes: give a label to each of the {n} latents")
        if labels is not None and not classes:
            raise UsageError("this generator was trained without labels: leave them away")
        if labels is not None and (len(labels) != n or labels.min() < 0 or labels.max() >= classes):
            raise UsageError(f"give {n} labels between 0 and {classes - 1}")

    def interpolate(self, start: Tensor, end: Tensor, steps: int, label: int | None = None) -> np.ndarray:
        """Samples along the great circle between two latents (White 2016, arXiv:1609.04468).

        Args:
            start: float32 [latent_dim].
            end: float32 [latent_dim].
            steps: how many samples, the ends included, at least 2.
            label: the class of all of them, where the generator has classes; its largest cluster if it has those.

        Returns:
            As `generate`.

        Example:
            >>> config = Config("mlp", item_shape=(2,), latent_dim=8, prior="gaussian", width=16)
            >>> generator = Generator(config.build(), config)
            >>> first, last = generator.latents(2)
            >>> generator.interpolate(first, last, steps=7).shape
            (7, 2)
        """
        if steps < 2:
            raise UsageError(f"an interpolation has at least 2 steps, not {steps}")
        if label is not None and not self.config.num_labels:
            raise UsageError("this generator was trained without labels: leave them away")
        if label is None and self.config.classes_are_clusters:
            label = max(range(len(self.config.class_shares)), key=self.config.class_shares.__getitem__)
        labels = None if label is None else torch.full((steps,), label)
        return self.generate(spherical(start, end, torch.linspace(0, 1, steps)), labels)

    def save(self, folder: str | Path) -> None:
        """Write the generator into a folder of its own, over the one that is there."""
        from safetensors.torch import save as to_bytes

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        write_json(folder / "config.json", asdict(self.config))
        data = to_bytes(weights)  # save_file would keep other users from reading it
        write_atomically(folder / "model.safetensors", lambda path: path.write_bytes(data))


def _check_count(n: int, seed: int) -> None:
    if n < 1:
        raise UsageError(f"the number of samples must be at least 1, and is {n}")
    if not 0 <= seed < 2**64:
        raise UsageError(f"the seed must be between 0 and 2**64 - 1, and is {seed}")


def spherical(start: Tensor, end: Tensor, positions: Tensor) -> Tensor:
    """Points between two latents at positions in [0, 1]: sin((1−t)Ω)/sin Ω · start + sin(tΩ)/sin Ω · end.

    Example:
        >>> spherical(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), torch.tensor([0.5]))
        tensor([[0.7071, 0.7071]])
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle, t = torch.acos(cosine), positions[:, None]
    if angle.sin() < 1e-6:  # parallel: the circle is not defined, the line is
        return torch.lerp(start, end, t)
    return torch.sin((1 - t) * angle) / angle.sin() * start + torch.sin(t * angle) / angle.sin() * end


def to_numpy(samples: Tensor) -> np.ndarray:
    """Samples as users get them: uint8 images with the channels last (none for grey), points as they are."""
    if samples.ndim != 4:
        return samples.float().cpu().numpy()
    pixels = ((samples.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    images: np.ndarray = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return images[..., 0] if images.shape[-1] == 1 else images


def to_samples(items: np.ndarray) -> Samples:
    """The inverse of `to_numpy`, for metrics: float32, images [n, channels, H, W] in [−1, 1], points as they are.

    Example:
        >>> to_samples(np.full((5, 28, 28), 255, np.uint8))[0, 0, 0, 0]
        tensor(1.)
    """
    if items.dtype != np.uint8:
        return torch.from_numpy(items).float()
    images = torch.from_numpy(items[..., None] if items.ndim == 3 else items)
    return to_float(images.permute(0, 3, 1, 2))


def load(path: str | Path) -> Generator:
    """The generator of a run, or of a folder that `Generator.save` made.

    Args:
        path: a run's folder, or the generator's own.

    Raises:
        UsageError: if there is none, or it is damaged.

    Example:
        >>> import tempfile
        >>> config = Config("mlp", item_shape=(2,), latent_dim=8, prior="gaussian", width=16)
        >>> folder = tempfile.mkdtemp()
        >>> Generator(config.build(), config).save(folder)
        >>> load(folder).sample(3, seed=0).shape
        (3, 2)
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(path).expanduser()
    if (folder / "generator").is_dir():
        folder = folder / "generator"
    if not (folder / "config.json").exists():
        raise UsageError(f"there is no generator in {str(path)!r}: give the folder of a run that has saved one")
    config = read_json(folder / "config.json", Config)
    with torch.device("meta"):  # shapes alone: what config.json asks for takes no memory before the weights fit it
        module = config.build()
    try:
        module.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UsageError(
            f"{folder / 'model.safetensors'} is missing, damaged, or of another network: {error}"
        ) from error
    return Generator(module, config)
