"""What a study plays: read strictly from a TOML file, and told apart into trials.

    seeds = 5                                  # of each cell: 0 to 4; or a list
    metric = "frechet_distance"                # a figure of the metric card
    num_samples = 5000                         # that the card is about
    storage = "sqlite:///results.sqlite3"      # any that Optuna knows; study.sqlite3 in the study's folder if not given

    [settings]                                 # what all trainings share: fields of the recipe, and `recipe` itself
    minutes = 1

    [grid]                                     # every combination of these
    data = ["digits", "fashion-mnist"]
    width = [16, 24]

    [[variants]]                               # each by its name, with what it needs; crossed with the grid
    name = "WGAN-GP"
    objective = "wasserstein"
    penalty = "gradient_penalty"

In place of grid and variants, a search:

    [search]
    trials = 50
    hours = 2                                  # at most so long, if given
    [search.space]
    learning_rate = { low = 1e-4, high = 1e-2, log = true }
    width = { low = 16, high = 48, step = 8 }
    objective = ["hinge", "non_saturating"]
"""

import json
import tomllib
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sparring.errors import UnknownNameError, UsageError
from sparring.evaluation import MIN_SAMPLES
from sparring.recipes import Recipe, recipe_for

METRICS = {
    "frechet_distance": "minimize",
    "kernel_distance": "minimize",
    "divergence": "minimize",
    "memorization": "minimize",
    "class_distance": "minimize",
    "precision": "maximize",
    "recall": "maximize",
    "density": "maximize",
    "coverage": "maximize",
    "class_entropy": "maximize",
    "class_agreement": "maximize",
}
"""Figures of a metric card that a study can be about, and which way is better."""

Settings = dict[str, Any]
"""Fields of a recipe by name; `data` and `recipe` among them."""


@dataclass(frozen=True)
class Range:
    """Numbers to search between.

    Args:
        low: the least.
        high: the largest.
        log: whether equal ratios are equally likely.
        step: between whole numbers, not together with log; nothing for any number between.

    Raises:
        UsageError: for an empty range, or numbers out of range.
    """

    low: float
    high: float
    log: bool = False
    step: int | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise UsageError("in a range low must be less than high, and above 0 where log is true")
        if self.step is not None and (self.step < 1 or self.log):
            raise UsageError("the step of a range must be at least 1, and goes without log")


@dataclass(frozen=True)
class Search:
    """A search by Optuna, within a budget.

    Args:
        space: the settings searched, each a `Range` or a list of values.
        trials: how many, at least 1.
        hours: at most so long, each time the study is played; no new trial begins after that.
    """

    space: dict[str, Range | list[Any]]
    trials: int
    hours: float | None = None


@dataclass(frozen=True)
class Cell:
    """One setting on one data set, which is played with each seed.

    Args:
        name: of the setting, the same on all data.
        settings: what it is.
    """

    name: str
    settings: Settings

    @property
    def data(self) -> str:
        """What it is trained on."""
        return str(self.settings.get("data", "digits"))


@dataclass(frozen=True)
class Plan:
    """A study's file; see the head of this module.

    Args:
        seeds: of the trainings, at least 0 each.
        metric: a figure of the metric card.
        num_samples: that the card is about.
        storage: the database, as Optuna names it.
        settings: shared by all trainings.
        grid: lists of values by their settings' names.
        variants: settings with a `name` each.
        search: in place of both.

    Example:
        >>> plan = Plan(seeds=2, grid={"objective": ["hinge", "minimax"]})
        >>> [(cell.name, cell.settings) for cell in plan.cells]
        [('hinge', {'objective': 'hinge'}), ('minimax', {'objective': 'minimax'})]
    """

    seeds: int | list[int] = 5
    metric: str = "frechet_distance"
    num_samples: int = 5000
    storage: str | None = None
    settings: Settings = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    variants: list[Settings] = field(default_factory=list)
    search: Search | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UnknownNameError("metric", self.metric, METRICS)
        if self.num_samples < MIN_SAMPLES:
            raise UsageError(f"num_samples must be at least {MIN_SAMPLES}, and is {self.num_samples}")
        if self.search is not None and (self.grid or self.variants or isinstance(self.seeds, list)):
            raise UsageError("a search takes no grid, no variants and no list of seeds: it plays each trial once")
        if self.search is not None and not (self.search.space and self.search.trials >= 1):
            raise UsageError("a search needs trials (at least 1) and a space to search in")
        if self.search is not None and self.search.hours is not None and not self.search.hours > 0:
            raise UsageError(f"the hours of a search must be greater than 0, and are {self.search.hours}")
        if empty := [name for name, space in self.search.space.items() if space == []] if self.search else []:
            raise UsageError(f"the search is empty: {empty[0]} has no values")
        if not all(0 <= seed < 2**63 for seed in self.each_seed):
            raise UsageError(f"seeds must be at least 0 and less than 2⁶³: {self.each_seed}")
        if self.search is None and not self.each_seed:
            raise UsageError("the study is empty: seeds must be at least 1, or a list of some")
        if len(set(self.each_seed)) < len(self.each_seed):
            raise UsageError(f"a seed is there twice: {self.each_seed}")
        if empty := [name for name, values in self.grid.items() if not values]:
            raise UsageError(f"the grid is empty: {empty[0]} has no values")
        names = [variant.get("name") for variant in self.variants]
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise UsageError("each variant needs a name of its own")
        named = [(cell.data, cell.name) for cell in self.cells]
        if twice := sorted({name for data, name in named if named.count((data, name)) > 1}):
            raise UsageError(f"two settings are both {twice[0]!r}: leave one away")
        played: dict[str, str] = {}
        for cell in self.cells:
            if (other := played.setdefault(json.dumps(cell.settings, sort_keys=True), cell.name)) != cell.name:
                raise UsageError(f"{other!r} and {cell.name!r} are the same settings: leave one away")

    @property
    def each_seed(self) -> list[int]:
        """The seeds of each cell."""
        return self.seeds if isinstance(self.seeds, list) else list(range(self.seeds))

    @property
    def direction(self) -> str:
        """Whether the metric is to "minimize" or to "maximize"."""
        return METRICS[self.metric]

    @cached_property
    def cells(self) -> list[Cell]:
        """Every variant with every combination of the grid, the data outermost."""
        grid = dict(sorted(self.grid.items(), key=lambda item: item[0] != "data"))
        found = []
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            shown = [_shown(name, value) for name, value in chosen.items() if name != "data"]
            for variant in self.variants or [{}]:
                own = {name: value for name, value in variant.items() if name != "name"}
                if twice := sorted(own.keys() & chosen.keys()):
                    raise UsageError(
                        f"{twice[0]} is in the grid and in the variant {variant['name']!r}: leave one away"
                    )
                name = ", ".join([*([variant["name"]] if variant else []), *shown])
                found.append(Cell(name or "as settings", self.settings | own | chosen))
        return found

    def recipes(self) -> list[Recipe]:
        """The recipe of each cell; of a search, one for each end of each range and each value of a list.

        Raises:
            UsageError: for a setting or a value that there isn't.
        """
        if self.search is None:
            return [recipe_of(cell.settings, seed=0) for cell in self.cells]
        return [
            recipe_of(self.settings | {name: value}, seed=0)
            for name, space in self.search.space.items()
            for value in (space if isinstance(space, list) else ends(name, space))
        ]


