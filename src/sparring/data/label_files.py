"""Labels from a file beside the items, from the names of their files, or from columns of a table."""

import csv
import hashlib
import io
import json
import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sparring.data.containers import MAX_FAULTS, Container, Entry, ending_of, one_line, read_members
from sparring.data.labels import LABEL_COLUMNS, label_columns, make_labels
from sparring.data.layout import say_count
from sparring.errors import DataError, UnknownNameError
from sparring.files import check_within

FOLDERS = "folders"  # asks for the sub-folders as classes, though there is a file of labels
LABEL_FILES = ("labels.csv", "metadata.csv", "metadata.jsonl", "dataset.json")  # usual names; the first one is used
ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl")
NUM_LOOKED_AT = 1000  # rows by which the column of files is known
Columns = dict[str, list[Any]]  # by their titles: a value for each row, or None


def parse_setting(text: str) -> tuple[str, list[str]]:
    """A file of labels or a pattern of names, or "", and the columns that are wanted.

    Example:
        >>> parse_setting("faces.csv:hair,age"), parse_setting("hair"), parse_setting("{word}_{take}:word")
        (('faces.csv', ['hair', 'age']), ('', ['hair']), ('{word}_{take}', ['word']))
    """
    source, colon, columns = text.rpartition(":")
    if text.lower().endswith(ENDINGS) or "{" in columns or os.sep in columns:
        return text, []
    return (source, columns.split(",")) if colon else ("", text.split(","))


def resolve_setting(text: str) -> str:
    """The setting with an absolute path, if it names a file that exists."""
    source, _ = parse_setting(text)
    return text.replace(source, str(Path(source).resolve()), 1) if source and Path(source).is_file() else text


