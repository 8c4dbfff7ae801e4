"""A generator whose network onnxruntime computes, in a third of PyTorch's time for small networks on a CPU."""

import copy
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from sparring.game.both_ways import BothWays
from sparring.generator.export.header import Request
from sparring.generator.export.to_onnx import to_onnx
from sparring.generator.generator import SIZES, Generator
from sparring.seeding import Stream

SMALL = 1, 2, 3, 5, 8, 13  # sizes of batches that are tried


def with_onnx(generator: Generator) -> Generator:
    """The same generator with its network in onnxruntime, on as many threads as PyTorch.

    Its samples differ from the other's by rounding: of images, a byte by 1 where a value lies near to a half. As in
    PyTorch, a sample does not depend on how many others are drawn.

    Raises:
        UsageError: without the extra `export`, or for a network that PyTorch cannot trace.
    """
    network: nn.Module = _Session(generator, back=False)
    if generator.config.both_ways:
        network = BothWays(network, _Session(generator, back=True))
    return Generator(network, generator.config)


@final
class _Session(nn.Module):
    """One way of a generator as a graph."""

    def __init__(self, generator: Generator, *, back: bool) -> None:
        super().__init__()
        module = copy.deepcopy(generator.module).cpu()
        data, _ = to_onnx(Request(module, generator.config, back=back, decodes=False))
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other threads need the cores
        self.session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]
        self.place = nn.Parameter(torch.empty(0))  # which tells that this network is on the CPU
        self.sizes = self._find_sizes(generator)

    def _find_sizes(self, generator: Generator) -> Sequence[int]:
        """Of batches: all, if it makes the same bits in small ones on this processor."""
        values = Stream(0, "sizes").normal(SIZES[0], *generator.config.input_shape)
        labels = generator.random_labels(SIZES[0]) if generator.config.source is None else None
        inputs = [each for each in (values, labels) if each is not None]
        whole = self(*inputs)
        are_same = (torch.equal(self(*(each[:size] for each in inputs)), whole[:size]) for size in SMALL)
        return range(1, SIZES[-1] + 1) if all(are_same) else SIZES

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's output."""
        (made,) = self.session.run(None, {name: each.numpy() for name, each in zip(self.names, inputs, strict=True)})
        return torch.from_numpy(made)
