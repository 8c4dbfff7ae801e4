"""What notebooks show of an object: a picture above its `repr`."""

import io
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def show(words: str, png: bytes | None = None) -> str:
    """HTML of a picture, if there is one, and of words below it.

    Example:
        >>> show("Run('a')", b"")
        '<img src="data:image/png;base64,"><br>Run(&#x27;a&#x27;)'
    """
    picture = "" if png is None else f'<img src="data:image/png;base64,{b64encode(png).decode()}"><br>'
    return picture + escape(words)


def to_png(image: "Image") -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
