"""Lines of a log by bytes: what came after a place in it, and an even choice from a long one.

A log of 50,000 lines is never parsed: lines are chosen by their place in the file, and those that must not be missed
are found by their bytes. Files are read in blocks and not mapped into memory, since a process that reads a mapped file
is killed when another one truncates it.
"""

import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

MAX_LINES = 2000  # with more lines behind, an answer holds
NUM_CHOSEN = 1500  # so many evenly chosen, and all that are marked:
MARKS = re.compile(rb'"(?:evaluation|alarms|changed)"')
MAX_MARKED = 4000  # a log has some hundreds
SMALL = 2**22  # bytes that are read at once and split
BLOCK = 2**23  # bytes that are searched at once
MAX_LINE = 2**20
USUAL_LINE = 2**13
KEPT_BYTES = 2**26  # of choices from long logs that are remembered
CHECKED = 256  # bytes before a place that say whether the file is still the same


@dataclass
class _Index:
    """Where the marked lines of a file are, up to a place."""

    place: str = "0"
    starts: list[int] = field(default_factory=list)


class LogLines:
    """Reads logs, and remembers where their marked lines are."""

    def __init__(self) -> None:
        self._indices: dict[tuple[int, int], _Index] = {}
        self._kept: dict[tuple[int, ...], tuple[int, list[bytes]]] = {}
        self._lock = Lock()

    def read(self, descriptor: int, after: str) -> tuple[list[bytes], str, bool]:
        """The lines after a place.

        Args:
            descriptor: of the open log.
            after: "" or "0" for its beginning, or what the last call returned: "BYTES-CHECK", where CHECK depends on
                what stands before that place.

        Returns:
            Whole lines that are JSON objects, the place after them, and whether they begin anew because the file has
            been cut or replaced since.
        """
        size = os.fstat(descriptor).st_size
        start = _offset(descriptor, after, size)
        reset = start is None
        start = start or 0
        end = _last_end(descriptor, start, size)
        if end - start <= SMALL:
            lines = _read(descriptor, start, end).split(b"\n")[:-1]
            if len(lines) > MAX_LINES:
                count = len(lines)
                chosen = {number * (count - 1) // (NUM_CHOSEN - 1) for number in range(NUM_CHOSEN)}
                chosen |= {number for number, line in enumerate(lines) if MARKS.search(line)}
                lines = [lines[number] for number in sorted(chosen)]
            lines = _valid(lines)
        else:
            lines = self._choose(descriptor, start, end)
        return lines, place_of(descriptor, end), reset

    def _choose(self, descriptor: int, start: int, end: int) -> list[bytes]:
        """The evenly chosen and the marked lines between two places; remembered, since finished logs do not change."""
        state = os.fstat(descriptor)
        key = state.st_dev, state.st_ino, state.st_mtime_ns, start, end
        with self._lock:
            _, lines = self._kept.get(key, (0, None))
        if lines is None:
            starts = {*self._marked(descriptor, start, end), *_spread(descriptor, start, end)}
            lines = _valid([_line_at(descriptor, each, end) for each in sorted(starts)])
            with self._lock:
                self._kept[key] = sum(map(len, lines)), lines
                while sum(size for size, _ in self._kept.values()) > KEPT_BYTES:
                    del self._kept[next(iter(self._kept))]
        return lines

    def last(self, descriptor: int, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The last line, and the last object with a name in any line; empty if there are none."""
        end = _last_end(descriptor, 0, os.fstat(descriptor).st_size)
        line, mark = dict[str, Any](), f'"{name}"'.encode()
        start = max(0, end - MAX_LINE)
        data = _read(descriptor, start, end)
        for text in reversed(data.split(b"\n")[bool(start) : -1]):
            line = line or _parse(text)
            if mark in text and isinstance(found := _parse(text).get(name), dict):
                return line, found
        return line, {}

    def _marked(self, descriptor: int, start: int, end: int) -> list[int]:
        """Where the marked lines between two places begin."""
        state = os.fstat(descriptor)
        with self._lock:
            index = self._indices.pop((state.st_dev, state.st_ino), None) or _Index()
            scanned = _offset(descriptor, index.place, end)
            if scanned is None:
                index, scanned = _Index(), 0
            while scanned < end:
                block = _read(descriptor, scanned, min(end, scanned + BLOCK))
                whole = block.rfind(b"\n") + 1 or len(block)
                index.starts += _find_marked(block, whole, scanned)
                scanned += whole
            index.place = place_of(descriptor, end)
            self._indices[state.st_dev, state.st_ino] = index
            while len(self._indices) > 1000:
                del self._indices[next(iter(self._indices))]
            starts = [each for each in index.starts if start <= each < end]
        step = -(-len(starts) // MAX_MARKED) or 1
        return starts[::step]


def place_of(descriptor: int, end: int) -> str:
    """A place in a file, with a check of what stands before it."""
    return f"{end}-{zlib.crc32(_read(descriptor, max(0, end - CHECKED), end)):08x}" if end else "0"


def _offset(descriptor: int, place: str, size: int) -> int | None:
    """The bytes before a place; None if the file is no longer the one in which it was."""
    text, _, check = place.partition("-")
    if not text.isascii() or not text.isdigit():
        return 0 if not text else None
    offset = int(text[:18])
    if offset == 0:
        return 0
    if offset > size or _read(descriptor, offset - 1, offset) != b"\n":
        return None
    return None if check and place_of(descriptor, offset) != place else offset


def _read(descriptor: int, start: int, end: int) -> bytes:
    """The bytes between two places, fewer if the file ends before."""
    parts = []
    while start < end and (part := os.pread(descriptor, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _last_end(descriptor: int, start: int, size: int) -> int:
    """The end of the last whole line: another process may be writing one, or a power cut may have torn it."""
    end = size
    while end > start:
        begin = max(start, end - USUAL_LINE)
        newline = _read(descriptor, begin, end).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return start


def _spread(descriptor: int, start: int, end: int) -> list[int]:
    """Where evenly chosen lines begin, the first and the last among them."""
    starts = [start]
    for number in range(1, NUM_CHOSEN - 1):
        place = start + (end - start) * number // (NUM_CHOSEN - 1)
        newline = _read(descriptor, place, min(end, place + USUAL_LINE)).find(b"\n")
        if newline >= 0 and place + newline + 1 < end:
            starts.append(place + newline + 1)
    return [*starts, _last_end(descriptor, start, end - 1)]


def _line_at(descriptor: int, start: int, end: int) -> bytes:
    """The line that begins at a place; empty if it is longer than any training writes."""
    for length in (USUAL_LINE, MAX_LINE):
        line, newline, _ = _read(descriptor, start, min(end, start + length)).partition(b"\n")
        if newline:
            return line
    return b""


def _find_marked(block: bytes, whole: int, offset: int) -> list[int]:
    """Where the lines with a mark begin, in a block that begins with a line."""
    starts = list[int]()
    for mark in MARKS.finditer(block, 0, whole):
        start = offset + block.rfind(b"\n", 0, mark.start()) + 1
        if not starts or start > starts[-1]:
            starts.append(start)
    return starts


def _valid(lines: Sequence[bytes]) -> list[bytes]:
    """The lines that are JSON objects; usually all, which is seen at once."""
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]", parse_constant=_refuse)
        if len(values) == len(lines) and all(isinstance(value, dict) for value in values):
            return [*lines]
    except (ValueError, RecursionError):
        pass
    return [line for line in lines if _parse(line)]


def _parse(line: bytes) -> dict[str, Any]:
    """A line of the log; empty if a training did not write it."""
    try:
        value = json.loads(line.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no number in JSON")