def add_labels(container: Container, setting: str | None) -> Container:
    """The files of a folder or an archive with the labels that are asked for, or that a usual file in it holds.

    Raises:
        DataError: if the labels cannot be read, or more than a tenth of the files have none.
        UnknownNameError: if a wanted column does not exist.
    """
    if not container.num_files or setting == FOLDERS:
        return container
    source, wanted = parse_setting(setting) if setting else ("", [])
    if "{" in source:
        return label_entries(container, _match(source, container.insides), wanted, f"names like {source}")
    tables = _find_tables(container, source)
    if not tables:
        if wanted:
            usual, mend = ", ".join(LABEL_FILES), f"give --set labels=FILE:{','.join(wanted)}"
            raise DataError(f"{str(container.path)!r} has no file of labels ({usual}): {mend}")
        if container.others.keys().isdisjoint((".csv", ".tsv")):
            return container
        return replace(container, notes=(*container.notes, "for labels from a .csv file, give --set labels=FILE"))
    about, places = os.path.basename(source or next(iter(tables))), _index(container.insides)
    columns, twice, unknown, num_rows = Columns(), dict[str, str](), list[object](), 0
    mend = "" if setting else f". To leave {about} aside, give --set labels={FOLDERS}"
    mark = hashlib.sha256(b"".join(tables.values())).hexdigest()
    for name, data in tables.items():
        folder = "" if source else os.path.dirname(name)

        def find(cell: object, folder: str = folder) -> int | None:
            """The place of the file that a cell names: by its path from here or from the container, or its name."""
            text = _normalize(str(cell))
            names = os.path.normpath(os.path.join(folder, text)), text, os.path.basename(text)
            return next((places[each] for each in names if each in places), None)

        try:
            table = _read_table(data, name, find)
        except DataError as error:
            raise DataError(f"{error}{mend}") from error
        step = max(1, max(map(len, table.values())) // NUM_LOOKED_AT)
        key = max(table, key=lambda title: sum(find(cell) is not None for cell in table[title][::step]))
        cells = table.pop(key)
        for title in ("", "Unnamed: 0"):  # the numbers of rows that pandas writes
            table.pop(title, None)
        for row, cell in enumerate(cells):
            num_rows += 1
            if (place := find(cell)) is None:
                unknown.append(cell)
                continue
            for title, values in table.items():
                column = columns.setdefault(title, [None] * container.num_files)
                if column[place] not in (None, values[row]):
                    both = f"{column[place]!r} and {values[row]!r}"
                    twice.setdefault(title, f"{container.insides[place]} has two of {title} in {about}: {both}")
                column[place] = None if values[row] == "" else values[row]
    if len(unknown) == num_rows:
        problem = f"no row of {about} names a file, the first {unknown[:1]}: a path such as {container.insides[0]!r}"
        if setting:
            raise DataError(f"{str(container.path)!r}: {problem} is needed")
        return _leave_aside(container, mark, f"{about} was not used: {problem} is needed")
    labelled = label_entries(container, columns, wanted, about, mark, twice, mend, is_asked=bool(setting))
    notes = [f"rows of {about} that name no file here: {len(unknown):,} of {num_rows:,}"] if unknown else []
    others = Counter(container.others) - Counter(ending_of(name) for name in tables if not source)
    return replace(labelled, others=others, notes=(*labelled.notes, *notes))


def label_entries(
    container: Container,
    columns: Columns,
    wanted: Sequence[str],
    about: str,
    mark: str = "",
    faults: Mapping[str, str] = {},
    mend: str = "",
    is_asked: bool = True,
) -> Container:
    """A container whose entries have labels; entries without a value are left out.

    Args:
        container: the files.
        columns: a value for each entry.
        wanted: columns; empty for the usual one, or else all that nearly every entry has.
        about: where they come from, in words.
        mark: changes when the labels change.
        faults: what is wrong with a column, for the error if it is used.
        mend: what to do against an error, besides correcting the labels.
        is_asked: whether it is an error if no column can be used.
    """
    for title in wanted:
        if title not in columns:
            raise UnknownNameError(f"column of {about}", title, columns)
    total, notes = container.num_files, [*container.notes]
    missing = {title: [place for place, value in enumerate(columns[title]) if _is_missing(value)] for title in columns}
    usual = [title for title in LABEL_COLUMNS if title in columns][:1]
    chosen = list(wanted) or usual or [title for title in columns if len(missing[title]) <= MAX_FAULTS * total]
    if not chosen and columns:  # all are sparse: the error says so
        chosen = [min(columns, key=lambda title: len(missing[title]))]
    without = sorted({place for title in chosen for place in missing[title]})
    if len(without) > MAX_FAULTS * total:
        what = f"{len(without):,} of the {total:,} {container.kind.name} in {str(container.path)!r} have no label"
        first = container.insides[without[0]] if container.insides else f"row {without[0]}"
        raise DataError(f"{what} in {about} ({', '.join(chosen)}), the first {first!r}: give one to each{mend}")
    for title in chosen:
        if title in faults:
            raise DataError(f"{faults[title]}: correct one of them{mend}")
    kept = np.setdiff1d(np.arange(total), without)
    values = {title: [columns[title][place] for place in kept] for title in chosen}
    found = make_labels(label_columns(values, len(kept), about) if values else {})
    if found.labels is None:
        problem = f"{about} holds no labels: {'; '.join(found.unused) or 'no columns'}"
        if is_asked:
            raise DataError(f"{str(container.path)!r}: {problem}{mend}")
        return _leave_aside(container, mark, f"{problem}; it was not used")
    if without:
        notes.append(f"left out, without a label in {about}: {say_count(len(without), container.kind.name)}")
    if not wanted and (aside := [title for title in columns if title not in chosen]):
        notes.append(f"columns left aside: {', '.join(aside)}; --set labels=COLUMN,... chooses")
    notes += found.unused
    row_of, labels = dict(zip(kept.tolist(), range(len(kept)), strict=True)), found.labels.numpy()
    names = found.class_names or tuple(str(number) for number in range(labels.max() + 1 if labels.ndim == 1 else 0))

    def entries() -> Iterator[Entry]:
        for place, entry in enumerate(container.entries()):
            if (row := row_of.get(place)) is not None:
                is_class = not found.attributes
                yield replace(
                    entry,
                    label=one_line(names[labels[row]]) if is_class else "",
                    vector=None if is_class else labels[row],
                )

    return replace(
        container,
        fingerprint=hashlib.sha256(f"{container.fingerprint}{mark}{chosen}".encode()).hexdigest(),
        num_files=len(kept),
        entries=entries,
        class_names=tuple(map(one_line, names)),
        classes_are=f"labels in {about}",
        insides=[container.insides[place] for place in kept] if container.insides else (),
        attributes=found.attributes,
        notes=tuple(notes),
    )


def _leave_aside(container: Container, mark: str, note: str) -> Container:
    """The container without labels from a file, and with a line about it."""
    return replace(container, fingerprint=container.fingerprint + mark, notes=(*container.notes, note))


def _is_missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _normalize(path: str) -> str:
    """A path as it is compared: macOS writes accents in another way, Windows slashes."""
    return unicodedata.normalize("NFC", path.strip().replace("\\", "/"))


def _index(insides: Sequence[str]) -> dict[str, int]:
    """The place of each file by its path, and by shorter names that no other file has."""
    places: dict[str, int] = {}
    paths = [_normalize(inside) for inside in insides]
    stems = [os.path.splitext(path)[0] for path in paths]
    for names in (paths, stems, map(os.path.basename, paths), map(os.path.basename, stems)):
        listed = list(names)
        counts = Counter(listed)
        places = {name: place for place, name in enumerate(listed) if counts[name] == 1} | places
    return places


def _match(pattern: str, insides: Sequence[str]) -> Columns:
    """The parts of file names by a pattern such as "{word}_{speaker}"; with slashes, of their folders too."""
    parts = re.split(r"\{(.*?)\}", pattern)
    titles, depth = parts[1::2], pattern.count("/") + 1
    if not all(titles) or len(set(titles)) < len(titles):
        raise DataError(f"the pattern {pattern!r} needs another name in each pair of braces, such as {{word}}_{{take}}")
    matcher = re.compile("([^/]+?)".join(map(re.escape, parts[::2])))
    matches = [
        matcher.fullmatch("/".join(_normalize(os.path.splitext(inside)[0]).split("/")[-depth:])) for inside in insides
    ]
    return {title: [match and match[number] for match in matches] for number, title in enumerate(titles, start=1)}


def _find_tables(container: Container, source: str) -> dict[str, bytes]:
    """The file of labels that is asked for, or those with the first usual name, in any folder around the items."""
    try:
        if source and Path(source).is_file():
            return {source: Path(source).read_bytes()}
        if container.others.keys().isdisjoint(ENDINGS):
            names: Sequence[str] = ()
        else:
            names = [source] if source else LABEL_FILES
        folders = {""}
        for inside in container.insides:
            folder = os.path.dirname(inside)
            while folder not in folders:
                folders.add(folder)
                folder = os.path.dirname(folder)
        for name in names:
            wanted = sorted(os.path.join(folder, name) for folder in folders)
            if found := _read_inside(container.path, wanted):
                return found
    except OSError as error:
        raise DataError(f"cannot read {source or container.path}: {error.strerror or error}") from error
    if source:
        raise DataError(f"there is no file {source!r} with labels, neither here nor in {str(container.path)!r}")
    return {}


def _read_inside(path: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    """Those of the wanted files that a folder or an archive has."""
    if not path.is_dir():
        return read_members(path, wanted)
    found = [inside for inside in wanted if (path / inside).is_file()]
    for inside in found:
        check_within(path / inside, path)
    return {inside: (path / inside).read_bytes() for inside in found}


def _read_table(data: bytes, name: str, find: Callable[[object], int | None]) -> Columns:
    """A file of labels as columns; without titles in its first row, they are called "label", or by their numbers."""
    try:
        text = data.decode("utf-8-sig")
        if name.lower().endswith(".jsonl"):
            return _as_columns([json.loads(line) for line in text.splitlines() if line.strip()])
        if name.lower().endswith(".json"):
            content = json.loads(text)
            rows = content.get("labels", content) if isinstance(content, dict) else content
            rows = list(rows.items()) if isinstance(rows, dict) else rows or []
            if isinstance(rows, list) and rows and isinstance(rows[0], dict):
                return _as_columns(rows)
            if not isinstance(rows, list) or any(not isinstance(row, list | tuple) or len(row) != 2 for row in rows):
                raise ValueError('it is not {"labels": [[FILE, LABEL], ...]}')
            labels = label_columns([label for _, label in rows], len(rows), name) if rows else {}
            return {"": [file for file, _ in rows]} | {title: values.tolist() for title, values in labels.items()}
        if re.match(r"\d+\s*\n", text):  # CelebA's files begin with the number of their rows
            text = text.partition("\n")[2]
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count) if any(each in first for each in ",;\t") else " "
        if delimiter == " ":
            text = "\n".join(map(str.strip, text.splitlines()))
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True) if row]
        if delimiter == " " and {len(line) - len(lines[0]) for line in lines[1:]} == {1}:  # no title for the files
            lines[0].insert(0, "")
    except UnicodeDecodeError as error:
        raise DataError(f"the labels in {name!r} are not written in UTF-8: save the file so") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"cannot read the labels in {name!r}: {error}") from error
    titles = [title.strip() for title in lines[0]] if lines else [""]
    for number, line in enumerate(lines, start=1):
        if len(line) != len(titles):
            raise DataError(f"row {number} of {name!r} has {len(line)} columns, and the first one {len(titles)}")
    files = [place for place, cell in enumerate(titles) if find(cell) is not None]
    if files:  # the first row is one like the others
        titles = [str(place) if len(titles) != 2 or place == files[0] else "label" for place in range(len(titles))]
        lines = [titles, *lines]
    if twice := sorted(title for title, count in Counter(titles).items() if title and count > 1):
        raise DataError(f"{name!r} has several columns called {twice[0]!r}: give each another name")
    return {title: [line[place].strip() for line in lines[1:]] for place, title in enumerate(titles)}


def _as_columns(records: Sequence[Any]) -> Columns:
    if not all(isinstance(record, dict) for record in records):
        raise ValueError('each record must be an object such as {"file_name": "1.png", "label": "cat"}')
    titles = dict.fromkeys(title for record in records for title in record)
    return {title: [record.get(title) for record in records] for title in titles} or {"": []}
