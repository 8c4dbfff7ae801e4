"""The trained generator: load it, sample from it, interpolate, save it.

On disk it is a folder of two files, and neither is ever executed: `config.json`, which names the modality, the network
and its sizes, and `model.safetensors`, the weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sparring.errors import UsageError
from sparring.files import read_json, write_atomically, write_json
from sparring.game.sources import PRIORS
from sparring.generator.config import Config
from sparring.generator.rejection import calibrate
from sparring.modalities.modality import Modality
from sparring.seeding import Stream
from sparring.types import Labels, Latents, Logits, Samples

BATCH = 100
"""All batches have this size, so a sample does not depend on how many others are drawn."""

NUM_CALIBRATION = 10_000
"""The number of samples that calibrate rejection."""


@final
class Generator:
    """A trained generator.

    Args:
        module: the network, from latents [batch, latent_dim], and labels [batch] if it has classes, to samples
            [batch, *item_shape]. It is frozen and set to evaluation mode.
        config: its description.

    Example:
        >>> from sparring.modalities.points import Points
        >>> config = Config(Points((2,)), "mlp", latent_dim=8, prior="gaussian", width=16)
        >>> generator = Generator(config.build(), config)
        >>> generator.sample(5, seed=0).shape
        (5, 2)
        >>> bool((generator.sample(100)[:5] == generator.sample(5)).all())
        True
    """

    def __init__(self, module: nn.Module, config: Config) -> None:
        self.module = module.eval().requires_grad_(False)
        self.config = config

    @property
    def modality(self) -> Modality:
        """The modality of its samples."""
        return self.config.modality

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        labels: int | str | Sequence[int | str] | np.integer | np.ndarray | Tensor | None = None,
        truncation: float | None = None,
        rejection: Callable[[Samples], Logits] | None = None,
    ) -> np.ndarray:
        """New samples: the same for the same seed; ten are the first ten of a hundred.

        Args:
            n: how many, at least 1.
            seed: 0 to 2**64 - 1.
            labels: the class of all samples or of each, by number or by name; if None, drawn as in the training data.
            truncation: for Gaussian latents, the largest magnitude of each number (Brock et al. 2018, arXiv:1809.11096,
                section 3.1): smaller gives more typical and less varied samples.
            rejection: an estimate of log p − log q, the densities of the data and of the generator, from samples as
                `modality.encode` returns them, such as `sparring.metrics.density_ratio`. Samples that it finds unlikely
                are drawn again (Azadi et al. 2018, arXiv:1810.06758).

        Returns:
            Items as `modality.decode` returns them: uint8 images [n, H, W] or [n, H, W, C], float32 points [n, d].

        Raises:
            UsageError: for a number out of range, labels without classes, or a rejection with several labels.
            UnknownNameError: for a class that does not exist.
        """
        if isinstance(labels, np.integer | np.ndarray | Tensor):
            labels = labels.tolist()
        if rejection is not None:
            return self._sample_with_rejection(n, seed, labels, truncation, rejection)
        latents = self.latents(n, seed, truncation)
        if labels is None:
            return self.generate(latents, self.random_labels(n, seed))
        numbers = [self.config.label(label) for label in ([labels] * n if isinstance(labels, int | str) else labels)]
        if len(numbers) != n:
            raise UsageError(f"give one label, or one for each of the {n} samples, not {len(numbers)}")
        return self.generate(latents, torch.tensor(numbers))

    def _sample_with_rejection(
        self, n: int, seed: int, label: Any, truncation: float | None, log_ratio: Callable[[Samples], Logits]
    ) -> np.ndarray:
        _check_count(n, seed)
        if label is not None and not isinstance(label, int | str):
            raise UsageError("rejection takes one label for all samples, or none")
        number = None if label is None else self.config.label(label)

        def candidates(size: int, step: int) -> np.ndarray:
            stream = Stream(seed, "sample/candidates", step)
            labels = self._random_labels(size, stream) if number is None else torch.full((size,), number)
            return self.generate(self._latents(size, stream, truncation), labels)

        acceptance = calibrate(log_ratio, self.modality.encode(candidates(NUM_CALIBRATION, 0)))
        batches: list[np.ndarray] = []
        for step in count(1):
            batch = candidates(10 * BATCH, step)
            uniform = Stream(seed, "sample/acceptance", step).uniform(len(batch))
            batches.append(batch[(uniform < acceptance.probability(self.modality.encode(batch))).numpy()])
            if sum(map(len, batches)) >= n:
                break
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
        # The inverse normal distribution function maps [edge, 1 − edge] to [−truncation, truncation].
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
        """Samples, in the form of `sample`, of latents [n, latent_dim], and of labels int64 [n] if it has classes."""
        if latents.ndim != 2 or latents.shape[1] != self.config.latent_dim:
            raise UsageError(f"latents must be [n, {self.config.latent_dim}], not {list(latents.shape)}")
        num_classes = len(self.config.class_shares)
        if labels is None and num_classes:
            raise UsageError(f"this generator has {num_classes} classes: give a label for each of the latents")
        if labels is not None and not num_classes:
            raise UsageError("this generator was trained without labels: omit them")
        if labels is not None and (len(labels) != len(latents) or labels.min() < 0 or labels.max() >= num_classes):
            raise UsageError(f"give {len(latents)} labels between 0 and {num_classes - 1}")
        device = next(self.module.parameters()).device
        batches = []
        for start in range(0, len(latents), BATCH):
            inputs = [part[start : start + BATCH].to(device) for part in (latents, labels) if part is not None]
            missing = BATCH - len(inputs[0])
            padded = [torch.cat([part, part[:1].expand(missing, *part.shape[1:])]) for part in inputs]
            samples = self.module(*padded)[: BATCH - missing] * self.modality.scale
            batches.append(self.modality.decode(samples))
        return np.concatenate(batches)

    def is_finite(self) -> bool:
        """Whether all weights are finite. Infinite ones would only show as black images."""
        return all(bool(torch.isfinite(value).all()) for value in self.module.state_dict().values())

    def interpolate(self, start: Tensor, end: Tensor, steps: int, label: int | None = None) -> np.ndarray:
        """Samples, in the form of `sample`, along the great circle between two latents (White 2016, arXiv:1609.04468).

        Args:
            start: float32 [latent_dim].
            end: float32 [latent_dim].
            steps: the number of samples, including both ends, at least 2.
            label: the class of all samples; with clusters for classes, it is always the largest one.
        """
        if steps < 2:
            raise UsageError(f"an interpolation has at least 2 steps, not {steps}")
        if label is not None:
            label = self.config.label(label)
        elif self.config.classes_are_clusters:
            label = self.config.class_shares.index(max(self.config.class_shares))
        labels = None if label is None else torch.full((steps,), label)
        return self.generate(spherical(start, end, torch.linspace(0, 1, steps)), labels)

    def save(self, folder: str | Path) -> None:
        """Write the generator into a folder of its own, and replace the one that is there."""
        from safetensors.torch import save as to_bytes

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in self.module.state_dict().items()}
        write_json(folder / "config.json", asdict(self.config))
        data = to_bytes(weights)  # save_file would keep other users from reading it
        write_atomically(folder / "model.safetensors", lambda path: path.write_bytes(data))


def _check_count(n: int, seed: int) -> None:
    if n < 1:
        raise UsageError(f"the number of samples must be at least 1, not {n}")
    if not 0 <= seed < 2**64:
        raise UsageError(f"the seed must be between 0 and 2**64 - 1, not {seed}")


def spherical(start: Tensor, end: Tensor, positions: Tensor) -> Tensor:
    """Points between two latents at positions in [0, 1]: sin((1−t)Ω)/sin Ω · start + sin(tΩ)/sin Ω · end."""
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=0).clamp(-1, 1)
    angle, t = torch.acos(cosine), positions[:, None]
    if angle.sin() < 1e-6:  # parallel latents define no circle, but a line
        return torch.lerp(start, end, t)
    return torch.sin((1 - t) * angle) / angle.sin() * start + torch.sin(t * angle) / angle.sin() * end


class _NoDraws(TorchFunctionMode):
    """Skips normal draws: on the meta device, they import PyTorch's compiler, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def load(path: str | Path) -> Generator:
    """Load the generator of a run, or of a folder that `Generator.save` wrote.

    Args:
        path: a run's folder, or the generator's own.

    Raises:
        UsageError: if there is none, or it is damaged.

    Example:
        >>> import tempfile
        >>> from sparring.modalities.points import Points
        >>> config = Config(Points((2,)), "mlp", latent_dim=8, prior="gaussian", width=16)
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
    with torch.device("meta"), _NoDraws():  # a network takes no memory before its weights are known to fit
        module = config.build()
    try:
        module.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        weights = folder / "model.safetensors"
        raise UsageError(f"{weights} is missing, damaged, or of another network: {error}") from error
    return Generator(module, config)
