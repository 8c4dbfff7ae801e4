"""Named sets of settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A named set of settings, an entry of `RECIPES`."""

    name: str
    summary: str
    source: str  # of the settings
    settings: Mapping[str, Any]  # fields of `Recipe` by name; those that are None are chosen to suit the data
    by_network: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # settings that replace these, by network
    translates: bool = False  # whether it is for generators that are fed items of another domain
