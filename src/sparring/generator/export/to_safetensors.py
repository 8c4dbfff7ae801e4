"""One .safetensors: the weights, and the description in its header; `sparring.load` reads it."""

from sparring.generator.export.header import PRECISIONS, Request
from sparring.generator.files import pack_weights


def to_safetensors(request: Request) -> tuple[bytes, str]:
    """The file's bytes, and how many weights it holds."""
    data = pack_weights(request.module, PRECISIONS[request.precision], request.header())
    count = sum(value.numel() for value in request.module.state_dict().values())
    return data, f"{count:,} numbers in {request.precision}"
