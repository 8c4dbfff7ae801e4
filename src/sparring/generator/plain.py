"""A generator as one plain PyTorch module, from latents to items: what exports hold."""

from typing import final

import torch
from torch import Tensor, nn

from sparring.game.both_ways import one_way
from sparring.generator.config import Config


@final
class Plain(nn.Module):
    """From latents, and labels if there are some, to items as `sparring sample` writes them; or from items to items.

    It takes any number of samples at once. A class that there isn't is an `IndexError`, and stays an error in exported
    graphs: numbers below 0, which would count from the end, are moved behind the last class first.

    Args:
        network: of a generator; it is used and not copied.
        config: its description.
        back: for a translator that goes both ways, whether it translates back.
        decodes: whether it takes and gives items; otherwise it takes and gives what the network does.

    Example:
        >>> from sparring.modalities.images import Images
        >>> config = Config(Images((3, 8, 8)), "conv", latent_dim=4, prior="gaussian", width=4)
        >>> module = Plain(config.build().eval(), config)
        >>> module(torch.randn(2, 4)).shape
        torch.Size([2, 8, 8, 3])
    """

    classes: Tensor

    def __init__(self, network: nn.Module, config: Config, *, back: bool = False, decodes: bool = True) -> None:
        super().__init__()
        self.network = one_way(network, back=back)
        self.config, self.decodes = config, decodes
        given, made = config.source, config.modality
        self.given, self.made = (made, given) if back and given is not None else (given, made)
        self.register_buffer("classes", torch.arange(len(config.class_shares)), persistent=False)
        self.eval()
        with torch.no_grad():  # a spectrogram's constants are computed now, and not in each graph
            if decodes:
                self.made.decode_tensor(torch.zeros(2, *self.made.item_shape))
            if decodes and self.given is not None:
                self.given.encode_tensor(self.example(2)[0])

    def forward(self, values: Tensor, labels: Tensor | None = None) -> Tensor:
        """Items of latents [n, latent_dim] and labels, int64 [n] or float32 [n, d]; or of items to translate."""
        if self.given is not None and self.decodes:
            samples = self.network(self.given.encode_tensor(values) / self.given.scale)
        elif labels is None:
            samples = self.network(values)
        else:
            samples = self.network(values, self._check(labels) if len(self.config.class_shares) else labels)
        return self.made.decode_tensor(samples * self.made.scale) if self.decodes else samples

    def _check(self, labels: Tensor) -> Tensor:
        return self.classes.index_select(0, torch.where(labels < 0, len(self.classes), labels))

    def names(self) -> tuple[list[str], str]:
        """What its inputs and its output are called."""
        first = "latents" if self.given is None else self.given.tensor_name
        has_labels = self.given is None and self.config.label_size
        made = self.made.tensor_name
        return [first, *(["labels"] if has_labels else [])], f"translated_{made}" if made == first else made

    def example(self, n: int) -> list[Tensor]:
        """Random inputs, the same each time; each class in turn."""
        random = torch.Generator().manual_seed(0)
        values = torch.randn(n, *self.config.input_shape, generator=random)
        if self.given is not None:
            values = values.clamp(-1, 1)
            return [self.given.decode_tensor(values * self.given.scale) if self.decodes else values]
        if self.config.class_shares:
            return [values, torch.arange(n) % len(self.config.class_shares)]
        size = self.config.label_size
        return [values, torch.rand(n, size, generator=random)] if size else [values]
