"""The end of a generator of tables: it chooses one value for each one-hot part of a sample."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sparring.types import Labels, Latents, Samples


class Heads(nn.Module):
    """One-hot parts of samples [batch, d], from scores: the largest score of each part becomes 1, the others 0.

    While it is trained, gradients pass as if the part were softmax(scores): a discriminator sees the same sharp values
    in generated and in real samples, and the generator still learns from it.

    Args:
        size: d, the numbers of a sample.
        parts: the first place and the size of each one-hot part.
        gates: of numbers that count only if a part's first score is the largest, otherwise they are 0: the place of
            the number, and of that score.

    Source: Bengio et al. 2013, "Estimating or propagating gradients through stochastic neurons for conditional
        computation", arXiv:1308.3432, section 4.2, the straight-through estimator.

    Example:
        >>> heads = Heads(4, [(1, 3)], gates=[(0, 1)]).eval()
        >>> heads(torch.tensor([[0.5, 2.0, 7.0, 1.0], [0.5, 9.0, 7.0, 1.0]]))
        tensor([[0.0000, 0.0000, 1.0000, 0.0000],
                [0.5000, 1.0000, 0.0000, 0.0000]])
    """

    def __init__(self, size: int, parts: Sequence[tuple[int, int]], gates: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.most, self.num_parts = max((size for _, size in parts), default=0), len(parts)
        # Places, by which numbers are put where they belong. They are no buffers: no file of weights needs them.
        self.places = [start + each if each < count else size for start, count in parts for each in range(self.most)]
        self.order, self.gates = list(range(size)), [size] * size
        for number, (start, count) in enumerate(parts):
            self.order[start : start + count] = range(size + number * self.most, size + number * self.most + count)
        for number, gate in gates:
            self.gates[number] = gate

    def forward(self, scores: Samples) -> Samples:
        """The samples."""
        if not self.num_parts:
            return scores
        places, order, gates = (
            torch.tensor(each, device=scores.device) for each in (self.places, self.order, self.gates)
        )
        # A score below all others fills the parts that are smaller than the largest one.
        padded = torch.cat([scores, torch.full_like(scores[:, :1], LEAST)], dim=1)
        parts = padded.index_select(1, places).view(-1, self.num_parts, self.most)
        chosen = one_hot(parts.argmax(2), self.most).to(scores)
        if self.training:
            soft = parts.softmax(2)
            chosen = chosen + (soft - soft.detach())
        samples = torch.cat([scores, chosen.flatten(1)], dim=1).index_select(1, order)
        open_gates = torch.cat([samples, torch.ones_like(samples[:, :1])], dim=1).index_select(1, gates)
        return samples * open_gates


class WithHeads(nn.Module):
    """A generator that ends in `Heads`."""

    def __init__(self, network: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.network, self.heads = network, heads

    def forward(self, latents: Latents, labels: Labels | None = None) -> Samples:
        """Samples."""
        scores: Tensor = self.network(latents) if labels is None else self.network(latents, labels)
        samples: Samples = self.heads(scores)
        return samples


LEAST = -1e30
