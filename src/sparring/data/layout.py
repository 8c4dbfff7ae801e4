"""What folders say about the files in them: which are held out, of which class each is, and which are left out."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from sparring.errors import DataError

Parts = tuple[str, ...]  # the folders around a file, outermost first

TRAINING = "training|trainval|train|trn"
HELD_OUT = (
    "testing|tests?|tst|validation|validate|valid|val|development|devel|dev|evaluation|eval|"
    "held[_\\- ]?out|hold[_\\- ]?out"
)
SPLIT = re.compile(  # what stands around a word for a part, as in seg_train, test_set, trainA, xtrain and y_test
    rf"((?:.*[^a-z]|[xy])?)((?:{TRAINING})|(?:{HELD_OUT}))"
    r"((?:[_\- ]?(?:sets?|images?|imgs?|data|split))?)((?:[^a-z].*|[abxy])?)",
    re.IGNORECASE,
)
ANNOTATIONS = {"label", "mask", "annotation", "segmentation", "gt", "groundtruth", "ground_truth"}
OWN_FILES = ({"recipe.json", "log.jsonl"}, {"recipe.json", "samples", "checkpoints"}, {"study.json", "trials"})


class Place(NamedTuple):
    """Where a file belongs."""

    label: str  # the name of its class, or ""
    is_heldout: bool | None  # None if the folders do not say


def say_count(number: int, things: str) -> str:
    """A number of things.

    Example:
        >>> say_count(1, "images"), say_count(2000, "images")
        ('1 image', '2,000 images')
    """
    return f"{number:,} {things.removesuffix('s') if number == 1 else things}"


def path_order(inside: str) -> tuple[tuple[int, str], ...]:
    """The key that sorts paths as a folder is read: its files, then what is in its folders.

    Example:
        >>> sorted(["a/1", "b"], key=path_order)
        ['b', 'a/1']
    """
    *folders, name = inside.split("/")
    return *((1, folder) for folder in folders), (0, name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out because of its name."""
    return (name.startswith(".") and name != "..") or name == "__MACOSX"


class Split(NamedTuple):
    """The name of a part of a data set: of a folder, a file or an array."""

    before: str
    word: str  # train, test or the like
    what: str  # such as images
    after: str

    @property
    def is_training(self) -> bool:
        """Whether it is the part to train on."""
        return re.fullmatch(TRAINING, self.word) is not None


def parse_split(name: str) -> Split | None:
    """The parts of a name such as seg_train or val_images, in lower case; None if it names no part of a data set.

    Example:
        >>> parse_split("Test_images2")
        Split(before='', word='test', what='_images', after='2')
    """
    match = SPLIT.fullmatch(name.lower())
    return Split(*match.groups()) if match else None


def find_outputs(path: object, insides: Collection[str]) -> list[str]:
    """The folders that sparring itself wrote, runs and studies, among the paths within a container."""
    marks = {"recipe.json", "study.json"}
    names: dict[str, set[str]] = {os.path.dirname(each): set() for each in insides if os.path.basename(each) in marks}
    for parts in (inside.split("/") for inside in insides if names):
        for depth, name in enumerate(parts):
            names.get("/".join(parts[:depth]), set()).add(name)
    found = {folder for folder, inside in names.items() if any(own <= inside for own in OWN_FILES)}
    if "" in found:
        advice = "to go on with a run, use `sparring resume`"
        raise DataError(f"{str(path)!r} is a run or a study of sparring, not data: give a folder of data; {advice}")
    above = {os.path.dirname(folder) for folder in found}
    runs = {folder for folder in above if os.path.basename(folder) == "runs"}
    return sorted(runs | {folder for folder in found if os.path.dirname(folder) not in runs})


