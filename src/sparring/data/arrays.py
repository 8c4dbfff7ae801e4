"""Files of arrays, and arrays of images."""

import math
import warnings
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sparring.data.labels import LABEL_COLUMNS, NPZ
from sparring.data.layout import parse_split
from sparring.data.pixels import BYTES, Levels, choose_levels, describe_levels, is_dark, to_bytes
from sparring.errors import DataError, SparringWarning
from sparring.files import check_unpacked

LARGE = 2**28  # a .npy file of more bytes stays on the disk
CHANNELS = (1, 3, 4)
MIN_SIDE, MAX_RATIO = 4, 8  # of images; of bytes, which are hardly ever signals, any ratio
ITEM_NAMES = {"image", "images", "img", "imgs", "x", "data", "arr_0"}  # of arrays in a .npz file
PICKLED = "allow_pickle"  # in numpy's error about arrays of Python objects, which are never unpickled
AT_ONCE = 1000


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz file by their names, or the array of a .npy file, without a name."""
    arrays = dict[str, np.ndarray]()
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_unpacked(path, sum(member.file_size for member in archive.infolist()))
        if path.suffix == ".npy" and path.stat().st_size > LARGE:
            return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file:  # numpy would leave some damaged files open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            for key in loaded:
                try:
                    arrays[key] = loaded[key]
                except ValueError as error:
                    if PICKLED not in str(error):
                        raise
                    message = f"{str(path)!r}: not used: {key} holds Python objects: save numbers or text instead"
                    warnings.warn(SparringWarning(message), stacklevel=2)
            return arrays
    except DataError:
        raise
    except Exception as error:  # on damaged files, numpy raises anything
        reason = "it holds Python objects: save numbers or text instead" if PICKLED in str(error) else error
        raise DataError(f"cannot read {str(path)!r}: {reason}") from error


def find_arrays(arrays: Mapping[str, np.ndarray], usual: Collection[str], name: str) -> dict[str, np.ndarray]:
    """The items of a file of arrays and what belongs to them, by fixed names.

    Args:
        arrays: by their names in the file, such as `images`, `x_train`, `y_train` and `test_images`.
        usual: names of items that are kept; items of other names get the name "".
        name: of the file, for messages.

    Returns:
        The items; `labels`, if there are any; `heldout`, bool [n], if some of the names say so.

    Raises:
        DataError: if it is not clear which arrays are meant, or they do not fit together.
    """
    if [*arrays] == [""]:  # a .npy file
        return dict(arrays)
    found: dict[str, dict[str, list[str]]] = {"train": {"items": [], "labels": []}}
    stems = dict[str, str]()
    for key in arrays:
        split = parse_split(key)
        words = (key.lower(),) if split is None else (split.before, split.what, split.after)
        stems[key] = "_".join(filter(None, (word.strip("_- ") for word in words)))
        kind = "items" if stems[key] in (*usual, *ITEM_NAMES) else "labels" if stems[key] in LABEL_COLUMNS else ""
        if kind:
            part = "train" if split is None or split.is_training else split.word
            parts = found.setdefault(part, {"items": [], "labels": []})
            parts[kind].append(key)
    seen = ", ".join(sorted(arrays))
    for kinds in found.values():
        for kind, keys in kinds.items():
            if len(keys) > 1:
                raise DataError(f"{name!r} has several arrays of {kind}, {', '.join(keys)}: keep one of them")
    if not found["train"]["items"]:
        names = ", ".join(sorted({*usual, *ITEM_NAMES}))
        raise DataError(f"{name!r} has nothing to train on, but {seen or 'no array'}: call the items one of {names}")
    used = [kinds for kinds in found.values() if kinds["items"]]
    items, labels = [kinds["items"][0] for kinds in used], [key for kinds in used for key in kinds["labels"]]
    if len(labels) not in (0, len(items)):
        raise DataError(f"{name!r} has labels for some of the arrays {', '.join(items)}: give all labels, or none")
    unused = [key for key in arrays if key not in (*items, *labels) and not key.startswith(NPZ)]
    if unused:
        known = "items are called images, x or data, their labels labels or y, and what is held out x_test and y_test"
        message = f"{name!r}: not used: {', '.join(unused)} ({known}; --set labels=NAME takes other labels)"
        warnings.warn(SparringWarning(message), stacklevel=2)
    stem = stems[items[0]]
    result = {key: values for key, values in arrays.items() if key.startswith(NPZ)}
    for title, keys in ((stem if stem in usual else "", items), ("labels", labels)):
        chosen = [arrays[key] for key in keys]
        forms = {(part.dtype if title != "labels" else "", part.shape[1:]) for part in chosen}
        if len(forms) > 1 or (len(chosen) > 1 and any(part.ndim == 0 for part in chosen)):
            seen = ", ".join(f"{key} {part.dtype} {list(part.shape)}" for key, part in zip(keys, chosen, strict=True))
            raise DataError(f"{name!r}: the arrays {seen} do not fit together: give one type, and items of one shape")
        if chosen:
            result[title] = np.concatenate(chosen) if len(chosen) > 1 else chosen[0]
    if len(items) > 1:
        result["heldout"] = np.repeat(np.arange(len(items)) > 0, [len(arrays[key]) for key in items])
    return result


def as_images(array: np.ndarray, name: str) -> np.ndarray | None:
    """Images uint8 [n, height, width] or [n, height, width, 3 or 4] from an array of numbers; None for other arrays."""
    if array.ndim not in (3, 4) or array.dtype.kind not in "biuf":
        return None
    images, is_large = arrange(array, name), isinstance(array, np.memmap)
    if is_large and (array.dtype != np.uint8 or is_dark(_parts(array))):
        raise DataError(f"{name!r} holds {array.dtype} images: a file of this size must hold uint8 from 0 to 255")
    if array.dtype.kind == "f":
        check_finite(array, name, "image")
    levels = BYTES if is_large else find_levels([array], name)
    if array.dtype != np.uint8 or levels != BYTES:
        images = np.concatenate([to_bytes(part, levels) for part in _parts(images)])
    check_different(images, name, "images")
    return images


def arrange(array: np.ndarray, name: str) -> np.ndarray:
    """Images [n, height, width(, channels)] with the channels last, or without any if they are grey."""
    last = [array] if array.ndim == 3 else [array, array.transpose(0, 2, 3, 1)]
    found = [images for images in last if images.ndim == 3 or images.shape[3] in CHANNELS]
    if not found:
        channels = f"{list(array.shape)}, of {min(array.shape[1], array.shape[3])} channels"
        raise DataError(f"{name!r} holds images {channels}: give 1 (grey), 3 (RGB) or 4 (RGBA)")
    for images in found:
        shorter, longer = sorted(images.shape[1:3])
        if shorter >= MIN_SIDE and (longer <= MAX_RATIO * shorter or array.dtype == np.uint8):
            return images[..., 0] if images.shape[3:] == (1,) else images
    height, width = found[-1].shape[1:3]
    raise DataError(
        f"{name!r} holds {array.dtype} {list(array.shape)}, which look like signals: images would be {height} px high "
        f"and {width} px wide. Reshape signals to points {[len(array), math.prod(array.shape[1:])]}; give images with "
        f"sides of at least {MIN_SIDE} px, and as uint8 if one side is more than {MAX_RATIO} times the other"
    )


def find_levels(arrays: Sequence[np.ndarray], name: str) -> Levels:
    """What is black and what is white in images of one type; a warning says if that is unusual."""
    kind = arrays[0].dtype
    if kind == np.uint8 and not is_dark(part for array in arrays for part in _parts(array)):
        return BYTES
    filled = [array for array in arrays if array.size]
    low = min((float(array.min()) for array in filled), default=0.0)
    high = max((float(array.max()) for array in filled), default=0.0)
    levels = choose_levels(low, high, kind.kind == "f", f"{name!r} holds {kind} images")
    if kind.kind in "iuf" and high > levels[0] and (told := describe_levels(levels, high, kind.kind == "f")):
        warnings.warn(SparringWarning(f"{name!r} holds {kind} images: {told}"), stacklevel=2)
    return levels


def check_different(items: np.ndarray, name: str, what: str) -> None:
    """Refuse items [n, ...] that are all the same."""
    if len(items) > 1 and all((part == items[:1]).all() for part in _parts(items)):
        raise DataError(f"all {len(items)} {what} in {name!r} are the same: there is nothing to learn")


def check_finite(array: np.ndarray, name: str, what: str) -> None:
    """Refuse an array [n, ...] with items that are not finite."""
    bad = np.flatnonzero(~np.isfinite(array).all(axis=tuple(range(1, array.ndim))))
    if len(bad):
        raise DataError(f"{what} {bad[0]} of {name!r} is not finite ({len(bad)} such {what}s)")


def _parts(items: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of an array that may be larger than memory."""
    return (items[start : start + AT_ONCE] for start in range(0, max(1, len(items)), AT_ONCE))
