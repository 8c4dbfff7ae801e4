"""The trained generator: load it, sample from it, interpolate, save it.

On disk it is a folder of two files, and neither is ever executed: `config.json`, which names the modality, the network
and its sizes, and `model.safetensors`, the weights.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.game.both_ways import one_way
from sparring.game.sources import PRIORS, spherical
from sparring.generator.config import Config
from sparring.generator.files import read, write_folder
from sparring.generator.plain import Plain
from sparring.generator.projection import NUM_CANDIDATES, Projection, project
from sparring.generator.rejection import sample_where, sample_with_rejection
from sparring.modalities.modality import Dataset, Modality
from sparring.seeding import Stream
from sparring.types import Labels, Latents, Logits, OnProgress, Samples, num_at_once

SIZES = 16, 32, 64, 100
"""Of batches on a CPU, or a network's own `sizes`: bits do not depend on which. Elsewhere all have the largest."""

Label = str | int | float | Mapping[str, Any] | np.generic
"""What a caller calls a label: the name of a class, or its number if classes have no names; or attributes by name."""


@final
class Generator:
    """A trained generator.

    Args:
        module: the network, from latents [batch, latent_dim], and labels if it was trained with some, to samples
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

    def __repr__(self) -> str:
        config, known = self.config, [*self.config.known_labels]
        labels = f" of the classes {', '.join(known[:3])}{', ...' if len(known) > 3 else ''}" if known else ""
        made = f"{config.modality.name} ({config.modality.describe()}){labels}"
        width = f", width {config.width}" if config.width > 1 else ""  # networks of one's own have 1
        source = config.source
        inputs = f"{config.latent_dim} latents" if source is None else f"{source.name} ({source.describe()})"
        return f"Generator({config.network!r}{width}): {inputs} to {made}{' and back' if config.both_ways else ''}"

    def _repr_html_(self) -> str:
        """The page that draws its samples, for notebooks; the words of `repr` where no page can."""
        from sparring.generator.export.to_html import show_in_notebook

        return show_in_notebook(self)

    @property
    def modality(self) -> Modality:
        """The modality of its samples."""
        return self.config.modality

    def sample(
        self,
        n: int,
        seed: int = 0,
        *,
        labels: Label | Sequence[Label] | np.ndarray | Tensor | None = None,
        truncation: float | None = None,
        rejection: Callable[[Samples], Logits] | None = None,
        where: str | None = None,
    ) -> np.ndarray:
        """New samples: the same for the same seed; ten are the first ten of a hundred.

        Args:
            n: how many, at least 1.
            seed: 0 to 2**64 - 1.
            labels: the class of all samples or of each, by its name, or by its number if classes have no names; or
                attributes, such as `{"hair": "red", "age": 30}`: those that are left out are drawn from training items
                that have the others. None draws labels as in the training data.
            truncation: for Gaussian latents, the largest magnitude of each number (Brock et al. 2018, arXiv:1809.11096,
                section 3.1): smaller gives more typical and less varied samples.
            rejection: an estimate of log p − log q, the densities of the data and of the generator, from samples as of
                `modality.encode`, such as `sparring.metrics.density_ratio`; unlikely samples are drawn again (Azadi et
                al. 2018, arXiv:1810.06758).
            where: of tables, conditions such as "sex=female, age>40". Rows that do not meet them are drawn again.

        Returns:
            Items as `modality.decode` returns them: uint8 images [n, H, W] or [n, H, W, C], float32 points [n, d].

        Raises:
            UsageError: for a number out of range, labels without classes, or a rejection with several labels.
            UnknownNameError: for a class, an attribute or a value that does not occur in the training data.
        """
        if isinstance(labels, np.ndarray | Tensor):
            labels = labels.tolist()
        if rejection is None and where is None:
            return self.generate(self.latents(n, seed, truncation), self._labels(labels, n, Stream(seed, "sample")))
        _check_count(n, seed)
        if (rejection and where) or not (labels is None or _is_label(labels)):
            raise UsageError("give rejection or where, and with them one label for all samples or none")

        def candidates(size: int, stream: Stream) -> np.ndarray:
            return self.generate(self._latents(size, stream, truncation), self._labels(labels, size, stream))

        if rejection is not None:
            return sample_with_rejection(candidates, self.modality.encode, rejection, n, seed)
        return sample_where(candidates, self.modality.choose, str(where), n, seed)

    def translate(self, items: np.ndarray, *, back: bool = False) -> np.ndarray:
        """Items of the target domain made of items of the source domain, one for each.

        Args:
            items: of the source domain, in the form that `config.source.decode` gives.
            back: translate items of the target domain back instead, if both ways were trained.

        Raises:
            UsageError: if this generator starts from noise, or knows no way back.
            DataError: for items of another shape or type.
        """
        given, made = self.domains(back=back)
        samples = given.encode(given.check_items(np.asarray(items), "the items to translate")) / given.scale
        return self._run(one_way(self.module, back=back), samples, None, made)

    def domains(self, *, back: bool = False) -> tuple[Modality, Modality]:
        """What `translate` takes and makes; a UsageError if this generator starts from noise, or knows no way back."""
        source = self.config.source
        if source is None:
            raise UsageError("this generator makes samples of noise and translates nothing: use sample")
        if back and not self.config.both_ways:
            raise UsageError("this generator translates one way: train another with both_ways")
        return (self.modality, source) if back else (source, self.modality)

    def inputs(self, n: int, seed: int, dataset: Dataset, labels: Any = None) -> tuple[Tensor, Labels | None]:
        """Latents and labels for n samples, or held-out items of the data set's source and what labels they have."""
        if self.config.source is None:
            return self.latents(n, seed), self.random_labels(n, seed, labels)
        if dataset.source is None:
            raise UsageError("this generator translates: give the run with its data, which say what it is fed")
        items, stream = dataset.source.heldout, Stream(seed, "sample")
        own = items.labels(n, stream) if self.config.label_size else None
        return items.batch(n, stream) / dataset.source.modality.scale, own

    def latents(self, n: int, seed: int = 0, truncation: float | None = None) -> Tensor:
        """The latents of `sample`, float32 [n, latent_dim]."""
        if self.config.source is not None:
            raise UsageError(f"this generator translates {self.config.source.name} and samples nothing: use translate")
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

    def random_labels(self, n: int, seed: int = 0, labels: Any = None) -> Labels | None:
        """The labels of `sample` as `generate` takes them, random where none are given."""
        return self._labels(labels, n, Stream(seed, "sample"))

    def _labels(self, wanted: Any, n: int, stream: Stream) -> Labels | None:
        """The labels that a caller asks for, one for all or one for each, or random ones."""
        config = self.config
        if wanted is not None and not (config.known_labels or config.attributes):
            raise UsageError("this generator was trained without labels: omit them")
        each = None if wanted is None else [wanted] * n if _is_label(wanted) else list(wanted)
        if each is not None and len(each) != n:
            raise UsageError(f"give one label, or one for each of the {n} samples, not {len(each)}")
        uniform = stream.part("labels").uniform(n)
        if config.attributes:
            return config.vectors([{}] * n if each is None else each, uniform)
        if each is not None:
            return config.numbers(each)
        if not config.class_shares:
            return None
        edges = torch.tensor(config.class_shares).cumsum(0)
        return torch.searchsorted(edges, uniform * edges[-1], right=True).clamp(max=len(edges) - 1)

    def generate(self, latents: Latents, labels: Labels | np.ndarray | Sequence[Any] | None = None) -> np.ndarray:
        """Samples, in the form of `sample`.

        Args:
            latents: [n, latent_dim].
            labels: for a generator with labels, what its network takes: the numbers of classes [n] from 0, or vectors
                of attributes [n, d], such as `random_labels` draws.
        """
        if latents.shape[1:] != self.config.input_shape:
            wanted = ", ".join(map(str, ("n", *self.config.input_shape)))
            raise UsageError(f"latents must be [{wanted}], not {list(latents.shape)}")
        labels = self.config.check_labels(labels, len(latents)) if self.config.source is None else None
        return self._run(one_way(self.module), latents, labels, self.modality)

    @torch.inference_mode()
    def _run(self, network: nn.Module, values: Tensor, labels: Labels | None, modality: Modality) -> np.ndarray:
        """What a network makes of latents or items, in batches of `SIZES`, as items of a modality."""
        device, batches = next(network.parameters()).device, []
        most = next(size for size in SIZES if size >= num_at_once(SIZES[-1], modality.item_shape))
        for part in zip(*(torch.split(each, most) for each in (values, labels) if each is not None), strict=True):
            count = len(part[0])
            sizes = getattr(network, "sizes", SIZES) if device.type == "cpu" else [most]
            size = next(each for each in sizes if each >= count)
            padded = [torch.cat([each, each[:1].expand(size - count, *each.shape[1:])]).to(device) for each in part]
            batches.append(modality.decode(network(*padded)[:count] * modality.scale))
        return np.concatenate(batches)

    def is_finite(self) -> bool:
        """Whether all weights are finite. Infinite ones would only show as black images."""
        return all(bool(torch.isfinite(value).all()) for value in self.module.state_dict().values())

    def interpolate(self, start: Tensor, end: Tensor, steps: int, label: Label | None = None) -> np.ndarray:
        """Samples, in the form of `sample`, along the great circle between two latents (White 2016, arXiv:1609.04468).

        Args:
            start: float32 [latent_dim].
            end: float32 [latent_dim].
            steps: the number of samples, including both ends, at least 2.
            label: of all samples, as in `sample`; with clusters for classes, it is always the largest one.
        """
        if steps < 2:
            raise UsageError(f"an interpolation has at least 2 steps, not {steps}")
        labels = None
        if label is not None or self.config.attributes:
            one = self._labels({} if label is None else [label], 1, Stream(0, "sample"))
            labels = None if one is None else one.expand(steps, *one.shape[1:])
        elif self.config.classes_are_clusters:
            largest = self.config.class_shares.index(max(self.config.class_shares))
            labels = torch.full((steps,), largest)
        return self.generate(spherical(start, end, torch.linspace(0, 1, steps)), labels)

    def project(
        self,
        items: np.ndarray,
        *,
        labels: Label | Sequence[Label] | None = None,
        num_starts: int = 16,
        seed: int = 0,
        on_progress: OnProgress = lambda what, share: None,
    ) -> Projection:
        """The latents of given items: of what the generator makes that is nearest to them.

        Args:
            items: as `sample` returns them, [n, ...].
            labels: the label of all items or of each, as in `sample`; if None, it is searched for as well.
            num_starts: the latents to begin with, for each item; the best result counts.
            seed: of the latents among which the starts are.
            on_progress: called with what is being done.

        Returns:
            The `Projection`: `interpolate` takes its latents.

        Raises:
            DataError: for items of another shape.
            UsageError: for a label that does not exist, or a number out of range.
        """
        given = None if labels is None else self._labels(labels, len(items), Stream(seed, "sample"))
        candidates = self.latents(NUM_CANDIDATES, seed), self.random_labels(NUM_CANDIDATES, seed)
        asked = np.asarray(items), candidates, given, num_starts, on_progress
        with torch.inference_mode(False), torch.enable_grad():
            latents, chosen, distances = project(self.module, self.config, *asked)
        return Projection(latents, chosen, self.generate(latents, chosen), distances)

    def save(self, folder: str | Path) -> None:
        """Write the generator into a folder of its own, and replace the one that is there."""
        write_folder(Path(folder), self.module, self.config)

    def to_torch(self, *, back: bool = False) -> nn.Module:
        """A plain module from latents, and labels if there are some, to items as tensors in the form of `sample`.

        `torch.export` takes it, with any number of samples. A translator's takes items; with `back`, of the target.

        Raises:
            UsageError: if `back` is given and this generator knows no way back.
        """
        if back:
            self.domains(back=True)
        return Plain(self.module, self.config, back=back)

    def export(
        self, path: str | Path, *, precision: str = "float32", licence: str = "not stated", back: bool = False
    ) -> str:
        """Write one file for programs that are not sparring, and say in words what it holds.

        Args:
            path: a .onnx, from what `generate` takes to what it returns; or a .safetensors, which `load` reads.
            precision: of the weights in the file: float32, or float16 for half the size.
            licence: of the weights, for the file's metadata.
            back: of a translator that goes both ways: a .onnx that translates back.

        Raises:
            UsageError: for another ending, a missing extra, weights that are not finite, or a disk that is full.
        """
        from sparring.generator import export

        if back:
            self.domains(back=True)
        return export.export(export.Request(self.module, self.config, precision, licence, back), Path(path))


