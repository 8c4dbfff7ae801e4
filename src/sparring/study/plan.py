"""What a study trains, read strictly from a TOML file; docs/studies.md shows one."""

import json
import re
import tomllib
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from sparring.errors import UnknownNameError, UsageError
from sparring.evaluation.card import MIN_SAMPLES
from sparring.evaluation.figures import FIGURES
from sparring.training.recipe import Request, check_setting, make_request

METRICS = {name: each for name, each in FIGURES.items() if each.in_card and each.needs != "paper"}
"""The figures that a study can be about."""

STRICT = ConfigDict(extra="forbid", strict=True)
Settings = dict[str, Any]  # fields of a recipe by name, and perhaps `data` and `recipe`
Values = Annotated[list[Any], MinLen(1)]
Seeds = Annotated[list[Annotated[int, Ge(0), Lt(2**63)]], MinLen(1)]


@with_config(STRICT)
@dataclass(frozen=True)
class Range:
    """Numbers to search between."""

    low: float
    high: float
    log: bool = False  # whether equal ratios are equally likely
    step: Annotated[int, Ge(1)] | None = None  # between whole numbers

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise UsageError("in a range, low must be less than high, and above 0 if log is true")
        if self.step is not None and self.log:
            raise UsageError("a range takes log or a step, not both")

    def ends(self, name: str) -> tuple[float, float]:
        """The smallest and the largest value of a setting, as whole numbers if the setting is one."""
        low, high = (int(end) if float(end).is_integer() else end for end in (self.low, self.high))
        if isinstance(check_setting(name, low), float):
            if self.step is not None:
                raise UsageError(f"{name}: a step is for whole numbers only")
            return self.low, self.high
        check_setting(name, high)
        return low, high


def suggest(trial: Any, name: str, space: Range | list[Any]) -> object:
    """Have Optuna choose a setting for its trial."""
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    low, high = space.ends(name)
    if isinstance(low, int):
        return trial.suggest_int(name, low, high, step=space.step or 1, log=space.log)
    return trial.suggest_float(name, low, high, log=space.log)


@with_config(STRICT)
@dataclass(frozen=True)
class Search:
    """A search by Optuna, within a budget."""

    space: Annotated[dict[str, Range | Values], MinLen(1)]
    trials: Annotated[int, Ge(1)]
    hours: Annotated[float, Gt(0)] | None = None  # no trial starts after that, each time the study is run


@dataclass(frozen=True)
class Cell:
    """One setting on one data set, which is trained with each seed."""

    name: str  # of the setting, the same on all data sets
    settings: Settings

    @property
    def data(self) -> str:
        """The name or path of the data."""
        return str(self.settings.get("data", "digits"))


@with_config(STRICT)
@dataclass(frozen=True)
class Plan:
    """A study's file."""

    seeds: Annotated[int, Ge(1)] | Seeds = 5  # per setting: 0 to 4; or a list
    metric: str = "frechet_distance"  # a figure of the metric card
    num_samples: Annotated[int, Ge(MIN_SAMPLES)] = 5000  # for the card
    full_card: bool = False  # measure all figures of the card in each trial, not the metric alone
    storage: str | None = None  # a database that Optuna supports; None for study.sqlite3 in the study's folder
    settings: Settings = field(default_factory=dict)  # shared by all trainings
    grid: dict[str, Values] = field(default_factory=dict)  # every combination of these
    variants: list[Settings] = field(default_factory=list)  # settings with a `name`; each is combined with the grid
    search: Search | None = None  # instead of a grid and variants

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UnknownNameError("metric", self.metric, METRICS)
        if self.search is not None and (self.grid or self.variants or isinstance(self.seeds, list)):
            raise UsageError("a search takes no grid, no variants and no list of seeds: it trains each setting once")
        if len(set(self.each_seed)) < len(self.each_seed):
            raise UsageError(f"a seed appears twice: {self.each_seed}")
        names = [variant.get("name") for variant in self.variants]
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise UsageError("each variant needs a name of its own")
        by_settings: dict[str, Cell] = {}
        for cell in self.cells:
            same = by_settings.setdefault(json.dumps(cell.settings, sort_keys=True), cell)
            if same is not cell:
                raise UsageError(f"{same.name!r} and {cell.name!r} are the same settings: remove one")

    @property
    def each_seed(self) -> list[int]:
        """The seeds of each cell."""
        return self.seeds if isinstance(self.seeds, list) else list(range(self.seeds))

    @property
    def less_is_better(self) -> bool:
        """Whether smaller values of the metric are better."""
        return METRICS[self.metric].better == "lower"

    @cached_property
    def cells(self) -> list[Cell]:
        """Every variant with every combination of the grid, the data outermost."""
        grid = dict(sorted(self.grid.items(), key=lambda item: item[0] != "data"))
        found = []
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            words = [v if isinstance(v, str) else f"{name}={v}" for name, v in chosen.items() if name != "data"]
            for variant in self.variants or [{}]:
                own = {name: value for name, value in variant.items() if name != "name"}
                if both := sorted(own.keys() & chosen.keys()):
                    raise UsageError(f"{both[0]} is in the grid and in the variant {variant['name']!r}: remove one")
                name = ", ".join([variant["name"], *words] if variant else words)
                found.append(Cell(name or "as settings", self.settings | own | chosen))
        return found

    def requests(self) -> list[Request]:
        """What each cell asks for; of a search, one request for each end of a range and each value of a list."""
        if self.search is None:
            return [request_training(cell.settings, seed=0) for cell in self.cells]
        return [
            request_training(self.settings | {name: value}, seed=0)
            for name, space in self.search.space.items()
            for value in (space if isinstance(space, list) else space.ends(name))
        ]


def request_training(settings: Settings, seed: int) -> Request:
    """The training of one trial."""
    others = {name: value for name, value in settings.items() if name not in ("data", "recipe")}
    if "seed" in others:
        raise UsageError("seed is not a setting of a study: give seeds")
    for name in ("data", "recipe"):
        if not isinstance(settings.get(name, ""), str):
            raise UsageError(f"{name} must be a name, and is {settings[name]!r}: put a list into [grid]")
    return make_request(str(settings.get("data", "digits")), settings.get("recipe"), **others, seed=seed)


def read_plan(path: Path) -> Plan:
    """Read a study's file; errors name what is wrong in it."""
    try:
        content = json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str)
        plan = TypeAdapter(Plan).validate_json(content, strict=True)
    except OSError as error:
        raise UsageError(f"cannot read the study {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from error
    except ValidationError as error:
        raise _explain(error, path) from None
    plan.requests()
    return plan


def _explain(error: ValidationError, path: Path) -> UsageError:
    """The most specific of the errors, since a value that may be of two types has one for each."""
    is_unknown = "unexpected_keyword_argument"
    worst = max(error.errors(), key=lambda each: (each["type"] == is_unknown, not each["type"].endswith("_type")))
    if isinstance(own := worst.get("ctx", {}).get("error"), UsageError):
        return own
    place = [str(part) for part in worst["loc"] if not re.match(r"(constrained-|list\[|Range$)", str(part))]
    if worst["type"] == is_unknown:
        what, kind = {1: ("study", Plan), 2: ("search", Search)}.get(len(place), ("range", Range))
        return UnknownNameError(f"entry of a {what}", place[-1], [each.name for each in fields(kind)])
    return UsageError(f"{path}: {'.'.join(place)}: {worst['msg']}")
