"""Generators for programs that are not this library: a file a format, and an entry here by the ending of the file."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from sparring.errors import UsageError
from sparring.files import write_atomically
from sparring.generator.export.header import PRECISIONS
from sparring.generator.export.header import Request as Request
from sparring.generator.export.to_html import to_html
from sparring.generator.export.to_onnx import to_onnx
from sparring.generator.export.to_safetensors import to_safetensors
from sparring.generator.film import FILMS
from sparring.modalities.output import ending_of, explain_errors

EXPORTS: dict[str, Callable[[Request], tuple[bytes, str]]] = {
    ".safetensors": to_safetensors, ".onnx": to_onnx, ".html": to_html,
}  # fmt: skip
"""What makes the bytes of a file, and says in words what it holds, by the file's ending."""


def check_export(path: Path, precision: str) -> str:
    """The ending of a file to write; a UsageError if there is no such format or precision."""
    ending = ending_of(path)
    if ending not in EXPORTS:
        raise UsageError(
            f"cannot export {path.name!r}: give --out a file that ends in {' or '.join(EXPORTS)}, or of a run a film "
            f"({', '.join(FILMS)})"
        )
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision {precision!r}: give {' or '.join(PRECISIONS)}")
    return ending


def export(request: Request, path: Path) -> str:
    """Write a generator into a file; an existing one is replaced, and a failure leaves it as it is.

    Returns:
        What the file holds, in words.

    Raises:
        UsageError: for an unknown ending or precision, an extra that is not installed, weights that are not finite or
            too large for float16, or a file that cannot be written.
    """
    write = EXPORTS[check_export(path, request.precision)]
    limit = torch.finfo(PRECISIONS[request.precision]).max
    for name, value in request.module.state_dict().items():
        if value.is_floating_point() and not value.abs().max().item() <= limit:
            what = "are not finite" if not math.isfinite(value.abs().max().item()) else f"exceed {limit:g}"
            raise UsageError(f"the weights {name} {what}: export a checkpoint from before, or best/")
    data, description = write(replace(request, module=copy.deepcopy(request.module).cpu()))
    with explain_errors(path):
        write_atomically(path, lambda beside: beside.write_bytes(data))
    return f"{len(data):,} bytes, {description}"
