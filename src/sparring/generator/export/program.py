"""A generator's network as a short list of steps, which the page of an export carries out.

Pictures are stored with the features of a pixel side by side. Batch normalisation becomes a scale and a shift of the
layer before it. Weights are stored as float16, divided by a power of two for each feature, so that none is too large
or too small for that.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sparring.errors import UsageError
from sparring.networks.fourier import LATENT_GAIN, Signs
from sparring.networks.heads import WithHeads
from sparring.networks.network import ConditionalGenerator, Modulation, UnconditionalGenerator
from sparring.networks.resnet import Residual

Step = dict[str, Any]


@dataclass
class Program:
    """The steps of a network, and the numbers that they refer to by their places.

    Every step has a name, `do`, and what it makes: `height`, `width` and `features`. Steps with weights:

    - `dense`, `conv` and `spread` (a transposed convolution) multiply by `weights`, [taps × inputs, outputs] from that
      place in `halves` on, and then do what `finish` does.
    - `finish`: slope(scale · x + shift), where slope(y) = max(y, slope · y), by `scale` and `shift` in `singles`, one
      of each for a feature; or for each of all numbers of a sample after `dense`.
    - `modulate`: slope((1 + y S) x + y T) for a sample's label y, one-hot or a vector; S and T are [labels, features].

    And without: `signs` (0.1 z, sign z), `keep` (remember what is there), `add` (it is added), `double` (twice as many
    rows and columns, by bilinear interpolation), `tanh`.
    """

    steps: list[Step] = field(default_factory=list)
    halves: list[np.ndarray] = field(default_factory=list)
    singles: list[np.ndarray] = field(default_factory=list)

    def put(self, numbers: list[np.ndarray], array: np.ndarray, dtype: type) -> int:
        """The place of an array among others, behind which it is put."""
        place = sum(each.size for each in numbers)
        numbers.append(np.ascontiguousarray(array, dtype).ravel())
        return place

    def put_single(self, array: np.ndarray) -> int:
        """The place of an array among the singles."""
        return self.put(self.singles, array, np.float32)


def compile_network(module: nn.Module, num_inputs: int) -> Program:
    """The steps of a generator of one of this project's families.

    Args:
        module: in evaluation mode.
        num_inputs: latents, and labels beside them.

    Raises:
        UsageError: for a network with layers that are not known here.
    """
    module = module.network if isinstance(module, WithHeads) else module  # who decodes takes the largest scores
    layers = module.layers if isinstance(module, ConditionalGenerator) else module
    if not isinstance(module, UnconditionalGenerator | ConditionalGenerator):
        raise UsageError("this generator's network is no sequence of layers: export it as .onnx")
    assert isinstance(layers, nn.Sequential)
    compiler = _Compiler(Program(), (num_inputs, 1, 1))
    for layer in layers:
        compiler.add(layer)
    compiler.close()
    return compiler.program


@dataclass
class _Open:
    """A step with a linear map that later layers may still change."""

    step: Step
    scale: np.ndarray  # of each output
    shift: np.ndarray


class _Compiler:
    """Translates layer after layer; `shape` is what the last one makes, (features, height, width)."""

    def __init__(self, program: Program, shape: tuple[int, int, int]) -> None:
        self.program, self.shape = program, shape
        self.open: _Open | None = None
        self.flat: tuple[np.ndarray, np.ndarray] | None = None  # a linear layer's, until its outputs' shape is known

    def add(self, layer: nn.Module) -> None:
        """Translate a layer."""
        match layer:
            case nn.Linear():
                self.close()
                bias = layer.bias if layer.bias is not None else torch.zeros(layer.out_features)
                self.flat = _array(layer.weight), _array(bias)
                self.shape = (layer.out_features, 1, 1)
            case nn.Unflatten():
                sizes = tuple(int(size) for size in layer.unflattened_size)
                self.shape = (*sizes, *[1] * (3 - len(sizes)))  # type: ignore[assignment]  # at most three
            case nn.Conv2d() | nn.ConvTranspose2d():
                self._convolve(layer)
            case nn.BatchNorm2d():
                assert layer.running_mean is not None
                assert layer.running_var is not None
                scale = _array(layer.weight) / np.sqrt(_array(layer.running_var) + layer.eps)
                self._scale(scale, _array(layer.bias) - scale * _array(layer.running_mean))
            case Modulation():
                places = [self.program.put_single(_array(each.weight)) for each in (layer.scale, layer.shift)]
                self._put({"do": "modulate", "scale": places[0], "shift": places[1], "slope": 1.0})
            case nn.ReLU():
                self._bend(0.0)
            case nn.LeakyReLU():
                self._bend(layer.negative_slope)
            case Residual():
                self._put({"do": "keep"})
                for inner in layer.branch:
                    self.add(inner)
                self._scale(np.full(self.shape[0], layer.scale), np.zeros(self.shape[0]))
                self._put({"do": "add"})
            case nn.Upsample(mode="bilinear", scale_factor=2.0, align_corners=False):
                self._settle()
                self.shape = self.shape[0], 2 * self.shape[1], 2 * self.shape[2]
                self._put({"do": "double"})
            case Signs():
                self.shape = 2 * self.shape[0], 1, 1
                self._put({"do": "signs", "gain": LATENT_GAIN})
            case nn.Tanh():
                self._put({"do": "tanh"})
            case _:
                raise UsageError(f"a page knows no layers of the kind {type(layer).__name__}: export it as .onnx")

    def close(self) -> None:
        """Write down the scales and shifts of the last linear map: no later layer changes them."""
        self._settle()
        if self.open is not None:
            step = self.open.step
            step["scale"], step["shift"] = map(self.program.put_single, (self.open.scale, self.open.shift))
            self.open = None

    def _put(self, step: Step) -> None:
        self.close()
        features, height, width = self.shape
        self.program.steps.append(step | {"features": features, "height": height, "width": width})

    def _put_open(self, step: Step, matrix: np.ndarray, shift: np.ndarray, times: int = 1) -> None:
        """A step with a matrix [inputs, outputs], each output of which stands `times` times in it."""
        largest = np.abs(matrix).reshape(-1, times, matrix.shape[1] // times).max((0, 1))
        unit = np.exp2(np.ceil(np.log2(np.where(largest > 0, largest, 1))))
        place = self.program.put(self.program.halves, matrix / np.tile(unit, times), np.float16)
        self._put(step | {"weights": place, "slope": 1.0})
        self.open = _Open(self.program.steps[-1], unit, shift.astype(np.float64))

    def _settle(self) -> None:
        """Write down a linear layer, whose outputs' shape is known now."""
        if self.flat is None:
            return
        (weights, bias), self.flat = self.flat, None
        order = np.arange(len(bias)).reshape(self.shape).transpose(1, 2, 0).ravel()  # features last
        self._put_open({"do": "dense", "inputs": weights.shape[1]}, weights[order].T, bias[order])

    def _convolve(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        self.close()
        inputs, *sides = self.shape
        window = layer.kernel_size
        padding, stride = layer.padding, layer.stride
        assert not isinstance(padding, str)
        is_plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding_mode == "zeros"
        if not is_plain or any(layer.output_padding):
            raise UsageError(f"a page knows no such convolution: {layer}; export it as .onnx")
        kernel, outputs = _array(layer.weight), layer.out_channels
        bias = _array(layer.bias) if layer.bias is not None else np.zeros(outputs)
        step = {"inputs": inputs, "window": [*window], "padding": [*padding], "stride": [*stride]}
        step["from"] = sides
        if isinstance(layer, nn.Conv2d):
            if set(stride) != {1}:
                raise UsageError(f"a page knows no such convolution: {layer}; export it as .onnx")
            left = [side + 2 * padding[axis] - window[axis] + 1 for axis, side in enumerate(sides)]
            self.shape = outputs, left[0], left[1]
            matrix = kernel.transpose(2, 3, 1, 0).reshape(-1, outputs)  # [rows, columns, inputs; outputs]
            self._put_open({"do": "conv"} | step, matrix, bias)
        else:
            larger = [(side - 1) * stride[axis] - 2 * padding[axis] + window[axis] for axis, side in enumerate(sides)]
            self.shape = outputs, larger[0], larger[1]
            matrix = kernel.transpose(0, 2, 3, 1).reshape(inputs, -1)  # [inputs; rows, columns, outputs]
            self._put_open({"do": "spread"} | step, matrix, bias, times=window[0] * window[1])

    def _scale(self, scale: np.ndarray, shift: np.ndarray) -> None:
        """Make x scale · x + shift, with one of each for a feature."""
        self._settle()
        if self.open is None or self.open.step["slope"] != 1.0:
            features = self.shape[0]
            self._put({"do": "finish", "slope": 1.0})
            self.open = _Open(self.program.steps[-1], np.ones(features), np.zeros(features))
        times = len(self.open.scale) // len(scale)
        scale, shift = np.tile(scale, times), np.tile(shift, times)
        self.open.scale, self.open.shift = self.open.scale * scale, self.open.shift * scale + shift

    def _bend(self, slope: float) -> None:
        """ReLU or LeakyReLU, after the last step's scale and shift."""
        self._settle()
        if not self.program.steps or self.program.steps[-1].get("slope") != 1.0:
            features = self.shape[0]
            self._put({"do": "finish", "slope": 1.0})
            self.open = _Open(self.program.steps[-1], np.ones(features), np.zeros(features))
        self.program.steps[-1]["slope"] = slope


def _array(tensor: Tensor) -> np.ndarray:
    numbers: np.ndarray = tensor.detach().cpu().double().numpy()
    return numbers
