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

import tomllib
from dataclasses import asdict, dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

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
        step: between whole numbers; nothing for any number between.
    """

    low: float
    high: float
    log: bool = False
    step: int | None = None


@dataclass(frozen=True)
class Search:
    """A search by Optuna, within a budget.

    Args:
        space: the settings searched, each a `Range` or a list of values.
        trials: how many, at least 1.
        hours: at most so long; no new trial begins after that.
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
        >>> [(cell.name, cell.settings) for cell in plan.cells()]
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
        if self.search is None and not self.each_seed:
            raise UsageError("the study is empty: seeds must be at least 1, or a list of some")
        if len(set(self.each_seed)) < len(self.each_seed):
            raise UsageError(f"a seed is there twice: {self.each_seed}")
        if empty := [name for name, values in self.grid.items() if not values]:
            raise UsageError(f"the grid is empty: {empty[0]} has no values")
        names = [variant.get("name") for variant in self.variants]
        if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise UsageError("each variant needs a name of its own")

    @property
    def each_seed(self) -> list[int]:
        """The seeds of each cell."""
        return self.seeds if isinstance(self.seeds, list) else list(range(self.seeds))

    @property
    def direction(self) -> str:
        """Whether the metric is to "minimize" or to "maximize"."""
        return METRICS[self.metric]

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
            return [recipe_of(cell.settings, seed=0) for cell in self.cells()]
        return [
            recipe_of(self.settings | {name: value}, seed=0)
            for name, space in self.search.space.items()
            for value in (space if isinstance(space, list) else ends(name, space))
        ]


def _shown(name: str, value: object) -> str:
    return value if isinstance(value, str) else f"{name}={value}"


def ends(name: str, space: Range) -> list[float | int]:
    """The least and the largest value of a range, whole numbers where the setting is one."""
    if not space.low < space.high or (space.log and space.low <= 0):
        raise UsageError(f"{name}: low must be less than high, and above 0 where log is true")
    whole = is_whole(name)
    return [int(space.low), int(space.high)] if whole else [float(space.low), float(space.high)]


def is_whole(name: str) -> bool:
    """Whether a setting is a whole number."""
    kinds = {each.name: str(each.type) for each in fields(Recipe)}
    return kinds.get(name, "").startswith(("int", "<class 'int'>"))


def recipe_of(settings: Settings, seed: int) -> Recipe:
    """The recipe of one trial."""
    others = {name: value for name, value in settings.items() if name not in ("data", "recipe")}
    if "seed" in others:
        raise UsageError("seed is no setting of a study: give seeds")
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
        plan = TypeAdapter(Plan).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        if isinstance(own := first.get("ctx", {}).get("error"), UsageError):
            raise own from None
        raise UsageError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    plan.recipes()
    return plan


def fixed_part(plan: Plan) -> dict[str, Any]:
    """What must not change while a study goes on: all but the seeds, and how far a search goes."""
    whole = asdict(plan)
    for name in ("seeds", "storage"):
        del whole[name]
    for name in ("trials", "hours"):
        (whole["search"] or {}).pop(name, None)
    return whole


def _known(content: dict[str, Any], kind: type, what: str) -> None:
    names = [each.name for each in fields(kind)]
    for name in content:
        if name not in names:
            raise UnknownNameError(what, name, names)