def _is_label(wanted: object) -> bool:
    """Whether it is one label and not a sequence of them."""
    return isinstance(wanted, str | int | float | Mapping | np.generic)


def _check_count(n: int, seed: int) -> None:
    if n < 1:
        raise UsageError(f"the number of samples must be at least 1, not {n}")
    if not 0 <= seed < 2**64:
        raise UsageError(f"the seed must be between 0 and 2**64 - 1, not {seed}")


def load(path: str | PathLike[str], *, module: nn.Module | None = None) -> Generator:
    """Load the generator of a run, of a folder that `Generator.save` wrote, or of the Hugging Face hub.

    Args:
        path: a run, its folder, a generator's, a checkpoint's, a .safetensors of `export`, or hf://owner/name@revision.
        module: a network of the caller's own that `train` got as its generator; a copy of it gets the weights.

    Raises:
        UsageError: if there is none, it is damaged, or it needs a module.

    Example:
        >>> import tempfile
        >>> from sparring.modalities.points import Points
        >>> config = Config(Points((2,)), "mlp", latent_dim=8, prior="gaussian", width=16)
        >>> folder = tempfile.mkdtemp()
        >>> Generator(config.build(), config).save(folder)
        >>> load(folder).sample(3, seed=0).shape
        (3, 2)
    """
    return Generator(*read(path, module))
