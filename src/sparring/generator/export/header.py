"""What an exported file says of itself."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from sparring.generator.config import Config

PRECISIONS = {"float32": torch.float32, "float16": torch.float16}
"""The types in which weights can be stored."""


@dataclass(frozen=True)
class Request:
    """What to export."""

    module: nn.Module  # the network, with both ways of a translator
    config: Config
    precision: str = "float32"  # of `PRECISIONS`
    licence: str = "not stated"  # of the weights
    back: bool = False  # whether a translator that goes both ways translates back
    decodes: bool = True  # whether an .onnx takes and gives items, and not what the network does

    def header(self) -> dict[str, Any]:
        """The version, the licence, the names of the classes, and the whole description."""
        return {
            "version": f"sparring {version('sparring')}",
            "licence": self.licence,
            "class_names": list(self.config.known_labels),
            "config": asdict(self.config),
        }
