"""WebAssembly's text form translated into its bytes: as much of it as `page/kernel.wat` needs.

A module's bytes are sections: types of functions, imports, functions, exports, code. A number is written in groups of 7
bits, the lowest first, each but the last marked by a high bit. An instruction is a byte or two, after its operands:
`(i32.add (local.get $x) (i32.const 4))` becomes `local.get x, i32.const 4, i32.add`.

Source: WebAssembly Core Specification 2.0, sections 5 (binary format) and 6 (text format).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

Expression = list[Any]  # a word and what stands behind it in the same brackets: words and other expressions

TYPES = {"i32": 0x7F, "f32": 0x7D, "v128": 0x7B}
PLAIN = {
    "i32.eqz": 0x45, "i32.lt_s": 0x48, "i32.lt_u": 0x49, "i32.gt_s": 0x4A, "i32.ge_s": 0x4E, "i32.add": 0x6A,
    "i32.sub": 0x6B, "i32.mul": 0x6C, "i32.and": 0x71, "f32.add": 0x92,
}  # fmt: skip
VECTOR = {"f32x4.splat": 0x13, "f32x4.add": 0xE4, "f32x4.mul": 0xE6, "f32x4.max": 0xE9}
MEMORY = {  # the bytes of each, and the alignment as the exponent of 2
    "f32.load": (b"\x2a", 2), "f32.store": (b"\x38", 2), "v128.load": (b"\xfd\x00", 4),
    "v128.load32_splat": (b"\xfd\x09", 2), "v128.store": (b"\xfd\x0b", 4),
}  # fmt: skip
LOCALS = {"local.get": 0x20, "local.set": 0x21, "local.tee": 0x22}
BRANCHES = {"br": 0x0C, "br_if": 0x0D}
BLOCKS = {"block": 0x02, "loop": 0x03}
NO_RESULT, ELSE, END = 0x40, b"\x05", b"\x0b"


def assemble(text: str) -> bytes:
    """The module of a text.

    Raises:
        ValueError: for a word that is not known here.

    Example:
        >>> assemble('(module (memory (import "page" "memory") 1))').hex(" ")
        '00 61 73 6d 01 00 00 00 02 10 01 04 70 61 67 65 06 6d 65 6d 6f 72 79 02 00 01'
    """
    tokens = iter(re.findall(r'[()]|"[^"]*"|[^\s()]+', re.sub(r";;.*", "", text)))
    assert next(tokens) == "("
    _, *fields = _read(tokens)
    imports, types, exports, code = [], [], list[bytes](), list[bytes]()
    for field in fields:
        match field:
            case ["memory", ["import", str(module), str(name)], str(pages)]:
                imports.append(_name(module) + _name(name) + b"\x02\x00" + _unsigned(int(pages)))
            case ["func", ["export", str(name)], *parts]:
                params = [part for part in parts if part[0] == "param"]
                variables = [part for part in parts if part[0] == "local"]
                body = [part for part in parts if part[0] not in ("param", "local")]
                types.append(b"\x60" + _vector([bytes([TYPES[part[2]]]) for part in params]) + _vector([]))
                exports.append(_name(name) + b"\x00" + _unsigned(len(exports)))
                places = {part[1]: place for place, part in enumerate([*params, *variables])}
                kinds = [(len([*group]), kind) for kind, group in groupby(TYPES[part[2]] for part in variables)]
                declared = _vector([_unsigned(count) + bytes([kind]) for count, kind in kinds])
                whole = declared + b"".join(_instruction(part, places, ()) for part in body) + END
                code.append(_unsigned(len(whole)) + whole)
            case _:
                raise ValueError(f"unknown: {field}")
    distinct = list(dict.fromkeys(types))
    numbers = [_unsigned(distinct.index(each)) for each in types]
    sections = {1: distinct, 2: imports, 3: numbers, 7: exports, 10: code}
    parts = [(number, _vector(entries)) for number, entries in sections.items() if entries]
    return b"\0asm\1\0\0\0" + b"".join(bytes([number]) + _unsigned(len(part)) + part for number, part in parts)


def _read(tokens: Iterator[str]) -> Expression:
    """The words up to the closing bracket."""
    found: Expression = []
    for token in tokens:
        if token == ")":
            break
        found.append(_read(tokens) if token == "(" else token)
    return found


def _instruction(expression: Expression, places: dict[str, int], labels: tuple[str, ...]) -> bytes:
    """An instruction after its operands; `labels` are those of the blocks around it, the inmost one last."""
    word, *rest = expression

    def all_of(parts: Expression, labels: tuple[str, ...] = labels) -> bytes:
        return b"".join(_instruction(part, places, labels) for part in parts)

    if word in LOCALS:
        return all_of(rest[1:]) + bytes([LOCALS[word]]) + _unsigned(places[rest[0]])
    if word == "i32.const":
        return b"\x41" + _signed(int(rest[0]))
    if word == "v128.const":  # here always four zeros
        return b"\xfd\x0c" + bytes(16)
    if word in PLAIN:
        return all_of(rest) + bytes([PLAIN[word]])
    if word in VECTOR:
        return all_of(rest) + b"\xfd" + _unsigned(VECTOR[word])
    if word in MEMORY:
        code, alignment = MEMORY[word]
        offset, operands = (int(rest[0][7:]), rest[1:]) if isinstance(rest[0], str) else (0, rest)
        return all_of(operands) + code + _unsigned(alignment) + _unsigned(offset)
    if word in BRANCHES:
        return all_of(rest[1:]) + bytes([BRANCHES[word]]) + _unsigned(len(labels) - 1 - labels.index(rest[0]))
    if word in BLOCKS:
        return bytes([BLOCKS[word], NO_RESULT]) + all_of(rest[1:], (*labels, rest[0])) + END
    if word == "if":
        condition, *branches = rest
        inner = ELSE.join(all_of(branch[1:], (*labels, "")) for branch in branches)
        return all_of([condition]) + bytes([0x04, NO_RESULT]) + inner + END
    raise ValueError(f"unknown instruction: {word}")


def _vector(entries: Sequence[bytes]) -> bytes:
    """Entries after their number."""
    return _unsigned(len(entries)) + b"".join(entries)


def _name(quoted: str) -> bytes:
    letters = quoted.strip('"').encode()
    return _unsigned(len(letters)) + letters


def _unsigned(number: int) -> bytes:
    """A number of at least 0 in groups of 7 bits."""
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _unsigned(high) if high else bytes([low])


def _signed(number: int) -> bytes:
    """A number in groups of 7 bits, of which the highest bit is the sign."""
    low, high = number & 127, number >> 7
    is_last = high == (-1 if low & 64 else 0)
    return bytes([low]) if is_last else bytes([low | 128]) + _signed(high)