def _shown(name: str, value: object) -> str:
    return value if isinstance(value, str) else f"{name}={value}"


def ends(name: str, space: Range) -> list[float | int]:
    """The least and the largest value of a range, whole numbers where the setting is one.

    Raises:
        UsageError: where the setting is no number, or the range does not suit it.
    """
    if not kinds_of(name) & {int, float}:
        raise UsageError(f"{name} is no number: give a list of values to search among")
    if not is_whole(name):
        if space.step is not None:
            raise UsageError(f"{name}: a step is for whole numbers alone")
        return [float(space.low), float(space.high)]
    if not (float(space.low).is_integer() and float(space.high).is_integer()):
        raise UsageError(f"{name} is a whole number: low and high must be too")
    return [int(space.low), int(space.high)]


def is_whole(name: str) -> bool:
    """Whether a setting is a whole number."""
    return int in kinds_of(name)


def kinds_of(name: str) -> set[type]:
    """The types that a setting can be of; none where there is no such setting, which its recipe will say."""
    hint = get_type_hints(Recipe).get(name)
    return {float} if hint is None else set(get_args(hint) or (hint,))


def recipe_of(settings: Settings, seed: int) -> Recipe:
    """The recipe of one trial."""
    others = {name: value for name, value in settings.items() if name not in ("data", "recipe")}
    if "seed" in others:
        raise UsageError("seed is no setting of a study: give seeds")
    for name in ("data", "recipe"):
        if not isinstance(settings.get(name, ""), str):
            raise UsageError(f"{name} is a name, and is {settings[name]!r}: a list of them goes into [grid]")
    return recipe_for(str(settings.get("data", "digits")), settings.get("recipe"), **others, seed=seed)


def read_plan(path: Path) -> Plan:
    """Read a study's file.

    Raises:
        UsageError: where it cannot be read or something in it is wrong; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the study {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no TOML file: {error}") from error
    _known(content, Plan, "entry of a study")
    search = content.get("search")
    if isinstance(search, dict):
        _known(search, Search, "entry of a search")
        for values in search.get("space", {}).values() if isinstance(search.get("space"), dict) else ():
            if isinstance(values, dict):
                _known(values, Range, "entry of a range")
    return plan_from(content, str(path))


def plan_from(content: dict[str, Any], name: str) -> Plan:
    """A plan from plain values, checked."""
    from pydantic import TypeAdapter, ValidationError

    try:
        plan = TypeAdapter(Plan).validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(own := first.get("ctx", {}).get("error"), UsageError):
            raise own from None
        raise UsageError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    plan.recipes()
    return plan


def fixed_part(plan: Plan) -> dict[str, Any]:
    """What must not change while a study goes on; trials may be added to a grid, and be left away."""
    fixed: dict[str, Any] = {"metric": plan.metric, "num_samples": plan.num_samples}
    if plan.search is not None:
        fixed |= {"settings": plan.settings, "space": asdict(plan.search)["space"]}
    return fixed


def _known(content: dict[str, Any], kind: type, what: str) -> None:
    names = [each.name for each in fields(kind)]
    for name in content:
        if name not in names:
            raise UnknownNameError(what, name, names)
