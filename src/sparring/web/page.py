"""The page."""

from typing import Any


def build_page(data: dict[str, Any] | None = None) -> str:
    """The page, with data in it or without."""
    return "<!doctype html><title>sparring</title><p>The page of sparring.</p>"