def arrange(path: object, what: Sequence[str], folders: Sequence[Parts]) -> tuple[list[Place | None], list[str]]:
    """Where each file belongs, None for those to leave out, and lines of text about these choices.

    Folders around everything are skipped. Folders called `train`, `test` and the like say what is held out, also in
    each of several folders. Of the folders below, the first is the class.

    Args:
        path: of the container, for messages.
        what: usual names of a folder with such files; the first one is for messages.
        folders: the folders around each file.

    Raises:
        DataError: if there are several sets, each with training and held-out files.

    Example:
        >>> places, lines = arrange("a", ["images"], [("train", "cats"), ("train", "dogs"), ("test", "cats"), ("x",)])
        >>> places[2:]
        [Place(label='cats', is_heldout=True), None]
        >>> lines
        ['held out: test', 'left out beside test and train: 1 image in x']
    """
    rest, heldout, lines = dict(enumerate(folders)), dict[int, bool](), list[str]()

    def leave_out(kept: Collection[str], left_out: Iterable[Parts]) -> None:
        counts = Counter("/".join(parts[:1]) for parts in left_out)
        where = [f"{say_count(number, what[0])} in {name or 'no folder'}" for name, number in counts.items()]
        if where:
            lines.append(f"left out beside {' and '.join(sorted(kept))}: {', '.join(where)}")

    while rest:
        ends = zip(min(rest.values()), max(rest.values()), strict=False)
        around = len(list(takewhile(lambda pair: pair[0] == pair[1], ends)))
        rest = {number: parts[around:] for number, parts in rest.items()}
        first = {parts[0] if parts else "" for parts in rest.values()}
        pictured = {name for name in first if name.lower() in what}
        if (
            len(pictured) == 1 < len(first)
            and {name.lower().removesuffix("s") for name in first - pictured} <= ANNOTATIONS
        ):
            leave_out(pictured, (parts for parts in rest.values() if parts[0] not in pictured))
            rest = {number: parts for number, parts in rest.items() if parts[0] in pictured}
        elif not heldout and (found := _find_split(path, what[0], rest.values())):
            level, roles = found
            inside = {number: parts for number, parts in rest.items() if "".join(parts[level : level + 1]) in roles}
            heldout = {number: roles[parts[level]] for number, parts in inside.items()}
            lines.append(f"held out: {', '.join(sorted(name for name in roles if roles[name]))}")
            leave_out(roles, (parts for number, parts in rest.items() if number not in inside))
            twice = all(parts[level + 1 : level + 2] == parts[level : level + 1] for parts in inside.values())
            rest = {number: parts[:level] + parts[level + 1 + twice :] for number, parts in inside.items()}
        else:
            break
    labels = {number: parts[0] if parts else "" for number, parts in rest.items()}
    if odd := sorted(name for name in set(labels.values()) if parse_split(name)):
        lines.append(f"{', '.join(odd)}: taken as classes; only folders such as train and test, together, are a split")
    return [Place(labels[n], heldout.get(n)) if n in labels else None for n in range(len(folders))], lines


def _find_split(path: object, what: str, folders: Collection[Parts]) -> tuple[int, dict[str, bool]] | None:
    """The level of the folders that split a set, and for each of their names whether it is held out."""
    for level in (0, 1):
        names = defaultdict[Parts, set[str]](set)  # of the folders at this level, by those above them
        for parts in folders:
            if len(parts) > level:
                names[parts[:level]].add(parts[level])
        sets = defaultdict[Parts, dict[str, bool]](dict)
        for name in sorted(set().union(*names.values())):
            if split := parse_split(name):
                sets[split.before, split.after][name] = not split.is_training
        together = {name: is_heldout for each in sets.values() for name, is_heldout in each.items()}
        whole = [each for each in sets.values() if _is_whole(each, names.values())]
        if not whole and list(together.values()).count(False) == 1 and _is_whole(together, names.values()):
            whole = [together]  # such as train, test1 and test2
        if len(whole) > 1:
            listed = "; ".join(" and ".join(sorted(each)) for each in whole)
            one = sorted(name for name, is_heldout in whole[0].items() if not is_heldout)[0]
            raise DataError(
                f"{str(path)!r} holds {len(whole)} sets of {what}, each with held-out ones ({listed}): give the "
                f"path of one folder alone, such as {one}"
            )
        if names and whole:
            return level, whole[0]
    return None


def _is_whole(roles: dict[str, bool], folders: Iterable[Collection[str]]) -> bool:
    """Whether a set has held-out files, and files to train on in each of several folders."""
    return any(roles.values()) and all(any(not roles.get(name, True) for name in inside) for inside in folders)
