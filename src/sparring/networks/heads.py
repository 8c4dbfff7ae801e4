"""The end of a generator of tables: it chooses one value for each one-hot part of a sample."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
        # Of each number: its part, and the number that is its gate. They are no buffers: no file of weights needs them.
        self.part_of, self.gate_of, self.num_parts = [len(parts)] * size, [size] * size, len(parts)
        for number, (start, count) in enumerate(parts):
            self.part_of[start : start + count] = [number] * count
        for place, gate in gates:
            self.gate_of[place] = gate

    def forward(self, scores: Samples) -> Samples:
        """The samples. Of equal scores that are the largest, the first becomes 1."""
        if not self.num_parts:
            return scores
        part_of, gate_of = (torch.tensor(each, device=scores.device) for each in (self.part_of, self.gate_of))
        values = scores.detach()
        lowest = torch.full_like(values[:, :1], LEAST).expand(-1, self.num_parts + 1)  # the last for those of no part
        largest = lowest.scatter_reduce(1, part_of.expand_as(values), values, "amax").index_select(1, part_of)
        size = len(self.part_of)
        places = torch.arange(size, device=scores.device)
        candidates = torch.where(values == largest, places, size)
        none = torch.full_like(lowest, size, dtype=torch.int64)
        first = none.scatter_reduce(1, part_of.expand_as(values), candidates, "amin").index_select(1, part_of)
        chosen = (places == first).to(values)
        if self.training:
            weights = (scores - largest).exp()
            sums = torch.zeros_like(lowest).index_add(1, part_of, weights)
            soft = weights / sums.index_select(1, part_of)
            chosen = chosen + (soft - soft.detach())
        samples = torch.where(part_of < self.num_parts, chosen, scores)
        open_gates = torch.cat([samples, torch.ones_like(samples[:, :1])], dim=1).index_select(1, gate_of)
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
