"""One .onnx: a graph from latents and labels to items, which onnxruntime runs in many languages and in browsers."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sparring.errors import UsageError, how_to_install
from sparring.generator.export.header import Request
from sparring.generator.plain import Plain

if TYPE_CHECKING:
    import onnx

PRODUCER = "sparring"
NETWORK = "network."  # so begin the names of its weights


def to_onnx(request: Request) -> tuple[bytes, str]:
    """The file's bytes, and its inputs, its output, and how far that is from PyTorch's for another number of samples.

    Computations are in float32, whatever the weights are stored in: not every runtime knows float16.

    Raises:
        UsageError: without the extra `export`, or for a network that PyTorch cannot trace.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UsageError(f"a .onnx takes what is not installed ({error}): {how_to_install('export')}") from error
    plain = Plain(request.module, request.config, back=request.back, decodes=request.decodes)
    model = _trace(plain)
    _strip(model.graph)
    _rename(model.graph, plain)
    del model.metadata_props[:]
    _describe(model, plain, request)
    if request.precision == "float16":
        _halve(model.graph)
    data: bytes = model.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names, output = plain.names()
    inputs = plain.example(3)
    with torch.inference_mode():
        expected = plain(*inputs).numpy()
    try:
        (items,) = session.run([output], {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
        largest = np.abs(items.astype(np.float64) - expected).max()  # PyTorch warns of no size that it took for fixed
    except Exception as error:  # onnxruntime's have no base in common
        raise UsageError(
            f"the network {request.config.network!r} was traced with 2 samples, and its graph does not take 3: let its "
            f"forward depend on the number of samples by shapes alone ({error})"
        ) from error
    given = " and ".join(_form(name, value.numpy()) for name, value in zip(names, inputs, strict=True))
    return data, f"{given} to {_form(output, items)}; largest difference from PyTorch {largest:.2g}"


def _form(name: str, array: np.ndarray) -> str:
    return f"{name} {array.dtype} [{', '.join(map(str, ('n', *array.shape[1:])))}]"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's remarks about itself: deprecated calls in its own code, and packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _trace(plain: Plain) -> "onnx.ModelProto":
    names, output = plain.names()
    inputs = tuple(value for value in plain.example(2))
    try:
        with _quiet(), torch.no_grad():
            program: Any = torch.onnx.export(
                plain,
                inputs,
                dynamo=True,
                input_names=names,
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("n")},) * len(inputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        first = str(error.__cause__ or error).splitlines()[0]
        raise UsageError(f"PyTorch cannot make a graph of the network {plain.config.network!r}: {first}") from error
    model: onnx.ModelProto = program.model_proto
    return model


def _strip(graph: "onnx.GraphProto") -> None:
    """Take out what PyTorch's exporter notes at each node: where it stands in which file of this machine."""
    del graph.value_info[:], graph.metadata_props[:]
    for each in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        each.doc_string = ""
        del each.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)


def _rename(graph: "onnx.GraphProto", plain: Plain) -> None:
    """Number nodes and what they make in their order: PyTorch's numbers depend on what it traced before.

    The names of inputs, of the output and of weights stay.
    """
    names, output = plain.names()
    kept = {*names, output, *(each.name for each in graph.initializer if each.name.startswith(NETWORK))}
    new = {"": "", **{name: name for name in kept}}
    for tensor in graph.initializer:
        tensor.name = new.setdefault(tensor.name, f"constant_{len(new)}")
    _rename_nodes(graph, new)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"


def _rename_nodes(graph: "onnx.GraphProto", new: dict[str, str]) -> None:
    for node in graph.node:
        node.name = f"{node.op_type}_{len(new)}"
        node.input[:] = [new.setdefault(name, f"value_{len(new)}") for name in node.input]
        node.output[:] = [new.setdefault(name, f"value_{len(new)}") for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename_nodes(attribute.g, new)


def _describe(model: "onnx.ModelProto", plain: Plain, request: Request) -> None:
    """Say what the model is."""
    config, header = request.config, request.header()
    model.producer_name, model.producer_version = PRODUCER, header["version"].removeprefix(f"{PRODUCER} ")
    model.graph.name = "generator"
    made = plain.made
    model.doc_string = f"A generator of {made.name} ({made.describe()}), trained by {PRODUCER}."
    constants = {name: value.tolist() for name, value in made.constants.items()}  # such as a sample rate
    for name, value in {**header, **constants}.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        model.metadata_props.add(key=name, value=text)
    texts = {"latents": f"random numbers: {config.prior}", "labels": "the number of a class from 0: see class_names"}
    if config.attributes:
        texts["labels"] = "attributes: see config"
    for value in model.graph.input:
        value.doc_string = texts.get(value.name, "items to translate")


def _halve(graph: "onnx.GraphProto") -> None:
    """Store the network's weights as float16, each with a node before all others that makes it float32 again.

    Constants of a modality's decoding stay, and so do weights that the exporter has merged into larger numbers.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or not tensor.name.startswith(NETWORK):
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        if np.abs(values).max() <= np.finfo(np.float16).max:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.float16"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.float32", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
